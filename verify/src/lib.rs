//! Verification of what kdistro publishes.

pub mod hash;
