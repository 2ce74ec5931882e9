//! Which interfaces of a container may take the host's way out, for somebody has confirmed
//! that: its next start needs no word, as when it starts with the host. It stands beside
//! the config, each interface with the link that it was confirmed for, and goes with the
//! container alone, not with its copies.

use crate::engine::disk;
use crate::engine::{Error, Result};
use crate::linux::files;
use gantry_core::layout::ContainerLayout;
use gantry_core::settings::Settings;
use std::collections::BTreeSet;

/// A line for each of more interfaces than a container can have.
const LONGEST: u64 = 1 << 20;

/// What is confirmed, by number and link.
pub(in crate::engine) fn read(layout: &ContainerLayout) -> Result<BTreeSet<(u32, String)>> {
    let path = layout.confirmed();
    let bytes = files::read_if_there(&path, LONGEST)
        .map_err(|error| Error::path("reading", &path, &error))?
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(entry).collect())
}

fn entry(line: &str) -> Option<(u32, String)> {
    let (number, link) = line.split_once(' ')?;
    Some((number.parse().ok()?, link.to_owned()))
}

/// Notes that these interfaces are confirmed for the links that they have in the config.
pub(super) fn add(layout: &ContainerLayout, numbers: &[u32]) -> Result<()> {
    let settings = Settings::from_config(&disk::read_config(&layout.config())?.config)?;
    let before = read(layout)?;
    let mut text = String::new();
    for (number, network) in &settings.networks {
        let Some(link) = &network.link else { continue };
        let is_kept = before.contains(&(*number, link.clone()));
        if network.kind.takes_all_of_link() && (is_kept || numbers.contains(number)) {
            text.push_str(&format!("{number} {link}\n"));
        }
    }
    let path = layout.confirmed();
    if text.is_empty() {
        return Ok(());
    }
    files::replace(&path, text.as_bytes(), 0o600)
        .map_err(|error| Error::path("writing", &path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::name::ContainerName;

    #[test]
    fn what_is_no_entry_confirms_nothing() {
        assert_eq!(entry("1 eth0"), Some((1, "eth0".to_owned())));
        for line in ["", "1", "x eth0", "-1 eth0"] {
            assert_eq!(entry(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_no_file_is_neither_followed_nor_waited_for() {
        let lxc_path = tempfile::tempdir().unwrap();
        let path = lxc_path.path().to_str().unwrap();
        let layout = ContainerLayout::new(path, ContainerName::new("web").unwrap());
        std::fs::create_dir(layout.directory()).unwrap();
        assert_eq!(read(&layout).unwrap(), BTreeSet::new());
        std::fs::write(lxc_path.path().join("text"), "1 eth0\n").unwrap();
        std::os::unix::fs::symlink("../text", layout.confirmed()).unwrap();
        assert!(read(&layout).is_err());
        std::fs::remove_file(layout.confirmed()).unwrap();
        nix::unistd::mkfifo(&layout.confirmed(), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(read(&layout).is_err());
        std::fs::remove_file(layout.confirmed()).unwrap();
        std::fs::write(layout.confirmed(), "1 eth0\n").unwrap();
        assert_eq!(
            read(&layout).unwrap(),
            BTreeSet::from([(1, "eth0".to_owned())])
        );
    }
}
