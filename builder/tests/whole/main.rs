//! The whole program on real input: a release cut, published, verified, rebuilt, judged by other people's tools;
//! and on bad input, with full disks, and killed at every step.
//!
//! One program, so that etcd and the CNI plugins are built once for all tests. Everything lies in a folder below
//! cargo's target folder, emptied at the start; with `KDISTRO_TEST_KEEP=1` what an earlier run cut is used again.
#![cfg(test)]

mod bad_input;
mod channels;
mod cloud;
mod commands;
mod crash;
mod disk;
mod e2e;
mod faults;
mod golden;
mod hostile;
mod judges;
mod keyless;
mod kubernetes;
mod newcomer;
mod promote;
mod ran;
mod releases;
mod run;
mod same_bytes;
mod servers;
mod shared;
mod tampered;
mod tiny;
mod tools;
