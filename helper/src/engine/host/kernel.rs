//! The running kernel: version, namespaces and their limits, system calls; and
//! how to tell what it was built with.

use super::{Report, Verdict, read, topic};
use crate::linux::tool;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// The first version with id-mapped mounts (mount_setattr(2)).
const OLDEST: (u32, u32) = (5, 12);

/// Namespaces (namespaces(7)) by their names in /proc and in sysctls, and the
/// options that bring them.
const NAMESPACES: [(&str, &str); 7] = [
    ("mnt", "NAMESPACES"),
    ("uts", "UTS_NS"),
    ("ipc", "IPC_NS"),
    ("pid", "PID_NS"),
    ("user", "USER_NS"),
    ("net", "NET_NS"),
    ("cgroup", "CGROUPS"),
];

/// What is known of how the running kernel was built.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    /// As uname(2) gives it.
    pub(super) release: String,
    /// The text of its configuration, where it can be read.
    config: Option<String>,
    /// The modules that are installed or built in, one path a line.
    modules: Option<String>,
}

/// Whether the kernel has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is there.
    Ready,
    /// It is loaded when it is first needed.
    Module,
    /// It was built as a module, and the module is not installed.
    Uninstalled,
    /// The kernel was built without it.
    Missing,
    /// Nothing here tells.
    Unknown,
}

impl Kernel {
    pub(super) fn read() -> Self {
        let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
        let folder = format!("/lib/modules/{release}");
        let list = |name: &str| read(&format!("{folder}/{name}"));
        let modules = list("modules.dep")
            .map(|loadable| loadable + "\n" + &list("modules.builtin").unwrap_or_default());
        let config = own_config()
            .or_else(|| read(&format!("/boot/config-{release}")))
            .or_else(|| list("config"))
            .or_else(|| list("build/.config"));
        Self {
            release,
            config,
            modules,
        }
    }

    /// Whether it was built with an option (without `CONFIG_`), whose code is,
    /// or would be, in `module`.
    pub(super) fn presence(&self, option: &str, module: &str) -> Presence {
        if !module.is_empty() && Path::new("/sys/module").join(module).exists() {
            return Presence::Ready;
        }
        let installed = self.modules.as_deref().map(|list| lists(list, module));
        match self.config.as_deref().map(|text| setting(text, option)) {
            Some(Some("y")) => Presence::Ready,
            Some(Some("m")) if installed == Some(true) => Presence::Module,
            Some(Some("m")) => Presence::Uninstalled,
            Some(_) => Presence::Missing,
            None if module.is_empty() => Presence::Unknown,
            None => match installed {
                Some(true) => Presence::Module,
                Some(false) => Presence::Missing,
                None => Presence::Unknown,
            },
        }
    }

    /// Whether it is at least this version.
    pub(super) fn is(&self, least: (u32, u32)) -> bool {
        let mut numbers = self
            .release
            .split(['.', '-'])
            .map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= least
    }
}

/// The configuration that a kernel may carry in itself, which is packed.
fn own_config() -> Option<String> {
    let packed = File::open("/proc/config.gz").ok()?;
    let output = Command::new(tool::find("gzip")?)
        .args(["--decompress", "--stdout"])
        .env_clear()
        .current_dir("/")
        .stdin(packed)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout)
        .ok()
        .filter(|text| text.contains("CONFIG_"))
}

/// The value of an option in a kernel's configuration.
fn setting<'a>(config: &'a str, option: &str) -> Option<&'a str> {
    config.lines().find_map(|line| {
        line.strip_prefix("CONFIG_")?
            .strip_prefix(option)?
            .strip_prefix('=')
    })
}

/// Whether a module is in a list of paths; file names have hyphens where the
/// names of modules have underscores, or not.
fn lists(list: &str, module: &str) -> bool {
    list.lines().any(|line| {
        let path = line.split(':').next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        file.split(".ko")
            .next()
            .unwrap_or_default()
            .replace('-', "_")
            == module
    })
}

