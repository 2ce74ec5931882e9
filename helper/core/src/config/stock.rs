//! What LXC's packages install for configs to include, for hosts without
//! them. Contents are those of LXC 6 and of lxc-templates, but for the hook by
//! which a clone learns its name, which is a program of the package's.

use std::path::Path;

/// Where LXC's packages have these files.
const DIRECTORY: &str = "/usr/share/lxc/config";

const COMMON: &str = "\
lxc.tty.dir = lxc
lxc.tty.max = 4
lxc.pty.max = 1024
lxc.cap.drop = mac_admin mac_override sys_time sys_module sys_rawio
DEVICES
lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed
lxc.mount.entry = /sys/fs/fuse/connections sys/fs/fuse/connections none bind,optional 0 0
lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp
lxc.include = /usr/share/lxc/config/common.conf.d/
";

/// Where it says DEVICES in [`COMMON`], for either version of control groups.
const COMMON_DEVICES: &[&str] = &[
    "deny = a",
    "allow = c *:* m",
    "allow = b *:* m",
    "allow = c 1:3 rwm",
    "allow = c 1:5 rwm",
    "allow = c 1:7 rwm",
    "allow = c 5:0 rwm",
    "allow = c 5:1 rwm",
    "allow = c 5:2 rwm",
    "allow = c 1:8 rwm",
    "allow = c 1:9 rwm",
    "allow = c 136:* rwm",
    "allow = c 10:229 rwm",
];

const USERNS: &str = "\
lxc.cgroup.devices.deny =
lxc.cgroup.devices.allow =
lxc.cgroup2.devices.deny =
lxc.cgroup2.devices.allow =
lxc.cap.drop =
lxc.cap.keep =
lxc.tty.dir =
lxc.mount.auto = sys:rw
lxc.include = /usr/share/lxc/config/userns.conf.d/
";

const NESTING: &str = "\
lxc.apparmor.profile = lxc-container-default-with-nesting
lxc.mount.entry = proc dev/.lxc/proc proc create=dir,optional 0 0
lxc.mount.entry = sys dev/.lxc/sys sysfs create=dir,optional 0 0
";

/// Of a distribution with mapped ids.
const DISTRIBUTION_USERNS: &str = "lxc.include = /usr/share/lxc/config/userns.conf\n";

/// Debian and those like it: consoles in /dev itself; clock, tunnels and
/// virtual machines.
const DEBIAN: &str = "\
lxc.include = /usr/share/lxc/config/common.conf
lxc.tty.dir =
DEVICES
";

/// And in [`DEBIAN`].
const DEBIAN_DEVICES: &[&str] = &[
    "allow = c 254:0 rm",
    "allow = c 10:200 rwm",
    "allow = c 10:228 rwm",
    "allow = c 10:232 rwm",
];

const UBUNTU: &str = "\
lxc.include = /usr/share/lxc/config/debian.common.conf
lxc.mount.entry = /sys/kernel/debug sys/kernel/debug none bind,optional 0 0
lxc.mount.entry = /sys/kernel/security sys/kernel/security none bind,optional 0 0
lxc.mount.entry = /sys/fs/pstore sys/fs/pstore none bind,optional 0 0
lxc.mount.entry = mqueue dev/mqueue mqueue rw,relatime,create=dir,optional 0 0
";

/// CentOS and those like it.
const CENTOS: &str = "\
lxc.include = /usr/share/lxc/config/common.conf
lxc.cap.drop = sys_nice sys_pacct sys_rawio
";

const FEDORA: &str = "\
lxc.include = /usr/share/lxc/config/common.conf
lxc.cap.drop = setfcap sys_nice sys_pacct sys_rawio
";

const ARCH: &str = "\
lxc.include = /usr/share/lxc/config/fedora.common.conf
lxc.signal.halt = SIGRTMIN+4
lxc.tty.max = 6
";

const VOID: &str = "\
lxc.include = /usr/share/lxc/config/fedora.common.conf
lxc.signal.halt = SIGCONT
lxc.environment = VIRTUALIZATION=lxc
";

/// What stands in for a file that is not installed.
pub(super) fn file(path: &Path) -> Option<String> {
    let name = path.strip_prefix(DIRECTORY).ok()?.to_str()?;
    let (text, devices) = match name {
        "common.conf" => (COMMON, COMMON_DEVICES),
        "userns.conf" => (USERNS, &[][..]),
        "nesting.conf" => (NESTING, &[][..]),
        "oci.common.conf" => ("", &[][..]),
        _ => match name.split_once('.')? {
            (distribution, "common.conf") => of_distribution(distribution)?,
            (distribution, "userns.conf") => {
                of_distribution(distribution)?;
                (DISTRIBUTION_USERNS, &[][..])
            }
            _ => return None,
        },
    };
    let rules = ["cgroup", "cgroup2"].into_iter().flat_map(|version| {
        let line = move |rule: &&str| format!("lxc.{version}.devices.{rule}\n");
        devices.iter().map(line)
    });
    Some(text.replace("DEVICES\n", &rules.collect::<String>()))
}

/// Lines and rules about devices.
fn of_distribution(name: &str) -> Option<(&'static str, &'static [&'static str])> {
    match name {
        "debian" | "devuan" | "kali" | "gentoo" | "slackware" => Some((DEBIAN, DEBIAN_DEVICES)),
        "ubuntu" => Some((UBUNTU, &[])),
        "centos" | "opensuse" | "oracle" | "sparclinux" => Some((CENTOS, &[])),
        "fedora" => Some((FEDORA, &[])),
        "archlinux" => Some((ARCH, &[])),
        "voidlinux" => Some((VOID, &[])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Included, Includes};
    use crate::settings::Settings;
    use std::path::Path;

    /// A host on which no file is.
    struct Nothing;

    impl Includes for Nothing {
        fn read(&mut self, _: &Path) -> std::io::Result<Included> {
            Ok(Included::Missing)
        }
    }

    #[test]
    fn every_one_can_be_included_where_none_is_installed() {
        for name in [
            "common",
            "userns",
            "nesting",
            "oci.common",
            "debian.common",
            "debian.userns",
            "ubuntu.common",
            "centos.common",
            "fedora.common",
            "archlinux.common",
            "voidlinux.common",
        ] {
            let text = format!("lxc.include = /usr/share/lxc/config/{name}.conf\n");
            let config = Config::parse(Path::new("/c"), text, &mut Nothing).unwrap();
            Settings::from_config(&config).unwrap();
        }
        for other in [
            "/usr/share/lxc/config/beos.common.conf",
            "/tmp/common.conf",
            "/usr/share/lxc/config/../common.conf",
        ] {
            assert_eq!(super::file(Path::new(other)), None);
        }
    }
}
