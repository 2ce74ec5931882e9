//! What came in an archive, and how it becomes a container of this host.

use super::clone::new_address;
use super::config::parse;
use super::destroy::{replace_path, rewritten};
use super::idmaps::maps_of;
use super::manifest::Manifest;
use super::{Error, Result, disk, lacks};
use crate::linux::files;
use crate::linux::seal::{CHECKSUM, MANIFEST};
use gantry_core::config::Config;
use gantry_core::idmap::IdMaps;
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use gantry_core::values::rootfs::{RootfsKind, RootfsPath};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What belongs to where the container was before.
const LEFT_BEHIND: [&str; 5] = [
    "partial",
    "lxc_snapshots",
    "lxc_rdepends",
    MANIFEST,
    CHECKSUM,
];
/// The longest manifest, in bytes.
const LONGEST: u64 = 1 << 20;

/// A container that was unpacked.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Its directory.
    pub(super) base: PathBuf,
    /// What is to be said of it.
    pub(super) warnings: Vec<String>,
    config: Config,
    old: ContainerLayout,
    snapshots: Vec<ContainerName>,
}

impl Arrival {
    /// Reads what was unpacked; `sealed` is the manifest of an archive whose checksum was
    /// right.
    pub(super) fn read(
        base: &Path,
        target: &ContainerLayout,
        sealed: Option<&Manifest>,
    ) -> Result<Self> {
        let mut warnings = Vec::new();
        let manifest = match sealed {
            Some(manifest) => Some(manifest.clone()),
            None => unsealed(base, &mut warnings)?,
        };
        let path = base.join("config");
        let text = disk::read_config(&path)?.config.text().to_owned();
        let text = lacks::without_missing_includes(&text, &mut warnings);
        // Includes are as seen from where it will be.
        let config = parse(&target.config(), &text)?;
        let old = match &manifest {
            Some(manifest) => directory_layout(Path::new(&manifest.directory))?,
            None => old_layout(&config, base)?,
        };
        let snapshots = match &manifest {
            Some(manifest) => manifest
                .snapshots
                .iter()
                .map(|name| Ok(ContainerName::new(name)?))
                .collect::<Result<_>>()?,
            None => snapshots_of(base, &mut warnings),
        };
        if !snapshots.is_empty() && !is(&base.join("snaps"), std::fs::Metadata::is_dir) {
            return Err(not_a_container("'snaps' is missing or no directory"));
        }
        Ok(Self {
            base: base.to_path_buf(),
            warnings,
            config,
            old,
            snapshots,
        })
    }

    /// Its root file systems, from the directory on: its own and those of its snapshots.
    pub(super) fn trees(&self) -> Vec<PathBuf> {
        let of = |name: &ContainerName| Path::new("snaps").join(name.as_str()).join("rootfs");
        std::iter::once(PathBuf::from("rootfs"))
            .chain(self.snapshots.iter().map(of))
            .collect()
    }

    /// The maps that it had.
    pub(super) fn maps(&self) -> Result<IdMaps> {
        let maps = maps_of(&self.config);
        maps.check().map_err(Error::InvalidArgument)?;
        Ok(maps)
    }

    /// Puts configs in the place of those that came which fit here, with `rootfs` as the
    /// container's `lxc.rootfs.path`, and takes away what belongs elsewhere.
    pub(super) fn adopt(
        &mut self,
        target: &ContainerLayout,
        rootfs: &str,
        maps: &IdMaps,
        keep_mac: bool,
        allow_unsafe: bool,
    ) -> Result<()> {
        if !self.snapshots.is_empty() && !rootfs.starts_with("dir:") {
            self.warnings.push(
                "its snapshots stay directories: who goes back to one has the container on the backend dir"
                    .to_owned(),
            );
        }
        let text = self.fitted(&self.config, target, rootfs, maps, keep_mac)?;
        refuse_risks(&text, target, maps, allow_unsafe)?;
        write_config(&self.base, &text)?;
        let config = parse(&target.config(), &text)?;
        let lacking = lacks::lacking(&config, &self.base, &target.directory());
        self.warnings.extend(lacking);
        for name in &self.snapshots {
            let place = Path::new("snaps").join(name.as_str());
            let base = self.base.join(&place);
            check_form(&base)?;
            let config = disk::read_config(&base.join("config"))?.config;
            let config = parse(&target.config(), config.text())?;
            let rootfs = target.directory().join(&place).join("rootfs");
            let rootfs = format!("dir:{}", rootfs.display());
            let text = self.fitted(&config, target, &rootfs, maps, true)?;
            refuse_risks(&text, target, maps, allow_unsafe)?;
            write_config(&base, &text)?;
        }
        self.remove_foreign()
    }

