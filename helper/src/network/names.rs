//! How a dnsmasq that serves the host itself comes to ask a network's server for the names
//! of its domain: by a file in its folder, as LXC's guide has it. One that serves the whole
//! system must also leave the network's addresses to the network's own.

use crate::error::{Error, Result};
use crate::linux::files;
use gantry_core::name::InterfaceName;
use gantry_core::networks::Network;
use std::io;
use std::path::{Path, PathBuf};

/// Who reads such files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The dnsmasq that NetworkManager starts (`dns=dnsmasq`).
    NetworkManager,
    /// The system's, which a package brings as a service.
    System,
}

/// Their folders; without its folder one is not installed.
const ASKERS: [(Asker, &str); 2] = [
    (Asker::NetworkManager, "/etc/NetworkManager/dnsmasq.d"),
    (Asker::System, "/etc/dnsmasq.d"),
];
/// How they begin.
const HEADER: &str = "# Written by gantry-helper while the network";
/// The longest of them, in bytes.
const LONGEST: u64 = 1 << 16;
/// How the files' names begin.
const PREFIX: &str = "gantry-";

/// Writes what a network needs. Gives back whose files have changed.
pub(crate) fn write(network: &Network) -> Result<Vec<Asker>> {
    let mut changed = Vec::new();
    for (asker, folder) in ASKERS.into_iter().filter(|(_, folder)| exists(folder)) {
        let path = path(folder, &network.name);
        let text = text(asker, network, binds_itself());
        if text.is_empty() {
            changed.extend(remove_file(&path)?.then_some(asker));
        } else if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            files::replace(&path, text.as_bytes(), 0o644)
                .map_err(|error| Error::path("writing", &path, &error))?;
            changed.push(asker);
        }
    }
    Ok(changed)
}

/// Removes the files of networks that are not up. Gives back whose files have changed.
pub(crate) fn remove_unless(is_up: impl Fn(&str) -> bool) -> Result<Vec<Asker>> {
    let mut changed = Vec::new();
    for (asker, folder) in ASKERS {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let network = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if network.is_some_and(|network| !is_up(network))
                && remove_file(&entry.path())?
                && !changed.contains(&asker)
            {
                changed.push(asker);
            }
        }
    }
    Ok(changed)
}

/// Whether the system's dnsmasq was told to bind to addresses as they come and go: it does
/// not take both words for that (dnsmasq(8)).
fn binds_itself() -> bool {
    let (_, folder) = ASKERS[1];
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files
        .chain([PathBuf::from("/etc/dnsmasq.conf")])
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .any(|text| text.lines().any(|line| line.trim() == "bind-dynamic"))
}

fn exists(folder: &str) -> bool {
    Path::new(folder).is_dir()
}

fn path(folder: &str, name: &InterfaceName) -> PathBuf {
    Path::new(folder).join(format!("{PREFIX}{}", name.as_str()))
}

/// Removes a file of ours; one of the same name that somebody else has written stays.
/// Whether it was there.
fn remove_file(path: &Path) -> Result<bool> {
    let text = files::read_if_there(path, LONGEST).ok().flatten();
    if !text.is_some_and(|text| text.starts_with(HEADER.as_bytes())) {
        return Ok(false);
    }
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::path("removing", path, &error)),
    }
}

/// dnsmasq.conf(5); empty if there is nothing to say.
fn text(asker: Asker, network: &Network, binds_itself: bool) -> String {
    let mut lines = Vec::new();
    if network.has_server() {
        if asker == Asker::System {
            lines.extend((!binds_itself).then(|| "bind-interfaces".to_owned()));
            lines.push(format!("except-interface={}", network.name.as_str()));
        }
        if !network.domain.is_empty() {
            lines.extend(
                network
                    .addresses()
                    .map(|home| format!("server=/{}/{}", network.domain, home.address)),
            );
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "{HEADER} {} is up.\n{}\n",
        network.name.as_str(),
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let ours = file("gantry-a", &format!("{HEADER} a is up.\nbind-interfaces\n"));
        let theirs = file("gantry-b", "# mine\nbind-interfaces\n");
        assert!(remove_file(&ours).unwrap() && !remove_file(&ours).unwrap());
        assert!(!remove_file(&theirs).unwrap() && theirs.exists());
    }

    #[test]
    fn names_are_asked_for_and_addresses_left_alone() {
        let mut network = Network::new(InterfaceName::new("dev0").unwrap());
        network.ipv4 = "10.4.0.1/24".parse().ok();
        network.dhcp = true;
        assert_eq!(text(Asker::NetworkManager, &network, false), "");
        let of_system = |binds_itself| text(Asker::System, &network, binds_itself);
        assert!(of_system(false).ends_with(".\nbind-interfaces\nexcept-interface=dev0\n"));
        assert!(of_system(true).ends_with(".\nexcept-interface=dev0\n"));
        network.domain = "dev".to_owned();
        for asker in [Asker::NetworkManager, Asker::System] {
            assert!(text(asker, &network, false).ends_with("\nserver=/dev/10.4.0.1\n"));
        }
    }
}
