//! The D-Bus contract of Gantry: the names on the bus, the types that travel,
//! the errors, and proxies for clients.
//!
//! Scripts depend on every name and signature here; members may be added, never
//! renamed. The helper serves what this crate describes, and the committed
//! introspection in `data/dbus/` is compared with what it serves.

mod error;
mod path;
mod proxy;
mod state;

pub use error::{Error, Result};
pub use path::{
    container_path, escape, image_path, job_path, network_path, parse_container_path, root_path,
    session_path, unescape,
};
pub use proxy::{
    ContainerProxy, DevicesProxy, InterfacesProxy, JobProxy, ManagerProxy, NetworkProxy,
    ResourcesProxy, SessionProxy, SnapshotsProxy,
};
pub use state::{ContainerState, JobState, Owner};

use zbus::zvariant::OwnedObjectPath;

/// The well-known name of the helper on the system bus.
pub const BUS_NAME: &str = "io.gantry.Gantry1";
/// The root object: the `Manager` interface and the object manager.
pub const ROOT_PATH: &str = "/io/gantry/Gantry1";
/// The id of the desktop application.
pub const APP_ID: &str = "io.gantry.Gantry";

/// One container as `Manager.ListContainers` gives it: name, owner (`system` or
/// `u<uid>`), state, init's pid (0 when stopped) and object path.
pub type ContainerEntry = (String, String, String, u32, OwnedObjectPath);

/// One finding of `Manager.CheckHost`: topic, item, finding, and whether all is well.
pub type HostFinding = (String, String, String, bool);

/// The polkit actions, as `data/polkit/io.gantry.policy` declares them.
pub mod action {
    /// Configuration text, logs and usage of system containers.
    pub const INSPECT: &str = "io.gantry.inspect";
    /// Everything on the caller's own unprivileged containers.
    pub const OWN: &str = "io.gantry.own";
    /// Start, stop, freeze, groups.
    pub const OPERATE: &str = "io.gantry.operate";
    /// Console, shell, execute.
    pub const CONSOLE: &str = "io.gantry.console";
    /// Create, clone, snapshot, limits, safe configuration, destroy, transfer.
    pub const MANAGE: &str = "io.gantry.manage";
    /// Whatever equals root on the host.
    pub const MANAGE_UNSAFE: &str = "io.gantry.manage-unsafe";
    /// Networks, interfaces, forwards.
    pub const NETWORK: &str = "io.gantry.network";
    /// The image cache.
    pub const IMAGE: &str = "io.gantry.image";
    /// Images without a signature.
    pub const IMAGE_UNTRUSTED: &str = "io.gantry.image-untrusted";
    /// Another user's job or session.
    pub const CANCEL_OTHER: &str = "io.gantry.cancel-other";
}
