//! What root file systems are made of, and the archives that containers move in.

pub(crate) mod busybox;
pub(crate) mod confined;
pub(crate) mod pack;
pub(crate) mod sink;
pub(crate) mod stream;
pub(crate) mod unpack;