pub(super) fn check(report: &mut Report, kernel: &Kernel) {
    let mut add = |item: &str, verdict| report.add(topic::KERNEL, item, verdict);
    add("version", version(kernel));
    for (name, option) in NAMESPACES {
        let verdict = if Path::new("/proc/self/ns").join(name).exists() {
            Ok("Available.".to_owned())
        } else {
            Err(format!(
                "Missing: containers cannot be started. Boot a kernel with CONFIG_{option}."
            ))
        };
        add(&format!("namespace {name}"), verdict);
    }
    let limits: Vec<(&str, Option<u64>)> = NAMESPACES
        .iter()
        .map(|(name, _)| {
            let text = read(&format!("/proc/sys/user/max_{name}_namespaces"));
            (*name, text.and_then(|text| text.parse().ok()))
        })
        .collect();
    add("namespace limits", namespace_limits(&limits));
    add("pidfd", pidfd());
    let time = if Path::new("/proc/self/ns/time").exists() {
        Ok("Available.".to_owned())
    } else {
        Err("Missing: lxc.time.offset has no effect. Boot a kernel with CONFIG_TIME_NS.".to_owned())
    };
    report.add(topic::EXTRAS, "namespace time", time);
}

fn version(kernel: &Kernel) -> Verdict {
    let release = &kernel.release;
    if kernel.is(OLDEST) {
        Ok(format!("Linux {release}."))
    } else {
        let (major, minor) = OLDEST;
        Err(format!(
            "Linux {release} is too old. Boot Linux {major}.{minor} or newer."
        ))
    }
}

/// A limit of none keeps even root from making a namespace of that kind.
fn namespace_limits(limits: &[(&str, Option<u64>)]) -> Verdict {
    let closed: Vec<&str> = limits
        .iter()
        .filter(|(_, limit)| *limit == Some(0))
        .map(|(name, _)| *name)
        .collect();
    if closed.is_empty() {
        let least = limits.iter().filter_map(|(_, limit)| *limit).min();
        return Ok(least.map_or_else(
            || "There are none.".to_owned(),
            |least| format!("At least {least} of every kind."),
        ));
    }
    let settings: Vec<String> = closed
        .iter()
        .map(|name| format!("user.max_{name}_namespaces=10000"))
        .collect();
    Err(format!(
        "No namespaces of the kind {} may be made, so that containers cannot be started. Run “sysctl -w {}”, and keep it in /etc/sysctl.d/.",
        closed.join(", "),
        settings.join(" ")
    ))
}

fn pidfd() -> Verdict {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Ok("Available.".to_owned()),
        Err(error) => Err(format!(
            "Missing ({error}): the end of a container cannot be watched. Boot Linux 5.3 or newer."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(config: Option<&str>, modules: Option<&str>) -> Kernel {
        Kernel {
            release: "6.12.3-amd64".to_owned(),
            config: config.map(str::to_owned),
            modules: modules.map(str::to_owned),
        }
    }

    #[test]
    fn versions_are_compared_by_number() {
        let kernel = kernel(None, None);
        assert!(kernel.is((5, 12)) && kernel.is((6, 12)));
        assert!(!kernel.is((6, 13)) && !kernel.is((10, 0)));
    }

    #[test]
    fn the_configuration_and_the_installed_modules_tell_what_there_is() {
        let config =
            "CONFIG_GNTY_A=y\nCONFIG_GNTY_B=m\nCONFIG_GNTY_C=m\n# CONFIG_GNTY_D is not set\n";
        let modules = "kernel/net/gnty-b.ko.xz: kernel/net/x.ko.xz\nkernel/fs/gnty_e.ko\n";
        let known = kernel(Some(config), Some(modules));
        let of = |option: &str, module: &str| known.presence(option, module);
        assert_eq!(of("GNTY_A", ""), Presence::Ready);
        assert_eq!(of("GNTY_B", "gnty_b"), Presence::Module);
        assert_eq!(of("GNTY_C", "gnty_c"), Presence::Uninstalled);
        assert_eq!(of("GNTY_D", "gnty_d"), Presence::Missing);
        assert_eq!(of("GNTY", ""), Presence::Missing, "no prefix counts");

        let installed = kernel(None, Some(modules));
        assert_eq!(installed.presence("GNTY_E", "gnty_e"), Presence::Module);
        assert_eq!(installed.presence("GNTY_F", "gnty_f"), Presence::Missing);
        assert_eq!(installed.presence("GNTY_A", ""), Presence::Unknown);
        assert_eq!(
            kernel(None, None).presence("X", "gnty_x"),
            Presence::Unknown
        );
    }

    #[test]
    fn a_closed_limit_names_the_sysctl_that_opens_it() {
        assert!(namespace_limits(&[("user", Some(5)), ("net", None)]).is_ok());
        let problem = namespace_limits(&[("user", Some(0)), ("net", Some(9))]).unwrap_err();
        assert!(
            problem.contains("sysctl -w user.max_user_namespaces=10000”"),
            "{problem}"
        );
    }
}
