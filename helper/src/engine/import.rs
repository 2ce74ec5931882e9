//! Containers that come as an archive.

use super::adopt::{Arrival, claim, find_base};
use super::config::volumes;
use super::create::{blocking, discard};
use super::idmaps::maps_of;
use super::incus::Backup;
use super::manifest::Manifest;
use super::staging::{Staging, exists};
use super::{ContainerId, Engine, Error, Result, Work, duplicate};
use crate::image::confined::all_ids;
use crate::image::pack::{self, Plan, Store};
use crate::image::sink::Sink;
use crate::image::stream::Stream;
use crate::image::unpack::{self, Target};
use crate::linux::files;
use crate::linux::space::occupied;
use crate::storage::{self, Files, Made, Wish, dir};
use futures_util::future::BoxFuture;
use gantry_core::idmap::{IdKind, IdMaps};
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use rustix::fs::{CWD, RenameFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the archive is unpacked, below the staging directory.
const TREE: &str = "tree";
/// Where a root file system waits to be given other owners.
const RAW: &str = "raw";
/// The container gets a /dev of its own.
const DEVICES: [&str; 3] = ["rootfs/dev/*", "*/rootfs/dev/*", "snaps/*/rootfs/dev/*"];

/// What to import, and how.
#[derive(Debug)]
pub(crate) struct ImportRequest {
    /// A tar stream: file, pipe or socket, plain or compressed with gzip, bzip2, xz or
    /// zstd.
    pub(crate) archive: OwnedFd,
    /// The container's name.
    pub(crate) name: ContainerName,
    /// Take a config that equals root on the host.
    pub(crate) allow_unsafe: bool,
    /// Keep the hardware addresses; else new ones are drawn.
    pub(crate) keep_mac: bool,
    /// Where to store the root file system: a [`crate::storage::backend`] or `best`.
    pub(crate) backend: String,
    /// What it is to be like there.
    pub(crate) wish: Wish,
}

/// A container that came.
#[derive(Debug)]
pub(crate) struct Imported {
    /// Which it is.
    pub(crate) id: ContainerId,
    /// What the host lacks for it, and what could not be taken over.
    pub(crate) warnings: Vec<String>,
}

impl Engine {
    /// Makes a container of an archive: one of Gantry's, a tar stream of an LXC container
    /// directory (`config` and `rootfs`, also below one directory), or a backup of Incus or
    /// LXD. Until it returns there is none of that name, and when it fails or is cancelled
    /// nothing is left.
    ///
    /// Without `allow_unsafe` an archive whose config equals root on the host
    /// is refused with [`Error::NotAuthorized`].
    pub(crate) async fn import(&self, mut request: ImportRequest, work: &Work) -> Result<Imported> {
        Stream::check(&request.archive)?;
        request.wish.system = volumes()?;
        let (backend, wish) = (request.backend.clone(), request.wish.clone());
        let lxc_path = PathBuf::from(self.lxc_path());
        blocking(move || storage::backend_for(&backend, &wish, &lxc_path).map(drop)).await?;
        let layout = self.layout(&request.name);
        let id = ContainerId::system(request.name.clone());
        if layout.directory().symlink_metadata().is_ok() || self.facts(&id).is_some() {
            return Err(exists(&layout));
        }
        let _name = self.reserve(&id.name)?;
        let _lock = self.lock(&id.name).await?;
        let staging = Staging::create(Path::new(self.lxc_path()))?;
        // What it is unpacked in is no other backend's place.
        let stored = match request.backend.as_str() {
            "dir" => None,
            _ => Some(Staging::create(Path::new(self.lxc_path()))?),
        };
        let brought = self.bring_in(request, &layout, &staging, stored.as_ref(), work);
        let (arrival, group) = match brought.await {
            Ok(brought) => brought,
            Err(error) => {
                let error = match stored {
                    Some(stored) => discard(stored, error).await,
                    None => error,
                };
                return Err(discard(staging, error).await);
            }
        };
        work.stage("finishing");
        let part = arrival
            .base
            .strip_prefix(staging.path())
            .map_or_else(|_| PathBuf::from(TREE), Path::to_path_buf);
        blocking(move || match stored {
            // What came goes only now: by its ids they were taken.
            Some(stored) => stored.publish(None, group, &layout).map(|()| drop(staging)),
            None => staging.publish(Some(&part), group, &layout),
        })
        .await?;
        self.refresh().await?;
        for warning in &arrival.warnings {
            work.log(warning);
        }
        Ok(Imported {
            id,
            warnings: arrival.warnings,
        })
    }

    /// Unpacks, checks and fits in; into `stored` where the backend has to be another than
    /// that of directories. Gives the host's id of the root group of a mapped container, too.
    async fn bring_in(
        &self,
        request: ImportRequest,
        layout: &ContainerLayout,
        staging: &Staging,
        stored: Option<&Staging>,
        work: &Work,
    ) -> Result<(Arrival, Option<u32>)> {
        let (keep_mac, allow_unsafe) = (request.keep_mac, request.allow_unsafe);
        let (backend, wish) = (request.backend, request.wish);
        let tree = staging.path().join(TREE);
        files::create_dirs(&tree, 0o700).map_err(|error| Error::path("making", &tree, &error))?;
        let known = self.unpack(request.archive, &tree, staging, work).await?;
        work.stage("checking");
        let backup = match known {
            None => Backup::unfold(&self.0.programs, &tree, layout).await?,
            Some(_) => None,
        };
        let base = match &backup {
            Some(backup) => backup.base.clone(),
            None => find_base(&tree)?,
        };
        let mut arrival = Arrival::read(&base, layout, known.as_ref().map(|(sealed, _)| sealed))?;
        let packed = match backup {
            Some(backup) => {
                arrival.warnings.extend(backup.warnings);
                backup.packed
            }
            None => arrival.maps()?,
        };
        let maps = match known {
            Some((_, maps)) => maps,
            None => self.give_owners(&arrival, packed, staging, work).await?,
        };
        let stored = match stored {
            Some(stored) => {
                let begun = self.begin_stored(backend, wish, &arrival, layout, &maps, stored);
                Some((stored, begun.await?))
            }
            None => None,
        };
        let rootfs = match &stored {
            Some((_, made)) => made.path.clone(),
            None => format!("dir:{}/rootfs", layout.directory().display()),
        };
        arrival.adopt(layout, &rootfs, &maps, keep_mac, allow_unsafe)?;
        let shared = self.sharing_ids(&maps)?;
        arrival.warnings.extend(shared.into_iter().map(|id| {
            format!(
                "container '{id}' has the same host ids; give one of them others to keep them apart"
            )
        }));
        let group = maps.host_of(IdKind::Group, 0);
        let arrival = blocking(move || claim(&arrival, group).map(|()| arrival)).await?;
        if let Some((stored, made)) = stored {
            work.stage("copying");
            let from = Files::At(arrival.base.join("rootfs"));
            duplicate::copy(&self.0.programs, &from, &made.files, work).await?;
            move_rest(&arrival.base, stored.path())?;
        }
        Ok((arrival, group))
    }

    /// Begins a root file system of a backend, with room for the one that came.
    async fn begin_stored(
        &self,
        backend: String,
        mut wish: Wish,
        arrival: &Arrival,
        layout: &ContainerLayout,
        maps: &IdMaps,
        stored: &Staging,
    ) -> Result<Made> {
        wish.owner = dir::root_of(maps);
        let (place, came) = (self.place(stored, layout), arrival.base.join("rootfs"));
        let lxc_path = PathBuf::from(self.lxc_path());
        blocking(move || {
            let backend = storage::backend_for(&backend, &wish, &lxc_path)?;
            // Of a dataset it would be a quota that nobody asked for.
            if wish.fssize.is_none() && backend.options().contains(&"fstype") {
                wish.fssize = Some(storage::room_for(occupied(&came)));
            }
            backend.create(&wish, &place)
        })
        .await
    }

    /// Unpacks. Gives the manifest of an archive of Gantry's, and the ids that what is in
    /// it has got.
    async fn unpack(
        &self,
        archive: OwnedFd,
        tree: &Path,
        staging: &Staging,
        work: &Work,
    ) -> Result<Option<(Manifest, IdMaps)>> {
        let known = Arc::new(Mutex::new(None));
        let (engine, found, place) = (self, known.clone(), staging.path().to_path_buf());
        let target = tree.to_path_buf();
        let choose = move |text: Option<String>| -> BoxFuture<'_, Result<IdMaps>> {
            Box::pin(async move {
                // The owners in other archives are the host's ids already.
                let Some(text) = text else {
                    return Ok(all_ids());
                };
                let manifest = Manifest::parse(&text)?;
                let maps = engine.fitting_maps(manifest.maps()?, place).await?;
                give_to_root(&target, &maps)?;
                *found.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((manifest, maps.clone()));
                Ok(if maps.is_empty() { all_ids() } else { maps })
            })
        };
        let programs = &self.0.programs;
        unpack::unpack_by(
            programs,
            archive,
            Target::directory(tree),
            choose,
            &DEVICES,
            work,
        )
        .await?;
        let found = known.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(found)
    }

    /// The maps for a container that had these: the same where they are free, else, if
    /// they are as new containers have them, others. They are taken from then on: by a
    /// file below `staging` which the search for free ids finds.
    async fn fitting_maps(&self, old: IdMaps, staging: PathBuf) -> Result<IdMaps> {
        if old.is_empty() {
            return Ok(old);
        }
        let _one_at_a_time = self.0.ranges.lock().await;
        let engine = self.clone();
        blocking(move || {
            let maps = if old.is_like_new() && !engine.are_free(&old)? {
                engine.choose_ids()?
            } else {
                old
            };
            let lines: String = maps
                .0
                .iter()
                .map(|map| format!("lxc.idmap = {map}\n"))
                .collect();
            let path = staging.join("config");
            files::replace(&path, lines.as_bytes(), 0o600)
                .map_err(|error| Error::path("writing", &path, &error))?;
            Ok(maps)
        })
        .await
    }

    /// Gives root file systems that were unpacked as they are in the archive, where owners
    /// are ids of a host by the maps `packed`, the owners that they are to have here. Gives
    /// the maps.
    async fn give_owners(
        &self,
        arrival: &Arrival,
        packed: IdMaps,
        staging: &Staging,
        work: &Work,
    ) -> Result<IdMaps> {
        let new = self
            .fitting_maps(arrival.maps()?, staging.path().to_path_buf())
            .await?;
        let rootfs = arrival.base.join("rootfs");
        let failed = |error: io::Error| Error::path("moving", &rootfs, &error);
        let owner = rootfs.symlink_metadata().map_err(failed)?.uid();
        let from = match packed.container_of(IdKind::User, owner) {
            None if new.is_empty() => return Ok(new),
            // It was packed from inside.
            None => all_ids(),
            Some(_) if packed == new => return Ok(new),
            Some(_) => packed,
        };
        work.stage("giving the files their owners");
        let raw = staging.path().join(RAW);
        let trees = arrival.trees();
        move_each(&trees, &arrival.base, &raw)?;
        let mut members: Vec<String> = trees
            .iter()
            .filter_map(|tree| tree.components().next())
            .map(|top| top.as_os_str().to_string_lossy().into_owned())
            .collect();
        members.dedup();
        let plan = Plan {
            root: PathBuf::from(super::RUN_ROOTFS),
            tar: pack::tar()?,
            packer: Vec::new(),
            manifest: None,
            owner: dir::root_of(&from),
            files: Vec::new(),
            trees: trees
                .iter()
                .map(|tree| (tree.clone(), Store::Tree(raw.join(tree))))
                .collect(),
            members,
        };
        let (source, sink) = io::pipe().map_err(failed)?;
        let sink = Sink::open(sink.into())?;
        let place = staging.path().join("shifted");
        files::create_dirs(&place, 0o700).map_err(failed)?;
        give_to_root(&place, &new)?;
        let programs = &self.0.programs;
        let quiet = work.part("owners");
        let packed = pack::pack(programs, &plan, &[], &from, sink, &quiet);
        let unpacked = unpack::unpack(
            programs,
            source.into(),
            Target::directory(&place),
            &new,
            &DEVICES,
            &quiet,
        );
        // What fails ends the pipe, and with it the other.
        let (packed, unpacked) = tokio::join!(packed, unpacked);
        packed?;
        unpacked?;
        move_each(&trees, &place, &arrival.base)?;
        blocking(move || {
            files::remove(&raw).map_err(|error| Error::path("removing", &raw, &error))
        })
        .await?;
        Ok(new)
    }

    /// The containers whose maps overlap with these.
    fn sharing_ids(&self, maps: &IdMaps) -> Result<Vec<ContainerName>> {
        let lxc_path = Path::new(self.lxc_path());
        let entries = std::fs::read_dir(lxc_path)
            .map_err(|error| Error::path("reading", lxc_path, &error))?;
        Ok(entries
            .filter_map(|entry| ContainerName::new(entry.ok()?.file_name().to_str()?).ok())
            .filter(|name| {
                let other = super::disk::read_config(&self.layout(name).config());
                other.is_ok_and(|file| maps_of(&file.config).overlaps(maps))
            })
            .collect())
    }
}

