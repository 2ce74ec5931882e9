//! Control groups: which hierarchies there are, and which controllers they have.

use super::kernel::{Kernel, Presence};
use super::{Report, Verdict, topic};
use crate::cgroup::Host;
use gantry_core::settings::CgroupVersion;

/// Controllers by the name of version 2 and that of version 1, and what does
/// not work without them.
const CONTROLLERS: [(&str, &str, &str); 5] = [
    ("cpu", "cpu", "processor time cannot be shared out"),
    (
        "cpuset",
        "cpuset",
        "containers cannot be kept to some processors",
    ),
    ("io", "blkio", "disk access is neither limited nor counted"),
    ("memory", "memory", "memory is neither limited nor counted"),
    ("pids", "pids", "one container can use up all process ids"),
];

pub(super) fn check(report: &mut Report, kernel: &Kernel) {
    let mut add = |item: &str, verdict| report.add(topic::CGROUPS, item, verdict);
    let host = match Host::read() {
        Ok(host) => host,
        Err(error) => {
            let problem = format!(
                "They cannot be read: {error}. Mount them: “mount -t cgroup2 none /sys/fs/cgroup”."
            );
            return add("hierarchies", Err(problem));
        }
    };
    add("hierarchies", hierarchies(&host));
    for (name, old, loss) in CONTROLLERS {
        let found = host.version_of(name).or_else(|| host.version_of(old));
        add(name, controller(found, loss));
    }
    add("freezer", freezer(&host));
    add("devices", devices(&host, kernel));
}

fn hierarchies(host: &Host) -> Verdict {
    let has = |version| host.versions.contains(&version);
    match (has(CgroupVersion::V1), has(CgroupVersion::V2)) {
        (false, true) => Ok("Version 2.".to_owned()),
        (true, false) => Ok("Version 1.".to_owned()),
        (true, true) => Ok("Version 1 beside version 2.".to_owned()),
        (false, false) => Err(
            "None is mounted: containers cannot be started. Run “mount -t cgroup2 none /sys/fs/cgroup”."
                .to_owned(),
        ),
    }
}

fn controller(found: Option<CgroupVersion>, loss: &str) -> Verdict {
    match found {
        Some(CgroupVersion::V1) => Ok("Available in version 1.".to_owned()),
        Some(CgroupVersion::V2) => Ok("Available in version 2.".to_owned()),
        None => Err(format!(
            "Missing: {loss}. Boot without cgroup_disable on the kernel's command line, or another kernel."
        )),
    }
}

/// Version 2 freezes without a controller.
fn freezer(host: &Host) -> Verdict {
    if host.versions.contains(&CgroupVersion::V2) {
        return Ok("Available in version 2.".to_owned());
    }
    controller(host.version_of("freezer"), "containers cannot be frozen")
}

/// Version 2 has programs in place of the controller.
fn devices(host: &Host, kernel: &Kernel) -> Verdict {
    let loss = "root of a privileged container can use every device";
    if host.version_of("devices").is_some() || !host.versions.contains(&CgroupVersion::V2) {
        return controller(host.version_of("devices"), loss);
    }
    match kernel.presence("CGROUP_BPF", "") {
        Presence::Ready | Presence::Module => Ok("Available by BPF.".to_owned()),
        Presence::Missing | Presence::Uninstalled => Err(format!(
            "Missing: {loss}. Boot a kernel with CONFIG_CGROUP_BPF."
        )),
        // Every kernel of a distribution with version 2 alone has it.
        Presence::Unknown => Ok("Probably available by BPF: the kernel does not tell.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(controllers: &[(&str, CgroupVersion)]) -> Host {
        Host {
            versions: controllers.iter().map(|(_, version)| *version).collect(),
            controllers: controllers
                .iter()
                .map(|(name, version)| ((*name).to_owned(), *version))
                .collect(),
        }
    }

    #[test]
    fn version_two_freezes_by_itself() {
        assert!(freezer(&host(&[("pids", CgroupVersion::V2)])).is_ok());
        assert!(freezer(&host(&[("freezer", CgroupVersion::V1)])).is_ok());
        assert!(freezer(&host(&[("pids", CgroupVersion::V1)])).is_err());
    }

    #[test]
    fn devices_need_the_controller_or_programs() {
        let kernel = Kernel::default();
        assert!(devices(&host(&[("devices", CgroupVersion::V1)]), &kernel).is_ok());
        assert!(devices(&host(&[("pids", CgroupVersion::V1)]), &kernel).is_err());
    }

    #[test]
    fn no_hierarchy_at_all_is_a_problem_with_a_remedy() {
        let problem = hierarchies(&host(&[])).unwrap_err();
        assert!(problem.contains("mount -t cgroup2"), "{problem}");
    }
}
