//! Containers that leave as an archive.
//!
//! Both forms have what LXC's own directory of the container has, so that tar(1) lists
//! and unpacks them: `config`, `rootfs`, the hooks and the fstab of the directory, and on
//! request `snaps`. The root file systems are whole, whatever they were stored on.

use super::clone::{Source, own_files};
use super::destroy::rewritten;
use super::idmaps::maps_of;
use super::manifest::Manifest;
use super::snapshots::{self, snapshot_layout};
use super::{ContainerId, Engine, Error, Result, Work, blocking};
use crate::image::confined::all_ids;
use crate::image::pack::{self, Content, Plan, Store};
use crate::image::sink::Sink;
use crate::image::stream::Compression;
use crate::storage::dir::root_of;
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use gantry_core::states::State;
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

impl Engine {
    /// Packs a container into a client's file, pipe or socket. One that runs is held
    /// meanwhile. Gives how many bytes the archive has.
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
        let (plan, maps) =
            blocking(move || Packing::of(&layout, options, runs)?.plan(options)).await?;
        if runs {
            work.log("the container runs and is held while it is packed; the archive has what a power cut would have left");
        }
        let maps = match options.format {
            Format::Gantry if !maps.is_empty() => maps,
            _ => all_ids(),
        };
        let held = self.hold(id, work).await?;
        let packed = pack::pack(&self.0.programs, &plan, &maps, sink, work).await;
        self.let_go(id, held).await?;
        packed
    }
}

/// The parts of an archive.
struct Packing {
    source: Source,
    files: Vec<(PathBuf, Content)>,
    trees: Vec<(PathBuf, Store)>,
    snapshots: Vec<String>,
}

impl Packing {
    fn of(layout: &ContainerLayout, options: ExportOptions, runs: bool) -> Result<Self> {
        let source = Source::read(layout.clone())?;
        let store = store(&source)?;
        if runs
            && matches!(
                store,
                Store::Device(_) | Store::Image(_) | Store::Dataset(_)
            )
        {
            return Err(Error::WrongState(format!(
                "container '{}' runs on a file system of its own ({}), which cannot be mounted twice; stop it first, or export a snapshot or clone",
                layout.name(),
                source.backend
            )));
        }
        let own = own_files(&source)
            .into_iter()
            .map(|file| (file.clone(), Content::Copy(layout.directory().join(file))));
        let mut packing = Self {
            files: own.collect(),
            trees: vec![(PathBuf::from("rootfs"), store)],
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
        self.trees.push((place.join("rootfs"), store(&source)?));
        self.snapshots.push(name.to_owned());
        Ok(())
    }

    /// What is to be done, and the container's maps.
    fn plan(mut self, options: ExportOptions) -> Result<(Plan, gantry_core::idmap::IdMaps)> {
        let directory = self.source.layout.directory();
        let text = Content::Text(config(&self.source, &directory)?);
        self.files.push((PathBuf::from("config"), text));
        let maps = maps_of(&self.source.config);
        let (layout, backend) = (&self.source.layout, &self.source.backend);
        let manifest = Manifest::new(layout, backend, &maps, self.snapshots);
        let tops = self.files.iter().map(|(place, _)| place);
        let mut members: Vec<String> = tops
            .chain(self.trees.iter().map(|(place, _)| place))
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
            trees: self.trees,
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

/// How a root file system can be read.
fn store(source: &Source) -> Result<Store> {
    let path = PathBuf::from(&source.rootfs.path);
    Ok(match source.backend.as_str() {
        "dir" | "btrfs" => Store::Tree(path),
        "loop" => Store::Image(path),
        "lvm" => Store::Device(path),
        "zfs" if !path.is_absolute() => Store::Dataset(source.rootfs.path.clone()),
        "zfs" => Store::Tree(path),
        "overlay" => {
            let layers = source.rootfs.overlay().ok_or_else(|| {
                Error::InvalidArgument(format!(
                    "{} is not of the form LOWER:UPPER",
                    source.rootfs.path
                ))
            })?;
            Store::Overlay([vec![layers.upper], layers.lower].concat())
        }
        other => {
            return Err(Error::Unsupported(format!(
                "a root file system on '{other}' cannot be read; copy the container to dir first"
            )));
        }
    })
}
