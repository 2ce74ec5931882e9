//! The table of keys, key by key.

use super::*;

fn key(written: &str) -> FoundKey<'_> {
    match find(written) {
        Some(Match::Key(found)) => found,
        other => panic!("{written}: {other:?}"),
    }
}

/// A name that the table's name stands for.
fn example(name: &str) -> String {
    match name {
        "lxc.cgroup.FILE" => "lxc.cgroup.memory.limit_in_bytes".to_owned(),
        "lxc.cgroup2.FILE" => "lxc.cgroup2.memory.max".to_owned(),
        "lxc.prlimit.NAME" => "lxc.prlimit.nofile".to_owned(),
        "lxc.namespace.share.NS" => "lxc.namespace.share.net".to_owned(),
        "lxc.sysctl.KEY" => "lxc.sysctl.net.ipv4.ip_forward".to_owned(),
        "lxc.proc.FILE" => "lxc.proc.oom_score_adj".to_owned(),
        other => other.replace(".N.", ".0."),
    }
}

const FLAGS: &[&str] = &["2", "yes", "-1", "00"];
const NUMBERS: &[&str] = &["-1", "many", "1.5", "99999999999"];
const SIGNAL: (&[&str], &[&str]) = (
    &["SIGPWR", "sigpwr", "SIGRTMIN+3", "SIGRTMAX-2", "15"],
    &["PWR", "SIG15", "SIGRTMIN-1", "-9", "SIGRTMIN", "sigrtmax"],
);
const SIZES: (&[&str], &[&str]) = (
    &["auto", "4096", "64kB", "64KB", "1MB", "1GB", "10"],
    &["64K", "-1", "big", "1TB", "99999999999GB"],
);
const ADDRESS4: &[&str] = &[
    "10.0.0",
    "10.0.0.1/33",
    "10.0.0.1/-1",
    "::1",
    "10.0.0.1/24 nowhere",
];

