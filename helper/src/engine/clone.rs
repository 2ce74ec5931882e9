//! Containers made from containers.

use super::create::{blocking, discard};
use super::dependents::{list_with_origins, only, origins_of};
use super::destroy::{has_hooks, replace_path, rewritten};
use super::held_device::HeldDevice;
use super::idmaps::maps_of;
use super::snapshots::snapshot_layout;
use super::staging::{Staging, exists};
use super::{ContainerId, Engine, Error, Result, Work, config, disk, duplicate};
use crate::linux::files;
use crate::storage::{self, Files, Made, Place, Wish};
use gantry_core::config::Config;
use gantry_core::dependents::Dependents;
use gantry_core::idmap::IdKind;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::FinishCopy;
use gantry_core::name::ContainerName;
use gantry_core::settings::HookStage;
use gantry_core::values::rootfs::RootfsPath;
use std::path::{Path, PathBuf};

/// How to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct CloneOptions {
    /// Copy-on-write, as the backend can, instead of a full copy.
    pub(crate) snapshot: bool,
    /// The backend of the clone; none: as the container's own.
    pub(crate) backend: Option<String>,
    /// The size of its file system, where it has one; none: what its origin has, or needs.
    pub(crate) fssize: Option<u64>,
    /// Keep the hardware addresses; else new ones are drawn.
    pub(crate) keep_mac: bool,
    /// Keep the host name; else it is the new container's.
    pub(crate) keep_name: bool,
    /// Destroy the clone when it stops.
    pub(crate) ephemeral: bool,
    /// Start it when it is made.
    pub(crate) start: bool,
    /// Run `lxc.hook.clone`, with these arguments after LXC's.
    pub(crate) hooks: Option<Vec<String>>,
}

/// A container or snapshot to be copied.
pub(super) struct Source {
    /// The container's name, also of a snapshot of it.
    pub(super) name: ContainerName,
    pub(super) layout: ContainerLayout,
    pub(super) config: Config,
    pub(super) rootfs: RootfsPath,
    pub(super) backend: String,
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
            name: layout.name().clone(),
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

    /// Whether its own snapshots are copies in full.
    pub(super) async fn copies_in_full(&self) -> Result<bool> {
        let (backend, rootfs) = (self.backend.clone(), self.rootfs.clone());
        blocking(move || storage::backend(&backend)?.copies_in_full(&rootfs)).await
    }

    /// How to make what is the same container at another time: by a snapshot where its
    /// backend has them.
    pub(super) async fn same_again(&self) -> Result<CloneOptions> {
        Ok(CloneOptions {
            snapshot: !self.copies_in_full().await?,
            keep_mac: true,
            keep_name: true,
            ..CloneOptions::default()
        })
    }

    /// What the source itself needs; a copy of an overlay needs the same. Layers below
    /// may be the source's own.
    fn origins(&self) -> Dependents {
        let mut origins = only(&self.layout);
        if self.backend == "overlay" {
            let own = self.layout.directory();
            let layers = self.rootfs.overlay().map(|layers| layers.lower);
            let needs_source =
                layers.is_some_and(|lower| lower.iter().any(|layer| layer.starts_with(&own)));
            let others = origins_of(&self.layout);
            if !needs_source {
                return others;
            }
            origins.named.extend(others.named);
        }
        origins
    }

