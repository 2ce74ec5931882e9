//! Settings out of whole configs.

use super::*;
use crate::caps::{Capability, CapabilitySet};
use crate::config::{Included, Includes};
use crate::idmap::IdKind;
use crate::values::mount::{CgroupMode, ProcMode, SysMode};
use crate::values::network::{Gateway, MacvlanMode};
use std::path::Path;

/// Shortened forms of what LXC's packages install.
struct Stock;

impl Includes for Stock {
    fn read(&mut self, path: &Path) -> std::io::Result<Included> {
        let text = match path.to_str() {
            Some("/usr/share/lxc/config/common.conf") => {
                "lxc.tty.dir = lxc\nlxc.pty.max = 1024\nlxc.tty.max = 4\n\
                 lxc.cap.drop = mac_admin mac_override sys_time sys_module sys_rawio\n\
                 lxc.hook.clone = /usr/share/lxc/hooks/clonehostname\n\
                 lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c *:* m\n\
                 lxc.cgroup2.devices.deny = a\nlxc.cgroup2.devices.allow = c *:* m\nlxc.cgroup2.devices.allow = c 1:3 rwm\n\
                 lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed\n\
                 lxc.mount.entry = /sys/fs/fuse/connections sys/fs/fuse/connections none bind,optional 0 0\n\
                 lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp\n\
                 lxc.include = /usr/share/lxc/config/common.conf.d/\n"
            }
            Some("/usr/share/lxc/config/userns.conf") => {
                "lxc.cgroup.devices.deny =\nlxc.cgroup.devices.allow =\nlxc.cgroup2.devices.deny =\nlxc.cgroup2.devices.allow =\n\
                 lxc.cap.drop =\nlxc.cap.keep =\nlxc.tty.dir =\nlxc.mount.auto = sys:rw\n\
                 lxc.include = /usr/share/lxc/config/userns.conf.d/\n"
            }
            _ => return Ok(Included::Missing),
        };
        Ok(Included::File(text.to_owned()))
    }
}

fn config(text: &str) -> Config {
    Config::read(Path::new("/c"), text.to_owned(), &mut Stock)
}

fn settings(text: &str) -> Settings {
    Settings::from_config(&config(text)).unwrap()
}

#[test]
fn an_empty_config_has_the_defaults() {
    let empty = settings("");
    assert!(empty.autodev && !empty.ephemeral && empty.is_privileged());
    assert_eq!(empty.autodev_size, 500_000);
    assert_eq!((empty.tty_max, empty.pty_max), (0, 0));
    assert_eq!(empty.rootfs, None);
    assert_eq!(
        empty.capabilities,
        Capabilities::Drop(CapabilitySet::default())
    );
    assert_eq!(
        (empty.signals.halt, empty.signals.reboot, empty.signals.stop),
        (None, 2, 9)
    );
    assert_eq!(empty.monitor.death_signal, 9);
    assert_eq!(empty.log.level, LogLevel::Error);
    assert_eq!(empty.init.argv(), ["/sbin/init"]);
    assert!(empty.networks.is_empty() && empty.hooks.commands.is_empty());
}

#[test]
fn a_mapped_container_of_the_download_template() {
    let settings = settings(
        "# Distribution configuration\nlxc.include = /usr/share/lxc/config/common.conf\n\
         lxc.include = /usr/share/lxc/config/userns.conf\nlxc.arch = linux64\n\
         lxc.apparmor.profile = generated\nlxc.apparmor.allow_nesting = 1\n\
         lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n\
         lxc.rootfs.path = dir:/var/lib/lxc/c1/rootfs\nlxc.uts.name = c1\n\
         lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.flags = up\nlxc.net.0.hwaddr = 00:16:3e:aa:bb:cc\n",
    );
    assert_eq!(settings.personality, Some(Personality::Linux));
    assert_eq!(settings.idmaps.host_of(IdKind::User, 0), Some(100_000));
    assert!(!settings.is_privileged());
    assert_eq!(
        settings.rootfs.as_ref().map(|rootfs| &rootfs.path.kind),
        Some(&RootfsKind::Dir)
    );
    // userns.conf undoes parts of common.conf.
    assert_eq!(
        settings.capabilities,
        Capabilities::Drop(CapabilitySet::default())
    );
    assert!(settings.cgroup.is_empty());
    assert_eq!(settings.tty_dir, None);
    assert_eq!(settings.tty_max, 4);
    assert_eq!(settings.auto_mounts.proc, Some(ProcMode::Mixed));
    assert_eq!(settings.auto_mounts.sys, Some(SysMode::ReadWrite));
    assert_eq!(
        settings.auto_mounts.cgroup.map(|cgroup| cgroup.mode),
        Some(CgroupMode::Mixed)
    );
    assert_eq!(
        settings.hooks.of(HookStage::Clone),
        ["/usr/share/lxc/hooks/clonehostname"]
    );
    let network = &settings.networks[&0];
    assert!(network.up && matches!(network.kind, NetworkKind::Veth(_)));
    assert_eq!(network.link.as_deref(), Some("lxcbr0"));
}

