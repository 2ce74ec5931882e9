//! What has to run beside the helper, and what starts containers at boot.

use super::{Report, Verdict, install, read, topic};
use std::path::Path;

/// Where distributions put polkit's daemon.
const POLKIT: [&str; 3] = [
    "/usr/lib/polkit-1/polkitd",
    "/usr/libexec/polkitd",
    "/usr/lib/policykit-1/polkitd",
];

/// There while systemd is process 1 (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";
const AUTOSTART: &str = "gantry-autostart.service";
/// Where systemd looks for units, and for what is enabled.
const UNITS: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

pub(super) fn check(report: &mut Report) {
    let mut add = |item: &str, verdict| report.add(topic::SERVICES, item, verdict);
    add("polkit", polkit());
    let booted = Path::new(SYSTEMD).exists();
    add("systemd", systemd(booted));
    add("autostart", autostart(booted));
}

fn polkit() -> Verdict {
    match POLKIT.iter().find(|path| Path::new(path).exists()) {
        Some(path) => Ok(format!("{path}.")),
        None => Err(format!(
            "Missing: only root is served. {}",
            install("polkitd")
        )),
    }
}

/// Containers run in units of their own, with their part of the control groups
/// handed over, or in groups that nobody else manages.
fn systemd(booted: bool) -> Verdict {
    if !booted {
        return Ok("It does not run here: containers have no units of their own.".to_owned());
    }
    let delegates = read("/sys/fs/cgroup/cgroup.controllers").is_some();
    Ok(if delegates {
        "Each container has a unit in gantry.slice, with its part of the control groups delegated."
            .to_owned()
    } else {
        "Each container has a unit in gantry.slice; control groups are of version 1.".to_owned()
    })
}

fn autostart(booted: bool) -> Verdict {
    if !booted {
        return Err(format!(
            "Nothing starts containers at boot. Let the init system run “busctl call {0} /{1} {0}.Manager Autostart a{{sv}} 0”.",
            "io.gantry.Gantry1", "io/gantry/Gantry1"
        ));
    }
    let there = |name: &str| {
        UNITS
            .iter()
            .any(|place| Path::new(place).join(name).exists())
    };
    if !there(AUTOSTART) {
        return Err(format!(
            "{AUTOSTART} is missing: no container starts at boot. Install the package gantry again."
        ));
    }
    let enabled = UNITS.iter().any(|place| is_wanted(Path::new(place)));
    if enabled {
        Ok("Containers that are marked so start at boot.".to_owned())
    } else {
        Err(format!(
            "No container starts at boot. Run “systemctl enable {AUTOSTART}”."
        ))
    }
}

/// Whether some target, or another unit, wants the service.
fn is_wanted(place: &Path) -> bool {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "wants"))
        .any(|path| path.join(AUTOSTART).symlink_metadata().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_enabled_by_a_link() {
        let units = tempfile::tempdir().unwrap();
        let wants = units.path().join("multi-user.target.wants");
        std::fs::create_dir(&wants).unwrap();
        assert!(!is_wanted(units.path()));
        std::os::unix::fs::symlink("/usr/lib/x", wants.join(AUTOSTART)).unwrap();
        assert!(is_wanted(units.path()));
    }
}
