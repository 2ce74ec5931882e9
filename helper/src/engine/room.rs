//! The room that a container's root file system has, and more of it.

use super::clone::Source;
use super::launcher::Access;
use super::{ContainerId, Engine, Error, Result, Work, blocking};
use crate::linux::{resize, space};
use crate::storage;
use std::os::fd::AsRawFd;
use std::path::Path;

/// What a root file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes in all.
    pub(crate) size: u64,
    /// Bytes that are free.
    pub(crate) free: u64,
    /// It has them for itself, and can be given more.
    pub(crate) own: bool,
}

impl Engine {
    /// Looks at the root file system of a container, whether it runs or not.
    pub(crate) async fn room(&self, id: &ContainerId) -> Result<Room> {
        self.get(id).await?;
        let source = Source::read(self.layout(&id.name))?;
        let top = self.top(id, &source, Access::Read).await?;
        let (backend, rootfs) = (source.backend, source.rootfs);
        blocking(move || {
            let path = format!("/proc/self/fd/{}/.", top.as_raw_fd());
            let space = space::free(Path::new(&path))
                .map_err(|error| Error::io("looking at the root file system", &error))?;
            let own = match storage::backend(&backend) {
                Ok(backend) => backend.size(&rootfs)?.is_some(),
                Err(_) => false,
            };
            Ok(Room {
                size: space.total,
                free: space.bytes,
                own,
            })
        })
        .await
    }

    /// Gives a root file system of its own so many bytes in all, also while its container
    /// runs. It never shrinks. Gives the size it has then.
    pub(crate) async fn grow(&self, id: &ContainerId, size: u64, work: &Work) -> Result<u64> {
        self.get(id).await?;
        let _lock = self.lock(&id.name).await?;
        let source = Source::read(self.layout(&id.name))?;
        let (backend, rootfs) = (source.backend.clone(), source.rootfs.clone());
        work.stage("enlarging");
        let size = blocking(move || {
            let backend = storage::backend(&backend)?;
            match backend.size(&rootfs)? {
                Some(now) if size < now => Err(Error::InvalidArgument(format!(
                    "the root file system has {now} bytes already; give more, as it cannot shrink"
                ))),
                // A call that was cut may have left the file system behind.
                Some(now) if size == now => Ok(now),
                _ => {
                    backend.enlarge(&rootfs, size)?;
                    Ok(backend.size(&rootfs)?.unwrap_or(size))
                }
            }
        })
        .await?;
        let top = self.top(id, &source, Access::Write).await?;
        blocking(move || {
            resize::grow(top, size)
                .map_err(|error| Error::io("growing the root file system", &error))?;
            Ok(size)
        })
        .await
    }
}
