use std::{collections::HashMap, path::PathBuf};

use gantry_api::{ManagerProxy, Result};
use zbus::zvariant::Value;

use super::{Backend, Container, create};
use crate::text::{mark, tr_name};

/// Work that takes a while and is watched as a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Keep the present state.
    TakeSnapshot {
        /// Of this container.
        of: Named,
        /// Under this name; empty: the next free one.
        name: String,
        /// With a word about it.
        comment: String,
    },
    /// Go back to a snapshot.
    RestoreSnapshot {
        /// Of this container.
        of: Named,
        /// The snapshot.
        name: String,
        /// Whether the present state is kept as a snapshot first.
        safety: bool,
    },
    /// Make a container of a snapshot.
    NewFromSnapshot {
        /// Of this container.
        of: Named,
        /// The snapshot.
        name: String,
        /// The new container's name.
        new: String,
    },
    /// Remove a snapshot.
    DeleteSnapshot {
        /// Of this container.
        of: Named,
        /// The snapshot.
        name: String,
    },
    /// Give a root file system more room.
    Grow {
        /// That of this container.
        of: Named,
        /// Bytes in all.
        size: u64,
    },
    /// Make a container from another.
    Clone {
        /// The other.
        of: Named,
        /// The new container's name.
        new: String,
        /// How.
        options: CloneOptions,
    },
    /// Write a container to a file.
    Export {
        /// The container.
        of: Named,
        /// The file.
        to: PathBuf,
        /// How.
        options: ExportOptions,
    },
    /// Make a container of a file.
    Import {
        /// The file.
        from: PathBuf,
        /// The new container's name.
        name: String,
        /// How it is stored; `best` leaves the choice to the helper.
        backend: String,
        /// Whether its configuration may hold what equals root on this computer.
        unsafe_allowed: bool,
        /// Whether it has the hardware addresses that it had.
        keep_mac: bool,
    },
}

/// A container by its path on the bus, and by its name for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The object's path.
    pub path: String,
    /// The name.
    pub name: String,
}

impl From<&Container> for Named {
    fn from(container: &Container) -> Self {
        Self {
            path: container.path.clone(),
            name: container.name.clone(),
        }
    }
}

/// How a container is cloned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloneOptions {
    /// Copy-on-write instead of in full.
    pub copy_on_write: bool,
    /// How the clone is stored; empty: as the other.
    pub backend: String,
    /// Whether it has the same hardware addresses.
    pub keep_mac: bool,
    /// Whether it has the same host name inside.
    pub keep_name: bool,
    /// Whether it is removed when it stops.
    pub ephemeral: bool,
    /// Whether it is started once it is there.
    pub start: bool,
}

/// How a container is written to a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// `gantry`, or `tar` for hosts that have only LXC.
    pub format: String,
    /// `zstd`, `gzip`, `xz` or `none`.
    pub compression: String,
    /// Whether its snapshots are in it.
    pub snapshots: bool,
}

impl Task {
    /// What did not happen when it fails.
    #[must_use]
    pub fn failure(&self) -> String {
        let (heading, name) = match self {
            Self::TakeSnapshot { of, .. } => (mark("No Snapshot of “{name}” Was Taken"), &of.name),
            Self::RestoreSnapshot { name, .. } => (mark("“{name}” Could Not Be Restored"), name),
            Self::DeleteSnapshot { name, .. } => (mark("“{name}” Could Not Be Deleted"), name),
            Self::Grow { of, .. } => (mark("“{name}” Could Not Be Given More Room"), &of.name),
            Self::Clone { of, .. } => (mark("“{name}” Could Not Be Cloned"), &of.name),
            Self::NewFromSnapshot { new, .. } => (mark("“{name}” Could Not Be Created"), new),
            Self::Export { of, .. } => (mark("“{name}” Could Not Be Exported"), &of.name),
            Self::Import { name, .. } => (mark("“{name}” Could Not Be Imported"), name),
        };
        tr_name(heading, name)
    }

    /// The name of the container that there is once it is done.
    #[must_use]
    pub fn makes(&self) -> Option<&str> {
        match self {
            Self::Clone { new, .. } | Self::NewFromSnapshot { new, .. } => Some(new),
            Self::Import { name, .. } => Some(name),
            Self::TakeSnapshot { .. }
            | Self::RestoreSnapshot { .. }
            | Self::DeleteSnapshot { .. }
            | Self::Grow { .. }
            | Self::Export { .. } => None,
        }
    }
}

impl Backend {
    /// Begins a task; the job's path.
    ///
    /// # Errors
    /// Those of the task's method in the contract.
    pub async fn begin(&self, task: &Task) -> Result<String> {
        let mut options: HashMap<&str, Value<'_>> = HashMap::new();
        let job = match task {
            Task::TakeSnapshot { of, name, comment } => {
                options.insert("comment", comment.into());
                self.snapshots(&of.path).await?.take(name, options).await
            }
            Task::RestoreSnapshot { of, name, safety } => {
                options.insert("safety", (*safety).into());
                self.snapshots(&of.path).await?.restore(name, options).await
            }
            Task::NewFromSnapshot { of, name, new } => {
                options.insert("new_name", new.into());
                self.snapshots(&of.path).await?.restore(name, options).await
            }
            Task::DeleteSnapshot { of, name } => {
                self.snapshots(&of.path).await?.delete(name, options).await
            }
            Task::Grow { of, size } => self.resources(&of.path).await?.grow(*size, options).await,
            Task::Clone {
                of,
                new,
                options: how,
            } => {
                options.insert("snapshot", how.copy_on_write.into());
                options.insert("keep_mac", how.keep_mac.into());
                options.insert("keep_name", how.keep_name.into());
                options.insert("ephemeral", how.ephemeral.into());
                options.insert("start", how.start.into());
                if !how.backend.is_empty() {
                    options.insert("backend", how.backend.as_str().into());
                }
                self.container(&of.path).await?.clone_as(new, options).await
            }
            Task::Export {
                of,
                to,
                options: how,
            } => {
                options.insert("format", how.format.as_str().into());
                options.insert("compression", how.compression.as_str().into());
                options.insert("snapshots", how.snapshots.into());
                let target = create::write(to)?;
                let proxy = self.container(&of.path).await?;
                proxy.export(target.into(), options).await
            }
            Task::Import {
                from,
                name,
                backend,
                unsafe_allowed,
                keep_mac,
            } => {
                options.insert("backend", backend.into());
                options.insert("allow_unsafe", (*unsafe_allowed).into());
                options.insert("keep_mac", (*keep_mac).into());
                let archive = create::open(from)?;
                let manager = ManagerProxy::new(&self.bus()?).await?;
                let archive = archive.into();
                manager.import_container(archive, name, options).await
            }
        }?;
        Ok(job.to_string())
    }
}