#[test]
fn a_privileged_container_of_the_busybox_template() {
    let settings = settings(
        "lxc.net.0.type = empty\nlxc.include = /usr/share/lxc/config/common.conf\nlxc.rootfs.path = dir:/var/lib/lxc/b/rootfs\n\
         lxc.signal.halt = SIGUSR1\nlxc.signal.reboot = SIGTERM\nlxc.uts.name = \"b\"\nlxc.autodev = 1\nlxc.tty.max = 5\n\
         lxc.pty.max = 1\nlxc.cap.drop = sys_module mac_admin mac_override sys_time\n\n\
         #lxc.apparmor.profile = unconfined\n\nlxc.mount.auto = cgroup:mixed proc:mixed sys:ro\n\
         lxc.mount.entry = shm dev/shm tmpfs defaults,create=dir 0 0\n\
         lxc.mount.entry = mqueue dev/mqueue mqueue defaults,optional,create=dir 0 0\n\
         lxc.mount.entry = /lib lib none ro,bind 0 0\n",
    );
    assert_eq!(
        (settings.signals.halt, settings.signals.reboot),
        (Some(10), 15)
    );
    assert_eq!(settings.uts_name.as_deref(), Some("b"));
    assert_eq!(settings.mounts.len(), 4);
    assert_eq!(settings.cgroup.len(), 5);
    assert_eq!(settings.cgroup[0].file, "devices.deny");
    assert_eq!(
        (
            settings.cgroup[4].version,
            settings.cgroup[4].value.as_str()
        ),
        (CgroupVersion::V2, "c 1:3 rwm")
    );
    let Capabilities::Drop(dropped) = settings.capabilities else {
        panic!("keep")
    };
    assert_eq!(dropped.iter().count(), 5);
    assert!(!dropped.contains(Capability::SYS_ADMIN));
}

#[test]
fn a_container_of_lxc_1() {
    let settings = settings(
        "lxc.utsname = old\nlxc.rootfs = /var/lib/lxc/base/rootfs:/var/lib/lxc/old/delta0\nlxc.rootfs.backend = overlayfs\n\
         lxc.mount = /var/lib/lxc/old/fstab\nlxc.tty = 4\nlxc.pts = 1024\nlxc.devttydir = lxc\nlxc.arch = i386\n\
         lxc.cgroup.memory.limit_in_bytes = 256M\nlxc.haltsignal = SIGPWR\nlxc.loglevel = 1\n\
         lxc.network.type = veth\nlxc.network.flags = up\nlxc.network.link = br0\nlxc.network.ipv4 = 10.0.3.7/24\n\
         lxc.network.ipv4.gateway = auto\nlxc.network.type = macvlan\nlxc.network.macvlan.mode = bridge\nlxc.network.link = eth0\n",
    );
    let rootfs = settings.rootfs.unwrap();
    assert_eq!(rootfs.path.kind, RootfsKind::Overlay);
    assert_eq!(
        rootfs.path.overlay().unwrap().upper,
        Path::new("/var/lib/lxc/old/delta0")
    );
    assert_eq!(
        settings.fstab.as_deref(),
        Some(Path::new("/var/lib/lxc/old/fstab"))
    );
    assert_eq!(
        (
            settings.tty_max,
            settings.pty_max,
            settings.tty_dir.as_deref()
        ),
        (4, 1024, Some("lxc"))
    );
    assert_eq!(settings.log.level, LogLevel::Debug);
    assert_eq!(settings.networks[&0].ipv4_gateway, Some(Gateway::Auto));
    assert_eq!(settings.networks[&0].ipv4[0].prefix, 24);
    assert_eq!(
        settings.networks[&1].kind,
        NetworkKind::Macvlan {
            mode: MacvlanMode::Bridge
        }
    );
}

