//! What root file systems are made of, and the archives that containers move in.

pub(crate) mod backup;
pub(crate) mod bootstrap;
pub(crate) mod build;
pub(crate) mod busybox;
pub(crate) mod cache;
mod catalog;
pub(crate) mod confined;
pub(crate) mod download;
pub(crate) mod fetch;
pub(crate) mod id;
pub(crate) mod lists;
pub(crate) mod metadata;
pub(crate) mod oci;
pub(crate) mod outside;
pub(crate) mod pack;
mod registry;
pub(crate) mod server;
pub(crate) mod sink;
mod squash;
pub(crate) mod stream;
pub(crate) mod unpack;
pub(crate) mod worker;
