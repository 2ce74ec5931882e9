//! AppArmor: the label of a container's processes, and the profile that is made for
//! one whose config says `generated` (lxc.container.conf(5), `lxc.apparmor.*`;
//! apparmor.d(5)). Names and label are those of LXC, so that its tools and an
//! administrator's find what they look for.

use crate::layout::{ContainerLayout, fnv1a_64};
use crate::settings::Settings;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Where the kernel shows AppArmor (securityfs).
pub const SECURITY_DIR: &str = "/sys/kernel/security/apparmor";
/// What LXC's package brings for containers whose config names no profile.
const DEFAULT_PROFILE: &str = "lxc-container-default-cgns";
/// A longer name is replaced by its hash: the kernel takes 255 bytes with what it adds.
const MAX_NAME: usize = 246;

/// What the kernel's AppArmor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// It confines mounts.
    pub confines_mounts: bool,
    /// A process can have two labels, of which the second is in a namespace that
    /// the container may fill with profiles of its own.
    pub stacks: bool,
    /// LXC's default profile is loaded.
    pub has_default: bool,
    /// Whoever asks is confined.
    pub caller_is_confined: bool,
}

impl Kernel {
    /// Looks at the kernel; `read` gives a file's text if it can be read. `None` is a
    /// kernel without AppArmor.
    pub fn look(read: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let enabled = read("/sys/module/apparmor/parameters/enabled")?;
        if enabled.trim() != "Y" {
            return None;
        }
        let feature = |name: &str| read(&format!("{SECURITY_DIR}/features/{name}"));
        let profiles = read(&format!("{SECURITY_DIR}/profiles")).unwrap_or_default();
        let own = read("/proc/self/attr/apparmor/current").unwrap_or_default();
        Some(Self {
            confines_mounts: feature("mount/mask").is_some(),
            stacks: feature("domain/stack").is_some_and(|text| text.trim() == "yes"),
            has_default: profiles
                .lines()
                .any(|line| line.split(' ').next() == Some(DEFAULT_PROFILE)),
            caller_is_confined: !matches!(own.trim(), "" | "unconfined"),
        })
    }
}

/// How a container's processes are confined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confinement {
    /// As whoever starts it.
    Unchanged,
    /// By a profile that is there already, or by none: `unconfined`.
    Named(String),
    /// By a profile that is made for it.
    Generated(Generated),
}

impl Confinement {
    /// What a config asks for. Without a profile it is LXC's default one, and where
    /// that is not loaded, because LXC is not installed, a generated one.
    pub fn of(settings: &Settings, layout: &ContainerLayout, kernel: &Kernel) -> Self {
        match settings.apparmor.profile.as_deref() {
            None if kernel.caller_is_confined => Self::Unchanged,
            None if kernel.has_default => Self::Named(DEFAULT_PROFILE.to_owned()),
            Some("unchanged") => Self::Unchanged,
            None | Some("generated") => Self::Generated(Generated::of(layout)),
            Some(name) => Self::Named(name.to_owned()),
        }
    }

    /// The label that init takes on when it is executed.
    pub fn label(&self, kernel: &Kernel) -> Option<String> {
        match self {
            Self::Unchanged => None,
            Self::Named(name) => Some(name.clone()),
            Self::Generated(generated) if kernel.stacks => {
                let Generated { profile, namespace } = generated;
                Some(format!("{profile}//&:{namespace}:"))
            }
            Self::Generated(generated) => Some(generated.profile.clone()),
        }
    }
}

/// The profile of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// `lxc-NAME_</LXC/PATH>`
    pub profile: String,
    /// `lxc-NAME_<-LXC-PATH>`: the policy namespace, and the file of the profile's text.
    pub namespace: String,
}

impl Generated {
    /// The names for a container.
    pub fn of(layout: &ContainerLayout) -> Self {
        let name = |path: &str| {
            let full = format!("{}_<{path}>", layout.name());
            // Other characters mean something in a profile's name.
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-/<>".contains(c);
            if full.len() <= MAX_NAME && full.chars().all(plain) {
                format!("lxc-{full}")
            } else {
                format!("lxc-{:016x}", fnv1a_64(full.as_bytes()))
            }
        };
        Self {
            profile: name(layout.lxc_path()),
            namespace: name(&layout.lxc_path().replace('/', "-")),
        }
    }