    /// The text of a config as it is to be here.
    fn fitted(
        &self,
        config: &Config,
        target: &ContainerLayout,
        rootfs: &str,
        maps: &IdMaps,
        keep_mac: bool,
    ) -> Result<String> {
        config.check()?;
        // Without one it would have the host's.
        if config.get("lxc.rootfs.path").is_none() {
            return Err(not_a_container("a config in it has no lxc.rootfs.path"));
        }
        let (from, to) = (
            self.old.directory().display().to_string(),
            target.directory().display().to_string(),
        );
        let mut fitted = rewritten(config, |key, value| match key {
            "lxc.rootfs.path" => Ok(rootfs.to_owned()),
            "lxc.uts.name" if value == self.old.name().as_str() => Ok(target.name().to_string()),
            _ if key.ends_with(".hwaddr") && !keep_mac && !value.is_empty() => new_address(),
            _ => Ok(replace_path(value, &from, &to)),
        })?;
        if maps_of(&fitted) != *maps {
            let lines: Vec<String> = maps.0.iter().map(ToString::to_string).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            fitted.set("lxc.idmap", &lines, &mut disk::DiskIncludes)?;
        }
        Ok(fitted.text().to_owned())
    }

    fn remove_foreign(&self) -> Result<()> {
        let failed = |error: std::io::Error| Error::path("reading", &self.base, &error);
        let remove = |path: &Path| {
            files::remove(path).map_err(|error| Error::path("removing", path, &error))
        };
        for entry in std::fs::read_dir(&self.base).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // Gantry keeps notes of its own in hidden files.
            let is_note = name.as_encoded_bytes().starts_with(b".");
            if is_note || LEFT_BEHIND.iter().any(|left| name == *left) {
                remove(&self.base.join(name))?;
            }
        }
        let snaps = self.base.join("snaps");
        if self.snapshots.is_empty() {
            return remove(&snaps);
        }
        for entry in std::fs::read_dir(&snaps).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if !self.snapshots.iter().any(|known| name == known.as_str()) {
                remove(&snaps.join(name))?;
            }
        }
        Ok(())
    }
}

