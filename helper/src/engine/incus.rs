//! Backups of Incus and LXD: what they say in YAML, in the words of LXC.

use super::config::parse;
use super::create::CreateRequest;
use super::launcher::Programs;
use super::new_config::config_text;
use super::{Error, Result};
use crate::image::backup::{Instance, Told, Words};
use crate::image::fetch;
use crate::linux::files;
use gantry_core::idmap::{IdMap, IdMaps, IdRange, RANGE_SIZE};
use gantry_core::layout::ContainerLayout;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// The bridge that every host with LXC has.
const BRIDGE: &str = "lxcbr0";
/// Where their maps begin unless they were told otherwise.
const THEIRS: IdRange = IdRange {
    first: 1_000_000,
    count: RANGE_SIZE,
};

/// A backup that has become a container's directory.
#[derive(Debug)]
pub(super) struct Backup {
    /// The directory.
    pub(super) base: PathBuf,
    /// The maps by which the owners in the archive are the container's.
    pub(super) packed: IdMaps,
    /// What could not be taken over.
    pub(super) warnings: Vec<String>,
}

impl Backup {
    /// Makes a container's directory of an unpacked backup; none if it is something else.
    pub(super) async fn unfold(
        programs: &Programs,
        tree: &Path,
        target: &ContainerLayout,
    ) -> Result<Option<Self>> {
        let top = tree.join("backup");
        if !is(&top, Metadata::is_dir) || !is(&top.join("index.yaml"), Metadata::is_file) {
            return Ok(None);
        }
        let index = read(programs, &top, "index.yaml").await?;
        if index.optimized || (!index.kind.is_empty() && index.kind != "container") {
            return Err(Error::Unsupported(format!(
                "the backup is of {}; make one of a container without --optimized-storage",
                if index.optimized {
                    "a storage pool's own form"
                } else {
                    "a virtual machine"
                }
            )));
        }
        let base = top.join("container");
        for path in [&base, &base.join("rootfs")] {
            if !is(path, Metadata::is_dir) {
                return Err(Error::InvalidArgument(
                    "the backup has no root file system (backup/container/rootfs)".to_owned(),
                ));
            }
        }
        let (name, has_snapshots) = (index.name.clone(), !index.snapshots.is_empty());
        let instance = match index.config {
            Some(_) => index.instance(),
            // As LXD had it before version 4.
            None => read(programs, &base, "backup.yaml").await?.instance(),
        };
        let mut translated = Translated::of(&instance);
        if has_snapshots {
            translated.leave_out("its snapshots", "they are not taken over from backups");
        }
        let packed = packed_by(&instance)?;
        clear(&base)?;
        let mut request = CreateRequest::new(target.name().clone(), "local");
        request.privileged = translated.privileged;
        request.ephemeral = instance.ephemeral;
        request.config = translated.lines;
        request.architecture =
            Some(instance.architecture).filter(|architecture| !architecture.is_empty());
        let maps = (!translated.privileged).then(|| IdMaps::for_range(THEIRS, THEIRS));
        let rootfs = format!("dir:{}", target.rootfs().display());
        let text = config_text(&request, target, &maps.unwrap_or_default(), &rootfs)?;
        parse(&target.config(), &text)?.check()?;
        let path = base.join("config");
        files::replace(&path, text.as_bytes(), 0o640)
            .map_err(|error| Error::path("writing", &path, &error))?;
        tracing::info!("translated a backup of '{}'", name.escape_debug());
        Ok(Some(Self {
            base,
            packed,
            warnings: translated.warnings,
        }))
    }
}

fn is(path: &Path, wanted: fn(&Metadata) -> bool) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| wanted(&metadata))
}

/// Has one of its files read by a worker: nobody has looked at them yet.
async fn read(programs: &Programs, folder: &Path, name: &str) -> Result<Told> {
    let path = folder.join(name);
    let (file, _) =
        files::open_regular(&path).map_err(|error| Error::path("reading", &path, &error))?;
    fetch::read_backup(programs, name, &file).await
}

