//! The inputs: everything that a plan was made of and by, kept by digest.

use std::collections::BTreeMap;

use kdistro_formats::{layout, plan::Plan};

use super::reading::{Checker, Expected};
use crate::hash;

impl Checker<'_> {
    /// Checks that every input and configuration file of a plan is there, with the right digest and size.
    pub(super) fn check_inputs(&mut self, plan: &Plan) {
        let inputs = plan.inputs.iter().map(|input| (input.sha256, input.size));
        let configuration = plan.configuration.iter().map(|file| (file.sha256, file.size));
        let wanted: BTreeMap<_, _> = inputs.chain(configuration).collect();
        let files: Vec<_> = wanted
            .iter()
            .map(|(digest, size)| Expected { name: layout::input(digest), size: *size })
            // Releases share inputs: each is read once.
            .filter(|file| !self.known.contains(&file.name))
            .collect();
        let found = self.hash_all(&files, |content| hash::sha256_of(content));
        for (file, found) in files.iter().zip(found) {
            let Some((digest, has)) = found else { continue };
            let expected = file.name.rsplit('/').next().unwrap_or_default();
            if has != file.size {
                let size = file.size;
                self.differs(&file.name, format!("has {has} bytes or more, the plan says {size}"));
            } else if digest.hex() != expected {
                self.differs(&file.name, format!("is {digest}"));
            }
        }
    }
}