/// Gives what lies beside the root file systems to root: whoever owned it there is
/// somebody else here. Snapshots are passed through by the container's root, `group`.
pub(super) fn claim(arrival: &Arrival, group: Option<u32>) -> Result<()> {
    let mut waiting = vec![arrival.base.clone()];
    while let Some(directory) = waiting.pop() {
        let failed = |error: std::io::Error| Error::path("giving to root", &directory, &error);
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_root_file_system = path.ends_with("rootfs")
                && (directory == arrival.base
                    || directory.parent() == Some(&arrival.base.join("snaps")));
            if is_root_file_system {
                continue;
            }
            let status = path.symlink_metadata().map_err(failed)?;
            rustix::fs::chownat(
                CWD,
                &path,
                Some(Uid::ROOT),
                Some(Gid::ROOT),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(|error| failed(error.into()))?;
            if !status.is_symlink() {
                let mode = Mode::from_raw_mode(status.mode() & 0o755);
                rustix::fs::chmodat(CWD, &path, mode, AtFlags::empty())
                    .map_err(|error| failed(error.into()))?;
            }
            if status.is_dir() {
                waiting.push(path);
            }
        }
    }
    for name in &arrival.snapshots {
        let path = arrival.base.join("snaps").join(name.as_str());
        let failed = |error: rustix::io::Errno| Error::path("giving to root", &path, &error.into());
        let mode = if group.is_some() { 0o710 } else { 0o700 };
        let group = Some(Gid::from_raw(group.unwrap_or(0)));
        rustix::fs::chownat(CWD, &path, None, group, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        rustix::fs::chmodat(CWD, &path, Mode::from_raw_mode(mode), AtFlags::empty())
            .map_err(failed)?;
    }
    Ok(())
}

/// The manifest of an archive of Gantry's that somebody has unpacked and packed again.
fn unsealed(base: &Path, warnings: &mut Vec<String>) -> Result<Option<Manifest>> {
    let path = base.join(MANIFEST);
    let Ok((file, _)) = files::open_regular(&path) else {
        return Ok(None);
    };
    let bytes = files::read_bounded(&file, LONGEST)
        .map_err(|error| Error::path("reading", &path, &error))?;
    let manifest = Manifest::parse(&String::from_utf8_lossy(&bytes))?;
    warnings.push(
        "the archive was packed anew since Gantry made it: there is no checksum to verify it by"
            .to_owned(),
    );
    Ok(Some(manifest))
}

fn write_config(base: &Path, text: &str) -> Result<()> {
    let path = base.join("config");
    // It came with an owner and a mode of its own.
    files::remove(&path).map_err(|error| Error::path("replacing", &path, &error))?;
    files::replace(&path, text.as_bytes(), 0o640)
        .map_err(|error| Error::path("writing", &path, &error))
}

/// Refuses a config that equals root on the host, unless that is allowed.
fn refuse_risks(text: &str, target: &ContainerLayout, maps: &IdMaps, allowed: bool) -> Result<()> {
    let config = parse(&target.config(), text)?;
    let mut risks = config.unsafe_changes(&parse(&target.config(), "")?);
    // Where it is has just been decided here.
    risks.retain(|key| key != "lxc.rootfs.path");
    if maps.is_empty() {
        risks.push("no lxc.idmap, which makes it privileged".to_owned());
    }
    if allowed || risks.is_empty() {
        return Ok(());
    }
    Err(Error::NotAuthorized(format!(
        "the archive's config has what equals root on the host: {}",
        risks.join(", ")
    )))
}

/// The directory of the archive that holds the container. What must be a
/// directory or a file is one, and no link.
pub(super) fn find_base(tree: &Path) -> Result<PathBuf> {
    let mut base = tree.to_path_buf();
    if base.join("config").symlink_metadata().is_err() {
        let failed = |error: std::io::Error| Error::path("reading", tree, &error);
        let mut entries: Vec<PathBuf> = std::fs::read_dir(tree)
            .map_err(failed)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        match (entries.pop(), entries.is_empty()) {
            (Some(only), true) => base = only,
            _ => return Err(not_a_container("it has no 'config'")),
        }
    }
    check_form(&base)?;
    Ok(base)
}

fn check_form(base: &Path) -> Result<()> {
    if !is(base, std::fs::Metadata::is_dir) || !is(&base.join("config"), std::fs::Metadata::is_file)
    {
        return Err(not_a_container("'config' is missing or no file"));
    }
    if !is(&base.join("rootfs"), std::fs::Metadata::is_dir) {
        return Err(not_a_container("'rootfs' is missing or no directory"));
    }
    Ok(())
}

fn is(path: &Path, wanted: fn(&std::fs::Metadata) -> bool) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| wanted(&metadata))
}

/// The snapshots in an archive without a manifest that are whole by themselves; what is said
/// of the others.
fn snapshots_of(base: &Path, warnings: &mut Vec<String>) -> Vec<ContainerName> {
    let folder = base.join("snaps");
    if !is(&folder, std::fs::Metadata::is_dir) {
        return Vec::new();
    }
    // On other backends than directories it is empty, as LXC keeps it.
    let has_files = |snapshot: &Path| {
        let mut entries = std::fs::read_dir(snapshot.join("rootfs"))
            .into_iter()
            .flatten();
        entries.next().is_some()
    };
    let has_config = |snapshot: &Path| {
        disk::read_config(&snapshot.join("config")).is_ok_and(|file| file.config.check().is_ok())
    };
    let mut found = Vec::new();
    let entries = std::fs::read_dir(&folder).into_iter().flatten();
    for entry in entries.flatten() {
        let path = entry.path();
        let is_whole = check_form(&path).is_ok() && has_files(&path) && has_config(&path);
        match entry.file_name().to_str().map(ContainerName::new) {
            Some(Ok(name)) if is_whole => found.push(name),
            _ => warnings.push(format!(
                "its snapshot {:?} was left out: the archive has no root file system or no config of it; export it by Gantry to take it along",
                entry.file_name()
            )),
        }
    }
    found
}

