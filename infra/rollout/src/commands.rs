//! Sub-commands, a file each.

pub(crate) mod inspect;
