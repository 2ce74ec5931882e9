//! Which containers there are.

use super::{ContainerId, Engine, Error, Facts, Result};
use std::sync::Arc;

impl Engine {
    /// Every container, by name, as the disk and the kernel have it now.
    pub(crate) async fn list(&self) -> Result<Vec<Arc<Facts>>> {
        Ok(Vec::new())
    }

    /// One container, as the disk and the kernel have it now.
    pub(crate) async fn get(&self, id: &ContainerId) -> Result<Arc<Facts>> {
        self.facts(id)
            .ok_or_else(|| Error::NotFound(format!("there is no container '{}'", id.name)))
    }

    /// What was last known of a container, at once and from memory.
    pub(crate) fn facts(&self, _id: &ContainerId) -> Option<Arc<Facts>> {
        None
    }
}