/// Values that are taken and values that are refused, for each key.
fn samples(name: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match name {
        "lxc.include"
        | "lxc.rootfs.mount"
        | "lxc.mount.fstab"
        | "lxc.console.path"
        | "lxc.console.logfile"
        | "lxc.seccomp.profile"
        | "lxc.log.file"
        | "lxc.init.cwd" => (&["/some/path", "none", "relative"], &["/a\u{1b}b"]),
        "lxc.arch" => (
            &["x86_64", "i686", "linux32", "arm64", "riscv64", "x32"],
            &["X86_64", "z80"],
        ),
        "lxc.uts.name" => (
            &["web", "a.b"],
            &["0123456789012345678901234567890123456789012345678901234567890123456789"],
        ),
        "lxc.init.uid"
        | "lxc.init.gid"
        | "lxc.tty.max"
        | "lxc.pty.max"
        | "lxc.start.delay"
        | "lxc.monitor.unshare"
        | "lxc.net.N.mtu" => (&["0", "1024"], NUMBERS),
        "lxc.net.N.veth.n_rxqueues" | "lxc.net.N.veth.n_txqueues" => {
            (&["1", "8"], &["0", "-1", "all"])
        }
        "lxc.start.order" => (&["0", "-5", "20"], &["first", "--1", "99999999999"]),
        "lxc.init.groups" => (&["5", "5,6,7", "5, 6"], &["wheel", "5,foo", "5,,6"]),
        "lxc.init.cmd" | "lxc.execute.cmd" => (
            &["/sbin/init --verbose 'two words'"],
            &["/sbin/init\nlxc.x"],
        ),
        "lxc.environment" | "lxc.environment.runtime" | "lxc.environment.hooks" => {
            (&["A=b", "A=b=c", "A=", "FROM_OUTSIDE"], &["=b"])
        }
        "lxc.rootfs.path" => (
            &["/srv/a", "dir:/srv/a", "zfs:tank/a", "ceph:x"],
            &["/a\0b"],
        ),
        "lxc.rootfs.backend" => (&["dir", "overlayfs", "aufs", "lvm"], &["ceph"]),
        "lxc.rootfs.options" => (
            &[
                "ro",
                "ro,nodev,size=5",
                "idmap=container",
                "idmap=/proc/1/ns/user",
            ],
            &["idmap=x", "create=x"],
        ),
        "lxc.mount.entry" => (
            &[
                "proc proc proc nodev 0 0",
                "/a\\040b c none bind,create=dir",
                "tmpfs tmp",
                "a\tb\tnone\tbind",
            ],
            &[
                "proc",
                "a b none create=pipe",
                "\\377 b none bind",
                "\\000 b none bind",
            ],
        ),
        "lxc.mount.auto" => (
            &[
                "proc sys cgroup",
                "proc:mixed sys:ro cgroup:rw:force",
                "cgroup-full:mixed",
                "cgroup2:ro",
                "cgroup2",
                "shmounts:/srv/shm",
                "shmounts:/srv/shm:/mnt",
                "cgroup:force",
            ],
            &[
                "procfs",
                "proc:ro",
                "sys:force",
                "cgroup:full",
                "cgroup2:mixed",
                "cgroup2:rw",
                "shmounts:",
                "shmounts::/x",
            ],
        ),
        "lxc.autodev.tmpfs.size" => (&["500000"], &["-1", "5M"]),
        "lxc.tty.dir" => (&["lxc", "a/b", "/lxc"], &["../x", "/a/../b"]),
        "lxc.cgroup.dir"
        | "lxc.cgroup.dir.monitor"
        | "lxc.cgroup.dir.monitor.pivot"
        | "lxc.cgroup.dir.container" => (&["lxc", "a/b"], &["/lxc", "../x", "a/../b"]),
        "lxc.cgroup.dir.container.inner" => (&["inner"], &["a/b", "..", "/x"]),
        "lxc.console.buffer.size" | "lxc.console.size" => SIZES,
        "lxc.cap.drop" => (
            &["sys_admin", "sys_admin mknod\tkill", "21"],
            &["CAP_KILL", "sys_admn", "64", "none"],
        ),
        "lxc.cap.keep" => (&["none", "kill", "kill mknod"], &["None", "all"]),
        "lxc.idmap" => (
            &["u 0 100000 65536", "g 1000 1000 1", "u\t0  100000\t65536"],
            &[
                "b 0 1 1",
                "u 0 1",
                "u 0 1 0",
                "u 0 -1 5",
                "u 0 4294967295 5",
                "u 0 1 1 1",
                "uid 0 1 1",
                "",
            ],
        ),
        "lxc.seccomp.notify.proxy" => (&["unix:/run/x", "unix:@x"], &["/run/x", "unix:", "tcp:1"]),
        "lxc.cgroup.FILE" | "lxc.cgroup2.FILE" | "lxc.sysctl.KEY" | "lxc.proc.FILE" => {
            (&["1", "max 100000"], &["a\nb"])
        }
        "lxc.prlimit.NAME" => (
            &[
                "1024",
                "1024:2048",
                "unlimited",
                "5:unlimited",
                "1 : 2",
                "1:",
            ],
            &["x", ":1", "2:1", "unlimited:1", "-1"],
        ),
        "lxc.namespace.clone" | "lxc.namespace.keep" => (
            &["user", "mnt pid\tuts ipc net cgroup time"],
            &["user,pid", "foo"],
        ),
        "lxc.namespace.share.NS" => (&["c2", "1234", "/proc/1/ns/net"], &["a b", "99999999999"]),
        "lxc.time.offset.boot" | "lxc.time.offset.monotonic" => (
            &["3h", "-5ms", "10 s", "1us", "7ns", "2m"],
            &["3", "h", "3d", "- 3s", "99999999999999999999s"],
        ),
        "lxc.group" => (&["onboot", "a, b c"], &["a\u{7}"]),
        "lxc.signal.halt"
        | "lxc.signal.reboot"
        | "lxc.signal.stop"
        | "lxc.monitor.signal.pdeath" => SIGNAL,
        "lxc.log.level" => (&["0", "8", "debug", "ERROR", "Warn"], &["9", "loud", "-1"]),
        "lxc.log.syslog" => (&["daemon", "local0", "LOCAL7"], &["local8", "kern"]),
        "lxc.net.N.type" => (
            &["veth", "macvlan", "ipvlan", "vlan", "phys", "empty", "none"],
            &["VETH", "bridge"],
        ),
        "lxc.net.N.link" => (
            &["lxcbr0", "eth+", "br-1.5"],
            &["far_too_long_name", "a b", "a/b"],
        ),
        "lxc.net.N.name" | "lxc.net.N.veth.pair" => {
            (&["eth0", "eth%d"], &["far_too_long_name", "a:b", ".."])
        }
        "lxc.net.N.flags" => (&["up", "whatever"], &["u\u{1}"]),
        "lxc.net.N.hwaddr" => (
            &[
                "00:16:3e:01:02:03",
                "00:16:3E:xx:XX:xx",
                "xx:xx:xx:xx:xx:xx",
            ],
            &[
                "00:16:3e:01:02",
                "00:16:3e:01:02:03:04",
                "0:16:3e:1:2:3",
                "gg:16:3e:01:02:03",
                "00-16-3e-01-02-03",
            ],
        ),
        "lxc.net.N.ipv4.address" => (
            &[
                "10.0.3.2",
                "10.0.3.2/24",
                "10.0.3.2/24 10.0.3.255",
                "10.0.3.2/0",
                "10.0.3.2/32",
            ],
            ADDRESS4,
        ),
        "lxc.net.N.ipv6.address" => (
            &["fc00::1", "fc00::1/128"],
            &["fc00::1/129", "10.0.0.1", "fc00:::1"],
        ),
        "lxc.net.N.ipv4.gateway" => (
            &["10.0.3.1", "auto", "dev"],
            &["fc00::1", "none", "10.0.3.1/24"],
        ),
        "lxc.net.N.ipv6.gateway" => (&["fc00::1", "auto", "dev"], &["10.0.3.1", "none"]),
        "lxc.net.N.script.up" | "lxc.net.N.script.down" => (&["/etc/up a b"], &["/etc/up\r"]),
        "lxc.net.N.macvlan.mode" => (
            &["private", "vepa", "bridge", "passthru"],
            &["Bridge", "l2"],
        ),
        "lxc.net.N.ipvlan.mode" => (&["l3", "l3s", "l2"], &["bridge"]),
        "lxc.net.N.ipvlan.isolation" => (&["bridge", "private", "vepa"], &["passthru"]),
        "lxc.net.N.vlan.id" => (&["0", "4095"], &["4096", "-1", "none"]),
        "lxc.net.N.veth.mode" => (&["bridge", "router"], &["switch"]),
        "lxc.net.N.veth.ipv4.route" => (&["10.0.0.0/8"], &["10.0.0.0", "10.0.0.0/33", "fc00::/7"]),
        "lxc.net.N.veth.ipv6.route" => (&["fc00::/7"], &["fc00::", "10.0.0.0/8"]),
        "lxc.net.N.veth.vlan.id" => (&["none", "0", "4094"], &["4095", "all"]),
        "lxc.net.N.veth.vlan.tagged.id" => (&["0", "4094"], &["none", "4095"]),
        _ => match key(&example(name)).key.grammar {
            Grammar::Flag => (&["0", "1"], FLAGS),
            Grammar::Text | Grammar::Command => (
                &["anything = 'goes' # here", "tab\tbed"],
                &["a\nb", "a\0b", "\u{1b}[0m"],
            ),
            other => panic!("{name} ({other:?}) has no samples"),
        },
    }
}