    /// The profile's text for apparmor_parser(8).
    pub fn text(&self, settings: &Settings, kernel: &Kernel) -> String {
        let Self { profile, namespace } = self;
        let mut text = format!(
            "# Made by Gantry for one container, and anew at each start.\n\
             profile \"{profile}\" flags=(attach_disconnected,mediate_deleted) {{\n"
        );
        text.push_str(EVERYWHERE);
        let mut sys = SYS_WRITABLE.to_vec();
        if kernel.stacks {
            sys.push("kernel/security/apparmor/**");
            // String's writer does not fail.
            writeln!(text, "  change_profile -> \":{namespace}:*\",").ok();
            writeln!(text, "  change_profile -> \":{namespace}://*\",").ok();
        }
        deny_writing_but(&mut text, "/proc/sys", &PROC_SYS_WRITABLE);
        deny_writing_but(&mut text, "/sys", &sys);
        if settings.is_privileged() {
            text.push_str(PRIVILEGED_MOUNTS);
        } else {
            text.push_str(MAPPED_MOUNTS);
        }
        if settings.apparmor.allow_nesting {
            text.push_str(NESTING);
        }
        for line in &settings.apparmor.raw {
            writeln!(text, "  {line}").ok();
        }
        text.push_str("}\n");
        text
    }
}

