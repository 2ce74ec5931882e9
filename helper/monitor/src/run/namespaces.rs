//! Which namespaces a container gets.

use crate::attach::client::Client;
use crate::cgroup::Cgroups;
use crate::failure::{At, Step, failed, failure};
use crate::log;
use crate::network;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::FailureKind;
use gantry_core::name::ContainerName;
use gantry_core::namespaces::Namespace;
use gantry_core::settings::Settings;
use gantry_core::values::ShareSource;
use rustix::fs::{Mode, OFlags, fstatfs, open};
use std::os::fd::OwnedFd;

const STEP: &str = "choosing namespaces";

/// What fstatfs(2) says of a namespace's file.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Refuses choices that would not be safe, and tells of keys without effect.
pub(super) fn check(settings: &Settings, cgroups: &Cgroups) -> Step<()> {
    let refuse = |message: &str| failed(FailureKind::Unsupported, STEP, message);
    let flags = clone_flags(settings);
    let makes = |namespace: Namespace| flags & namespace.clone_flag() != 0;
    // To build the container would be to change the mounts of somebody else.
    if !makes(Namespace::Mount) {
        return refuse(
            "A container needs a mount namespace of its own; take mnt out of lxc.namespace.keep and lxc.namespace.share, or add it to lxc.namespace.clone.",
        );
    }
    // Who reads lxc.idmap takes root in the container for nobody on the host.
    if !settings.is_privileged() && settings.namespaces.keep.contains(&Namespace::User) {
        return refuse(
            "lxc.idmap and lxc.namespace.keep = user exclude each other; remove one of them.",
        );
    }
    if settings.rootfs.is_none() && !settings.autodev {
        return refuse(
            "Without lxc.rootfs.path and with lxc.autodev = 0 the container would change the host's own /dev; set lxc.rootfs.path, or remove lxc.autodev.",
        );
    }
    if !makes(Namespace::Pid) && cgroups.unified().is_none() {
        return refuse(
            "Without a pid namespace of its own a container can only be ended by cgroup v2, which this host has not mounted; take pid out of lxc.namespace.keep and lxc.namespace.share.",
        );
    }
    for (namespace, key, set) in [
        (Namespace::Uts, "lxc.uts.name", settings.uts_name.is_some()),
        (Namespace::Net, "lxc.net", has_devices(settings)),
    ] {
        if set && !makes(namespace) {
            log::notice(format!(
                "{key} has no effect: the container has no {namespace} namespace of its own"
            ));
        }
    }
    Ok(())
}

fn has_devices(settings: &Settings) -> bool {
    use gantry_core::settings::NetworkKind;
    let mut kinds = settings.networks.values().map(|network| &network.kind);
    kinds.any(|kind| !matches!(kind, NetworkKind::None | NetworkKind::Empty))
}

/// Opens the namespaces of others that the container shares, in the order in
/// which they are to be joined.
pub(super) fn shared(
    settings: &Settings,
    layout: &ContainerLayout,
) -> Step<Vec<(Namespace, OwnedFd)>> {
    let open_shared = |(namespace, source): (&Namespace, &ShareSource)| {
        let file = match source {
            ShareSource::Pid(pid) => open_namespace(i64::from(*pid), *namespace),
            ShareSource::Container(name) => open_namespace(init_of(layout, name)?, *namespace),
            ShareSource::Path(path) => open_file(&path.display().to_string()),
        }?;
        Ok((*namespace, file))
    };
    settings.namespaces.share.iter().map(open_shared).collect()
}

/// The init of another container in the same LXC path.
fn init_of(layout: &ContainerLayout, name: &str) -> Step<i64> {
    let stopped = || {
        let message = format!(
            "The container '{name}', whose namespaces are to be shared, is not running; start it first."
        );
        failure(FailureKind::WrongState, STEP, message)
    };
    let name = ContainerName::new(name).map_err(|_| stopped())?;
    let other = ContainerLayout::new(layout.lxc_path(), name);
    let pid = Client::new(&other).init_pid().map_err(|_| stopped())?;
    pid.map(i64::from).ok_or_else(stopped)
}

/// Opens a process's namespace.
pub(super) fn open_namespace(pid: impl Into<i64>, kind: Namespace) -> Step<OwnedFd> {
    open_file(&format!("/proc/{}/ns/{}", pid.into(), kind.proc_name()))
}

fn open_file(path: &str) -> Step<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let what = || format!("cannot open the namespace {path}");
    let file = open(path, flags, Mode::empty()).at(STEP, what)?;
    if fstatfs(&file).at(STEP, what)?.f_type == NSFS_MAGIC {
        return Ok(file);
    }
    let message = format!("{path} is not a namespace; correct lxc.namespace.share.");
    failed(FailureKind::InvalidConfig, STEP, message)
}

/// The CLONE_NEW* bits of the namespaces that are made for the container.
pub(super) fn clone_flags(settings: &Settings) -> u64 {
    let chosen = |namespace: Namespace| match namespace {
        namespace if settings.namespaces.share.contains_key(&namespace) => false,
        Namespace::User => !settings.is_privileged(),
        Namespace::Net if !network::has_namespace(settings) => false,
        Namespace::Time if settings.time.is_set() => true,
        Namespace::Time if settings.namespaces.clone.is_none() => false,
        namespace => match &settings.namespaces.clone {
            Some(exactly) => exactly.contains(&namespace),
            None => !settings.namespaces.keep.contains(&namespace),
        },
    };
    Namespace::ALL
        .into_iter()
        .filter(|namespace| chosen(*namespace))
        .fold(0, |flags, n| flags | n.clone_flag())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::config::{Config, SkipIncludes};
    use std::path::Path;

    fn flags(text: &str) -> Vec<Namespace> {
        let config = Config::parse(Path::new("/c"), text.to_owned(), &mut SkipIncludes).unwrap();
        Namespace::from_clone_flags(clone_flags(&Settings::from_config(&config).unwrap()))
    }

    #[test]
    fn namespaces_follow_the_config() {
        use Namespace::{Cgroup, Ipc, Mount, Net, Pid, User, Uts};
        assert_eq!(flags(""), [Mount, Pid, Uts, Ipc, Net, Cgroup]);
        assert_eq!(
            flags("lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n")[0],
            User
        );
        assert!(!flags("lxc.net.0.type = none\n").contains(&Net));
        assert!(flags("lxc.net.0.type = none\nlxc.net.1.type = empty\n").contains(&Net));
        assert_eq!(
            flags("lxc.namespace.keep = ipc uts\n"),
            [Mount, Pid, Net, Cgroup]
        );
        assert_eq!(flags("lxc.namespace.clone = mnt pid\n"), [Mount, Pid]);
        assert_eq!(
            flags("lxc.namespace.share.net = c2\nlxc.namespace.share.pid = 1\n"),
            [Mount, Uts, Ipc, Cgroup]
        );
        assert!(flags("lxc.time.offset.boot = 1h\n").contains(&Namespace::Time));
    }
}
