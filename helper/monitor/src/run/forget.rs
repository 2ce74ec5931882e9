//! What remembers a container beyond its directory: the lists of those that it needed.

use gantry_core::dependents::Dependents;
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use std::io;
use std::path::Path;

/// Takes a container out of the lists of dependents of those in `needed`, what its
/// `lxc_rdepends` said.
pub(super) fn forget(layout: &ContainerLayout, needed: &Dependents) -> io::Result<()> {
    for (lxc_path, name) in &needed.named {
        let Ok(name) = ContainerName::new(name) else {
            continue;
        };
        let list = ContainerLayout::new(lxc_path, name).dependents();
        let listed = read(&list)?;
        if listed.named.is_empty() {
            continue;
        }
        let kept = listed.without(layout.lxc_path(), layout.name().as_str());
        if kept.is_empty() {
            std::fs::remove_file(&list)?;
        } else {
            let new = list.with_extension("new");
            std::fs::write(&new, kept.text())?;
            std::fs::rename(&new, &list)?;
        }
    }
    Ok(())
}

/// A list; an empty one where there is no file.
pub(super) fn read(path: &Path) -> io::Result<Dependents> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Dependents::parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Dependents::default()),
        Err(error) => Err(error),
    }
}
