//! Tests against real git, real apt and real go.
#![cfg(test)]

mod archives;
mod debian;
mod golang;
mod mirrors;
mod patches;
mod worktrees;
mod world;
