//! Values, spelling by spelling.

use super::mount::*;
use super::network::*;
use super::*;

#[test]
fn sizes() {
    for (text, bytes) in [
        ("auto", 131_072),
        ("100", 100),
        ("64kB", 65_536),
        ("2MB", 2 << 20),
        ("1GB", 1 << 30),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
    assert_eq!(buffer_size(10), Ok(4096));
    assert_eq!(buffer_size(102_400), Ok(131_072));
    assert!(buffer_size(u64::MAX).is_err());
}

#[test]
fn command_lines_are_split_at_blanks_outside_quotes() {
    assert_eq!(
        command_words("/sbin/init  --a\t'b c' d\"e f\"g ''"),
        ["/sbin/init", "--a", "b c", "de fg", ""]
    );
    assert_eq!(command_words("a 'b c"), ["a", "b c"]);
    assert!(command_words("  ").is_empty());
}

#[test]
fn limits() {
    let limit = |text| Limit::parse(text).map(|limit| (limit.soft, limit.hard));
    assert_eq!(limit("5"), Ok((Some(5), Some(5))));
    assert_eq!(limit("5 : unlimited"), Ok((Some(5), None)));
    assert_eq!(limit("unlimited"), Ok((None, None)));
    for text in ["5", "5:6", "unlimited", "5:unlimited"] {
        assert_eq!(Limit::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn time_offsets() {
    let offset = |text| TimeOffset::parse(text).map(|offset| (offset.seconds, offset.nanoseconds));
    assert_eq!(offset("3h"), Ok((10_800, 0)));
    assert_eq!(offset("-5ms"), Ok((-1, 995_000_000)));
    assert_eq!(offset("1500 us"), Ok((0, 1_500_000)));
    assert_eq!(TimeOffset::parse("3h").unwrap().to_string(), "10800s");
    assert_eq!(TimeOffset::parse("-5ms").unwrap().to_string(), "-5000000ns");
}

#[test]
fn shares() {
    assert_eq!(ShareSource::parse("12"), Ok(ShareSource::Pid(12)));
    assert_eq!(
        ShareSource::parse("/proc/1/ns/net"),
        Ok(ShareSource::Path("/proc/1/ns/net".into()))
    );
    assert_eq!(
        ShareSource::parse("web"),
        Ok(ShareSource::Container("web".into()))
    );
}

#[test]
fn mount_options_apply_in_order() {
    let parse = |text| MountOptions::parse(text).unwrap();
    let options =
        parse("rbind,ro,nosuid,suid,rw,ro,create=dir,optional,mode=755,size=5%,rslave,relative");
    assert_eq!(
        options.flags,
        MountFlags::BIND | MountFlags::RECURSIVE | MountFlags::READ_ONLY
    );
    assert_eq!(options.cleared, MountFlags::NO_SUID);
    assert_eq!(
        options.propagation,
        Some(Propagation {
            kind: PropagationKind::Slave,
            recursive: true
        })
    );
    assert_eq!(options.data, "mode=755,size=5%");
    assert_eq!(options.create, Some(CreateTarget::Directory));
    assert!(options.optional && options.relative && options.is_bind());
    // What only begins like a flag belongs to the file system.
    assert_eq!(
        parse("rootcontext=x,synchronous,devices").data,
        "rootcontext=x,synchronous,devices"
    );
    assert_eq!(parse("defaults").flags, MountFlags::default());
    assert_eq!(parse("idmap=container").idmap, Some(MountIdmap::Container));
    assert_eq!(parse("idmap=/x").idmap, Some(MountIdmap::Path("/x".into())));
}

/// The numbers of linux/mount.h.
#[test]
fn mount_flags_are_the_kernels() {
    let all = "ro,nosuid,nodev,noexec,sync,remount,mand,dirsync,noatime,nodiratime,rbind,relatime,strictatime,lazytime";
    let flags = MountOptions::parse(all).unwrap().flags;
    assert_eq!(
        flags.bits(),
        0x1 | 0x2
            | 0x4
            | 0x8
            | 0x10
            | 0x20
            | 0x40
            | 0x80
            | 0x400
            | 0x800
            | 0x1000
            | 0x4000
            | 0x20_0000
            | 0x100_0000
            | 0x200_0000
    );
}

#[test]
fn fstab_lines() {
    let entry =
        MountEntry::parse("/srv/my\\040data\tmnt/a\\134b none bind,create=file 0 0").unwrap();
    assert_eq!(
        (entry.source.as_str(), entry.target.as_str()),
        ("/srv/my data", "mnt/a\\b")
    );
    assert_eq!(entry.fstype, "none");
    assert_eq!(MountEntry::parse("a\\9b c").unwrap().source, "a\\9b");
    let fstab = "# comment\n\nproc proc proc defaults 0 0\n  sysfs sys sysfs\n";
    assert_eq!(parse_fstab(fstab).unwrap().len(), 2);
    assert_eq!(parse_fstab("a b\n\nbroken\n").unwrap_err().0, 3);
}

#[test]
fn automatic_mounts_replace_within_their_class() {
    let mut mounts = AutoMounts::default();
    mounts.apply("cgroup:mixed proc:mixed sys:mixed").unwrap();
    mounts.apply("sys:rw").unwrap();
    assert_eq!(mounts.proc, Some(ProcMode::Mixed));
    assert_eq!(mounts.sys, Some(SysMode::ReadWrite));
    assert_eq!(mounts.to_string(), "proc:mixed sys:rw cgroup:mixed");
    for none in ["cgroup2:rw", "cgroup2:mixed", "cgroup2:rw:force"] {
        assert!(mounts.clone().apply(none).is_err(), "{none}");
    }
    mounts.apply("cgroup2:ro:force shmounts:/a").unwrap();
    let cgroup = mounts.cgroup.unwrap();
    assert_eq!(
        (cgroup.tree, cgroup.mode, cgroup.force),
        (CgroupTree::Unified, CgroupMode::ReadOnly, true)
    );
    assert_eq!(
        mounts.shared.unwrap().container,
        PathBuf::from("/dev/.lxc-mounts")
    );
    let mut plain = AutoMounts::default();
    plain.apply("cgroup").unwrap();
    assert_eq!(
        plain.cgroup.map(|cgroup| cgroup.mode),
        Some(CgroupMode::ByCapability)
    );
}

#[test]
fn hardware_addresses() {
    let open = HardwareAddress::parse("00:16:3E:xX:5x:xx").unwrap();
    assert!(!open.is_complete());
    assert_eq!(open.to_string(), "00:16:3e:xx:5x:xx");
    assert_eq!(
        open.fill([0xff, 0xff, 0xff, 0xab, 0xcd, 0xef]),
        [0x00, 0x16, 0x3e, 0xab, 0x5d, 0xef]
    );
    // Never a group address.
    let any = HardwareAddress::parse("xx:xx:xx:xx:xx:xx").unwrap();
    assert_eq!(any.fill([0xff; 6])[0], 0xfe);
    let fixed = HardwareAddress::from([0, 0x16, 0x3e, 1, 2, 0xfa]);
    assert!(fixed.is_complete());
    assert_eq!(fixed.to_string(), "00:16:3e:01:02:fa");
    assert_eq!(HardwareAddress::parse("00:16:3e:01:02:fa"), Ok(fixed));
}

#[test]
fn addresses_and_their_defaults() {
    let parse = |text| {
        let found = Ipv4Assignment::parse(text).unwrap();
        (found.prefix, found.broadcast.to_string())
    };
    assert_eq!(parse("10.1.2.3"), (8, "10.255.255.255".to_owned()));
    assert_eq!(parse("172.16.2.3"), (16, "172.16.255.255".to_owned()));
    assert_eq!(parse("192.168.2.3"), (24, "192.168.2.255".to_owned()));
    assert_eq!(parse("10.0.3.5/24"), (24, "10.0.3.255".to_owned()));
    assert_eq!(parse("10.0.3.5/32"), (32, "10.0.3.5".to_owned()));
    assert_eq!(parse("10.0.3.5/24 10.0.3.9"), (24, "10.0.3.9".to_owned()));
    assert_eq!(Ipv6Assignment::parse("fc00::5").unwrap().prefix, 64);
}

#[test]
fn log_levels() {
    assert_eq!(LogLevel::parse("debug"), Ok(LogLevel::Debug));
    assert_eq!(LogLevel::parse("5"), Ok(LogLevel::Error));
    assert_eq!(LogLevel::parse("Fatal").unwrap().stock_name(), "FATAL");
}