#[test]
fn every_key_takes_and_refuses_what_it_should() {
    for key in all() {
        let (good, bad) = samples(key.name);
        for value in good {
            assert_eq!(
                key.grammar.validate(value),
                Ok(()),
                "{} = {value}",
                key.name
            );
        }
        for value in bad {
            assert!(
                key.grammar.validate(value).is_err(),
                "{} = {value:?}",
                key.name
            );
        }
    }
}

#[test]
fn every_key_is_found_by_each_of_its_names() {
    for described in all() {
        let name = example(described.name);
        let found = key(&name);
        assert!(
            std::ptr::eq(found.key, described),
            "{name} finds {}",
            found.key.name
        );
        assert!(!found.legacy, "{name}");
        assert_eq!(found.name(0), name);
        for legacy in described.legacy {
            let written = legacy.replace("NAME", "nofile");
            let found = key(&written);
            assert!(
                std::ptr::eq(found.key, described),
                "{written} finds {}",
                found.key.name
            );
            assert!(found.legacy, "{written}");
            assert_eq!(found.name(0), name);
        }
    }
}

#[test]
fn the_table_is_complete_for_people() {
    let mut names = std::collections::HashSet::new();
    for key in all() {
        assert!(key.name.starts_with("lxc."), "{}", key.name);
        assert!(names.insert(key.name), "{} is there twice", key.name);
        assert!(key.meaning.ends_with('.'), "{}: {}", key.name, key.meaning);
        assert!(key.obsolete || !key.effect.is_empty(), "{}", key.name);
    }
    assert!(names.len() > 100, "{}", names.len());
}

