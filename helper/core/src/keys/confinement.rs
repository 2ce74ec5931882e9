//! Keys about what a container may do and use: capabilities, security modules,
//! id maps, cgroups, limits and namespaces.

use super::Effect::{Attach, Run, Start};
use super::{Grammar, Key, safety};

pub(super) static KEYS: &[Key] = &[
    // Confinement
    Key::new(
        "lxc.cap.drop",
        Grammar::Capabilities,
        &[Start, Attach],
        "Capabilities that are taken away.",
    )
    .multi()
    .safe_if(safety::only_adding),
    Key::new(
        "lxc.cap.keep",
        Grammar::CapabilitiesOrNone,
        &[Start, Attach],
        "The only capabilities that are kept; none for none.",
    )
    .multi(),
    Key::new(
        "lxc.apparmor.profile",
        Grammar::Text,
        &[Start, Attach],
        "The AppArmor profile; generated for one made for the container.",
    )
    .legacy(&["lxc.aa_profile"])
    .default("lxc-container-default-cgns"),
    Key::new(
        "lxc.apparmor.allow_incomplete",
        Grammar::Flag,
        &[Start],
        "Starts even if the kernel cannot confine mounts.",
    )
    .legacy(&["lxc.aa_allow_incomplete"])
    .default("0"),
    Key::new(
        "lxc.apparmor.allow_nesting",
        Grammar::Flag,
        &[Start],
        "Lets containers run inside, with a generated profile.",
    )
    .default("0"),
    Key::new(
        "lxc.apparmor.raw",
        Grammar::Text,
        &[Start],
        "A line for the generated profile.",
    )
    .multi(),
    Key::new(
        "lxc.selinux.context",
        Grammar::Text,
        &[Start, Attach],
        "The SELinux context.",
    )
    .legacy(&["lxc.se_context"]),
    Key::new(
        "lxc.selinux.context.keyring",
        Grammar::Text,
        &[Start],
        "The SELinux context of the session keyring.",
    ),
    Key::new(
        "lxc.keyring.session",
        Grammar::Flag,
        &[Start],
        "Whether a session keyring is made; LXC reads it the wrong way round, so leave it unset.",
    ),
    Key::new(
        "lxc.no_new_privs",
        Grammar::Flag,
        &[Start, Attach],
        "Processes cannot gain privileges by executing programs.",
    )
    .default("0")
    .safe_if(safety::only_one),
    Key::new(
        "lxc.seccomp.profile",
        Grammar::Path,
        &[Start, Attach],
        "A file with the system call filter.",
    )
    .legacy(&["lxc.seccomp"]),
    Key::new(
        "lxc.seccomp.allow_nesting",
        Grammar::Flag,
        &[Start],
        "Adds the filter even when one is in force.",
    )
    .default("0"),
    Key::new(
        "lxc.seccomp.notify.proxy",
        Grammar::UnixAddress,
        &[Start, Run],
        "A socket to which system calls are handed.",
    ),
    Key::new(
        "lxc.seccomp.notify.cookie",
        Grammar::Text,
        &[Run],
        "A text that goes with every such system call.",
    ),
    Key::new(
        "lxc.idmap",
        Grammar::IdMap,
        &[Start, Attach],
        "Maps ids of the container to ids of the host.",
    )
    .legacy(&["lxc.id_map"])
    .multi()
    .safe_if(safety::idmap),
    // Resources
    Key::new(
        "lxc.cgroup.dir",
        Grammar::RelativePath,
        &[Start],
        "The cgroup below which the container's are made.",
    ),
    Key::new(
        "lxc.cgroup.dir.monitor",
        Grammar::RelativePath,
        &[Start],
        "The monitor's cgroup.",
    ),
    Key::new(
        "lxc.cgroup.dir.monitor.pivot",
        Grammar::RelativePath,
        &[Start],
        "Where the monitor goes at its end.",
    ),
    Key::new(
        "lxc.cgroup.dir.container",
        Grammar::RelativePath,
        &[Start],
        "The container's cgroup, which has the limits.",
    ),
    Key::new(
        "lxc.cgroup.dir.container.inner",
        Grammar::PathPart,
        &[Start],
        "A cgroup inside that one, which the container sees.",
    ),
    Key::new(
        "lxc.cgroup.relative",
        Grammar::Flag,
        &[Start],
        "Begins at the starter's own cgroup.",
    )
    .default("0"),
    Key::new(
        "lxc.cgroup.FILE",
        Grammar::CgroupFile,
        &[Start, Run],
        "A setting of a version 1 cgroup controller.",
    )
    .multi()
    .live()
    .safe_if(safety::cgroup_file),
    Key::new(
        "lxc.cgroup2.FILE",
        Grammar::CgroupFile,
        &[Start, Run],
        "A setting of the unified cgroup hierarchy.",
    )
    .multi()
    .live()
    .safe_if(safety::cgroup_file),
    Key::new(
        "lxc.sched.core",
        Grammar::Flag,
        &[Start],
        "Shares no CPU core with others at the same time.",
    )
    .default("0")
    .safe(),
    Key::new(
        "lxc.prlimit.NAME",
        Grammar::Limit,
        &[Start],
        "A resource limit of init.",
    )
    .legacy(&["lxc.limit.NAME"])
    .live()
    .safe(),
    // Namespaces and kernel settings
    Key::new(
        "lxc.namespace.clone",
        Grammar::Namespaces,
        &[Start],
        "Exactly the namespaces that are made.",
    ),
    Key::new(
        "lxc.namespace.keep",
        Grammar::Namespaces,
        &[Start],
        "Namespaces that are shared with the starter.",
    ),
    Key::new(
        "lxc.namespace.share.NS",
        Grammar::ShareSource,
        &[Start],
        "Joins a namespace of another container or process.",
    ),
    Key::new(
        "lxc.time.offset.boot",
        Grammar::TimeOffset,
        &[Start],
        "By how much the boot clock differs.",
    )
    .safe(),
    Key::new(
        "lxc.time.offset.monotonic",
        Grammar::TimeOffset,
        &[Start],
        "By how much the monotonic clock differs.",
    )
    .safe(),
    Key::new(
        "lxc.sysctl.KEY",
        Grammar::Sysctl,
        &[Start],
        "A kernel setting, made inside the container.",
    )
    .safe_if(safety::sysctl),
    Key::new(
        "lxc.proc.FILE",
        Grammar::ProcFile,
        &[Start],
        "A setting in /proc/PID of init.",
    )
    .live()
    .safe_if(safety::proc),
];
