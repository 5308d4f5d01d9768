//! What must hold for every reader of bytes from outside, whatever the bytes are: one function for each kind of them.
//!
//! A function panics when it does not hold. `verify/fuzz` drives them with libFuzzer, for as long as one likes; the test
//! of this crate drives them with changed seeds and with chance, a few hundred times each.
#![expect(clippy::expect_used, reason = "whoever drives these takes a panic for a finding")]
#![expect(clippy::missing_panics_doc, reason = "it is what they are for")]

mod archives;
mod configurations;
mod documents;
mod registries;
pub mod seeds;
mod signatures;

pub use self::{
    archives::{deb, explain, go_build_info, module_zip, oci, patch, tar},
    configurations::{configuration, environment},
    documents::{
        announcement, canonical, channel_index, claim, manifest, names, plan, statement, yaml,
    },
    registries::{
        challenge, credential_helper, docker_config, registry_answer, registry_reference,
    },
    signatures::{bundle, checkpoint, keyless, log, trust},
};