/// Moves what lies beside a root file system. What the new place has itself stays: a backend
/// calls what it keeps there as another did, which the archive may have with it.
fn move_rest(from: &Path, to: &Path) -> Result<()> {
    let failed = |error: io::Error| Error::path("moving what lies in", from, &error);
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let (old, new) = (from.join(&name), to.join(&name));
        match rustix::fs::renameat_with(CWD, old, CWD, new, RenameFlags::NOREPLACE) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(())
}

/// Moves each of these trees to another directory.
fn move_each(trees: &[PathBuf], from: &Path, to: &Path) -> Result<()> {
    for tree in trees {
        let (old, new) = (from.join(tree), to.join(tree));
        let failed = |error: io::Error| Error::path("moving", &old, &error);
        if let Some(above) = new.parent() {
            files::create_dirs(above, 0o700).map_err(failed)?;
        }
        std::fs::rename(&old, &new).map_err(failed)?;
    }
    Ok(())
}

/// Gives a directory to a container's root, who is to fill it.
fn give_to_root(directory: &Path, maps: &IdMaps) -> Result<()> {
    let (uid, gid) = dir::root_of(maps);
    std::os::unix::fs::chown(directory, Some(uid), Some(gid))
        .map_err(|error| Error::path("giving away", directory, &error))
}
