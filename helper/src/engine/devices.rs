//! Devices that a running container gets from the host: nodes in its /dev,
//! with the right to use them, and network interfaces.

use super::client::Client;
use super::{ContainerId, Engine, Error, Result, disk};
use crate::linux::process::Process;
use gantry_core::cgroup::{DevicePolicy, rules_in_force, rules_of};
use gantry_core::command::{Command, DeviceAccess, DeviceKind, RequestHeader};
use gantry_core::monitor::{Extension, LentInterface, Node, NodeRequest};
use gantry_core::name::InterfaceName;
use gantry_core::settings::Settings;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, openat};
use std::path::Path;

/// Permissions of a node, of what a file's mode holds.
const PERMISSIONS: u32 = 0o777;

impl Engine {
    /// The nodes in a container's /dev that not every container has, and the
    /// host's interfaces in it; none if it does not run.
    pub(crate) async fn devices(
        &self,
        id: &ContainerId,
    ) -> Result<(Vec<Node>, Vec<LentInterface>)> {
        if self.get(id).await?.init_pid == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let client = self.running(id).await?;
        let init = client.init().await?;
        let nodes = self.0.programs.node(&init, &NodeRequest::List).await?;
        let lent = client
            .extension(Extension::ListInterfaces, None::<&()>)
            .await?;
        Ok((nodes, lent.map(|(lent, _)| lent).unwrap_or_default()))
    }

    /// Makes a device of the host at a path in a container, below /dev, and
    /// lets the container use it.
    pub(crate) async fn add_node(&self, id: &ContainerId, host: &Path, path: &str) -> Result<()> {
        let client = self.running(id).await?;
        let (node, mode) = device(host, path)?;
        let rule = rule(&node, true);
        self.set_device_rule(id, &rule).await?;
        let request = NodeRequest::Add {
            node: node.clone(),
            mode,
        };
        let init = client.init().await?;
        let added = self.0.programs.node(&init, &request).await;
        if added.is_err() {
            self.close(id, &init, &node).await?;
        }
        added.map(drop)
    }

    /// Takes a device node away, and with the last one of a device the right to use
    /// it, unless that is there from the start.
    pub(crate) async fn remove_node(&self, id: &ContainerId, path: &str) -> Result<()> {
        let client = self.running(id).await?;
        let request = NodeRequest::Remove {
            path: path.to_owned(),
        };
        let init = client.init().await?;
        for node in self.0.programs.node(&init, &request).await? {
            self.close(id, &init, &node).await?;
        }
        Ok(())
    }

    /// Takes back the right to use a device of which the container has no node.
    async fn close(&self, id: &ContainerId, init: &Process, node: &Node) -> Result<()> {
        let left = match self.0.programs.node(init, &NodeRequest::List).await {
            Ok(left) => left,
            Err(error) => {
                tracing::debug!(container = %id.name, "its devices are not known: {error}");
                Vec::new()
            }
        };
        let is_same = |other: &Node| {
            (other.block, other.major, other.minor) == (node.block, node.major, node.minor)
        };
        if left.iter().any(is_same) {
            return Ok(());
        }
        // What it goes by, not what its config says by now.
        let running = self.registry().running_config(&id.name);
        let config = match running {
            Some(config) => config,
            None => disk::read_config(&self.layout(&id.name).config())?.config,
        };
        let settings = Settings::from_config(&config)?;
        let host = self.device_version()?;
        let version = rules_in_force(&settings.cgroup, host).unwrap_or(host);
        let rules = rules_of(&settings.cgroup, version).map_err(Error::Failed)?;
        if DevicePolicy::from_rules(version, &rules).covers(&rule(node, true)) {
            return Ok(());
        }
        self.set_device_rule(id, &rule(node, false)).await
    }

    /// Moves an interface of the host into a container that runs.
    pub(crate) async fn lend_interface(
        &self,
        id: &ContainerId,
        wanted: &LentInterface,
        confirmed: bool,
    ) -> Result<()> {
        for name in [&wanted.host, &wanted.name] {
            InterfaceName::new(name)
                .map_err(|error| Error::InvalidArgument(format!("{name}: {error}")))?;
        }
        let client = self.running(id).await?;
        if !confirmed {
            self.refuse_way_out(id, &wanted.host).await?;
        }
        let done = client.extension::<()>(Extension::LendInterface, Some(wanted));
        let container = &id.name;
        match done.await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(not_ours(id)),
            Err(Error::NotFound(_)) => Err(Error::NotFound(format!(
                "there is no interface '{}' on the host",
                wanted.host
            ))),
            Err(Error::Exists(_)) => Err(Error::Exists(format!(
                "there is already an interface '{}' in container '{container}'; choose another name",
                wanted.name
            ))),
            Err(Error::Unsupported(_)) => Err(Error::Unsupported(format!(
                "container '{container}' has no network of its own; give it an interface of type empty"
            ))),
            Err(error) => Err(error),
        }
    }

    /// Moves an interface back to the host, by its name in the container.
    pub(crate) async fn return_interface(&self, id: &ContainerId, name: &str) -> Result<()> {
        let client = self.running(id).await?;
        let done = client.extension::<()>(Extension::ReturnInterface, Some(&name));
        match done.await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(not_ours(id)),
            Err(Error::NotFound(_)) => Err(Error::NotFound(format!(
                "container '{}' has no interface '{name}' of the host",
                id.name
            ))),
            Err(error) => Err(error),
        }
    }
}

impl Client {
    /// Makes the monitor allow or deny devices, in the unified hierarchy.
    pub(super) async fn device_rule(&self, rule: &DeviceAccess) -> Result<()> {
        let data = rule.encode();
        let header = RequestHeader::with_data(Command::AddBpfDeviceCgroup.number(), data.len());
        self.done(header, &data).await
    }
}

fn not_ours(id: &ContainerId) -> Error {
    Error::Unsupported(format!(
        "the monitor of container '{}' is not Gantry's and could not bring the interface back; use lxc-device, or start the container with Gantry",
        id.name
    ))
}

/// What a path of the host names, as it is to be at a path in a container, and
/// its permissions.
fn device(host: &Path, path: &str) -> Result<(Node, u32)> {
    let failed = |error: rustix::io::Errno| Error::path("opening", host, &error.into());
    let file = openat(CWD, host, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let status = fstat(&file).map_err(failed)?;
    let block = match FileType::from_raw_mode(status.st_mode) {
        FileType::BlockDevice => true,
        FileType::CharacterDevice => false,
        _ => {
            return Err(Error::InvalidArgument(format!(
                "{} is not a device; name one, such as /dev/loop0",
                host.display()
            )));
        }
    };
    let node = Node {
        path: path.to_owned(),
        block,
        major: major(status.st_rdev),
        minor: minor(status.st_rdev),
    };
    Ok((node, status.st_mode & PERMISSIONS))
}

fn rule(node: &Node, allow: bool) -> DeviceAccess {
    DeviceAccess {
        kind: match node.block {
            true => DeviceKind::Block,
            false => DeviceKind::Character,
        },
        major: Some(node.major),
        minor: Some(node.minor),
        read: true,
        write: true,
        mknod: true,
        allow,
    }
}
