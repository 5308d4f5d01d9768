//! Decides what a subscriber runs next: verification under its own policy, then a pure choice.