/// Where the container was, by the path of its root file system.
fn old_layout(config: &Config, base: &Path) -> Result<ContainerLayout> {
    let path = config
        .get("lxc.rootfs.path")
        .ok_or_else(|| not_a_container("its config has no lxc.rootfs.path"))?;
    let rootfs = RootfsPath::parse(path);
    let unusual = || {
        not_a_container(&format!(
            "lxc.rootfs.path is {path}, not LXCPATH/NAME/rootfs"
        ))
    };
    let path = PathBuf::from(&rootfs.path);
    let directory = match &rootfs.kind {
        RootfsKind::Dir | RootfsKind::Unprefixed | RootfsKind::Btrfs => {
            path.parent().filter(|_| path.ends_with("rootfs"))
        }
        kind => {
            let mut entries = std::fs::read_dir(base.join("rootfs")).into_iter().flatten();
            if entries.next().is_none() {
                return Err(Error::Unsupported(format!(
                    "the archive's root file system is empty, as the container is stored on {}; pack it while that is mounted, or export it by Gantry",
                    kind.prefix()
                )));
            }
            match (kind, rootfs.overlay()) {
                (RootfsKind::Overlay, Some(layers)) => {
                    // Also of delta0, which lies one level higher.
                    let mut above = layers.upper.ancestors().skip(1);
                    let first = above.next().map(Path::to_path_buf);
                    let directory = match &first {
                        Some(first) if first.ends_with("overlay") => above.next(),
                        first => first.as_deref(),
                    };
                    return directory_layout(directory.ok_or_else(unusual)?);
                }
                (RootfsKind::Loop, _) => path.parent(),
                // LV or dataset, called after the container.
                _ => {
                    let name = path.file_name().ok_or_else(unusual)?;
                    let usual = gantry_core::layout::DEFAULT_LXC_PATH;
                    return directory_layout(&Path::new(usual).join(name));
                }
            }
        }
    };
    directory_layout(directory.ok_or_else(unusual)?)
}

/// The layout of a container's directory somewhere.
fn directory_layout(directory: &Path) -> Result<ContainerLayout> {
    let unusual = || {
        not_a_container(&format!(
            "it lay in {}, not LXCPATH/NAME",
            directory.display()
        ))
    };
    let name = directory
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(unusual)?;
    let lxc_path = directory
        .parent()
        .and_then(Path::to_str)
        .filter(|path| path.starts_with('/'))
        .ok_or_else(unusual)?;
    Ok(ContainerLayout::new(lxc_path, ContainerName::new(name)?))
}

fn not_a_container(why: &str) -> Error {
    Error::InvalidArgument(format!(
        "the archive is not of an LXC container's directory: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_container_may_lie_in_a_directory() {
        let tree = tempfile::tempdir().unwrap();
        let make = |base: &Path| {
            std::fs::create_dir_all(base.join("rootfs")).unwrap();
            std::fs::write(base.join("config"), "").unwrap();
        };
        assert!(find_base(tree.path()).is_err());
        make(&tree.path().join("c1"));
        assert_eq!(find_base(tree.path()).unwrap(), tree.path().join("c1"));
        make(tree.path());
        assert_eq!(find_base(tree.path()).unwrap(), tree.path());
    }

    #[test]
    fn links_are_no_root_file_system() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("config"), "").unwrap();
        std::os::unix::fs::symlink("/", tree.path().join("rootfs")).unwrap();
        assert!(matches!(
            find_base(tree.path()),
            Err(Error::InvalidArgument(_))
        ));
    }

    #[test]
    fn where_it_was_is_known_by_its_root() {
        let config = |path: &str| {
            let text = format!("lxc.rootfs.path = {path}\n");
            Config::read(
                Path::new("/x"),
                text,
                &mut gantry_core::config::SkipIncludes,
            )
        };
        let base = tempfile::tempdir().unwrap();
        let old = |path| old_layout(&config(path), base.path());
        let directory = |path| old(path).unwrap().directory();
        assert_eq!(
            directory("dir:/srv/lxc/web/rootfs"),
            Path::new("/srv/lxc/web")
        );
        assert!(old("/srv/web").is_err());
        assert!(matches!(
            old("zfs:tank/lxc/web"),
            Err(Error::Unsupported(_))
        ));
        // Somebody has mounted it before packing.
        std::fs::create_dir_all(base.path().join("rootfs/bin")).unwrap();
        for path in [
            "zfs:tank/lxc/web",
            "loop:/var/lib/lxc/web/rootdev",
            "overlay:/var/lib/lxc/base/rootfs:/var/lib/lxc/web/overlay/delta",
            "overlayfs:/var/lib/lxc/base/rootfs:/var/lib/lxc/web/delta0",
        ] {
            assert_eq!(directory(path), Path::new("/var/lib/lxc/web"), "{path}");
        }
    }
}
