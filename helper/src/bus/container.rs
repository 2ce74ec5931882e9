//! The interface of a container.
//!
//! Longer than 500 lines: an interface of the bus is one block.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use gantry_api::Error;
use zbus::{
    interface,
    message::Header,
    object_server::SignalEmitter,
    zvariant::{self, OwnedObjectPath},
};

use super::{
    Bus,
    admission::{Risk, shortened},
    containers::config_error,
    error::Result,
    options::{Dictionary, Options},
    requests::{clone_request, execute_request, export_request, new_name, read_states, size},
};
use crate::engine::{ContainerId, ExecuteRequest, Facts, LogKind, Size};

/// What is served at a container's path.
pub(super) struct ContainerObject {
    pub(super) bus: Arc<Bus>,
    pub(super) id: ContainerId,
    /// What was known when it was put on the bus.
    pub(super) first: Arc<Facts>,
}

impl ContainerObject {
    fn target(&self) -> gantry_api::Result<ContainerId> {
        Ok(self.id.clone())
    }

    /// As the kernel has it: what the engine waits for here never waits for the bus.
    async fn recent_facts(&self) -> Arc<Facts> {
        let recent = self.bus.engine.recent_facts(&self.id).await;
        recent.unwrap_or_else(|| self.first.clone())
    }

    /// From memory: getters run while the tree of objects is locked.
    fn facts(&self) -> Arc<Facts> {
        self.bus
            .engine
            .facts(&self.id)
            .unwrap_or_else(|| self.first.clone())
    }
}

#[interface(name = "io.gantry.Gantry1.Container")]
impl ContainerObject {
    /// Starts the container; returns when it is RUNNING. No options. An interface by which
    /// the host reaches others goes back after 20 s unless it is confirmed, see
    /// Manager.Unconfirmed and Interfaces.Add.
    async fn start(&self, options: Dictionary, #[zbus(header)] header: Header<'_>) -> Result<()> {
        self.bus.start(&header, self.target(), options).await
    }

    /// Asks the container's init to shut down. Options: timeout_ms x (60000), force b:
    /// kill it when the time is over, instead of failing with Error.TimedOut.
    #[zbus(out_args("job"))]
    async fn stop(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        self.bus.stop(&header, self.target(), options).await
    }

    /// Asks the container's init to reboot. Options as of Stop.
    #[zbus(out_args("job"))]
    async fn reboot(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        self.bus.reboot(&header, self.target(), options).await
    }

    /// Ends the container at once; returns when it is STOPPED. No options.
    async fn kill(&self, options: Dictionary, #[zbus(header)] header: Header<'_>) -> Result<()> {
        self.bus.kill(&header, self.target(), options).await
    }

    /// Holds every process; returns when the container is FROZEN. No options.
    async fn freeze(&self, options: Dictionary, #[zbus(header)] header: Header<'_>) -> Result<()> {
        self.bus.freeze(&header, self.target(), options).await
    }

    /// Lets a frozen container go on. No options.
    async fn unfreeze(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        self.bus.unfreeze(&header, self.target(), options).await
    }

