//! What a config asks for that this host does not have.

use crate::linux::files;
use gantry_core::config::Config;
use gantry_core::values::mount::unescape;
use std::path::Path;

/// Comments out the includes of files that are not on this host; the config could not be
/// read with them.
pub(super) fn without_missing_includes(text: &str, warnings: &mut Vec<String>) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let include = line
            .trim()
            .strip_prefix("lxc.include")
            .and_then(|rest| rest.trim_start().strip_prefix('='))
            .map(str::trim);
        match include {
            // A folder that is missing is no fault.
            Some(path) if !path.is_empty() && !path.ends_with('/') && !Path::new(path).exists() => {
                warnings.push(format!(
                    "{path}, which its config includes, is not on this host; the line is a comment now"
                ));
                kept.push_str("# ");
                kept.push_str(line);
            }
            _ => kept.push_str(line),
        }
    }
    kept
}

/// A sentence for each thing that is missing. The container's own directory, which will be
/// at `there`, is at `here` now.
pub(super) fn lacking(config: &Config, here: &Path, there: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let is_there = |path: &str| match Path::new(path).strip_prefix(there) {
        Ok(own) => here.join(own).symlink_metadata().is_ok(),
        Err(_) => Path::new(path).exists(),
    };
    for item in config.items() {
        let (key, value) = (item.key.as_str(), item.value.as_str());
        let first = value.split_whitespace().next().unwrap_or_default();
        if value.is_empty() {
            continue;
        }
        if key.starts_with("lxc.net.") && key.ends_with(".link") {
            if !is_there(&format!("/sys/class/net/{value}")) {
                found.push(format!(
                    "the interface {value} ({key}) is not on this host; make it, or connect the container elsewhere"
                ));
            }
        } else if key.starts_with("lxc.hook.") && key != "lxc.hook.version" {
            if first.starts_with('/') && !is_there(first) {
                found.push(format!("the program {first} ({key}) is not on this host"));
            }
        } else if key == "lxc.mount.entry" {
            let source = unescape(first).unwrap_or_default();
            let optional = value
                .split_whitespace()
                .nth(3)
                .is_some_and(|options| options.split(',').any(|option| option == "optional"));
            if source.starts_with('/') && !optional && !is_there(&source) {
                found.push(format!(
                    "{source}, which is mounted in it, is not on this host"
                ));
            }
        } else if matches!(key, "lxc.seccomp.profile" | "lxc.mount.fstab") && !is_there(value) {
            found.push(format!("{value} ({key}) is not on this host"));
        }
    }
    let profile = config.get("lxc.apparmor.profile");
    if profile.is_some_and(|profile| !matches!(profile, "" | "unconfined" | "unchanged"))
        && !has_apparmor()
    {
        found.push("its config has an AppArmor profile, and this host no AppArmor; it runs without that wall".to_owned());
    }
    found
}

fn has_apparmor() -> bool {
    let path = Path::new("/sys/module/apparmor/parameters/enabled");
    files::open_regular(path)
        .and_then(|(file, _)| files::read_bounded(&file, 16))
        .is_ok_and(|text| text.starts_with(b"Y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_includes_become_comments() {
        let mut warnings = Vec::new();
        let text =
            "lxc.include = /etc/passwd\n lxc.include=/nowhere/x.conf\nlxc.include = /nowhere/\n";
        let kept = without_missing_includes(text, &mut warnings);
        assert_eq!(
            kept,
            "lxc.include = /etc/passwd\n#  lxc.include=/nowhere/x.conf\nlxc.include = /nowhere/\n"
        );
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = "lxc.net.0.type = veth\nlxc.net.0.link = nowhere0\nlxc.net.1.type = veth\nlxc.net.1.link = lo\n\
            lxc.hook.start = /nowhere/hook arg\nlxc.mount.entry = /nowhere mnt none bind 0 0\n\
            lxc.mount.entry = /nowhere mnt none bind,optional 0 0\nlxc.seccomp.profile = /etc/passwd\n";
        let config = Config::read(
            Path::new("/x"),
            text.to_owned(),
            &mut gantry_core::config::SkipIncludes,
        );
        let found = lacking(&config, Path::new("/here"), Path::new("/there")).join("\n");
        for word in ["nowhere0", "/nowhere/hook", "/nowhere, which is mounted"] {
            assert!(found.contains(word), "{word}: {found}");
        }
        assert_eq!(found.lines().count(), 3, "{found}");
    }
}
