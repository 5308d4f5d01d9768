//! Real servers for tests and trials, on free ports of this machine.
//!
//! In a test:
//! ```no_run
//! use kdistro_testbed::{Server, Testbed};
//!
//! let bed = Testbed::start(&[Server::Aws, Server::Registry])?;
//! println!("S3, SNS, SQS, KMS and ECR answer at {}, a registry at {}", bed.aws(), bed.registry());
//! # Ok::<(), kdistro_testbed::TestbedError>(())
//! ```
//! By hand, with the addresses in the environment: `infra/testbed/run --with aws,git CMD…`; without a command it
//! prints the environment and stays until Ctrl-C.
//!
//! | server | what it is | comes from |
//! |---|---|---|
//! | `aws` | S3, SNS, SQS, KMS, ECR, STS, `CloudFormation`: ministack | `requirements.txt` |
//! | `moto` | the same by moto, as a second opinion | `requirements.txt` |
//! | `registry` | an OCI registry with TLS, user [`USER`], password [`PASSWORD`] | docker-registry |
//! | `plain-registry` | an OCI registry without TLS and password | docker-registry |
//! | `git` | git's smart HTTP with TLS; whoever asks may fetch and push | git |
//!
//! Besides, openssl makes the certificate, Python 3 (with `venv`) and `setpriv` of util-linux run the servers. What
//! `requirements.txt` lists is installed once, beside what cargo builds; so are the programs that judge in tests and are
//! not of this machine, those of Python ([`tool_of`]), those of Debian's unstable suite ([`debian_program`]) and those that
//! are Go modules ([`go_program`]).
//!
//! Each server asks the system for a port, so any number of testbeds run at once, and listens on 127.0.0.1 only. A
//! process of its own, the keeper, is the parent of the servers. It ends them and removes their folder as soon as
//! whoever started them is gone, killed or not.
//!
//! [`Proxy`] stands between a client and a server and does what networks do: resets, cut answers, flipped bits.

mod certificate;
mod debian;
mod error;
mod golang;
mod host;
mod keeper;
mod proxy;
mod python;
mod ready;
mod released;
mod server;
mod testbed;
mod turn;

pub use debian::{debian_packages, debian_program};
pub use error::TestbedError;
pub use golang::go_program;
pub use proxy::{Fault, Proxy, ProxyError, Request};
pub use python::{tool, tool_of};
pub use released::{COMPONENTS, TESTS, copy_configuration, releases};
pub use server::Server;
pub use testbed::{PASSWORD, Testbed, USER};
pub use turn::turn;
