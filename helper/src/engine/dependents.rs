//! Which containers need which, in the two files in which LXC keeps it: a clone's
//! `lxc_rdepends` names what it needs, and that one's `lxc_snapshots` the clone.

use super::{Error, Result};
use crate::linux::files;
use gantry_core::dependents::Dependents;
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use std::io::ErrorKind;
use std::path::Path;

/// What a container needs.
pub(super) fn origins_of(layout: &ContainerLayout) -> Dependents {
    read(&layout.origins()).unwrap_or_default()
}

/// Who needs a container or snapshot, in words: containers by name, and how many more
/// where very old versions of LXC kept no names.
///
/// # Errors
/// When the list cannot be read.
pub(super) fn dependents_of(layout: &ContainerLayout) -> Result<Vec<String>> {
    let list = read(&layout.dependents())?;
    let mut who: Vec<String> = list.named.into_iter().map(|(_, name)| name).collect();
    match list.unnamed {
        0 => {}
        1 => who.push("a container whose name LXC has not kept".to_owned()),
        count => who.push(format!("{count} containers whose names LXC has not kept")),
    }
    Ok(who)
}

/// The list that names one container only.
pub(super) fn only(layout: &ContainerLayout) -> Dependents {
    Dependents {
        named: vec![(layout.lxc_path().to_owned(), layout.name().to_string())],
        unnamed: 0,
    }
}

/// Enters a container in the lists of those that it needs, where it is not there yet:
/// also what a clone that was interrupted has left out.
pub(super) fn list_with_origins(layout: &ContainerLayout) -> Result<()> {
    for origin in needed(&layout.origins()) {
        let list = origin.dependents();
        let mut listed = read(&list)?;
        let [me] = only(layout).named.try_into().unwrap_or_default();
        if !origin.config().exists() || listed.unnamed > 0 || listed.named.contains(&me) {
            continue;
        }
        listed.named.push(me);
        files::replace(&list, listed.text().as_bytes(), 0o640)
            .map_err(|error| Error::path("writing", &list, &error))?;
    }
    Ok(())
}

/// Takes a container out of the lists of those that it needed; its directory is by now
/// at `directory`.
pub(super) fn forget_origins(layout: &ContainerLayout, directory: &Path) {
    let name = layout
        .origins()
        .file_name()
        .map(ToOwned::to_owned)
        .unwrap_or_default();
    for origin in needed(&directory.join(name)) {
        let list = origin.dependents();
        let forget = || -> Result<()> {
            let kept = read(&list)?.without(layout.lxc_path(), layout.name().as_str());
            if kept.unnamed > 0 {
                return Ok(());
            }
            let result = if kept.is_empty() {
                match std::fs::remove_file(&list) {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                    result => result,
                }
            } else {
                files::replace(&list, kept.text().as_bytes(), 0o640)
            };
            result.map_err(|error| Error::path("changing", &list, &error))
        };
        if let Err(error) = forget() {
            tracing::warn!("{error}");
        }
    }
}

fn needed(origins: &Path) -> Vec<ContainerLayout> {
    let list = read(origins).unwrap_or_default();
    let layouts = list.named.into_iter().filter_map(|(lxc_path, name)| {
        Some(ContainerLayout::new(
            &lxc_path,
            ContainerName::new(&name).ok()?,
        ))
    });
    layouts.collect()
}

fn read(path: &Path) -> Result<Dependents> {
    /// Two lines for each of many thousand containers.
    const LONGEST: u64 = 1 << 22;
    let bytes = files::read_if_there(path, LONGEST)
        .map_err(|error| Error::path("reading", path, &error))?
        .unwrap_or_default();
    Ok(Dependents::parse(&String::from_utf8_lossy(&bytes)))
}
