//! Thin wrappers over what the kernel offers. The only place of this crate
//! with `unsafe`.

#![allow(unsafe_code)]

pub(crate) mod btrfs;
pub(crate) mod channel;
pub(crate) mod copier;
pub(crate) mod files;
pub(crate) mod freeze;
pub(crate) mod journal;
mod layering;
pub(crate) mod listeners;
pub(crate) mod local_time;
pub(crate) mod lock;
pub(crate) mod loop_device;
pub(crate) mod memfd;
pub(crate) mod mounts;
pub(crate) mod netlink;
pub(crate) mod packing;
pub(crate) mod proc;
pub(crate) mod process;
pub(crate) mod readiness;
mod removal;
mod replica;
pub(crate) mod resize;
pub(crate) mod script;
pub(crate) mod seal;
pub(crate) mod seclusion;
pub(crate) mod space;
pub(crate) mod spawn;
mod steps;
mod survey;
pub(crate) mod tool;
pub(crate) mod transplant;
pub(crate) mod tree;
mod tree_copy;
mod unpacking;
mod unsquashing;
pub(crate) mod worker;