/// What every container may do, and the host's switches and memory that none may touch.
const EVERYWHERE: &str = "\
  capability,
  dbus,
  file,
  network,
  umount,
  userns,
  signal (receive),
  signal peer=@{profile_name},
  ptrace (readby, tracedby),
  ptrace peer=@{profile_name},
  unix,

  deny /proc/kcore rwklx,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/acpi/** rwklx,
  deny /proc/bus/** wklx,
  deny /sys/firmware/efi/efivars/** rwklx,
  deny /sys/kernel/debug/{,**} rwklx,
";

/// Below /proc/sys: what has a namespace.
const PROC_SYS_WRITABLE: [&str; 6] = [
    "kernel/shm*",
    "kernel/sem*",
    "kernel/msg*",
    "kernel/hostname",
    "kernel/domainname",
    "net/**",
];

/// Below /sys: what has a namespace, or is delegated.
const SYS_WRITABLE: [&str; 3] = ["fs/cgroup/**", "devices/virtual/net/**", "class/net/**"];

/// Where root inside is the host's root, what a system's boot mounts and nothing that
/// would show the forbidden places of /proc and /sys somewhere else.
const PRIVILEGED_MOUNTS: &str = "\
  mount fstype=(tmpfs, hugetlbfs, mqueue, fuse, fuse.*),
  mount fstype=(cgroup, cgroup2) -> /sys/fs/cgroup/{,**},
  mount fstype=binfmt_misc -> /proc/sys/fs/binfmt_misc/,
  mount fstype=efivarfs -> /sys/firmware/efi/efivars/,
  mount fstype=fusectl -> /sys/fs/fuse/connections/,
  mount fstype=securityfs -> /sys/kernel/security/,
  mount fstype=debugfs -> /sys/kernel/debug/,
  mount fstype=proc -> /proc/,
  mount fstype=sysfs -> /sys/,
  mount options=(rw, nosuid, nodev, noexec, remount) -> /sys/,
  mount options=(ro, nosuid, nodev, noexec, remount) -> /sys/fs/cgroup/,
  mount options=(ro, nosuid, nodev, noexec, remount, strictatime) -> /sys/fs/cgroup/,
  deny mount options=(ro, remount) -> /,
  deny mount options=(ro, remount, silent) -> /,
  mount options=(rw, make-slave) -> **,
  mount options=(rw, make-rslave) -> **,
  mount options=(rw, make-shared) -> **,
  mount options=(rw, make-rshared) -> **,
  mount options=(rw, make-private) -> **,
  mount options=(rw, make-rprivate) -> **,
  mount options=(rw, make-unbindable) -> **,
  mount options=(rw, make-runbindable) -> **,
  mount options=(rw, bind) /[^spd]*{,/**},
  mount options=(rw, bind) /s[^y]*{,/**},
  mount options=(rw, bind) /p[^r]*{,/**},
  mount options=(rw, bind) /d[^e]*{,/**},
  mount options=(rw, rbind) /[^spd]*{,/**},
  mount options=(rw, rbind) /s[^y]*{,/**},
  mount options=(rw, rbind) /p[^r]*{,/**},
  mount options=(rw, rbind) /d[^e]*{,/**},
  mount options=(rw, move) /[^spd]*{,/**},
  mount options=(rw, move) /s[^y]*{,/**},
  mount options=(rw, move) /p[^r]*{,/**},
  mount options=(rw, move) /d[^e]*{,/**},
  mount options=(ro, remount) -> /[^sp]*{,/**},
  mount options=(ro, remount, bind) -> /[^sp]*{,/**},
  mount options=(ro, remount, bind, nosuid) -> /[^sp]*{,/**},
  mount options=(ro, remount, bind, nosuid, nodev) -> /[^sp]*{,/**},
  mount options=(ro, remount, bind, nosuid, nodev, noexec) -> /[^sp]*{,/**},
";

/// A user namespace lets root inside mount only what is harmless to the host.
const MAPPED_MOUNTS: &str = "  mount,\n  pivot_root,\n";

/// What containers inside the container need: their own proc and sysfs, other
/// profiles' processes, and any mount they make. The instances that are there for the
/// kernel's sake are for nobody to use: no rule for /proc and /sys holds below them.
const NESTING: &str = "\
  deny /dev/.lxc/proc/** rw,
  deny /dev/.lxc/sys/** rw,
  mount,
  pivot_root,
  ptrace,
  signal,
";

/// Denies writing to all below `base` but to what is listed: plain names, names that
/// end in `*`, or folders that end in `/**`. AppArmor has no exceptions from a deny
/// rule, so that all other names are spelt out, letter by letter; only the beginnings
/// of an exception, which are no names there, stay free.
fn deny_writing_but(text: &mut String, base: &str, allowed: &[&str]) {
    #[derive(Default)]
    struct Node {
        next: BTreeMap<char, Node>,
        /// The name may go on in any way.
        open: bool,
    }
    fn walk(text: &mut String, path: &str, node: &Node) {
        let letters: String = node.next.keys().filter(|c| **c != '/').collect();
        if letters.is_empty() {
            writeln!(text, "  deny {path}?*{{,/**}} wklx,").ok();
        } else {
            writeln!(text, "  deny {path}[^{letters}]*{{,/**}} wklx,").ok();
        }
        for (letter, next) in node.next.iter().filter(|(_, next)| !next.open) {
            walk(text, &format!("{path}{letter}"), next);
        }
    }
    let mut root = Node::default();
    for name in allowed {
        let name = name.trim_end_matches('*');
        let mut node = &mut root;
        for letter in name.chars() {
            node = node.next.entry(letter).or_default();
        }
        node.open = allowed
            .iter()
            .any(|full| full.len() > name.len() && full.starts_with(name));
    }
    walk(text, &format!("{base}/"), &root);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Included, Includes};
    use crate::name::ContainerName;
    use std::path::Path;

    struct Nothing;

    impl Includes for Nothing {
        fn read(&mut self, _: &Path) -> std::io::Result<Included> {
            Ok(Included::Missing)
        }
    }

    const KERNEL: Kernel = Kernel {
        confines_mounts: true,
        stacks: true,
        has_default: false,
        caller_is_confined: false,
    };

    fn settings(text: &str) -> Settings {
        let config = Config::read(Path::new("config"), text.to_owned(), &mut Nothing);
        Settings::from_config(&config).unwrap()
    }

    fn layout(path: &str) -> ContainerLayout {
        ContainerLayout::new(path, ContainerName::new("c1").unwrap())
    }

    fn label(config: &str, kernel: Kernel) -> Option<String> {
        Confinement::of(&settings(config), &layout("/var/lib/lxc"), &kernel).label(&kernel)
    }

    #[test]
    fn labels_are_those_of_lxc() {
        let generated = "lxc-c1_</var/lib/lxc>";
        assert_eq!(
            label("lxc.apparmor.profile = generated\n", KERNEL).unwrap(),
            format!("{generated}//&:lxc-c1_<-var-lib-lxc>:")
        );
        let simple = Kernel {
            stacks: false,
            ..KERNEL
        };
        assert_eq!(
            label("lxc.aa_profile = generated\n", simple).unwrap(),
            generated
        );
        assert_eq!(label("lxc.apparmor.profile = unchanged\n", KERNEL), None);
        assert_eq!(label("lxc.aa_profile = mine\n", KERNEL).unwrap(), "mine");
        assert_eq!(label("", simple).unwrap(), generated);
        let with_lxc = Kernel {
            has_default: true,
            ..KERNEL
        };
        assert_eq!(label("", with_lxc).unwrap(), DEFAULT_PROFILE);
        let confined = Kernel {
            caller_is_confined: true,
            ..with_lxc
        };
        assert_eq!(label("", confined), None);
    }

    #[test]
    fn a_name_that_is_long_or_strange_is_hashed() {
        for path in [
            "/a".repeat(150),
            "/with \"quotes\"".to_owned(),
            "/a*".to_owned(),
        ] {
            let Generated { profile, namespace } = Generated::of(&layout(&path));
            for name in [profile, namespace] {
                let hash = name.strip_prefix("lxc-").unwrap();
                assert!(
                    hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_kernel_is_read_from_its_files() {
        let files = |path: &str| {
            Some(match path.strip_prefix(SECURITY_DIR) {
                Some("/features/domain/stack") => "yes\n".to_owned(),
                Some("/profiles") => {
                    format!("{DEFAULT_PROFILE}-x (enforce)\n{DEFAULT_PROFILE} (enforce)\n")
                }
                Some(_) => return None,
                None if path.ends_with("enabled") => "Y\n".to_owned(),
                None => "unconfined\n".to_owned(),
            })
        };
        assert_eq!(
            Kernel::look(files),
            Some(Kernel {
                confines_mounts: false,
                has_default: true,
                ..KERNEL
            })
        );
        assert_eq!(Kernel::look(|_| None), None);
    }

    /// What the rules of `deny_writing_but` forbid, read as globs.
    #[test]
    fn all_but_the_exceptions_is_denied() {
        let mut text = String::new();
        deny_writing_but(
            &mut text,
            "/x",
            &["net/**", "kernel/shm*", "kernel/hostname"],
        );
        let rules: Vec<&str> = text
            .lines()
            .map(|line| line.trim().strip_prefix("deny ").unwrap())
            .map(|line| line.strip_suffix("{,/**} wklx,").unwrap())
            .collect();
        let denied = |path: &str| rules.iter().any(|rule| denies(rule, path));
        for free in [
            "/x/net/a",
            "/x/net/a/b",
            "/x/kernel/shmmax",
            "/x/kernel/shm_rmid",
            "/x/kernel/hostname",
        ] {
            assert!(!denied(free), "{free}");
        }
        for bad in [
            "/x/vm/y",
            "/x/kernel/core_pattern",
            "/x/kernel/hostnames",
            "/x/kernels",
            "/x/netto/y",
            "/x/kernel/sysrq",
            "/x/fs",
            "/x/kernel/house",
        ] {
            assert!(denied(bad), "{bad}");
        }
    }

    /// A rule is letters, then one `[^…]` or `?`, then `*`, which ends at a slash.
    fn denies(rule: &str, path: &str) -> bool {
        let rule = rule.strip_suffix('*').unwrap();
        let (start, forbidden) = match rule.split_once("[^") {
            Some((start, letters)) => (start, letters.strip_suffix(']').unwrap()),
            None => (rule.strip_suffix('?').unwrap(), ""),
        };
        let next = path
            .strip_prefix(start)
            .and_then(|rest| rest.chars().next());
        next.is_some_and(|c| c != '/' && !forbidden.contains(c))
    }
}