    /// The backend of a copy.
    fn becomes(&self, options: &CloneOptions) -> Result<String> {
        let wanted = options.backend.as_deref();
        let wanted = wanted.filter(|wanted| *wanted != "best");
        if !options.snapshot {
            return Ok(wanted.unwrap_or(&self.backend).to_owned());
        }
        let becomes = match self.backend.as_str() {
            "dir" => "overlay",
            own => own,
        };
        match wanted {
            Some(wanted) if wanted != becomes => Err(Error::InvalidArgument(format!(
                "a copy-on-write clone of a container on {} cannot become one on {wanted}; leave the backend out, or make a full copy",
                self.backend
            ))),
            _ => Ok(becomes.to_owned()),
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
        let finished = match filled {
            Ok(_) => {
                self.finish_copy(&source, &layout, &staging, options, work)
                    .await
            }
            Err(error) => Err(error),
        };
        self.publish_copy(staging, finished, &source, &layout)
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

    /// Where what is made in `staging` is to be.
    pub(super) fn place(&self, staging: &Staging, target: &ContainerLayout) -> Place {
        let name = target.name().as_str();
        let folder = Path::new(target.lxc_path());
        // LXC calls the volume of a snapshot as if no other container had one of its name.
        let volume = if target.lxc_path() == self.lxc_path() {
            name.to_owned()
        } else {
            let own = folder.file_name().filter(|last| *last != "snaps");
            let owner = own.or_else(|| folder.parent()?.file_name());
            format!("{}_{name}", owner.unwrap_or_default().to_string_lossy())
        };
        Place {
            here: staging.path().to_path_buf(),
            there: target.directory(),
            volume,
        }
    }

    /// Decides how a source is to be copied.
    async fn plan_copy(
        &self,
        source: &Source,
        target: &ContainerLayout,
        options: &CloneOptions,
    ) -> Result<Plan> {
        let backend = source.becomes(options)?;
        let mut wish = Wish::new(target.name().clone());
        wish.fssize = options.fssize;
        wish.system = config::volumes()?;
        let is_other = backend != source.backend;
        if !options.snapshot && is_other && storage::is_device(&backend) && wish.fssize.is_none() {
            wish.fssize = Some(self.room_for(source).await?);
        }
        if !options.snapshot {
            let (backend, wish) = (backend.clone(), wish.clone());
            let lxc_path = PathBuf::from(self.lxc_path());
            blocking(move || storage::backend_for(&backend, &wish, &lxc_path).map(drop)).await?;
        }
        Ok(Plan {
            backend,
            wish,
            snapshot: options.snapshot,
            source: source.rootfs.clone(),
            is_other,
        })
    }

    /// The size of a file system for a source's files, with some room: at least what it
    /// has by itself.
    async fn room_for(&self, source: &Source) -> Result<u64> {
        let files = storage::files(&source.rootfs);
        let occupied = duplicate::occupied_by(&self.0.programs, &files).await?;
        let (backend, rootfs) = (source.backend.clone(), source.rootfs.clone());
        blocking(move || {
            let own = match storage::backend(&backend) {
                Ok(backend) => backend.size(&rootfs)?.unwrap_or_default(),
                Err(_) => 0,
            };
            Ok(storage::room_for(occupied).max(own.next_multiple_of(1 << 20)))
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
    ) -> Result<Vec<Files>> {
        let place = self.place(staging, target);
        let plan = self.plan_copy(source, target, options).await?;
        let held = match id {
            Some(id) => Some((id, self.hold(id, work).await?)),
            None => None,
        };
        let copied = async {
            let device = match id {
                Some(id) => self.hold_device(id, source).await?,
                None => None,
            };
            let copied = async {
                work.stage("copying");
                let there = place.clone();
                let made = blocking(move || plan.begin(&there)).await?;
                for (from, to) in &made.copies {
                    duplicate::copy(&self.0.programs, from, to, work).await?;
                }
                Ok::<_, Error>(made)
            }
            .await;
            device.map_or(Ok(()), HeldDevice::let_go)?;
            copied
        }
        .await;
        if let Some((id, held)) = held {
            self.let_go(id, held).await?;
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
            let (from, to) = (Files::At(from), Files::At(to));
            duplicate::copy(&self.0.programs, &from, &to, work).await?;
        }
        let path = place.here.join("config");
        files::create(&path, text.as_bytes(), 0o640)
            .map_err(|error| Error::path("writing", &path, &error))?;
        if made.depends {
            let path = place.here.join("lxc_rdepends");
            files::create(&path, source.origins().text().as_bytes(), 0o640)
                .map_err(|error| Error::path("writing", &path, &error))?;
        }
        work.check()?;
        Ok(made.copies.into_iter().map(|(_, to)| to).collect())
    }

    /// Gives a copy its name inside, and runs its hooks.
    async fn finish_copy(
        &self,
        source: &Source,
        target: &ContainerLayout,
        staging: &Staging,
        options: &CloneOptions,
        work: &Work,
    ) -> Result<()> {
        let hooks = options
            .hooks
            .clone()
            .filter(|_| source.config.get(HookStage::Clone.key()).is_some());
        if hooks.is_none() && options.keep_name {
            return Ok(());
        }
        let directory = staging.path().file_name().unwrap_or_default();
        let request = FinishCopy {
            directory: directory.to_string_lossy().into_owned(),
            source: source.name.to_string(),
            host_name: !options.keep_name,
            hooks,
        };
        let programs = &self.0.programs;
        programs.finish_copy(target.clone(), &request, work).await
    }

    /// Whether cloning a container, or a snapshot of it, runs programs with root's rights.
    pub(crate) fn has_clone_hooks(
        &self,
        id: &ContainerId,
        snapshot: Option<&ContainerName>,
    ) -> bool {
        let own = self.layout(&id.name);
        let layout = match snapshot {
            Some(snapshot) => snapshot_layout(&own, snapshot.clone()),
            None => Ok(own),
        };
        let config = layout.and_then(|layout| disk::read_config(&layout.config()));
        has_hooks(
            config.ok().map(|file| file.config).as_ref(),
            HookStage::Clone,
        )
    }
}

/// How a root file system is to be copied.
struct Plan {
    /// The backend of the copy.
    backend: String,
    wish: Wish,
    snapshot: bool,
    source: RootfsPath,
    /// Its backend is another one.
    is_other: bool,
}

impl Plan {
    fn begin(&self, place: &Place) -> Result<Made> {
        if self.snapshot {
            // Of the source's backend: what it becomes may be another's.
            return storage::backend(&storage::name_of(&self.source))?
                .snapshot(&self.source, place);
        }
        let backend = storage::backend(&self.backend)?;
        if !self.is_other {
            return backend.copy(&self.source, &self.wish, place);
        }
        let mut made = backend.create(&self.wish, place)?;
        let copy = (storage::files(&self.source), made.files.clone());
        made.copies.push(copy);
        Ok(made)
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
pub(super) fn new_address() -> Result<String> {
    let random =
        files::random_bytes(3).map_err(|error| Error::io("reading random bytes", &error))?;
    let octets: Vec<String> = random.iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(format!("10:66:6a:{}", octets.join(":")))
}

/// Hook scripts and the fstab in the container's own directory, relative to it, but
/// none that lies where the container itself can write.
pub(super) fn own_files(source: &Source) -> Vec<PathBuf> {
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
            !["rootfs", "overlay", "delta0", "snaps", "config"]
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