#[test]
fn every_other_setting() {
    let settings = settings(
        "lxc.ephemeral = 1\nlxc.init.cmd = /bin/sh -c 'exit 0'\nlxc.init.uid = 5\nlxc.init.groups = 1,2\nlxc.init.groups = 3\n\
         lxc.console.path = none\nlxc.console.buffer.size = auto\nlxc.console.rotate = 1\nlxc.cap.keep = none\n\
         lxc.prlimit.nofile = 10:20\nlxc.sysctl.net.ipv4.ip_forward = 1\nlxc.proc.oom_score_adj = 5\n\
         lxc.time.offset.boot = 1h\nlxc.namespace.keep = net ipc\nlxc.namespace.share.pid = c2\n\
         lxc.environment = A=b\nlxc.environment.hooks = C=\nlxc.environment = D\nlxc.group = x,y z\nlxc.group = y\n\
         lxc.start.auto = 1\nlxc.start.delay = 5\nlxc.start.order = -3\nlxc.cgroup.dir = a/b\nlxc.cgroup.dir.container.inner = in\n\
         lxc.rootfs.path = /srv/r\nlxc.rootfs.options = ro,idmap=container\nlxc.rootfs.managed = 0\nlxc.keyring.session = 1\n\
         lxc.monitor.unshare = 2\nlxc.monitor.signal.pdeath = 0\nlxc.hook.version = 1\nlxc.hook.pre-start = /a b\nlxc.hook.pre-start = /c\n\
         lxc.net.5.type = vlan\nlxc.net.5.vlan.id = 7\nlxc.net.2.type = none\n",
    );
    assert!(settings.ephemeral && settings.autostart.auto && settings.monitor.unshare);
    assert_eq!(settings.init.argv(), ["/bin/sh", "-c", "exit 0"]);
    assert_eq!(
        (settings.init.uid, settings.init.groups.as_deref()),
        (5, Some(&[1, 2, 3][..]))
    );
    assert_eq!(
        (&settings.console.path, settings.console.buffer_size),
        (&ConsolePath::None, 131_072)
    );
    assert_eq!(
        settings.capabilities,
        Capabilities::Keep(CapabilitySet::default())
    );
    assert_eq!(settings.prlimits["nofile"].hard, Some(20));
    assert_eq!(
        settings.sysctls,
        [("net.ipv4.ip_forward".to_owned(), "1".to_owned())]
    );
    assert_eq!(
        settings.proc,
        [("oom_score_adj".to_owned(), "5".to_owned())]
    );
    assert_eq!(settings.time.boot.map(|offset| offset.seconds), Some(3600));
    assert_eq!(settings.namespaces.keep, [Namespace::Net, Namespace::Ipc]);
    assert_eq!(
        settings.namespaces.share[&Namespace::Pid],
        ShareSource::Container("c2".to_owned())
    );
    let names: Vec<_> = settings
        .environment
        .iter()
        .map(|variable| (variable.name.as_str(), variable.scope))
        .collect();
    assert_eq!(
        names,
        [
            ("A", VariableScope::Everyone),
            ("C", VariableScope::Hooks),
            ("D", VariableScope::Everyone)
        ]
    );
    assert_eq!(settings.environment[2].value, None);
    assert_eq!(settings.groups, ["x", "y", "z"]);
    assert_eq!(
        (settings.autostart.delay, settings.autostart.order),
        (5, -3)
    );
    assert_eq!(
        (
            settings.cgroup_dirs.base.as_deref(),
            settings.cgroup_dirs.inner.as_deref()
        ),
        (Some("a/b"), Some("in"))
    );
    let rootfs = settings.rootfs.unwrap();
    assert!(!rootfs.managed && rootfs.options.idmap.is_some());
    assert_eq!(settings.keyring_session, Some(true));
    assert_eq!(settings.monitor.death_signal, 0);
    assert_eq!(
        (
            settings.hooks.version,
            settings.hooks.of(HookStage::PreStart)
        ),
        (1, &["/a b".to_owned(), "/c".to_owned()][..])
    );
    assert_eq!(settings.networks.keys().collect::<Vec<_>>(), [&2, &5]);
    assert_eq!(settings.networks[&5].kind, NetworkKind::Vlan { id: 7 });
}

#[test]
fn errors_that_show_only_together() {
    for (text, line) in [
        ("\nlxc.net.0.link = a\n", 2),
        ("lxc.net.0.type = vlan\n", 1),
        ("lxc.idmap = u 0 100000 10\n", 1),
        (
            "lxc.idmap = u 0 1 10\nlxc.idmap = g 0 1 10\nlxc.idmap = u 5 100 10\n",
            3,
        ),
        ("lxc.uts.nam = a\n", 1),
    ] {
        let error = Settings::from_config(&config(text)).unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
    }
}