#[test]
fn unknown_names_are_not_found() {
    for name in [
        "lxc",
        "lxc.",
        "lxc.utsnam",
        "lxc.uts.name2",
        "lxc.uts",
        "lxc.net.0.colour",
        "lxc.net.x.type",
        "lxc.net..type",
        "lxc.net.type",
        "lxc.net.-1.type",
        "lxc.net.99999999999.type",
        "lxc.prlimit.everything",
        "lxc.namespace.share.x",
        "lxc.cgroup2.",
        "lxc.cgroup2.memory/../x",
        "lxc.cgroup2..max",
        "lxc.proc.../mem",
        "lxc.proc.a/b",
        "lxc.sysctl.net..x",
        "lxc.sysctl.net/../kernel.core_pattern",
        "lxc.net.0.ipv4",
        "lxc.hook.never",
        "LXC.uts.name",
    ] {
        assert!(find(name).is_none(), "{name}");
    }
}

#[test]
fn bare_names_are_groups() {
    for (name, inside, outside) in [
        ("lxc.net", "lxc.net.7.link", "lxc.network"),
        ("lxc.network", "lxc.net.7.link", "lxc.uts.name"),
        ("lxc.net.1", "lxc.net.1.link", "lxc.net.11.link"),
        ("lxc.network.1", "lxc.net.1.link", "lxc.net.2.link"),
        ("lxc.hook", "lxc.hook.start", "lxc.hook.version"),
        (
            "lxc.cgroup",
            "lxc.cgroup.memory.limit_in_bytes",
            "lxc.cgroup.dir",
        ),
        (
            "lxc.cgroup",
            "lxc.cgroup.cpu.shares",
            "lxc.cgroup2.cpu.weight",
        ),
        (
            "lxc.cgroup2",
            "lxc.cgroup2.memory.max",
            "lxc.cgroup.relative",
        ),
        ("lxc.prlimit", "lxc.prlimit.core", "lxc.proc.oom_score_adj"),
        ("lxc.limit", "lxc.prlimit.core", "lxc.sysctl.a.b"),
    ] {
        let Some(Match::Group(group)) = find(name) else {
            panic!("{name} is no group")
        };
        assert!(group.contains(inside), "{name} {inside}");
        assert!(!group.contains(outside), "{name} {outside}");
    }
}

#[test]
fn legacy_network_names() {
    assert_eq!(key("lxc.network.ipv4").name(3), "lxc.net.3.ipv4.address");
    assert_eq!(
        key("lxc.network.ipv4.gateway").name(3),
        "lxc.net.3.ipv4.gateway"
    );
    assert_eq!(key("lxc.network.5.link").name(3), "lxc.net.5.link");
    assert_eq!(key("lxc.network.5.ipv6").name(3), "lxc.net.5.ipv6.address");
    assert_eq!(key("lxc.limit.core").name(0), "lxc.prlimit.core");
}

