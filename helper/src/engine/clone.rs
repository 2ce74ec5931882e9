//! Containers made from containers.

use super::create::{blocking, discard};
use super::dependents::{list_with_origins, only, origins_of};
use super::destroy::{replace_path, rewritten};
use super::idmaps::maps_of;
use super::staging::{Staging, exists};
use super::{ContainerId, Engine, Error, Result, Work, config, disk, duplicate};
use crate::linux::files;
use crate::storage::{self, Made, Place};
use gantry_core::config::Config;
use gantry_core::dependents::Dependents;
use gantry_core::idmap::IdKind;
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use gantry_core::states::State;
use gantry_core::values::rootfs::RootfsPath;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct CloneOptions {
    /// Copy-on-write, as the backend can, instead of a full copy.
    pub(crate) snapshot: bool,
    /// The backend of the clone; none: as the container's own.
    pub(crate) backend: Option<String>,
    /// Keep the hardware addresses; else new ones are drawn.
    pub(crate) keep_mac: bool,
    /// Keep the host name; else it is the new container's.
    pub(crate) keep_name: bool,
    /// Destroy the clone when it stops.
    pub(crate) ephemeral: bool,
    /// Start it when it is made.
    pub(crate) start: bool,
}

/// A container or snapshot to be copied.
pub(super) struct Source {
    pub(super) layout: ContainerLayout,
    pub(super) config: Config,
    rootfs: RootfsPath,
    backend: String,
}

impl Source {
    /// Reads its config, which must be one without faults.
    pub(super) fn read(layout: ContainerLayout) -> Result<Self> {
        let config = disk::read_config(&layout.config())?.config;
        config.check()?;
        // Only today's keys are written.
        let config = if config.is_legacy() {
            config::parse(&layout.config(), &config.to_modern().text)?
        } else {
            config
        };
        let rootfs = config.get("lxc.rootfs.path").map(RootfsPath::parse);
        let rootfs = rootfs.ok_or_else(|| {
            Error::InvalidArgument(format!(
                "container '{}' has no root file system of its own (lxc.rootfs.path)",
                layout.name()
            ))
        })?;
        let backend = storage::name_of(&rootfs);
        Ok(Self {
            layout,
            config,
            rootfs,
            backend,
        })
    }

    /// The host's id of the container's root group; none if it is the host's own.
    pub(super) fn root_group(&self) -> Option<u32> {
        maps_of(&self.config).host_of(IdKind::Group, 0)
    }

    /// Whether its backend has no snapshots by which LXC would take one.
    pub(super) fn copies_in_full(&self) -> bool {
        matches!(self.backend.as_str(), "dir" | "loop")
    }

    /// How to make what is the same container at another time: by a snapshot where its
    /// backend has them.
    pub(super) fn same_again(&self) -> CloneOptions {
        CloneOptions {
            snapshot: !self.copies_in_full(),
            keep_mac: true,
            keep_name: true,
            ..CloneOptions::default()
        }
    }

    /// What the source itself needs; a copy of an overlay needs the same.
    fn origins(&self) -> Dependents {
        if self.backend == "overlay" {
            origins_of(&self.layout)
        } else {
            only(&self.layout)
        }
    }

    fn begin(&self, options: &CloneOptions, place: &Place<'_>) -> Result<Made> {
        let wanted = options
            .backend
            .as_deref()
            .filter(|wanted| *wanted != "best");
        let unfit = |wanted: &str| {
            Error::InvalidArgument(format!(
                "a {} on {} cannot become one on {wanted}; leave the backend out",
                if options.snapshot {
                    "copy-on-write clone of a container"
                } else {
                    "container"
                },
                self.backend
            ))
        };
        let own = storage::backend(&self.backend)?;
        if options.snapshot {
            let becomes = if self.backend == "dir" {
                "overlay"
            } else {
                self.backend.as_str()
            };
            return match wanted {
                Some(wanted) if wanted != becomes => Err(unfit(wanted)),
                _ => own.snapshot(&self.rootfs, place),
            };
        }
        match wanted {
            None => own.copy(&self.rootfs, place),
            Some(wanted) => {
                let other = storage::backend(wanted)?;
                let fits = wanted == self.backend
                    || (storage::is_tree(wanted) && storage::is_tree(&self.backend));
                if fits {
                    other.copy(&self.rootfs, place)
                } else {
                    Err(unfit(wanted))
                }
            }
        }
    }
}

