//! Containers that leave as an archive.
//!
//! Both forms have what LXC's own directory of the container has, so that tar(1) lists
//! and unpacks them: `config`, `rootfs`, the hooks and the fstab of the directory, and on
//! request `snaps`. The root file systems are whole, whatever they were stored on.

use super::clone::{Source, own_files};
use super::create::discard;
use super::destroy::rewritten;
use super::held_device::HeldDevice;
use super::idmaps::maps_of;
use super::launcher::{Access, Programs};
use super::manifest::Manifest;
use super::snapshots::{self, snapshot_layout};
use super::staging::Staging;
use super::{ContainerId, Engine, Error, Result, Work, blocking};
use crate::image::confined::all_ids;
use crate::image::pack::{self, Content, Plan, Store};
use crate::image::sink::Sink;
use crate::image::stream::Compression;
use crate::storage::dir::root_of;
use crate::storage::{self, Files, Place};
use gantry_core::idmap::IdMaps;
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use gantry_core::states::State;
use gantry_core::values::rootfs::RootfsPath;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// With a manifest and a checksum, and owners as the container sees them.
    Gantry,
    /// As `tar --numeric-owner` of LXC's directory: owners are ids of the host.
    Tar,
}

/// How to export.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExportOptions {
    /// How the archive is packed.
    pub(crate) compression: Compression,
    /// With the container's snapshots.
    pub(crate) snapshots: bool,
    /// Its form.
    pub(crate) format: Format,
}

/// The root file system of a container that goes on, as it was at one moment.
struct Moment {
    rootfs: RootfsPath,
    staging: Staging,
}

impl Engine {
    /// Packs a container into a client's file, pipe or socket. One that runs is held for
    /// the moment of a snapshot, or meanwhile where its backend has none that stand by
    /// themselves. Gives how many bytes the archive has.
    pub(crate) async fn export(
        &self,
        id: &ContainerId,
        target: OwnedFd,
        options: ExportOptions,
        work: &Work,
    ) -> Result<u64> {
        let sink = Sink::open(target)?;
        let facts = self.get(id).await?;
        let _lock = self.lock(&id.name).await?;
        let layout = self.layout(&id.name);
        let runs = match facts.state {
            State::Stopped => false,
            State::Running | State::Frozen => true,
            other => {
                return Err(Error::WrongState(format!(
                    "container '{}' is {other}; wait until it runs or is stopped",
                    id.name
                )));
            }
        };
        let mut packing = blocking(move || Packing::of(&layout, options)).await?;
        let held = self.hold(id, work).await?;
        let moment = match runs {
            true => self.moment(&packing.source, work).await,
            false => Ok(None),
        };
        let (moment, held) = match moment {
            Ok(Some(moment)) => {
                packing.read_from(&moment.rootfs);
                self.let_go(id, held).await?;
                work.log("the container runs and was held for a moment; the archive has what a power cut would have left then");
                (Some(moment), None)
            }
            Ok(None) => {
                if runs {
                    work.log("the container runs and is held while it is packed; the archive has what a power cut would have left");
                }
                (None, Some(held))
            }
            Err(error) => {
                self.let_go(id, held).await?;
                return Err(error);
            }
        };
        let packed = match &held {
            Some(_) => self.pack_held(id, packing, options, sink, work).await,
            None => self.pack(packing, options, sink, work).await,
        };
        if let Some(held) = held {
            self.let_go(id, held).await?;
        }
        if let Some(Moment { staging, .. }) = moment {
            let forget = move || {
                drop(staging);
                Ok(())
            };
            blocking(forget).await?;
        }
        packed
    }

    /// A snapshot to read a container by that goes on; none where its backend has none for
    /// that, or cannot make one now.
    async fn moment(&self, source: &Source, work: &Work) -> Result<Option<Moment>> {
        let backend = storage::backend(&source.backend)?;
        let rootfs = source.rootfs.clone();
        if !blocking(move || backend.keeps_moments(&rootfs)).await? {
            return Ok(None);
        }
        let staging = Staging::create(Path::new(self.lxc_path()))?;
        let place = Place {
            here: staging.path().to_path_buf(),
            there: staging.path().to_path_buf(),
            volume: format!("{}_export", source.layout.name()),
        };
        let rootfs = source.rootfs.clone();
        match blocking(move || backend.snapshot(&rootfs, &place)).await {
            Ok(made) => Ok(Some(Moment {
                rootfs: RootfsPath::parse(&made.path),
                staging,
            })),
            Err(error) => match discard(staging, error).await {
                Error::NoSpace(why) | Error::Unsupported(why) => {
                    work.log(format_args!("there is no snapshot to pack: {why}"));
                    Ok(None)
                }
                error => Err(error),
            },
        }
    }

    /// Packs a container that is held, and its file system with it.
    async fn pack_held(
        &self,
        id: &ContainerId,
        packing: Packing,
        options: ExportOptions,
        sink: Sink,
        work: &Work,
    ) -> Result<u64> {
        let device = self.hold_device(id, &packing.source).await?;
        let packed = self.pack(packing, options, sink, work).await;
        device.map_or(Ok(()), HeldDevice::let_go)?;
        packed
    }