    /// Waits until the container is in one of these states and says in which. Gives up
    /// with Error.TimedOut after timeout_ms; a negative number waits for ever.
    #[zbus(out_args("state"))]
    async fn wait(
        &self,
        states: Vec<String>,
        timeout_ms: i64,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String> {
        let admitted = self
            .bus
            .admit(&header, self.target(), read_states(&states), |_| Risk::None)
            .await?;
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        tokio::select! {
            state = self.bus.engine.wait(&admitted.id, &admitted.request, timeout) => {
                Ok(state?.word().to_owned())
            }
            () = admitted.caller.presence.left() => {
                Err(Error::Cancelled("the caller has left the bus".into()).into())
            }
        }
    }

    /// Removes the container and its root file system. Options: force b (kill it first
    /// when it runs), snapshots b (remove its snapshots too).
    #[zbus(out_args("job"))]
    async fn destroy(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        self.bus.destroy(&header, self.target(), options).await
    }

    /// Gives the container, which must be stopped, another name, on the host and inside. No
    /// options. lxc.hook.clone runs, which needs io.gantry.manage-unsafe.
    async fn rename(
        &self,
        name: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let request = Options::none(options).and_then(|()| new_name(name));
        let admitted = self
            .bus
            .admit(&header, self.target(), request, |_| Risk::Rename)
            .await?;
        let renamed = self
            .bus
            .engine
            .rename(&admitted.id, &admitted.request)
            .await?;
        self.bus.settle(&admitted.id).await;
        self.bus.settle(&renamed).await;
        Ok(())
    }

    /// Makes a container from this one, in full or, with snapshot b, copy-on-write. A running
    /// one is held for it. Other options: backend s (of a full copy, any), fssize t (for lvm, zfs
    /// and loop: its bytes; what this one has or needs), keep_mac b, keep_name b, ephemeral b, start
    /// b, hook_arguments as. Hooks need io.gantry.manage-unsafe. The job's result: container o.
    #[zbus(out_args("job"), name = "Clone")]
    async fn clone_as(
        &self,
        new: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let request = clone_request(new, options);
        self.bus
            .clone_container(&header, self.target(), request)
            .await
    }

    /// Packs the container into target, a file, pipe or socket, as one archive that tar lists
    /// and unpacks. A running one is held: on LVM and ZFS for the moment of a snapshot, else
    /// meanwhile. Options: compression s (zstd, gzip, xz,
    /// none; zstd), snapshots b, format s: gantry (owners as the container sees them, with
    /// checksum) or tar (LXC's directory, owners as on this host). The job's result has bytes t.
    #[zbus(out_args("job"))]
    async fn export(
        &self,
        target: zvariant::OwnedFd,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath> {
        let request = export_request(target.into(), options);
        self.bus.export(&header, self.target(), request).await
    }

    /// The text of the container's config and its revision.
    #[zbus(out_args("text", "revision"))]
    async fn get_config(&self, #[zbus(header)] header: Header<'_>) -> Result<(String, u64)> {
        self.bus.get_config(&header, self.target()).await
    }

    /// Replaces the config that has this revision. Keys that equal root on the host need
    /// io.gantry.manage-unsafe. No options.
    async fn set_config(
        &self,
        text: String,
        revision: u64,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        self.bus
            .set_config(&header, self.target(), text, revision, options)
            .await
    }

    /// Every value of one key, in order, with includes read.
    #[zbus(out_args("values"))]
    async fn get_config_item(
        &self,
        key: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<String>> {
        self.bus.get_config_item(&header, self.target(), key).await
    }

    /// Gives one key these values, in order; none removes it. A container that runs goes by
    /// them at once where it can: limits (lxc.cgroup, lxc.prlimit, lxc.proc), what is kept of
    /// console and logs, signals, groups and autostart; a value that the kernel does not take
    /// is refused. Of the other keys NeedsRestart has the names. Keys that equal root on the
    /// host need io.gantry.manage-unsafe. No options.
    async fn set_config_item(
        &self,
        key: String,
        values: Vec<String>,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        self.bus
            .set_config_item(&header, self.target(), key, values, options)
            .await
    }

    /// Writes the keys of LXC 1.x and 2.0 in the config as those of today, which is all
    /// that LXC 3 and newer read, and says so line by line; none when there were none.
    /// Everything else in the file stays. Included files stay, too, and are named when they
    /// have such keys. Options: revision t (the config must have it), dry_run b (only say so).
    #[zbus(out_args("changes"))]
    async fn convert_config(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<String>> {
        self.bus
            .convert_config(&header, self.target(), options)
            .await
    }

    /// Opens a terminal of the container: the master of a PTY. Options: tty i (0, which is
    /// /dev/console), columns q and rows q (80 by 24).
    #[zbus(out_args("terminal", "session"))]
    async fn open_console(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(zvariant::OwnedFd, OwnedObjectPath)> {
        let request = Options::read(options, |options| {
            let tty = options.take::<i32>("tty")?.unwrap_or_default();
            let tty = u32::try_from(tty).map_err(|_| {
                Error::InvalidArgument(format!(
                    "there is no tty {tty}; give 0 for the console, or the tty's number"
                ))
            })?;
            Ok((tty, size(options)?))
        });
        let admitted = self
            .bus
            .admit(&header, self.target(), request, |_| Risk::None)
            .await?;
        let (tty, size) = admitted.request;
        let place = self.bus.session_place(&admitted.caller)?;
        let (terminal, session) = self
            .bus
            .engine
            .open_console(&admitted.id, tty, size, place.owner())
            .await?;
        Ok((
            terminal.into(),
            self.bus.show_session(session, place).await?,
        ))
    }

    /// Opens root's login shell on a PTY of the container: its master. Options: columns q
    /// and rows q (80 by 24). Where root in the container is root on the host this needs
    /// io.gantry.manage-unsafe.
    #[zbus(out_args("terminal", "session"))]
    async fn open_shell(
        &self,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(zvariant::OwnedFd, OwnedObjectPath)> {
        let request = Options::read(options, size);
        let risk = |_: &Size| Risk::Enter { elevated: false };
        let admitted = self
            .bus
            .admit(&header, self.target(), request, risk)
            .await?;
        let place = self.bus.session_place(&admitted.caller)?;
        let (terminal, session) = self
            .bus
            .engine
            .open_shell(&admitted.id, admitted.request, place.owner())
            .await?;
        Ok((
            terminal.into(),
            self.bus.show_session(session, place).await?,
        ))
    }

    /// Executes a program in the container, as lxc-attach does. Options: namespaces as
    /// (user, mnt, pid, uts, ipc, net, cgroup; all), elevated b (keep the rights of root
    /// on the host), elevate as (some of them alone: CGROUP, CAP, LSM), env as (NAME=VALUE), keep_env b (false:
    /// the environment of a caller does not travel over the bus; name in env what to keep), cwd s
    /// (/), uid u and gid u (0), pty b, columns q and rows q (80 by 24). With pty all three
    /// descriptors are the master of the PTY. What is elevated, and programs in
    /// containers whose root is root on the host, need io.gantry.manage-unsafe.
    #[zbus(out_args("stdin", "stdout", "stderr", "session"))]
    async fn execute(
        &self,
        argv: Vec<String>,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(
        zvariant::OwnedFd,
        zvariant::OwnedFd,
        zvariant::OwnedFd,
        OwnedObjectPath,
    )> {
        let request = Options::read(options, |options| execute_request(argv, options));
        let risk = |request: &ExecuteRequest| Risk::Enter {
            elevated: request.is_unsafe(),
        };
        let admitted = self
            .bus
            .admit(&header, self.target(), request, risk)
            .await?;
        let place = self.bus.session_place(&admitted.caller)?;
        let (streams, session) = self
            .bus
            .engine
            .execute(&admitted.id, admitted.request, place.owner())
            .await?;
        let session = self.bus.show_session(session, place).await?;
        Ok((
            streams.stdin.into(),
            streams.stdout.into(),
            streams.stderr.into(),
            session,
        ))
    }

    /// A log to read from its beginning: 'console' (what the container wrote to its
    /// console) or 'container' (what its monitor wrote about it). No options.
    #[zbus(out_args("log"))]
    async fn read_log(
        &self,
        which: &str,
        options: Dictionary,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<zvariant::OwnedFd> {
        let request = Options::none(options).and_then(|()| match which {
            "console" => Ok(LogKind::Console),
            "container" => Ok(LogKind::Container),
            _ => Err(Error::InvalidArgument(format!(
                "there is no log {}; there are console and container",
                shortened(which)
            ))),
        });
        let admitted = self
            .bus
            .admit(&header, self.target(), request, |_| Risk::None)
            .await?;
        let log: OwnedFd = self
            .bus
            .engine
            .read_log(&admitted.id, admitted.request)
            .await?;
        Ok(log.into())
    }

    // Named apart from the change of the property `State`.
    /// The container's state has changed.
    #[zbus(signal, name = "StateChanged")]
    pub(super) async fn state_switched(
        emitter: &SignalEmitter<'_>,
        old: &str,
        new: &str,
    ) -> zbus::Result<()>;

    /// Its name.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> &str {
        self.id.name.as_str()
    }

    /// Whose it is: 'system' or 'u' and a user's number.
    #[zbus(property(emits_changed_signal = "const"))]
    fn owner(&self) -> String {
        self.id.owner.to_string()
    }

    /// The user with whose rights it runs.
    #[zbus(property(emits_changed_signal = "const"))]
    fn uid(&self) -> u32 {
        self.id.owner.uid()
    }

    /// STOPPED, STARTING, RUNNING, STOPPING, ABORTING, FREEZING, FROZEN or THAWED.
    #[zbus(property)]
    async fn state(&self) -> String {
        self.recent_facts().await.state.word().to_owned()
    }

    /// The process number of its init on the host; 0 when it is stopped.
    #[zbus(property)]
    async fn init_pid(&self) -> u32 {
        self.recent_facts().await.init_pid
    }

    /// When its init started, in microseconds since 1970; 0 when it is stopped.
    #[zbus(property)]
    async fn started_at(&self) -> i64 {
        self.recent_facts().await.started_at
    }

    /// Its addresses, without those that are good only on its own links.
    #[zbus(property)]
    fn addresses(&self) -> Vec<String> {
        self.facts().addresses.clone()
    }

    /// Whether it starts with the host.
    #[zbus(property)]
    fn autostart(&self) -> bool {
        self.facts().autostart
    }

    /// Seconds to wait after it was started, before the next one.
    #[zbus(property)]
    fn autostart_delay(&self) -> u32 {
        self.facts().autostart_delay
    }

    /// Its place in the order of starting.
    #[zbus(property)]
    fn autostart_order(&self) -> i32 {
        self.facts().autostart_order
    }

    /// The groups it is in.
    #[zbus(property)]
    fn groups(&self) -> Vec<String> {
        self.facts().groups.clone()
    }

    /// How its root file system is stored: dir, overlay, btrfs, zfs, lvm or loop.
    #[zbus(property)]
    fn backend(&self) -> String {
        self.facts().backend.clone()
    }

    /// Whether root in it is root on the host.
    #[zbus(property)]
    fn privileged(&self) -> bool {
        self.facts().privileged
    }

    /// Whether it is destroyed when it stops.
    #[zbus(property)]
    fn ephemeral(&self) -> bool {
        self.facts().ephemeral
    }

    /// The architecture of its programs.
    #[zbus(property)]
    fn architecture(&self) -> String {
        self.facts().architecture.clone()
    }

    /// Changes with every change of its config.
    #[zbus(property)]
    fn config_revision(&self) -> u64 {
        self.facts().config_revision
    }

    /// Why its config cannot be used: file, line, key and cause. Empty when it can.
    #[zbus(property)]
    fn config_error(&self) -> String {
        config_error(&self.facts())
    }

    /// Whether its config has keys of LXC 1.x or 2.0, which LXC 3 and newer refuse.
    /// ConvertConfig rewrites them.
    #[zbus(property)]
    fn legacy_config(&self) -> bool {
        self.facts().legacy_config
    }

    /// The keys whose saved value takes effect at the next start.
    #[zbus(property)]
    fn needs_restart(&self) -> Vec<String> {
        self.facts().needs_restart.clone()
    }

    /// The containers that were made from it and need it.
    #[zbus(property)]
    fn dependents(&self) -> Vec<String> {
        self.facts().dependents.clone()
    }

    /// A word about it from its user.
    #[zbus(property)]
    fn description(&self) -> String {
        self.facts().description.clone()
    }
}