/// Takes away what is theirs: only the root file system stays.
fn clear(base: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::path("removing", base, &error);
    for entry in std::fs::read_dir(base).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name() != "rootfs" {
            files::remove(&entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// The maps that were in force on the disk; none where it has the container's own ids.
fn packed_by(instance: &Instance) -> Result<IdMaps> {
    let unreadable = |reason: String| {
        Error::InvalidArgument(format!("the maps that the backup was packed by: {reason}"))
    };
    let mut maps = IdMaps::default();
    for map in &instance.last_maps {
        for (letter, counts) in [('u', map.isuid), ('g', map.isgid)] {
            if counts {
                let line = format!("{letter} {} {} {}", map.nsid, map.hostid, map.maprange);
                maps.0.push(IdMap::parse(&line).map_err(unreadable)?);
            }
        }
    }
    maps.check().map_err(unreadable)?;
    Ok(maps)
}

/// A config in the words of LXC.
#[derive(Default)]
struct Translated {
    privileged: bool,
    lines: Vec<String>,
    warnings: Vec<String>,
}

impl Translated {
    fn of(instance: &Instance) -> Self {
        let mut translated = Self::default();
        // What comes of profiles stands only among what is expanded.
        let config = [&instance.expanded_config, &instance.config];
        let config: Words = config
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        for (key, value) in &config {
            translated.key(key, value);
        }
        let mut devices = instance.expanded_devices.clone();
        devices.extend(instance.devices.clone());
        translated.line("lxc.net", "");
        let mut number = 0;
        for (name, device) in &devices {
            translated.device(name, device, &config, &mut number);
        }
        if number == 0 {
            translated.line("lxc.net.0.type", "empty");
        }
        translated
    }

    fn line(&mut self, key: &str, value: &str) {
        self.lines.push(format!("{key} = {value}"));
    }

    fn leave_out(&mut self, what: &str, why: &str) {
        // Their words may be anything.
        self.warnings
            .push(format!("{} was left out: {why}", what.escape_debug()));
    }

    fn key(&mut self, key: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let is_true = matches!(value, "true" | "1" | "yes" | "on");
        let line = match key {
            "security.privileged" => {
                self.privileged = is_true;
                return;
            }
            "security.nesting" if is_true => Some(("lxc.apparmor.allow_nesting", "1".to_owned())),
            "boot.autostart" if is_true => Some(("lxc.start.auto", "1".to_owned())),
            "boot.autostart.delay" => {
                number(value).map(|delay| ("lxc.start.delay", delay.to_string()))
            }
            "limits.memory" => {
                bytes(value).map(|bytes| ("lxc.cgroup2.memory.max", bytes.to_string()))
            }
            "limits.processes" => {
                number(value).map(|most| ("lxc.cgroup2.pids.max", most.to_string()))
            }
            "limits.cpu" => Some(match number(value) {
                Some(count) => (
                    "lxc.cgroup2.cpu.max",
                    format!("{} 100000", count.saturating_mul(100_000)),
                ),
                None => ("lxc.cgroup2.cpuset.cpus", value.to_owned()),
            }),
            "limits.cpu.allowance" => allowance(value),
            "security.nesting" | "boot.autostart" => return,
            _ if key.starts_with("environment.") && !value.chars().any(char::is_control) => {
                let name = key.trim_start_matches("environment.");
                self.line("lxc.environment", &format!("{name}={value}"));
                return;
            }
            // What they note for themselves, and what is for cloud-init.
            _ if ["image.", "volatile.", "user.", "cloud-init."]
                .iter()
                .any(|own| key.starts_with(own)) =>
            {
                return;
            }
            _ => None,
        };
        match line {
            Some((key, value)) if !value.chars().any(char::is_control) => self.line(key, &value),
            _ => self.leave_out(&format!("{key}: {value}"), "LXC has no word for it"),
        }
    }

    fn device(&mut self, name: &str, device: &Words, config: &Words, number: &mut u32) {
        let of = |key: &str| device.get(key).map(String::as_str).unwrap_or_default();
        match of("type") {
            "nic" => {
                let is_macvlan = of("nictype") == "macvlan" && !of("parent").is_empty();
                let (kind, link) = if is_macvlan {
                    ("macvlan", of("parent"))
                } else {
                    ("veth", BRIDGE)
                };
                let hwaddr = config
                    .get(&format!("volatile.{name}.hwaddr"))
                    .map(String::as_str);
                let hwaddr = device.get("hwaddr").map(String::as_str).or(hwaddr);
                let inside = if of("name").is_empty() {
                    name
                } else {
                    of("name")
                };
                let words = [kind, link, inside, hwaddr.unwrap_or_default()];
                if words
                    .iter()
                    .any(|word| word.chars().any(|c| c.is_control() || c.is_whitespace()))
                {
                    return self.leave_out(
                        &format!("the interface {name}"),
                        "its words are none of an interface",
                    );
                }
                if !is_macvlan {
                    let network = [of("network"), of("parent")]
                        .into_iter()
                        .find(|word| !word.is_empty());
                    self.warnings.push(format!(
                        "the interface {} is connected to {BRIDGE}; it was in {}",
                        inside.escape_debug(),
                        network.unwrap_or("no network").escape_debug()
                    ));
                }
                let prefix = format!("lxc.net.{number}");
                self.line(&format!("{prefix}.type"), kind);
                self.line(&format!("{prefix}.link"), link);
                self.line(&format!("{prefix}.flags"), "up");
                self.line(&format!("{prefix}.name"), inside);
                if let Some(hwaddr) = hwaddr {
                    self.line(&format!("{prefix}.hwaddr"), hwaddr);
                }
                *number += 1;
            }
            "disk" if of("path") == "/" => {
                if !of("size").is_empty() {
                    self.leave_out(
                        &format!("the size {} of its disk", of("size")),
                        "directories have none",
                    );
                }
            }
            "none" => {}
            kind => self.leave_out(
                &format!("the device {name} ({kind} {})", of("path")),
                "add it here if this host has it",
            ),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

/// `512MiB`, `1GB`, `1000`.
fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 13] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("PiB", 1 << 50),
        ("EiB", 1 << 60),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("PB", 1_000_000_000_000_000),
        ("EB", 1_000_000_000_000_000_000),
        ("B", 1),
    ];
    let unit = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (count, factor) = unit.unwrap_or((text, 1));
    count.trim().parse::<u64>().ok()?.checked_mul(factor)
}

/// `25ms/100ms` is a limit; `50%` counts when others want the processor, too.
fn allowance(text: &str) -> Option<(&'static str, String)> {
    if let Some((share, period)) = text.split_once('/') {
        let micros = |text: &str| number(text.trim().strip_suffix("ms")?)?.checked_mul(1000);
        return Some((
            "lxc.cgroup2.cpu.max",
            format!("{} {}", micros(share)?, micros(period)?),
        ));
    }
    let percent = number(text.strip_suffix('%')?)?.clamp(1, 10_000);
    Some(("lxc.cgroup2.cpu.weight", percent.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_words_become_those_of_lxc() {
        let text = "architecture: x86_64\nconfig:\n  limits.cpu: \"2\"\n  limits.memory: 512MiB\n  \
            limits.cpu.allowance: 25ms/100ms\n  boot.autostart: \"true\"\n  raw.lxc: lxc.hook.start=/x\n  \
            volatile.eth0.hwaddr: 00:16:3e:01:02:03\ndevices:\n  eth0:\n    type: nic\n    network: incusbr0\n  \
            data:\n    type: disk\n    path: /data\n    source: /srv\n";
        let instance: Instance = serde_saphyr::from_str(text).unwrap();
        let translated = Translated::of(&instance);
        for line in [
            "lxc.cgroup2.cpu.max = 200000 100000",
            "lxc.cgroup2.memory.max = 536870912",
            "lxc.start.auto = 1",
            "lxc.net.0.link = lxcbr0",
            "lxc.net.0.hwaddr = 00:16:3e:01:02:03",
        ] {
            assert!(
                translated.lines.iter().any(|had| had == line),
                "{line}: {:?}",
                translated.lines
            );
        }
        let warnings = translated.warnings.join("\n");
        for word in ["raw.lxc", "incusbr0", "the device data"] {
            assert!(warnings.contains(word), "{word}: {warnings}");
        }
        assert!(!translated.privileged);
    }

    #[test]
    fn amounts_have_units() {
        assert_eq!(bytes("1GB"), Some(1_000_000_000));
        assert_eq!(bytes("2KiB"), Some(2048));
        assert_eq!(bytes("50%"), None);
        assert_eq!(
            allowance("50%"),
            Some(("lxc.cgroup2.cpu.weight", "50".to_owned()))
        );
        assert_eq!(allowance("much"), None);
    }
}