    async fn pack(
        &self,
        packing: Packing,
        options: ExportOptions,
        sink: Sink,
        work: &Work,
    ) -> Result<u64> {
        let programs = &self.0.programs;
        let (trees, mounts) = open(programs, &packing.trees).await?;
        let (plan, maps) = packing.plan(options, trees)?;
        let maps = match options.format {
            Format::Gantry if !maps.is_empty() => maps,
            _ => all_ids(),
        };
        pack::pack(programs, &plan, &mounts, &maps, sink, work).await
    }
}

/// Makes root file systems ready to be read. Gives the mounts by which some are, too.
async fn open(
    programs: &Programs,
    trees: &[(PathBuf, RootfsPath)],
) -> Result<(Vec<(PathBuf, Store)>, Vec<OwnedFd>)> {
    let (mut stores, mut mounts) = (Vec::new(), Vec::new());
    for (place, rootfs) in trees {
        let store = match storage::files(rootfs) {
            Files::At(path) => Store::Tree(path),
            Files::In(path) => {
                let number = i32::try_from(mounts.len()).unwrap_or(i32::MAX);
                mounts.push(programs.mount(&path, Access::Read).await?);
                let device = storage::is_device(&storage::name_of(rootfs));
                Store::Mount { number, device }
            }
        };
        stores.push((place.clone(), store));
    }
    Ok((stores, mounts))
}

/// The parts of an archive.
struct Packing {
    source: Source,
    files: Vec<(PathBuf, Content)>,
    /// The first is the container's own.
    trees: Vec<(PathBuf, RootfsPath)>,
    snapshots: Vec<String>,
}

impl Packing {
    fn of(layout: &ContainerLayout, options: ExportOptions) -> Result<Self> {
        let source = Source::read(layout.clone())?;
        let own = own_files(&source)
            .into_iter()
            .map(|file| (file.clone(), Content::Copy(layout.directory().join(file))));
        let mut packing = Self {
            files: own.collect(),
            trees: vec![(PathBuf::from("rootfs"), source.rootfs.clone())],
            snapshots: Vec::new(),
            source,
        };
        if options.snapshots {
            for snapshot in snapshots::list(layout)? {
                packing.add_snapshot(layout, &snapshot.name)?;
            }
        }
        Ok(packing)
    }

    /// Has the container's own root file system read from somewhere else.
    fn read_from(&mut self, rootfs: &RootfsPath) {
        if let Some((_, own)) = self.trees.first_mut() {
            *own = rootfs.clone();
        }
    }

    fn add_snapshot(&mut self, layout: &ContainerLayout, name: &str) -> Result<()> {
        let there = snapshot_layout(layout, ContainerName::new(name)?)?;
        let source = Source::read(there.clone())?;
        let place = Path::new("snaps").join(name);
        for file in snapshots::NOTES {
            let path = there.directory().join(file);
            if path.symlink_metadata().is_ok() {
                self.files.push((place.join(file), Content::Copy(path)));
            }
        }
        let directory = layout.directory().join(&place);
        let text = Content::Text(config(&source, &directory)?);
        self.files.push((place.join("config"), text));
        self.trees.push((place.join("rootfs"), source.rootfs));
        self.snapshots.push(name.to_owned());
        Ok(())
    }

    /// What is to be done with the root file systems, and the container's maps.
    fn plan(
        mut self,
        options: ExportOptions,
        trees: Vec<(PathBuf, Store)>,
    ) -> Result<(Plan, IdMaps)> {
        let directory = self.source.layout.directory();
        let text = Content::Text(config(&self.source, &directory)?);
        self.files.push((PathBuf::from("config"), text));
        let maps = maps_of(&self.source.config);
        let (layout, backend) = (&self.source.layout, &self.source.backend);
        let manifest = Manifest::new(layout, backend, &maps, self.snapshots);
        let tops = self.files.iter().map(|(place, _)| place);
        let mut members: Vec<String> = tops
            .chain(trees.iter().map(|(place, _)| place))
            .filter_map(|place| place.components().next())
            .map(|top| top.as_os_str().to_string_lossy().into_owned())
            .filter(|top| top != "config")
            .collect();
        members.sort();
        members.dedup();
        // A text ends a sealed archive.
        members.push("config".to_owned());
        let sealed = options.format == Format::Gantry;
        let plan = Plan {
            root: PathBuf::from(super::RUN_ROOTFS),
            tar: pack::tar()?,
            packer: pack::packer(options.compression)?,
            manifest: sealed.then(|| manifest.text()).transpose()?,
            owner: if sealed { root_of(&maps) } else { (0, 0) },
            files: self.files,
            trees,
            members,
        };
        Ok((plan, maps))
    }
}

/// The config of a container whose root file system lies in its directory.
fn config(source: &Source, directory: &Path) -> Result<String> {
    let rootfs = format!("dir:{}/rootfs", directory.display());
    let copy = rewritten(&source.config, |key, value| {
        Ok(match key {
            "lxc.rootfs.path" => rootfs.clone(),
            _ => value.to_owned(),
        })
    })?;
    Ok(copy.text().to_owned())
}
