//! The interface of the root object.
//!
//! Longer than 500 lines: an interface of the bus is one block.

use std::sync::Arc;

use gantry_api::{ContainerEntry, HostFinding, action};
use zbus::{
    interface,
    message::Header,
    zvariant::{self, OwnedObjectPath},
};

use super::{
    Bus, Properties,
    admission::{Risk, container_id},
    authorization::Details,
    containers::path_of,
    error::{Result, from_engine},
    networks::{unconfirmed, wiring},
    options::{Dictionary, Options},
    requests::{create_request, import_request, stop_options},
    usage::read_interval,
};
use crate::engine::{ContainerId, CreateRequest, GroupAction};

/// What is served at the root.
pub(super) struct ManagerObject {
    pub(super) bus: Arc<Bus>,
}

#[interface(name = "io.gantry.Gantry1.Manager")]
impl ManagerObject {
    /// Every container: name, owner, state, init's process number, object path.
    /// Options: group s (only those in this group; the empty name: those in none).
    #[zbus(out_args("containers"))]
    async fn list_containers(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<ContainerEntry>> {
        let request = Options::read(options, |options| options.take::<String>("group"));
        let group = self.permit(&header, request).await?;
        let list = self.bus.list_containers().await?;
        Ok(list
            .iter()
            .filter(|facts| group.as_ref().is_none_or(|group| facts.is_in(group)))
            .map(|facts| {
                let id = &facts.id;
                (
                    id.name.to_string(),
                    id.owner.to_string(),
                    facts.state.word().to_owned(),
                    facts.init_pid,
                    path_of(id),
                )
            })
            .collect())
    }

    /// The object of a container. Names are NAME, system/NAME or u1000/NAME.
    #[zbus(out_args("container"))]
    async fn get_container(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let admitted = self
            .bus
            .admit(&header, container_id(name), Ok(()), |()| Risk::None)
            .await?;
        Ok(self.bus.show_container(&admitted.facts).await)
    }

    /// Makes a container; the job's result has container o and first_login s, which says who
    /// to log in as, where that is known. Options: template s (busybox; local: of rootfs h, a
    /// tar stream, plain or compressed; download; debootstrap; oci; or the name of a script in
    /// /usr/share/lxc/templates, with template_args as; busybox, or local when rootfs is
    /// given). For local: metadata h, a tar stream of an image's texts (meta.tar.xz). For
    /// download and debootstrap: distribution s, release s, architecture s (the
    /// host's), variant s, cache s ('only' what is in the cache, or 'refresh'; left out: the
    /// cache until it expires). For download: server s (https://HOST; that of LXC's
    /// template), proxy s (http://HOST:PORT; that of the helper's environment), untrusted b
    /// (also an image that is not signed with a key that this host knows, which needs
    /// io.gantry.image-untrusted). For debootstrap: mirror s, proxy s, template_args as
    /// (include=PACKAGE,… and components=NAME,…, after two dashes). For oci: rootfs h, a directory
    /// or a tar archive with an image layout, of which release s names the image where there
    /// are several; or distribution s, an image of the registry server s
    /// (https://registry-1.docker.io), with release s (a digest sha256:…, or a tag, which
    /// needs untrusted; latest), username s, password s, proxy s and cache s; for both:
    /// architecture s. For all: backend s (dir,
    /// overlay, btrfs, zfs, lvm, loop, or best: the first that can be had of btrfs, zfs, lvm
    /// and dir), dir s (for dir: where to put the root file system), zfsroot s (for zfs: the
    /// dataset below which it is), vgname, thinpool and lvname s (for lvm: volume group, thin
    /// pool and name of the volume; without a thin pool it is one of the group), fstype s and
    /// fssize t (for lvm and loop: the file system, ext4, and its bytes, 1 GiB; fssize for zfs:
    /// its quota, none), owner s (system), privileged b, config as (lines 'key = value'),
    /// architecture s, start b, ephemeral b. What equals root on the host needs
    /// io.gantry.manage-unsafe, and scripts do.
    #[zbus(out_args("job"))]
    async fn create_container(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let request = create_request(name, options);
        let caller = self.bus.callers.identify(&header).await?;
        let (request, details) = self.about(request);
        let authority = &self.bus.authority;
        let mut request = authority
            .permit(&caller, &header, request, &details)
            .await?;
        if request.is_untrusted() {
            let details = details.unflagged().instead(action::IMAGE_UNTRUSTED);
            request = authority
                .permit(&caller, &header, Ok(request), &details)
                .await?;
        }
        self.bus.engine.check_create(&request).await?;
        let bus = self.bus.clone();
        let objects = [path_of(&ContainerId::system(request.name.clone()))];
        self.bus
            .start_job(&caller, "CreateContainer", &objects, |work| async move {
                let made = bus.engine.create(request, &work).await;
                // What was downloaded stays, whatever came of the container.
                bus.show_images().await;
                let (id, first_login) = made?;
                let mut outcome = bus.made(&id).await;
                outcome.insert("first_login", first_login.into());
                Ok(outcome)
            })
            .await
    }

    /// Makes a container of an archive: what Export wrote, a tar stream of an LXC container
    /// directory, or a backup of Incus or LXD, plain or compressed. The job's result has container o and warnings as: what
    /// this host lacks for it. Ids that others have here become free ones. Options: keep_mac b
    /// (hardware addresses; else new ones are drawn), backend s (dir; any, or best) with the
    /// options for it as in CreateContainer, but dir (fssize: what came, and some room),
    /// allow_unsafe b: the archive's config may contain what equals root on the host, which
    /// needs io.gantry.manage-unsafe.
    #[zbus(out_args("job"))]
    async fn import_container(
        &self,
        archive: zvariant::OwnedFd,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let request = import_request(archive.into(), name, options);
        let caller = self.bus.callers.identify(&header).await?;
        let details = match &request {
            Ok(request) => Details::of(&ContainerId::system(request.name.clone()))
                .flagged(request.allow_unsafe.then(|| "archive".to_owned())),
            Err(_) => Details::default(),
        };
        let mut request = self
            .bus
            .authority
            .permit(&caller, &header, request, &details)
            .await?;
        // Root needs nobody's permission.
        request.allow_unsafe |= caller.uid == 0;
        let bus = self.bus.clone();
        let objects = [path_of(&ContainerId::system(request.name.clone()))];
        self.bus
            .start_job(&caller, "ImportContainer", &objects, |work| async move {
                let imported = bus.engine.import(request, &work).await?;
                let mut outcome = bus.made(&imported.id).await;
                outcome.insert("warnings", imported.warnings.into());
                Ok(outcome)
            })
            .await
    }

    /// As Container.Start.
    async fn start_container(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        self.bus.start(&header, container_id(name), options).await
    }

    /// As Container.Stop.
    #[zbus(out_args("job"))]
    async fn stop_container(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        self.bus.stop(&header, container_id(name), options).await
    }

    /// As Container.Kill.
    async fn kill_container(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        self.bus.kill(&header, container_id(name), options).await
    }

    /// As Container.Reboot.
    #[zbus(out_args("job"))]
    async fn reboot_container(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        self.bus.reboot(&header, container_id(name), options).await
    }

    /// As Container.Freeze.
    async fn freeze_container(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        self.bus.freeze(&header, container_id(name), options).await
    }

    /// As Container.Unfreeze.
    async fn unfreeze_container(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        self.bus
            .unfreeze(&header, container_id(name), options)
            .await
    }

    /// As Container.Destroy.
    #[zbus(out_args("job"))]
    async fn destroy_container(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        self.bus.destroy(&header, container_id(name), options).await
    }

    /// Starts the stopped containers of a group, those with a lower lxc.start.order first
    /// and then by name, and waits after each for its lxc.start.delay; marked to start
    /// with the host or not. The empty name stands for the containers without a group.
    /// One that fails does not keep the others from their turn. The job counts
    /// containers; its result has containers as, those it was done to. No options.
    #[zbus(out_args("job"))]
    async fn start_group(
        &self,
        group: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let action = Options::none(options).map(|()| GroupAction::Start);
        self.bus
            .act_on_group(&header, "StartGroup", group, action)
            .await
    }

    /// Asks the running containers of a group to shut down, one after the other in the
    /// opposite order of StartGroup. Options as of Container.Stop, for each of them.
    #[zbus(out_args("job"))]
    async fn stop_group(
        &self,
        group: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let action = stop_options(options).map(GroupAction::Stop);
        self.bus
            .act_on_group(&header, "StopGroup", group, action)
            .await
    }

    /// Asks the running containers of a group to reboot, in the order and with the delays
    /// of StartGroup. Options as of Container.Reboot, for each of them.
    #[zbus(out_args("job"))]
    async fn reboot_group(
        &self,
        group: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let action = stop_options(options).map(GroupAction::Reboot);
        self.bus
            .act_on_group(&header, "RebootGroup", group, action)
            .await
    }

    /// Ends the running containers of a group, in the opposite order of StartGroup. No
    /// options.
    #[zbus(out_args("job"))]
    async fn kill_group(
        &self,
        group: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let action = Options::none(options).map(|()| GroupAction::Kill);
        self.bus
            .act_on_group(&header, "KillGroup", group, action)
            .await
    }

    /// As lxc-autostart: what starts with the host (lxc.start.auto), group after group,
    /// in the order and with the delays of StartGroup. Options: groups as (an empty name
    /// stands for the containers without a group, and is the default), all b (of every
    /// group and of none, instead of groups), ignore_auto b (also those that are not
    /// marked), own b (only those that Gantry's monitors hold, not those that lxc-start
    /// holds), action s (start, stop, reboot or kill; start), timeout_ms x (60000: how
    /// long each may take to stop or reboot before it is killed).
    #[zbus(out_args("job"))]
    async fn autostart(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        self.bus.autostart(&header, options).await
    }

    /// Takes the snapshots that are due by the containers' schedules, and removes those that
    /// are not kept any longer; gantry-snapshots.timer has it called every hour. The job's
    /// result has snapshots as (CONTAINER/SNAPSHOT).
    #[zbus(out_args("job"))]
    async fn run_schedules(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        self.bus.run_schedules(&header, options).await
    }

    /// Opens a session that emits Sample to this caller alone, each interval_ms (100 to
    /// 3600000). Options: containers as (names; all that run).
    #[zbus(out_args("session"))]
    async fn watch_usage(
        &self,
        interval_ms: u32,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let request = read_interval(interval_ms).and_then(|pace| {
            let names =
                Options::read(options, |options| options.take::<Vec<String>>("containers"))?;
            let only = names
                .map(|names| names.iter().map(|name| container_id(name)).collect())
                .transpose()?;
            Ok((pace, only))
        });
        let caller = self.bus.callers.identify(&header).await?;
        let (pace, only) = self
            .bus
            .authority
            .permit(&caller, &header, request, &Details::default())
            .await?;
        let place = self.bus.session_place(&caller)?;
        self.bus.watch_usage(pace, only, place).await
    }

    /// What the host can and cannot do, the caller's own id ranges included: topic (kernel,
    /// cgroups, ids, tools, network, services, storage, security; extras for what only some
    /// containers need), item, finding, whether all is well. A finding that is not well ends
    /// with the remedy.
    #[zbus(out_args("findings"))]
    async fn check_host(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<HostFinding>> {
        let caller = self.bus.callers.identify(&header).await?;
        let details = Details::default();
        let permit = self
            .bus
            .authority
            .permit(&caller, &header, Ok(()), &details);
        permit.await?;
        let findings = self.bus.engine.check_host(caller.uid).await?;
        Ok(findings
            .into_iter()
            .map(|found| (found.topic.to_owned(), found.item, found.finding, found.ok))
            .collect())
    }

    /// What the config of every new container begins with, and its revision.
    #[zbus(out_args("text", "revision"))]
    async fn get_defaults(&self, #[zbus(header)] header: Header<'_>) -> Result<(String, u64)> {
        self.permit(&header, Ok(())).await?;
        Ok(self.bus.engine.defaults().await?)
    }

    /// Replaces the defaults that have this revision. Keys that equal root on the host
    /// need io.gantry.manage-unsafe. No options.
    async fn set_defaults(
        &self,
        text: String,
        revision: u64,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        self.bus
            .set_defaults(&header, text, revision, options)
            .await
    }

    /// What containers can be wired to: name s, kind s (bridge, physical, vlan, …), up b,
    /// hwaddr s, master s (the bridge it is a port of), addresses as, state s (what the kernel
    /// says of it: up, down, lowerlayerdown, …), wireless b, uplink b (the host reaches
    /// others by it), used_by as (the containers whose configs name it), serves as (the types
    /// of interfaces that it can be the link of, and port if a bridge can have it), note s
    /// (what else is to be known: a wireless card cannot be bridged).
    #[zbus(out_args("interfaces"))]
    async fn list_host_interfaces(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<Properties>> {
        self.permit(&header, Ok(())).await?;
        let outlets = self.bus.engine.outlets().await?;
        Ok(outlets.into_iter().map(wiring).collect())
    }

    /// Describes a network of containers, in /etc/gantry/networks/NAME.conf; its bridge
    /// has its name, and comes up when a container that is wired to it starts, or by Up.
    /// Options: driver s (bridge, or ovs: Open vSwitch), ipv4 s and ipv6 s (the host's
    /// address and the length of its prefix; none), dhcp b (on with ipv4), dhcp_range s
    /// (FIRST,LAST; all others), domain s, nat b (on with ipv4; off: packets are routed as
    /// they are), isolated b (nothing passes between it and other networks; off), uplink s
    /// (an interface of the host that becomes a port of the bridge: containers are in the
    /// net outside, which gives them addresses), autostart b (with the host; off).
    #[zbus(out_args("network"))]
    async fn create_network(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        self.bus.create_network(&header, name, options).await
    }

    /// Has a change of an interface of the host last, by which the host might have been cut
    /// off: it has become a port of a network's bridge, or a container's. Without this call
    /// it is undone, see Unconfirmed. No options.
    async fn confirm_interface(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        self.bus.confirm_interface(&header, name, options).await
    }

    /// What an image server has, for this host's architecture. The empty name: the default
    /// server and those whose keys lie in /etc/gantry/image-keys; others need
    /// io.gantry.image. The job's result has images aa{sv}: server s, distribution s,
    /// release s, architecture s, variant s, serial s (the build), title s, cached b (this
    /// build is here). Options: all_architectures b, proxy s as in
    /// CreateContainer.
    #[zbus(out_args("job"))]
    async fn list_remote_images(
        &self,
        server: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        self.bus.list_remote_images(&header, server, options).await
    }

    /// The helper's version.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    /// What this helper can do beyond what every version can.
    #[zbus(property(emits_changed_signal = "const"))]
    fn features(&self) -> Vec<&str> {
        vec![
            "template-busybox",
            "template-debootstrap",
            "template-download",
            "template-local",
            "template-oci",
            "backend-dir",
            "backend-overlay",
            "backend-btrfs",
            "backend-loop",
            "clone",
            "snapshots",
            "export",
        ]
    }

    /// The host's interfaces whose change may have cut the host off, and when it is undone,
    /// in seconds since 1970, unless ConfirmInterface is called.
    #[zbus(property)]
    fn unconfirmed(&self) -> Vec<(String, i64)> {
        unconfirmed(&self.bus.engine.trials().borrow())
    }

    /// The folder of the system's containers.
    #[zbus(property(emits_changed_signal = "const"))]
    fn lxc_path(&self) -> &str {
        self.bus.engine.lxc_path()
    }
}

impl ManagerObject {
    /// For what is not about one container.
    async fn permit<T>(&self, header: &Header<'_>, request: gantry_api::Result<T>) -> Result<T> {
        let caller = self.bus.callers.identify(header).await?;
        self.bus
            .authority
            .permit(&caller, header, request, &Details::default())
            .await
    }

    /// What polkit's rules may know of a container that is to be made.
    fn about(
        &self,
        request: gantry_api::Result<CreateRequest>,
    ) -> (gantry_api::Result<CreateRequest>, Details) {
        let request = match request {
            Ok(request) => request,
            Err(error) => return (Err(error), Details::default()),
        };
        let details = Details::of(&ContainerId::system(request.name.clone()))
            .with("privileged", request.privileged)
            .with("backend", &request.backend);
        match self.bus.engine.unsafe_create(&request) {
            Ok(flags) => (Ok(request), details.flagged(flags)),
            Err(error) => (Err(from_engine(error)), details),
        }
    }
}
