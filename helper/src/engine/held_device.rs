//! The file systems of running containers that lie on devices, held while these are
//! copied: processes that stand still leave what the kernel has not written yet, and it
//! would write in the midst of the copy.

use super::client::Client;
use super::clone::Source;
use super::top::seen_by;
use super::{ContainerId, Engine, Error, RUN, Result, blocking};
use crate::linux::{files, freeze};
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A file system that stands still.
pub(super) struct HeldDevice {
    top: OwnedFd,
    mark: PathBuf,
}

impl Engine {
    /// Holds the file system of a container that runs, where its backend copies what is
    /// below it. Should this process be killed, the next lets it go.
    pub(super) async fn hold_device(
        &self,
        id: &ContainerId,
        source: &Source,
    ) -> Result<Option<HeldDevice>> {
        let init = self.get(id).await?.init_pid;
        // A volume is read through the mount that the container has.
        if init == 0 || source.backend != "loop" {
            return Ok(None);
        }
        let mark = marks().join(id.name.as_str());
        files::create_dirs(&marks(), 0o700)
            .and_then(|()| files::replace(&mark, &[], 0o600))
            .map_err(|error| Error::path("writing", &mark, &error))?;
        let held = match seen_by(id, init, source).await {
            Ok(top) => {
                blocking(move || {
                    let frozen = freeze::freeze(&top);
                    frozen
                        .map(|()| top)
                        .map_err(|error| Error::io("holding its file system", &error))
                })
                .await
            }
            Err(error) => Err(error),
        };
        match held {
            Ok(top) => Ok(Some(HeldDevice { top, mark })),
            Err(error) => {
                forget(&mark);
                Err(error)
            }
        }
    }

    /// Lets those go on that a helper held which was killed before it could.
    pub(super) async fn let_go_of_left_devices(&self) {
        for entry in std::fs::read_dir(marks()).into_iter().flatten().flatten() {
            if let Some(Ok(name)) = entry.file_name().to_str().map(ContainerName::new) {
                let init = Client::new(&ContainerLayout::new(self.lxc_path(), name.clone()))
                    .init_pid()
                    .await;
                if init != 0
                    && let Err(error) = self.thaw(&name, init).await
                {
                    tracing::error!(container = %name, "its file system is still held: {error}");
                }
            }
            forget(&entry.path());
        }
    }
}

impl Engine {
    async fn thaw(&self, name: &ContainerName, init: u32) -> Result<()> {
        let source = Source::read(self.layout(name))?;
        let top = seen_by(&ContainerId::system(name.clone()), init, &source).await?;
        freeze::thaw(&top)
            .map_err(|error| Error::io("letting the container's file system go on", &error))
    }
}

impl HeldDevice {
    /// Lets it go on.
    pub(super) fn let_go(self) -> Result<()> {
        freeze::thaw(&self.top)
            .map_err(|error| Error::io("letting the container's file system go on", &error))?;
        forget(&self.mark);
        Ok(())
    }
}

fn marks() -> PathBuf {
    PathBuf::from(RUN).join("held-devices")
}

fn forget(mark: &PathBuf) {
    if let Err(error) = std::fs::remove_file(mark)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("removing {} failed: {error}", mark.display());
    }
}
