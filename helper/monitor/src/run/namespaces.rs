//! Which namespaces a container gets.

use crate::failure::{Step, failed};
use crate::network;
use gantry_core::monitor::FailureKind;
use gantry_core::namespaces::Namespace;
use gantry_core::settings::Settings;

/// Refuses choices that this version does not know how to make.
pub(super) fn check(settings: &Settings) -> Step<()> {
    let step = "choosing namespaces";
    if let Some(namespace) = settings.namespaces.share.keys().next() {
        let message =
            format!("lxc.namespace.share.{namespace} is not supported yet; remove the key.");
        return failed(FailureKind::Unsupported, step, message);
    }
    let flags = clone_flags(settings);
    for namespace in [Namespace::Mount, Namespace::Pid] {
        if flags & namespace.clone_flag() == 0 {
            let message =
                format!("A container without a {namespace} namespace of its own is not supported.");
            return failed(FailureKind::Unsupported, step, message);
        }
    }
    Ok(())
}

/// The CLONE_NEW* bits of the namespaces that are made for the container.
pub(super) fn clone_flags(settings: &Settings) -> u64 {
    let chosen = |namespace: Namespace| match namespace {
        Namespace::User => !settings.is_privileged(),
        Namespace::Net if !network::has_namespace(settings) => false,
        namespace => match &settings.namespaces.clone {
            Some(exactly) => exactly.contains(&namespace),
            None => namespace != Namespace::Time && !settings.namespaces.keep.contains(&namespace),
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
    }
}
