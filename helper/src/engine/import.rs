//! Containers that come as an archive.

use super::{ContainerId, Engine, Error, Result, Work};
use gantry_core::name::ContainerName;
use std::os::fd::OwnedFd;

impl Engine {
    /// Makes a container from a tar stream of an LXC container directory
    /// (`config` and `rootfs`, also below one directory), plain or compressed.
    /// Until it returns there is none of that name, and when it fails or is
    /// cancelled nothing is left.
    ///
    /// Without `allow_unsafe` an archive whose config equals root on the host
    /// is refused with [`Error::NotAuthorized`].
    pub(crate) async fn import(
        &self,
        _archive: OwnedFd,
        _name: ContainerName,
        _allow_unsafe: bool,
        _work: &Work,
    ) -> Result<ContainerId> {
        Err(Error::Unsupported("not yet".into()))
    }
}
