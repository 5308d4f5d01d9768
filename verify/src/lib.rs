//! Verification of what kdistro publishes: signatures, the log, digests, and how two files differ.
//!
//! Holds no key that signs, starts no process, and opens the network only behind the feature `http`.
//! In the order of use: [`trust`] says whom one believes, [`store`] reads what was published, [`bundle`] and
//! [`log`] check one signed document, [`check`] a whole release; [`compare`] and [`explain`] judge a rebuild.

pub mod bundle;
pub mod check;
pub mod compare;
pub mod explain;
pub mod hash;
pub mod log;
pub mod store;
pub mod trust;
