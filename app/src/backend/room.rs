use std::collections::HashMap;

use gantry_api::Result;

use super::{Backend, properties::read};

/// What a container's root file system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes in all.
    pub size: u64,
    /// Bytes that are free.
    pub free: u64,
    /// Whether it has them for itself, and can be given more.
    pub own: bool,
}

impl Backend {
    /// How much room a container's root file system has, whether it runs or not.
    ///
    /// # Errors
    /// Those of `Resources.GetRoom` in the contract.
    pub async fn room(&self, container: &str) -> Result<Room> {
        let proxy = self.resources(container).await?;
        let found = proxy.get_room(HashMap::new()).await?;
        let mut room = Room::default();
        read(&found, "size", &mut room.size);
        read(&found, "free", &mut room.free);
        read(&found, "own", &mut room.own);
        Ok(room)
    }
}