impl Engine {
    /// Makes a container from another. Until it returns there is none of that name,
    /// and when it fails or is cancelled nothing is left. One that runs is held for
    /// the moment of the copy.
    pub(crate) async fn clone_container(
        &self,
        id: &ContainerId,
        new: &ContainerName,
        options: &CloneOptions,
        work: &Work,
    ) -> Result<ContainerId> {
        self.get(id).await?;
        let _lock = self.lock(&id.name).await?;
        let source = Source::read(self.layout(&id.name))?;
        self.make_from(Some(id), source, new, options, work).await
    }

    /// Makes a container from a source; `id` is the container that is to be held
    /// meanwhile.
    pub(super) async fn make_from(
        &self,
        id: Option<&ContainerId>,
        source: Source,
        new: &ContainerName,
        options: &CloneOptions,
        work: &Work,
    ) -> Result<ContainerId> {
        let layout = self.layout(new);
        let made = ContainerId::system(new.clone());
        if layout.directory().symlink_metadata().is_ok() || self.facts(&made).is_some() {
            return Err(exists(&layout));
        }
        let name = self.reserve(new)?;
        let lock = self.lock(new).await?;
        let staging = Staging::create(Path::new(self.lxc_path()))?;
        let filled = self
            .fill_copy(id, &source, &layout, &staging, options, work)
            .await;
        work.stage("finishing");
        self.publish_copy(staging, filled.map(drop), &source, &layout)
            .await?;
        drop((lock, name));
        self.refresh().await?;
        if options.start {
            work.stage("starting");
            self.start(&made).await?;
        }
        Ok(made)
    }

    /// Makes a copy that was filled what is at the target, where there is nothing yet;
    /// removes one that could not be.
    pub(super) async fn publish_copy(
        &self,
        staging: Staging,
        filled: Result<()>,
        source: &Source,
        target: &ContainerLayout,
    ) -> Result<()> {
        if let Err(error) = filled {
            return Err(discard(staging, error).await);
        }
        let (group, layout) = (source.root_group(), target.clone());
        blocking(move || {
            staging.publish(None, group, &layout)?;
            list_with_origins(&layout)
        })
        .await
    }

    /// Copies a source's root file system, config and own files. Gives what of the root
    /// file system was copied in full.
    pub(super) async fn fill_copy(
        &self,
        id: Option<&ContainerId>,
        source: &Source,
        target: &ContainerLayout,
        staging: &Staging,
        options: &CloneOptions,
        work: &Work,
    ) -> Result<Vec<PathBuf>> {
        let there = target.directory();
        let place = Place {
            here: staging.path(),
            there: &there,
        };
        let held = match id.and_then(|id| Some((id, self.facts(id)?))) {
            Some((id, facts)) if facts.state == State::Running => Some(id),
            _ => None,
        };
        if let Some(id) = held {
            work.stage("holding the container");
            self.freeze(id).await?;
        }
        let copied = async {
            work.stage("copying");
            let made = source.begin(options, &place)?;
            for (from, to) in &made.copies {
                duplicate::copy(&self.0.programs, from, to, work).await?;
            }
            Ok::<_, Error>(made)
        }
        .await;
        if let Some(id) = held {
            self.unfreeze(id).await?;
        }
        let made = copied?;
        let text = copied_config(source, target, &made.path, options)?;
        for file in own_files(source) {
            let (from, to) = (
                source.layout.directory().join(&file),
                place.here.join(&file),
            );
            if let Some(parent) = to.parent() {
                files::ensure_directory(parent, 0o755)
                    .map_err(|error| Error::path("making", parent, &error))?;
            }
            duplicate::copy(&self.0.programs, &from, &to, work).await?;
        }
        let path = place.here.join("config");
        files::replace(&path, text.as_bytes(), 0o640)
            .map_err(|error| Error::path("writing", &path, &error))?;
        if !options.keep_name {
            if made.layers.is_empty() {
                work.log("its /etc/hostname stays as it was; lxc.uts.name is new");
            } else if let Err(error) = set_host_name(&made.layers, target.name().as_str()) {
                work.log(format_args!("its /etc/hostname stays as it was: {error}"));
            }
        }
        if made.depends {
            let path = place.here.join("lxc_rdepends");
            files::replace(&path, source.origins().text().as_bytes(), 0o640)
                .map_err(|error| Error::path("writing", &path, &error))?;
        }
        work.check()?;
        Ok(made.copies.into_iter().map(|(_, to)| to).collect())
    }
}