#[test]
fn what_equals_root_on_the_host() {
    let safe = |written: &str, value: &str| {
        let found = key(written);
        found.key.safety.is_safe(found.suffix, value)
    };
    for (name, value) in [
        ("lxc.uts.name", "x"),
        ("lxc.start.auto", "1"),
        ("lxc.mount.entry", "tmpfs tmp tmpfs size=10M 0 0"),
        ("lxc.mount.entry", "sysfs sys sysfs nosuid 0 0"),
        ("lxc.mount.auto", "proc:mixed sys:ro cgroup:mixed"),
        ("lxc.net.0.type", "veth"),
        ("lxc.net.0.type", "empty"),
        ("lxc.net.0.hwaddr", "00:16:3e:xx:xx:xx"),
        ("lxc.cgroup2.memory.max", "1G"),
        ("lxc.cgroup.cpuset.cpus", "0"),
        ("lxc.cap.drop", "sys_admin"),
        ("lxc.no_new_privs", "1"),
        ("lxc.idmap", "u 0 100000 65536"),
        ("lxc.sysctl.net.ipv4.ip_forward", "1"),
        ("lxc.proc.oom_score_adj", "100"),
        ("lxc.console.path", "none"),
        ("lxc.include", "/usr/share/lxc/config/common.conf"),
        ("lxc.environment", "LANG=C.UTF-8"),
        ("lxc.rootfs.options", "ro,idmap=container"),
    ] {
        assert!(safe(name, value), "{name} = {value}");
    }
    for (name, value) in [
        ("lxc.hook.start-host", "/x"),
        ("lxc.hook.start", ""),
        ("lxc.net.0.script.up", "/x"),
        ("lxc.mount.entry", "/ mnt none bind 0 0"),
        ("lxc.mount.entry", "/dev/sda1 mnt ext4 defaults 0 0"),
        ("lxc.mount.entry", "tmpfs ../../etc tmpfs defaults 0 0"),
        (
            "lxc.mount.entry",
            "tmpfs /var/lib/lxc/c/rootfs/x tmpfs defaults 0 0",
        ),
        ("lxc.mount.entry", "proc x proc bind 0 0"),
        (
            "lxc.mount.entry",
            "x x overlay lowerdir=/,upperdir=/a,workdir=/b 0 0",
        ),
        ("lxc.mount.fstab", "/etc/fstab"),
        ("lxc.mount.auto", "proc:rw"),
        ("lxc.mount.auto", "cgroup:rw"),
        ("lxc.mount.auto", "cgroup-full:ro"),
        ("lxc.mount.auto", "shmounts:/srv"),
        ("lxc.net.0.type", "none"),
        ("lxc.net.0.type", "phys"),
        ("lxc.net.0.veth.mode", "router"),
        ("lxc.net.0.veth.ipv4.route", "0.0.0.0/1"),
        ("lxc.net.0.l2proxy", "1"),
        ("lxc.cgroup2.devices.allow", "b 8:0 rwm"),
        ("lxc.cgroup.devices.deny", ""),
        ("lxc.cgroup.release_agent", "/x"),
        ("lxc.cap.drop", ""),
        ("lxc.cap.keep", "sys_admin"),
        ("lxc.apparmor.profile", "unconfined"),
        ("lxc.seccomp.profile", "/x"),
        ("lxc.no_new_privs", "0"),
        ("lxc.idmap", ""),
        ("lxc.idmap", "u 0 0 65536"),
        ("lxc.idmap", "u 0 1000 1"),
        ("lxc.rootfs.path", "/"),
        ("lxc.rootfs.options", "idmap=/proc/1/ns/user"),
        ("lxc.rootfs.options", "dev"),
        ("lxc.sysctl.kernel.core_pattern", "|/x"),
        ("lxc.proc.uid_map", "0 0 1"),
        ("lxc.console.path", "/dev/sda"),
        ("lxc.console.logfile", "/etc/cron.d/x"),
        ("lxc.log.file", "/etc/cron.d/x"),
        ("lxc.include", "/tmp/x"),
        ("lxc.include", "/usr/share/lxc/config/../../../../tmp/x"),
        ("lxc.environment", "LD_PRELOAD=/x"),
        ("lxc.environment.hooks", "PATH=/x"),
        ("lxc.namespace.share.pid", "1"),
        ("lxc.namespace.keep", "net"),
        ("lxc.cgroup.dir", "x"),
    ] {
        assert!(!safe(name, value), "{name} = {value}");
    }
}
