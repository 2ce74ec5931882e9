//! What has changed between two snapshots of a container, or until now.

use super::clone::Source;
use super::compare::{DiffOptions, Difference, compare};
use super::launcher::Access;
use super::staging::Staging;
use super::{ContainerId, Engine, Error, Result, Work, blocking, duplicate};
use crate::linux::tree::Tree;
use crate::storage::{self, Places};
use gantry_core::name::ContainerName;
use std::path::Path;

impl Engine {
    /// Compares two snapshots of a container; none is its present state.
    pub(crate) async fn diff_snapshots(
        &self,
        id: &ContainerId,
        from: Option<&ContainerName>,
        to: Option<&ContainerName>,
        options: DiffOptions,
        work: &Work,
    ) -> Result<Difference> {
        if from == to {
            return Ok(Difference::default());
        }
        work.stage("comparing");
        let (old, new) = (self.state_at(id, from).await?, self.state_at(id, to).await?);
        let scratch = Staging::create(Path::new(self.lxc_path()))?;
        let (one, other) = ((old.0.rootfs, old.0.backend), new.0);
        let places = blocking(move || {
            if one.1 == other.backend {
                storage::backend(&one.1)?.differing(&one.0, &other.rootfs, scratch.path())
            } else {
                Ok(Places::Everywhere)
            }
        })
        .await?;
        let (old, new, part) = (old.1, new.1, work.clone());
        let found = blocking(move || compare(old, new, places, options, &part)).await?;
        // One that was deleted meanwhile has lost files that the other has.
        for name in [from, to].into_iter().flatten() {
            self.find_snapshot(id, name).await?;
        }
        Ok(found)
    }

    /// A container as it was or is, and its files.
    async fn state_at(
        &self,
        id: &ContainerId,
        snapshot: Option<&ContainerName>,
    ) -> Result<(Source, Tree)> {
        let layout = match snapshot {
            Some(name) => self.find_snapshot(id, name).await?.1,
            None => self.layout(&id.name),
        };
        let source = Source::read(layout)?;
        let facts = self.get(id).await?;
        if snapshot.is_none() && facts.init_pid != 0 && storage::is_device(&source.backend) {
            let top = self.top(id, &source, Access::Read).await?;
            let tree = Tree::in_container(top).map_err(|error| {
                Error::io(
                    format_args!("looking into the running container '{}'", id.name),
                    &error,
                )
            })?;
            return Ok((source, tree));
        }
        let files = storage::files(&source.rootfs);
        let view = duplicate::open(&self.0.programs, &files, Access::Read).await?;
        Ok((source, Tree::new(view)))
    }
}
