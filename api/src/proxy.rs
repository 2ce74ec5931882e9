// The members' meaning stands in docs of the interfaces that the helper serves
// (data/dbus/) and in the book of the contract; a proxy only repeats signatures.
//
// Every method lets the authority ask the user: a client with a person before it.
#![allow(missing_docs)]

use std::collections::HashMap;

use zbus::{
    proxy,
    zvariant::{Fd, OwnedFd, OwnedObjectPath, OwnedValue, Value},
};

use crate::{ContainerEntry, HostFinding, Result};

type Options<'a> = HashMap<&'a str, Value<'a>>;
type Dictionary = HashMap<String, OwnedValue>;

/// The root object: lists, creates and imports containers, checks the host.
#[proxy(
    interface = "io.gantry.Gantry1.Manager",
    default_service = "io.gantry.Gantry1",
    default_path = "/io/gantry/Gantry1",
    gen_blocking = false
)]
pub trait Manager {
    #[zbus(allow_interactive_auth)]
    fn list_containers(&self, options: Options<'_>) -> Result<Vec<ContainerEntry>>;
    #[zbus(allow_interactive_auth)]
    fn get_container(&self, name: &str) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn create_container(&self, name: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn import_container(
        &self,
        archive: Fd<'_>,
        name: &str,
        options: Options<'_>,
    ) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn start_container(&self, name: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn stop_container(&self, name: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn kill_container(&self, name: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn reboot_container(&self, name: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn freeze_container(&self, name: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn unfreeze_container(&self, name: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn destroy_container(&self, name: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn start_group(&self, group: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn stop_group(&self, group: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn reboot_group(&self, group: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn kill_group(&self, group: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn autostart(&self, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn run_schedules(&self, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn watch_usage(&self, interval_ms: u32, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn check_host(&self) -> Result<Vec<HostFinding>>;
    #[zbus(allow_interactive_auth)]
    fn get_defaults(&self) -> Result<(String, u64)>;
    #[zbus(allow_interactive_auth)]
    fn set_defaults(&self, text: &str, revision: u64, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn list_host_interfaces(&self) -> Result<Vec<Dictionary>>;
    #[zbus(allow_interactive_auth)]
    fn create_network(&self, name: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn confirm_interface(&self, name: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn list_remote_images(&self, server: &str, options: Options<'_>) -> Result<OwnedObjectPath>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn features(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn lxc_path(&self) -> zbus::Result<String>;
}

/// One container.
#[proxy(
    interface = "io.gantry.Gantry1.Container",
    default_service = "io.gantry.Gantry1",
    gen_blocking = false
)]
pub trait Container {
    #[zbus(allow_interactive_auth)]
    fn start(&self, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn stop(&self, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn reboot(&self, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn kill(&self, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn freeze(&self, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn unfreeze(&self, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn wait(&self, states: &[&str], timeout_ms: i64) -> Result<String>;
    #[zbus(allow_interactive_auth)]
    fn destroy(&self, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn rename(&self, name: &str, options: Options<'_>) -> Result<()>;
    // A method `clone` would hide that of every proxy.
    #[zbus(allow_interactive_auth, name = "Clone")]
    fn clone_as(&self, new: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn export(&self, target: Fd<'_>, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn get_config(&self) -> Result<(String, u64)>;
    #[zbus(allow_interactive_auth)]
    fn set_config(&self, text: &str, revision: u64, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn get_config_item(&self, key: &str) -> Result<Vec<String>>;
    #[zbus(allow_interactive_auth)]
    fn set_config_item(&self, key: &str, values: &[&str], options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn convert_config(&self, options: Options<'_>) -> Result<Vec<String>>;
    #[zbus(allow_interactive_auth)]
    fn open_console(&self, options: Options<'_>) -> Result<(OwnedFd, OwnedObjectPath)>;
    #[zbus(allow_interactive_auth)]
    fn open_shell(&self, options: Options<'_>) -> Result<(OwnedFd, OwnedObjectPath)>;
    #[zbus(allow_interactive_auth)]
    fn execute(
        &self,
        argv: &[&str],
        options: Options<'_>,
    ) -> Result<(OwnedFd, OwnedFd, OwnedFd, OwnedObjectPath)>;
    #[zbus(allow_interactive_auth)]
    fn read_log(&self, which: &str, options: Options<'_>) -> Result<OwnedFd>;

    // Named apart from the change of the property `State`, which zbus calls `state_changed`.
    #[zbus(signal, name = "StateChanged")]
    fn state_switched(&self, old: &str, new: &str) -> Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn owner(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn uid(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn init_pid(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn started_at(&self) -> zbus::Result<i64>;
    #[zbus(property)]
    fn addresses(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn autostart(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn autostart_delay(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn autostart_order(&self) -> zbus::Result<i32>;
    #[zbus(property)]
    fn groups(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn backend(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn privileged(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn ephemeral(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn architecture(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn config_revision(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn config_error(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn legacy_config(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn needs_restart(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn dependents(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn description(&self) -> zbus::Result<String>;
}

/// The limits of one container.
#[proxy(
    interface = "io.gantry.Gantry1.Resources",
    default_service = "io.gantry.Gantry1",
    gen_blocking = false
)]
pub trait Resources {
    #[zbus(allow_interactive_auth)]
    fn set_limit(&self, key: &str, value: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn get_limit(&self, key: &str) -> Result<String>;
    #[zbus(allow_interactive_auth)]
    fn get_usage(&self) -> Result<Dictionary>;
    #[zbus(allow_interactive_auth)]
    fn get_room(&self, options: Options<'_>) -> Result<Dictionary>;
    #[zbus(allow_interactive_auth)]
    fn grow(&self, size: u64, options: Options<'_>) -> Result<OwnedObjectPath>;
}

/// The snapshots of one container.
#[proxy(
    interface = "io.gantry.Gantry1.Snapshots",
    default_service = "io.gantry.Gantry1",
    gen_blocking = false
)]
pub trait Snapshots {
    #[zbus(allow_interactive_auth)]
    fn take(&self, name: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn list(&self) -> Result<Vec<Dictionary>>;
    #[zbus(allow_interactive_auth)]
    fn restore(&self, name: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn delete(&self, name: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn estimate(&self, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn restore_paths(
        &self,
        name: &str,
        paths: &[&str],
        options: Options<'_>,
    ) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn get_schedule(&self) -> Result<Dictionary>;
    #[zbus(allow_interactive_auth)]
    fn set_schedule(&self, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn diff(&self, from: &str, to: &str, options: Options<'_>) -> Result<OwnedObjectPath>;
    #[zbus(allow_interactive_auth)]
    fn set_comment(&self, name: &str, comment: &str) -> Result<()>;
}

/// The devices of one container.
#[proxy(
    interface = "io.gantry.Gantry1.Devices",
    default_service = "io.gantry.Gantry1",
    gen_blocking = false
)]
pub trait Devices {
    #[zbus(allow_interactive_auth)]
    fn list(&self) -> Result<Vec<Dictionary>>;
    #[zbus(allow_interactive_auth)]
    fn add_node(&self, host_path: &str, container_path: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn remove_node(&self, container_path: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn add_interface(&self, host: &str, name: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn remove_interface(&self, name: &str, options: Options<'_>) -> Result<()>;
}

/// The network interfaces of one container.
#[proxy(
    interface = "io.gantry.Gantry1.Interfaces",
    default_service = "io.gantry.Gantry1",
    gen_blocking = false
)]
pub trait Interfaces {
    #[zbus(allow_interactive_auth)]
    fn list(&self) -> Result<Vec<Dictionary>>;
    #[zbus(allow_interactive_auth)]
    fn add(&self, options: Options<'_>) -> Result<u32>;
    #[zbus(allow_interactive_auth)]
    fn remove(&self, index: u32, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn connect(&self, index: u32, link: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn disconnect(&self, index: u32, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn configure(&self, index: u32, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn confirm(&self, index: u32, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn revert(&self, index: u32, options: Options<'_>) -> Result<()>;

    #[zbus(signal)]
    fn changed(&self) -> Result<()>;
}

/// A network that containers are wired to.
#[proxy(
    interface = "io.gantry.Gantry1.Network",
    default_service = "io.gantry.Gantry1",
    gen_blocking = false
)]
pub trait Network {
    #[zbus(allow_interactive_auth)]
    fn up(&self) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn down(&self) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn configure(&self, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn delete(&self, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn leases(&self) -> Result<Vec<(String, String, String, i64)>>;
    #[zbus(allow_interactive_auth)]
    fn add_reservation(&self, mac: &str, ip: &str, name: &str) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn reservations(&self) -> Result<Vec<(String, String, String)>>;
    #[zbus(allow_interactive_auth)]
    fn remove_reservation(&self, mac: &str) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn set_port(&self, port: &str, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn add_forward(
        &self,
        proto: &str,
        host_port: u32,
        container: &str,
        port: u32,
        options: Options<'_>,
    ) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn remove_forward(&self, proto: &str, host_port: u32) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn forwards(&self) -> Result<Vec<(String, u32, String, u32)>>;
}

/// A piece of work that takes a while.
#[proxy(
    interface = "io.gantry.Gantry1.Job",
    default_service = "io.gantry.Gantry1",
    gen_blocking = false
)]
pub trait Job {
    #[zbus(allow_interactive_auth)]
    fn cancel(&self, options: Options<'_>) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn wait(&self, timeout_ms: i64) -> Result<String>;

    #[zbus(signal)]
    fn log(&self, line: &str) -> Result<()>;
    #[zbus(signal)]
    fn finished(&self, state: &str) -> Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn operation(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn objects(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn started_by(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn stage(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn progress(&self) -> zbus::Result<f64>;
    #[zbus(property)]
    fn bytes(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn total(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn can_cancel(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn result(&self) -> zbus::Result<Dictionary>;
    #[zbus(property)]
    fn error_name(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn error_message(&self) -> zbus::Result<String>;
}

/// A console, a shell, a command or a stream of usage, for one caller.
#[proxy(
    interface = "io.gantry.Gantry1.Session",
    default_service = "io.gantry.Gantry1",
    gen_blocking = false
)]
pub trait Session {
    #[zbus(allow_interactive_auth)]
    fn resize(&self, columns: u16, rows: u16) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn signal(&self, number: i32) -> Result<()>;
    #[zbus(allow_interactive_auth)]
    fn close(&self) -> Result<()>;

    #[zbus(signal)]
    fn exited(&self, status: i32) -> Result<()>;
    #[zbus(signal)]
    fn sample(&self, monotonic_us: u64, usage: Vec<Dictionary>) -> Result<()>;
    #[zbus(signal)]
    fn detached(&self, reason: &str) -> Result<()>;
}
