//! What root file systems are made of.

pub(crate) mod busybox;
pub(crate) mod stream;
pub(crate) mod unpack;