/// The config of a copy: paths below the source's directory are below the copy's,
/// and what two containers must not share is new.
fn copied_config(
    source: &Source,
    target: &ContainerLayout,
    rootfs: &str,
    options: &CloneOptions,
) -> Result<String> {
    let (from, to) = (
        source.layout.directory().display().to_string(),
        target.directory().display().to_string(),
    );
    let mut copy = rewritten(&source.config, |key, value| match key {
        "lxc.rootfs.path" => Ok(rootfs.to_owned()),
        _ if key.ends_with(".hwaddr") && !options.keep_mac && !value.is_empty() => new_address(),
        _ => Ok(replace_path(value, &from, &to)),
    })?;
    let includes = &mut disk::DiskIncludes;
    if !options.keep_name {
        copy.set("lxc.uts.name", &[target.name().as_str()], includes)?;
    }
    match (options.ephemeral, source.config.get("lxc.ephemeral")) {
        (true, _) => copy.set("lxc.ephemeral", &["1"], includes)?,
        (false, Some("1")) => copy.set("lxc.ephemeral", &["0"], includes)?,
        _ => {}
    }
    Ok(copy.text().to_owned())
}

/// An address in the range that LXC draws from since version 6.
fn new_address() -> Result<String> {
    let random =
        files::random_bytes(3).map_err(|error| Error::io("reading random bytes", &error))?;
    let octets: Vec<String> = random.iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(format!("10:66:6a:{}", octets.join(":")))
}

/// Hook scripts and the fstab in the container's own directory, relative to it, but
/// none that lies where the container itself can write.
fn own_files(source: &Source) -> Vec<PathBuf> {
    let base = source.layout.directory();
    let values = source.config.items().iter();
    let mut found: Vec<PathBuf> = values
        .filter(|item| item.key.starts_with("lxc.hook.") || item.key == "lxc.mount.fstab")
        .filter_map(|item| item.value.split_whitespace().next())
        .filter_map(|path| Path::new(path).strip_prefix(&base).ok())
        .filter(|path| {
            path.components()
                .all(|part| matches!(part, std::path::Component::Normal(_)))
        })
        .filter(|path| {
            !["rootfs", "overlay", "delta0", "snaps"]
                .iter()
                .any(|root| path.starts_with(root))
        })
        .filter(|path| {
            base.join(path)
                .symlink_metadata()
                .is_ok_and(|status| status.is_file())
        })
        .map(Path::to_path_buf)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Writes /etc/hostname into the topmost layer, with the owner and mode that /etc has
/// below. Nothing in the tree is followed out of it.
fn set_host_name(layers: &[PathBuf], name: &str) -> io::Result<()> {
    let [top, below @ ..] = layers else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let open_etc = |layer: &PathBuf| -> io::Result<_> {
        let root = files::open_directory(layer)?;
        Ok(rustix::fs::openat2(
            root,
            "etc",
            flags,
            Mode::empty(),
            resolve,
        )?)
    };
    let etc = match open_etc(top) {
        Ok(etc) => etc,
        Err(error) => {
            let Some(lower) = below.iter().find_map(|layer| open_etc(layer).ok()) else {
                return Err(error);
            };
            let status = rustix::fs::fstat(&lower)?;
            let root = files::open_directory(top)?;
            rustix::fs::mkdirat(&root, "etc", Mode::from_raw_mode(0o700))?;
            let etc = rustix::fs::openat2(root, "etc", flags, Mode::empty(), resolve)?;
            files::give(&etc, &status, status.st_mode)?;
            etc
        }
    };
    let owner = rustix::fs::fstat(&etc)?;
    match rustix::fs::unlinkat(&etc, "hostname", rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&etc, "hostname", flags, Mode::from_raw_mode(0o644))?;
    files::give(&file, &owner, 0o644)?;
    std::fs::File::from(file).write_all(format!("{name}\n").as_bytes())
}
