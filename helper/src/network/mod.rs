//! Networks, as far as containers are wired to them.

pub(crate) mod addresses;
pub(crate) mod interfaces;
pub(crate) mod traffic;
