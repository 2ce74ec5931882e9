//! Containers that come as an archive.

use super::config::parse;
use super::create::{blocking, discard};
use super::destroy::relocated;
use super::disk;
use super::idmaps::maps_of;
use super::staging::{Staging, exists};
use super::{ContainerId, Engine, Error, Result, Work};
use crate::image::confined::all_ids;
use crate::image::stream::Stream;
use crate::image::unpack::{self, Target};
use crate::linux::files;
use crate::storage::dir;
use gantry_core::config::Config;
use gantry_core::idmap::IdKind;
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use gantry_core::values::rootfs::{RootfsKind, RootfsPath};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where the archive is unpacked, below the staging directory.
const TREE: &str = "tree";
/// The container gets a /dev of its own.
const DEVICES: [&str; 2] = ["rootfs/dev/*", "*/rootfs/dev/*"];
/// What belongs to where the container was before.
const LEFT_BEHIND: [&str; 4] = ["partial", "lxc_snapshots", "lxc_rdepends", "snaps"];

impl Engine {
    /// Makes a container from a tar stream of an LXC container directory
    /// (`config` and `rootfs`, also below one directory), plain or compressed.
    /// Until it returns there is none of that name, and when it fails or is
    /// cancelled nothing is left.
    ///
    /// Without `allow_unsafe` an archive whose config equals root on the host
    /// is refused with [`Error::NotAuthorized`].
    pub(crate) async fn import(
        &self,
        archive: OwnedFd,
        name: ContainerName,
        allow_unsafe: bool,
        work: &Work,
    ) -> Result<ContainerId> {
        Stream::check(&archive)?;
        let layout = self.layout(&name);
        let id = ContainerId::system(name);
        if layout.directory().symlink_metadata().is_ok() || self.facts(&id).is_some() {
            return Err(exists(&layout));
        }
        let _name = self.reserve(&id.name)?;
        let _lock = self.lock(&id.name).await?;
        let staging = Staging::create(Path::new(self.lxc_path()))?;
        let (base, group) = match self
            .unpack(archive, &layout, &staging, allow_unsafe, work)
            .await
        {
            Ok(unpacked) => unpacked,
            Err(error) => return Err(discard(staging, error).await),
        };
        work.stage("finishing");
        let part = base
            .strip_prefix(staging.path())
            .map_or_else(|_| PathBuf::from(TREE), Path::to_path_buf);
        blocking(move || staging.publish(Some(&part), group, &layout)).await?;
        self.refresh().await?;
        Ok(id)
    }

    /// Unpacks and checks. Gives where the container's directory is, and the
    /// host's id of the root group of a mapped container.
    async fn unpack(
        &self,
        archive: OwnedFd,
        layout: &ContainerLayout,
        staging: &Staging,
        allow_unsafe: bool,
        work: &Work,
    ) -> Result<(PathBuf, Option<u32>)> {
        let tree = staging.path().join(TREE);
        files::create_dirs(&tree, 0o700).map_err(|error| Error::path("making", &tree, &error))?;
        // The owners in the archive are the host's ids already.
        unpack::unpack(
            &self.0.programs,
            archive,
            Target::directory(&tree),
            &all_ids(),
            &DEVICES,
            work,
        )
        .await?;
        work.stage("checking");
        let base = find_base(&tree)?;
        let config = self.adopt_config(&base, layout, allow_unsafe, work)?;
        for left in LEFT_BEHIND {
            let path = base.join(left);
            dir::remove(&path).map_err(|error| Error::path("removing", &path, &error))?;
        }
        work.check()?;
        Ok((base, maps_of(&config).host_of(IdKind::Group, 0)))
    }

