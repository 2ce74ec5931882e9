//! The interface of a container's limits and usage.

use std::{collections::HashMap, sync::Arc};

use gantry_api::Error;
use gantry_core::cgroup::CgroupFile;
use zbus::{
    interface,
    message::Header,
    zvariant::{OwnedObjectPath, Value},
};

use super::{
    Bus,
    admission::Risk,
    containers::path_of,
    error::Result,
    jobs::Outcome,
    options::{Dictionary, Options},
    usage::fields,
};
use crate::engine::ContainerId;

/// What is served at a container's path for its resources.
pub(super) struct ResourcesObject {
    pub(super) bus: Arc<Bus>,
    pub(super) id: ContainerId,
}

#[interface(name = "io.gantry.Gantry1.Resources")]
impl ResourcesObject {
    /// Sets a file of the container's control groups, such as memory.max: of either
    /// version, translated where the host has the other one, and checked that the kernel
    /// took it. Options: persist b (save it in the config, too; for a container that does
    /// not run this is needed, and all). devices.allow and devices.deny add a rule. Files
    /// that equal root on the host, such as these, need io.gantry.manage-unsafe.
    async fn set_limit(
        &self,
        key: &str,
        value: String,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = Options::read(options, |options| options.flag("persist"))
            .and_then(|persist| Ok((file(key)?, value, persist)));
        let risk = |(file, ..): &(CgroupFile, _, _)| match file.is_safe() {
            true => Risk::None,
            false => Risk::Certain(file.name().to_owned()),
        };
        let admitted = self
            .bus
            .admit(&header, Ok(self.id.clone()), request, risk)
            .await?;
        let (file, value, persist) = &admitted.request;
        Ok(self
            .bus
            .engine
            .set_limit(&admitted.id, file, value, *persist)
            .await?)
    }

    /// What a file of the container's control groups has, in the words of the key's
    /// version; of a container that does not run, what its config says, if anything.
    #[zbus(out_args("value"))]
    async fn get_limit(&self, key: &str, #[zbus(header)] header: Header<'_>) -> Result<String> {
        let admitted = self
            .bus
            .admit(&header, Ok(self.id.clone()), file(key), |_| Risk::None)
            .await?;
        Ok(self
            .bus
            .engine
            .limit(&admitted.id, &admitted.request)
            .await?)
    }

    /// What the container uses now: cpu_ns t, memory, memory_peak, memory_limit and swap t
    /// (bytes), pids t, io_read and io_write t (bytes), rx and tx t (bytes on interfaces
    /// with an end on the host), links a(stt) (of each interface its name, and what it has
    /// received and sent, as the container sees it), pressure_cpu, pressure_memory and pressure_io d (percent
    /// of the last ten seconds in which something waited). What the host does not count is
    /// left out, and so is memory_limit where there is none.
    #[zbus(out_args("usage"))]
    async fn get_usage(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<HashMap<&'static str, Value<'static>>> {
        let admitted = self
            .bus
            .admit(&header, Ok(self.id.clone()), Ok(()), |()| Risk::None)
            .await?;
        let usage = self.bus.engine.usage(&admitted.id).await?;
        Ok(fields(&usage))
    }

    /// The room of the root file system, whether the container runs or not: size and free t
    /// (bytes), own b (it shares them with nobody, and Grow can give it more). No options.
    #[zbus(out_args("room"))]
    async fn get_room(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<HashMap<&'static str, Value<'static>>> {
        let target = Ok(self.id.clone());
        let request = Options::none(options);
        let admitted = self
            .bus
            .admit(&header, target, request, |()| Risk::None)
            .await?;
        let room = self.bus.engine.room(&admitted.id).await?;
        Ok(HashMap::from([
            ("size", room.size.into()),
            ("free", room.free.into()),
            ("own", room.own.into()),
        ]))
    }

    /// Gives the root file system so many bytes in all, on lvm and loop, also while the
    /// container runs. It never shrinks. No options. The job's result has size t.
    #[zbus(out_args("job"))]
    async fn grow(
        &self,
        size: u64,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let target = Ok(self.id.clone());
        let request = Options::none(options);
        let admitted = self
            .bus
            .admit(&header, target, request, |()| Risk::None)
            .await?;
        let (engine, id) = (self.bus.engine.clone(), admitted.id);
        let objects = [path_of(&id)];
        self.bus
            .start_job(&admitted.caller, "Grow", &objects, |work| async move {
                let size = engine.grow(&id, size, &work).await?;
                Ok(Outcome::from([("size", size.into())]))
            })
            .await
    }
}

fn file(key: &str) -> gantry_api::Result<CgroupFile> {
    CgroupFile::parse(key).map_err(|error| Error::InvalidArgument(error.to_string()))
}
