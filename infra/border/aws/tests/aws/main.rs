//! What this crate promises, tried on two doubles of AWS and a registry: one program, so that they are started once.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests start processes of their own, and judges")]
#![expect(clippy::print_stdout, reason = "a failing test says where it was, a child what it found")]

mod bed;
mod bucket;
#[path = "../../../tests/contract"]
mod contract {
    #[expect(dead_code, reason = "what is for announcers that remember")]
    pub(crate) mod announcer;
    pub(crate) mod registry;
    pub(crate) mod signer;
    pub(crate) mod store;
}
mod deaf;
mod ecr;
mod kms;
mod s3;
mod s3_faults;
mod sns;
mod sqs;