    /// Reads the config that came, and puts one in its place that fits here.
    fn adopt_config(
        &self,
        base: &Path,
        layout: &ContainerLayout,
        allow_unsafe: bool,
        work: &Work,
    ) -> Result<Config> {
        let path = base.join("config");
        let came = disk::read_config(&path)?.config;
        came.check()?;
        let old = old_layout(&came)?;
        let text = relocated(&came, &old, layout)?;
        let config = parse(&layout.config(), &text)?;
        let mut risks = config.unsafe_changes(&parse(&layout.config(), "")?);
        // Where it is has just been decided here.
        risks.retain(|key| key != "lxc.rootfs.path");
        if maps_of(&config).is_empty() {
            risks.push("no lxc.idmap, which makes it privileged".to_owned());
        }
        if !allow_unsafe && !risks.is_empty() {
            return Err(Error::NotAuthorized(format!(
                "the archive's config has what equals root on the host: {}",
                risks.join(", ")
            )));
        }
        for id in self.sharing_ids(&config) {
            work.log(format!(
                "container '{id}' has the same host ids; give one of them others to keep them apart"
            ));
        }
        // It came with an owner and a mode of its own.
        dir::remove(&path).map_err(|error| Error::path("replacing", &path, &error))?;
        files::replace(&path, text.as_bytes(), 0o640)
            .map_err(|error| Error::path("writing", &path, &error))?;
        Ok(config)
    }

    /// The containers whose maps overlap with those of a config.
    fn sharing_ids(&self, config: &Config) -> Vec<ContainerName> {
        let maps = maps_of(config);
        let names = std::fs::read_dir(self.lxc_path()).into_iter().flatten();
        names
            .filter_map(|entry| ContainerName::new(entry.ok()?.file_name().to_str()?).ok())
            .filter(|name| {
                let other = disk::read_config(&self.layout(name).config())
                    .map(|file| maps_of(&file.config));
                other.is_ok_and(|other| {
                    let meets = |a: &gantry_core::idmap::IdMap, b: &gantry_core::idmap::IdMap| {
                        a.kind == b.kind && a.host_range().overlaps(b.host_range())
                    };
                    maps.0.iter().any(|a| other.0.iter().any(|b| meets(a, b)))
                })
            })
            .collect()
    }
}

/// The directory of the archive that holds the container. What must be a
/// directory or a file is one, and no link.
fn find_base(tree: &Path) -> Result<PathBuf> {
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
    let is = |path: PathBuf, wanted: fn(&std::fs::Metadata) -> bool| {
        path.symlink_metadata()
            .is_ok_and(|metadata| wanted(&metadata))
    };
    if !is(base.clone(), std::fs::Metadata::is_dir)
        || !is(base.join("config"), std::fs::Metadata::is_file)
    {
        return Err(not_a_container("'config' is missing or no file"));
    }
    if !is(base.join("rootfs"), std::fs::Metadata::is_dir) {
        return Err(not_a_container("'rootfs' is missing or no directory"));
    }
    Ok(base)
}

/// Where the container was, by the path of its root file system.
fn old_layout(config: &Config) -> Result<ContainerLayout> {
    let path = config
        .get("lxc.rootfs.path")
        .ok_or_else(|| not_a_container("its config has no lxc.rootfs.path"))?;
    let rootfs = RootfsPath::parse(path);
    if !matches!(rootfs.kind, RootfsKind::Dir | RootfsKind::Unprefixed) {
        return Err(Error::Unsupported(format!(
            "the archive's container is stored on {}; only 'dir' can be imported",
            rootfs.kind.prefix()
        )));
    }
    let path = Path::new(&rootfs.path);
    let unusual = || {
        not_a_container(&format!(
            "lxc.rootfs.path is {}, not LXCPATH/NAME/rootfs",
            path.display()
        ))
    };
    let directory = path
        .parent()
        .filter(|_| path.ends_with("rootfs"))
        .ok_or_else(unusual)?;
    let name = directory
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(unusual)?;
    let lxc_path = directory
        .parent()
        .and_then(Path::to_str)
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
        let old = old_layout(&config("dir:/srv/lxc/web/rootfs")).unwrap();
        assert_eq!(old.directory(), Path::new("/srv/lxc/web"));
        assert!(old_layout(&config("/srv/web")).is_err());
        assert!(matches!(
            old_layout(&config("zfs:tank/lxc/web")),
            Err(Error::Unsupported(_))
        ));
    }
}