/// What lxc-info of LXC 6.0.4 printed for the same text.
#[test]
fn values_in_stock_spelling() {
    let config = config(
        "lxc.arch = linux32\nlxc.uts.name = \"quoted\"\nlxc.rootfs.path = dir:/var/lib/lxc/c1/rootfs\n\
         lxc.net.0.type = veth\nlxc.net.0.flags = yes\nlxc.net.0.ipv4.address = 10.0.3.5/24\n\
         lxc.net.0.ipv4.address = 10.0.3.6/24 10.0.3.255\nlxc.net.0.ipv6.address = fc42::6\nlxc.net.3.type = macvlan\n\
         lxc.cap.drop = sys_time sys_admin\nlxc.cap.drop = mknod\nlxc.mount.auto = proc sys:ro\nlxc.mount.auto = cgroup:mixed\n\
         lxc.mount.entry = shm dev/shm tmpfs defaults 0 0\nlxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n\
         lxc.environment = A=b\nlxc.signal.halt = SIGRTMIN+3\nlxc.log.level = 1\nlxc.console.buffer.size = 100kB\n\
         lxc.console.size = 10\nlxc.time.offset.boot = 3h\nlxc.time.offset.monotonic = -5ms\nlxc.prlimit.nofile = 100:unlimited\n\
         lxc.prlimit.core = unlimited\nlxc.hook.start = /bin/a\nlxc.hook.start = /bin/b x\nlxc.group = a,b c\n\
         lxc.init.groups = 1,2\nlxc.init.groups = 3\nlxc.namespace.keep = net ipc\nlxc.cgroup2.memory.max = 1G\n\
         lxc.cgroup2.devices.allow = c 1:3 rwm\nlxc.apparmor.raw = x,\nlxc.seccomp.notify.proxy = unix:/x\n",
    );
    for (key, value) in [
        ("lxc.arch", "i686"),
        ("lxc.uts.name", "quoted"),
        ("lxc.rootfs.path", "/var/lib/lxc/c1/rootfs"),
        ("lxc.rootfs.managed", "1"),
        ("lxc.net", "veth\nmacvlan\n"),
        ("lxc.net.0.type", "veth"),
        ("lxc.net.0.flags", "up"),
        ("lxc.net.0.l2proxy", "0"),
        ("lxc.net.0.ipv4.address", "10.0.3.5/24\n10.0.3.6/24"),
        ("lxc.net.0.ipv6.address", "fc42::6/64"),
        ("lxc.net.0.veth.mode", "bridge"),
        ("lxc.net.3.macvlan.mode", "private"),
        ("lxc.cap.drop", "sys_time\nsys_admin\nmknod\n"),
        ("lxc.mount.auto", "proc:mixed sys:ro cgroup:mixed"),
        ("lxc.mount.entry", "shm dev/shm tmpfs defaults 0 0\n"),
        ("lxc.idmap", "u 0 100000 65536\ng 0 100000 65536"),
        ("lxc.environment", "A=b\n"),
        ("lxc.signal.halt", "37"),
        ("lxc.signal.stop", "0"),
        ("lxc.monitor.signal.pdeath", "9"),
        ("lxc.log.level", "DEBUG"),
        ("lxc.console.buffer.size", "131072"),
        ("lxc.console.size", "4096"),
        ("lxc.time.offset.boot", "10800s"),
        ("lxc.time.offset.monotonic", "-5000000ns"),
        ("lxc.prlimit.nofile", "100:unlimited"),
        (
            "lxc.prlimit",
            "lxc.prlimit.nofile = 100:unlimited\nlxc.prlimit.core = unlimited\n",
        ),
        ("lxc.hook.start", "/bin/a\n/bin/b x\n"),
        ("lxc.group", "a,b\nc\n"),
        ("lxc.init.groups", "1,2,3"),
        ("lxc.namespace.keep", "ipc\nnet\n"),
        (
            "lxc.cgroup2",
            "lxc.cgroup2.memory.max = 1G\nlxc.cgroup2.devices.allow = c 1:3 rwm\n",
        ),
        ("lxc.cgroup2.memory.max", "1G\n"),
        ("lxc.apparmor.raw", "x,\n"),
        ("lxc.autodev", "1"),
        ("lxc.autodev.tmpfs.size", "0"),
        ("lxc.start.auto", "0"),
        ("lxc.no_new_privs", "0"),
        ("lxc.seccomp.notify.proxy", "/x"),
    ] {
        assert_eq!(stock_value(&config, key).as_deref(), Some(value), "{key}");
    }
    for key in [
        "lxc.seccomp.profile",
        "lxc.seccomp",
        "lxc.utsname",
        "lxc.include",
        "lxc.hook",
        "lxc.net.0",
        "lxc.net.9.l2proxy",
        "lxc.net.0.veth.pair",
        "lxc.cap.keep",
        "lxc.log.file",
        "lxc.console.path",
        "lxc.namespace.share.uts",
        "lxc.no.such",
    ] {
        assert_eq!(stock_value(&config, key), None, "{key}");
    }
    assert_eq!(stock_groups(&config), ["a,b", "c"]);
}
