//! The top of a container's files.

use super::clone::Source;
use super::launcher::Access;
use super::{ContainerId, Engine, Error, Result, blocking, duplicate};
use crate::linux::mounts::root_from;
use crate::storage;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

impl Engine {
    /// Opens it as the container has it, or would have it if it started.
    ///
    /// # Errors
    /// [`Error::WrongState`] where the root of a running one's init is elsewhere.
    pub(super) async fn top(
        &self,
        id: &ContainerId,
        source: &Source,
        how: Access,
    ) -> Result<OwnedFd> {
        let init = self.get(id).await?.init_pid;
        if init == 0 || storage::is_tree(&source.backend) {
            let files = storage::files(&source.rootfs);
            return duplicate::open(&self.0.programs, &files, how).await;
        }
        let top = seen_by(id, init, source).await?;
        // Its number may have become another's before it was opened.
        if self.get(id).await?.init_pid == init {
            return Ok(top);
        }
        Err(Error::Conflict(format!(
            "container '{}' was stopped meanwhile; try again",
            id.name
        )))
    }
}

/// The root of the init of a container that runs, which must be mounted from where the
/// container's root file system is kept.
pub(super) async fn seen_by(id: &ContainerId, init: u32, source: &Source) -> Result<OwnedFd> {
    let (backend, rootfs, name) = (
        source.backend.clone(),
        source.rootfs.clone(),
        id.name.clone(),
    );
    blocking(move || {
        let sources = storage::backend(&backend)?.sources(&rootfs)?;
        root_from(init, &sources).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Error::WrongState(format!(
                "container '{name}' has left its root file system ({error}); stop it first"
            )),
            _ => Error::io(
                format_args!("looking into the running container '{name}'"),
                &error,
            ),
        })
    })
    .await
}
