//! What holds containers beside namespaces: seccomp, AppArmor, SELinux.

use super::kernel::Kernel;
use super::{Report, Verdict, install, read, topic};
use crate::linux::tool;
use gantry_core::apparmor::SECURITY_DIR;
use std::path::Path;

/// There while the file system of SELinux is mounted (selinux(8)).
const SELINUX: &str = "/sys/fs/selinux/enforce";

pub(super) fn check(report: &mut Report, kernel: &Kernel) {
    let actions = read("/proc/sys/kernel/seccomp/actions_avail");
    report.add(topic::SECURITY, "seccomp", seccomp(actions.as_deref()));
    report.add(
        topic::EXTRAS,
        "seccomp notifications",
        notifications(actions.as_deref()),
    );
    let selinux = read(SELINUX);
    let apparmor = read("/sys/module/apparmor/parameters/enabled");
    let parser = tool::find("apparmor_parser");
    let verdict = match apparmor.as_deref() {
        Some("Y") if parser.is_none() => Err(format!(
            "Enabled, but no profile can be loaded for containers. {}",
            install("apparmor")
        )),
        Some("Y") => Ok("Enabled.".to_owned()),
        _ if selinux.is_some() => Ok("Not in use: SELinux is.".to_owned()),
        Some(_) => Err(held_by_less(
            "It is switched off",
            "Boot with “apparmor=1 security=apparmor” on the kernel's command line.",
        )),
        None => Err(held_by_less(
            "The kernel does not have it",
            &format!(
                "Boot a kernel with CONFIG_SECURITY_APPARMOR; {} is without.",
                kernel.release
            ),
        )),
    };
    report.add(topic::SECURITY, "AppArmor", verdict);
    if apparmor.as_deref() == Some("Y") {
        let profiles = read(&format!("{SECURITY_DIR}/profiles"));
        let verdict = worker_profile(profiles.as_deref().unwrap_or_default());
        report.add(topic::SECURITY, "AppArmor, workers", verdict);
    }
    let verdict = match selinux.as_deref() {
        Some("1") => "Enforcing.",
        Some(_) => "Permissive: what it would refuse is only logged.",
        None => "Not in use.",
    };
    report.add(topic::SECURITY, "SELinux", Ok(verdict.to_owned()));
    report.add(topic::EXTRAS, "lxcfs", lxcfs());
}

/// `profiles` are those that the kernel has, one a line with its mode.
fn worker_profile(profiles: &str) -> Verdict {
    if profiles
        .lines()
        .any(|line| line == "gantry-worker (enforce)")
    {
        return Ok("What unpacks archives has a profile.".to_owned());
    }
    Err(
        "What unpacks archives is held by namespaces alone: its profile is not loaded. Run “apparmor_parser --replace /etc/apparmor.d/gantry-worker”."
            .to_owned(),
    )
}

fn held_by_less(what: &str, remedy: &str) -> String {
    format!("{what}: root of a privileged container is held by less. {remedy}")
}

/// `actions` are those that filters may take (seccomp(2)).
fn seccomp(actions: Option<&str>) -> Verdict {
    match actions {
        Some(_) => Ok("Available.".to_owned()),
        None => Err(
            "Missing: containers can call all of the kernel. Boot a kernel with CONFIG_SECCOMP_FILTER."
                .to_owned(),
        ),
    }
}

fn notifications(actions: Option<&str>) -> Verdict {
    if actions.is_some_and(|actions| actions.split(' ').any(|action| action == "user_notif")) {
        return Ok("Available.".to_owned());
    }
    Err("Missing: lxc.seccomp.notify.proxy does not work. Boot Linux 5.0 or newer.".to_owned())
}

fn lxcfs() -> Verdict {
    if Path::new("/var/lib/lxcfs/proc").exists() {
        return Ok("It runs: programs in containers see their own limits in /proc.".to_owned());
    }
    Err(format!(
        "It does not run: programs in containers see all of this computer's memory and processors in /proc. {}",
        install("lxcfs")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_only_complains_holds_nobody() {
        assert!(worker_profile("a (enforce)\ngantry-worker (enforce)\n").is_ok());
        assert!(worker_profile("gantry-worker (complain)\n").is_err());
    }

    #[test]
    fn notifications_are_an_action_of_filters() {
        let all = "kill_process kill_thread trap errno user_notif trace log allow";
        assert!(seccomp(Some(all)).is_ok() && notifications(Some(all)).is_ok());
        let old = "kill_thread trap errno trace allow";
        assert!(seccomp(Some(old)).is_ok());
        assert!(notifications(Some(old)).unwrap_err().contains("5.0"));
        assert!(seccomp(None).is_err());
    }
}
