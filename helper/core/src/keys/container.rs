//! Keys about the container itself: its init, root file system, consoles, hooks
//! and how it is started, stopped and logged.

use super::Effect::{Attach, Boot, Clone, Create, Destroy, Read, Run, Start, Stop};
use super::{Grammar, Key, safety};

pub(super) static KEYS: &[Key] = &[
    // The file
    Key::new(
        "lxc.include",
        Grammar::Path,
        &[Read],
        "Reads another file, or every *.conf file of a directory, at this point.",
    )
    .multi()
    .safe_if(safety::include),
    // The container
    Key::new(
        "lxc.arch",
        Grammar::Architecture,
        &[Start, Attach],
        "The architecture that processes are told.",
    )
    .safe(),
    Key::new(
        "lxc.uts.name",
        Grammar::HostName,
        &[Start],
        "The host name.",
    )
    .legacy(&["lxc.utsname"])
    .safe(),
    Key::new(
        "lxc.ephemeral",
        Grammar::Flag,
        &[Stop],
        "Destroys the container once it has stopped.",
    )
    .default("0")
    .live()
    .safe(),
    // Init
    Key::new(
        "lxc.init.cmd",
        Grammar::Command,
        &[Start],
        "The command line of init.",
    )
    .legacy(&["lxc.init_cmd"])
    .default("/sbin/init")
    .safe(),
    Key::new(
        "lxc.execute.cmd",
        Grammar::Command,
        &[Start],
        "What lxc-execute runs when it is given no command.",
    )
    .safe(),
    Key::new(
        "lxc.init.uid",
        Grammar::Unsigned,
        &[Start],
        "The user of init.",
    )
    .legacy(&["lxc.init_uid"])
    .default("0")
    .safe(),
    Key::new(
        "lxc.init.gid",
        Grammar::Unsigned,
        &[Start],
        "The group of init.",
    )
    .legacy(&["lxc.init_gid"])
    .default("0")
    .safe(),
    Key::new(
        "lxc.init.groups",
        Grammar::GroupIds,
        &[Start],
        "Supplementary groups of init.",
    )
    .multi()
    .safe(),
    Key::new(
        "lxc.init.cwd",
        Grammar::Path,
        &[Start],
        "The directory init begins in.",
    )
    .default("/")
    .safe(),
    Key::new(
        "lxc.environment",
        Grammar::Variable,
        &[Start, Attach],
        "A variable for init, attached processes and hooks.",
    )
    .multi()
    .safe_if(safety::environment),
    Key::new(
        "lxc.environment.runtime",
        Grammar::Variable,
        &[Start],
        "A variable for init.",
    )
    .multi()
    .safe(),
    Key::new(
        "lxc.environment.hooks",
        Grammar::Variable,
        &[Start],
        "A variable for hooks.",
    )
    .multi()
    .safe_if(safety::environment),
    // Root file system and mounts
    Key::new(
        "lxc.rootfs.path",
        Grammar::RootfsPath,
        &[Create, Start, Clone],
        "Where the root file system is; unset, it is the host's own.",
    )
    .legacy(&["lxc.rootfs"]),
    Key::new(
        "lxc.rootfs.backend",
        Grammar::RootfsKind,
        &[Start, Clone],
        "The store of lxc.rootfs in LXC 1.x; now the prefix of lxc.rootfs.path.",
    )
    .obsolete(),
    Key::new(
        "lxc.rootfs.mount",
        Grammar::Path,
        &[Start],
        "The directory on which the root file system is put together.",
    ),
    Key::new(
        "lxc.rootfs.options",
        Grammar::MountOptions,
        &[Start],
        "Mount options of the root file system; also idmap=container.",
    )
    .safe_if(safety::rootfs_options),
    Key::new(
        "lxc.rootfs.managed",
        Grammar::Flag,
        &[Destroy],
        "0 keeps the storage when the container is destroyed.",
    )
    .default("1")
    .live()
    .safe(),
    Key::new(
        "lxc.mount.fstab",
        Grammar::Path,
        &[Start],
        "A file in fstab format with mounts.",
    )
    .legacy(&["lxc.mount"]),
    Key::new(
        "lxc.mount.entry",
        Grammar::MountEntry,
        &[Start],
        "One mount, as a line of fstab.",
    )
    .multi()
    .safe_if(safety::mount_entry),
    Key::new(
        "lxc.mount.auto",
        Grammar::AutoMounts,
        &[Start],
        "Standard mounts of proc, sys and cgroup.",
    )
    .multi()
    .safe_if(safety::mount_auto),
    // Devices and consoles
    Key::new(
        "lxc.autodev",
        Grammar::Flag,
        &[Start],
        "Puts a small /dev of its own into the container.",
    )
    .default("1")
    .safe(),
    Key::new(
        "lxc.autodev.tmpfs.size",
        Grammar::Bytes,
        &[Start],
        "How large that /dev may grow.",
    )
    .default("500000")
    .safe(),
    Key::new(
        "lxc.tty.max",
        Grammar::Unsigned,
        &[Start],
        "How many consoles /dev/tty1... there are.",
    )
    .legacy(&["lxc.tty"])
    .default("0")
    .safe(),
    Key::new(
        "lxc.tty.dir",
        Grammar::TtyDirectory,
        &[Start],
        "A directory below /dev for consoles.",
    )
    .legacy(&["lxc.devttydir"])
    .safe(),
    Key::new(
        "lxc.pty.max",
        Grammar::Unsigned,
        &[Start],
        "How many pseudo terminals there may be.",
    )
    .legacy(&["lxc.pts"])
    .default("0")
    .safe(),
    Key::new(
        "lxc.console.path",
        Grammar::Path,
        &[Start],
        "A terminal or file of the host as the console's peer; none for no console.",
    )
    .legacy(&["lxc.console"])
    .safe_if(safety::only_none),
    Key::new(
        "lxc.console.logfile",
        Grammar::Path,
        &[Start, Run],
        "A file of the host to which the console is copied.",
    )
    .live(),
    Key::new(
        "lxc.console.buffer.size",
        Grammar::BufferSize,
        &[Start, Run],
        "How much of the console is kept in memory.",
    )
    .live()
    .safe(),
    Key::new(
        "lxc.console.size",
        Grammar::BufferSize,
        &[Start, Run],
        "How large the console's log may grow.",
    )
    .live()
    .safe(),
    Key::new(
        "lxc.console.rotate",
        Grammar::Flag,
        &[Start, Run],
        "Rotates the console's log when it is full.",
    )
    .live()
    .default("0")
    .safe(),
    // Hooks
    Key::new(
        "lxc.hook.version",
        Grammar::Flag,
        &[Start],
        "How hooks are told: 0 by arguments, 1 by variables.",
    )
    .default("0"),
    Key::new(
        "lxc.hook.pre-start",
        Grammar::Command,
        &[Start],
        "Runs on the host before anything else.",
    )
    .multi(),
    Key::new(
        "lxc.hook.pre-mount",
        Grammar::Command,
        &[Start],
        "Runs in the mount namespace before the root is mounted.",
    )
    .multi(),
    Key::new(
        "lxc.hook.mount",
        Grammar::Command,
        &[Start],
        "Runs in the mount namespace after all mounts.",
    )
    .multi(),
    Key::new(
        "lxc.hook.autodev",
        Grammar::Command,
        &[Start],
        "Runs in the mount namespace before /dev is filled.",
    )
    .multi(),
    Key::new(
        "lxc.hook.start-host",
        Grammar::Command,
        &[Start],
        "Runs on the host before init is executed.",
    )
    .multi(),
    Key::new(
        "lxc.hook.start",
        Grammar::Command,
        &[Start],
        "Runs in the container just before init.",
    )
    .multi(),
    Key::new(
        "lxc.hook.stop",
        Grammar::Command,
        &[Stop],
        "Runs on the host when init has ended.",
    )
    .multi(),
    Key::new(
        "lxc.hook.post-stop",
        Grammar::Command,
        &[Stop],
        "Runs on the host when all is cleaned up.",
    )
    .multi(),
    Key::new(
        "lxc.hook.clone",
        Grammar::Command,
        &[Clone],
        "Runs on the host for each new clone.",
    )
    .multi(),
    Key::new(
        "lxc.hook.destroy",
        Grammar::Command,
        &[Destroy],
        "Runs on the host before the container is destroyed.",
    )
    .multi(),
    // Autostart
    Key::new(
        "lxc.start.auto",
        Grammar::Flag,
        &[Boot],
        "Starts with the host.",
    )
    .default("0")
    .live()
    .safe(),
    Key::new(
        "lxc.start.delay",
        Grammar::Unsigned,
        &[Boot],
        "Seconds to wait after starting it.",
    )
    .default("0")
    .live()
    .safe(),
    Key::new(
        "lxc.start.order",
        Grammar::Integer,
        &[Boot],
        "Lower numbers start first and stop last.",
    )
    .default("0")
    .live()
    .safe(),
    Key::new(
        "lxc.group",
        Grammar::Words,
        &[Boot],
        "Groups it belongs to; onboot is what starts with the host.",
    )
    .multi()
    .live()
    .safe(),
    // Signals and the monitor
    Key::new(
        "lxc.signal.halt",
        Grammar::Signal,
        &[Stop],
        "Asks init to shut down.",
    )
    .legacy(&["lxc.haltsignal"])
    .default("SIGPWR, or SIGRTMIN+3 for systemd")
    .live()
    .safe(),
    Key::new(
        "lxc.signal.reboot",
        Grammar::Signal,
        &[Stop],
        "Asks init to reboot.",
    )
    .legacy(&["lxc.rebootsignal"])
    .default("SIGINT")
    .live()
    .safe(),
    Key::new(
        "lxc.signal.stop",
        Grammar::Signal,
        &[Stop],
        "Ends the container at once.",
    )
    .live()
    .legacy(&["lxc.stopsignal"])
    .default("SIGKILL")
    .safe(),
    Key::new(
        "lxc.monitor.unshare",
        Grammar::Unsigned,
        &[Start],
        "Gives the monitor a mount namespace of its own.",
    )
    .default("0")
    .safe(),
    Key::new(
        "lxc.monitor.signal.pdeath",
        Grammar::Signal,
        &[Start],
        "What init gets when the monitor dies.",
    )
    .default("SIGKILL")
    .safe(),
    // Logging
    Key::new(
        "lxc.log.level",
        Grammar::LogLevel,
        &[Start],
        "How much is logged.",
    )
    .live()
    .legacy(&["lxc.loglevel"])
    .default("ERROR")
    .safe(),
    Key::new(
        "lxc.log.file",
        Grammar::Path,
        &[Start],
        "The file of the host that is logged to.",
    )
    .live()
    .legacy(&["lxc.logfile"]),
    Key::new(
        "lxc.log.syslog",
        Grammar::Facility,
        &[Start],
        "The syslog facility that is logged to.",
    )
    .live()
    .legacy(&["lxc.syslog"])
    .safe(),
    // Of LXC 1.x, without effect
    Key::new(
        "lxc.kmsg",
        Grammar::Text,
        &[],
        "Of LXC 1.x; has no effect any more.",
    )
    .obsolete()
    .safe(),
    Key::new(
        "lxc.pivotdir",
        Grammar::Text,
        &[],
        "Of LXC 1.x; has no effect any more.",
    )
    .obsolete()
    .safe(),
];
