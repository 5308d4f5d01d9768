//! What no error may show, whoever says it.

use std::{cmp::Reverse, collections::BTreeSet};

/// Passwords and tokens that were shown to somebody, who may repeat them.
#[derive(Default)]
pub(super) struct Secrets(BTreeSet<String>);

impl Secrets {
    pub(super) fn insert(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.0.insert(secret.to_owned());
        }
    }

    /// Takes everything secret out of a text that somebody else wrote.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut secrets: Vec<_> = self.0.iter().collect();
        // The longest first: one may be a part of another.
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_part_of_another_secret_leaves_nothing_of_it() {
        let mut secrets = Secrets::default();
        for secret in ["", "abc", "abcdef"] {
            secrets.insert(secret);
        }
        assert_eq!(secrets.hide("xabcdefx abc ab"), "x***x *** ab");
    }
}
