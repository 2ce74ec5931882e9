//! Making containers.

use super::config::{parse, read_defaults, volumes};
use super::idmaps::maps_of;
use super::launcher::{Access, Programs};
use super::new_config::{config_text, lines};
use super::staging::{Staging, exists};
use super::{ContainerId, Engine, Error, Result, Work, duplicate};
use crate::image::bootstrap::BootstrapRequest;
use crate::image::build;
use crate::image::busybox::Busybox;
use crate::image::confined::Workers;
use crate::image::download::ImageRequest;
use crate::image::metadata::Metadata;
use crate::image::oci::{self, OciImage, OciRequest, Settled};
use crate::image::stream::Stream;
use crate::image::unpack::{self, Target};
use crate::linux::files;
use crate::linux::spawn::Child;
use crate::storage::{self, Files, Made, Wish, dir};
use gantry_core::config::Config;
use gantry_core::idmap::{IdKind, IdMaps};
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, Uid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Mode of a new config: only root may read it, as LXC has it under Debian.
const CONFIG_MODE: u32 = 0o640;
/// The container gets a /dev of its own.
const DEVICES: [&str; 2] = ["dev/*", "./dev/*"];
/// The templates that are no scripts.
const TEMPLATES: [&str; 5] = ["busybox", "debootstrap", "download", "local", "oci"];

/// What container to make. Options that the contract has and this version
/// does not act on are refused by whoever builds this.
#[derive(Debug)]
pub(crate) struct CreateRequest {
    /// Its name, [`ContainerName::new_host`].
    pub(crate) name: ContainerName,
    /// `busybox`, `local`, `download`, `debootstrap`, or the name of a script of LXC's.
    pub(crate) template: String,
    /// For `download`: which image of which server.
    pub(crate) image: Option<ImageRequest>,
    /// For `oci`: which image, of a registry or of what `rootfs` is.
    pub(crate) oci: Option<OciRequest>,
    /// For `debootstrap`: what to make.
    pub(crate) bootstrap: Option<BootstrapRequest>,
    /// More arguments for a script.
    pub(crate) template_args: Vec<String>,
    /// What the image says, once it is there.
    pub(super) metadata: Option<Metadata>,
    /// For the template local: a tar stream of texts, as an image's `meta.tar.xz` has them.
    pub(crate) texts: Option<OwnedFd>,
    /// The image for `oci`, once it is there.
    pub(super) oci_image: Option<OciImage>,
    /// And what it has become.
    pub(super) settled: Option<Settled>,
    /// For `local`: a tar stream (file, pipe or socket), plain or compressed
    /// with gzip, bzip2, xz or zstd. For `oci`: an archive of a layout, or its directory.
    pub(crate) rootfs: Option<OwnedFd>,
    /// Where to store the root file system: a [`crate::storage::backend`] or `best`.
    pub(crate) backend: String,
    /// What it is to be like there.
    pub(crate) wish: Wish,
    /// Without an id map: root in the container is root on the host.
    pub(crate) privileged: bool,
    /// More lines for its config, `key = value`.
    pub(crate) config: Vec<String>,
    /// A value for `lxc.arch`.
    pub(crate) architecture: Option<String>,
    /// Start it when it is made.
    pub(crate) start: bool,
    /// Destroy it when it stops (`lxc.ephemeral`).
    pub(crate) ephemeral: bool,
}

impl CreateRequest {
    /// The request for a container from `template` with everything else as
    /// new containers have it.
    pub(crate) fn new(name: ContainerName, template: &str) -> Self {
        Self {
            wish: Wish::new(name.clone()),
            name,
            template: template.to_owned(),
            image: None,
            oci: None,
            bootstrap: None,
            template_args: Vec::new(),
            metadata: None,
            texts: None,
            oci_image: None,
            settled: None,
            rootfs: None,
            backend: "dir".to_owned(),
            privileged: false,
            config: Vec::new(),
            architecture: None,
            start: false,
            ephemeral: false,
        }
    }
}

impl CreateRequest {
    /// Whether its template is one of ours, not a script of the host.
    pub(crate) fn is_built_in(&self) -> bool {
        TEMPLATES.contains(&self.template.as_str())
    }

    /// Whether it allows an image that nothing vouches for.
    pub(crate) fn is_untrusted(&self) -> bool {
        self.image.as_ref().is_some_and(|image| image.untrusted)
            || self.oci.as_ref().is_some_and(|oci| oci.untrusted)
    }
}

impl Workers for Programs {
    fn start(&self, args: &[&str], fds: &[Option<BorrowedFd<'_>>]) -> Result<Child> {
        self.worker(args, fds)
    }
}

impl Engine {
    /// Refuses what [`Engine::create`] would refuse before its first change:
    /// for an answer before a job is made of it.
    pub(crate) async fn check_create(&self, request: &CreateRequest) -> Result<()> {
        let layout = self.layout(&request.name);
        match (request.template.as_str(), &request.rootfs) {
            ("download", None) if request.image.is_some() => {}
            ("debootstrap", None) => {
                if let Some(bootstrap) = &request.bootstrap {
                    bootstrap.check()?;
                }
            }
            ("busybox", None) => {
                blocking(Busybox::find).await?;
            }
            ("local", Some(rootfs)) => {
                Stream::check(rootfs)?;
            }
            ("oci", Some(image)) => oci::check(image)?,
            ("oci", None) => {}
            (template, Some(_)) if template != "local" => {
                return Err(Error::InvalidArgument(format!(
                    "the template '{template}' takes no rootfs"
                )));
            }
            ("local", None) => {
                return Err(Error::InvalidArgument(
                    "the template 'local' needs 'rootfs', a tar archive as file descriptor"
                        .to_owned(),
                ));
            }
            (script, _) => {
                build::script(script)?;
            }
        }
        let (backend, mut wish) = (request.backend.clone(), request.wish.clone());
        wish.system = volumes()?;
        let lxc_path = PathBuf::from(self.lxc_path());
        blocking(move || storage::backend_for(&backend, &wish, &lxc_path).map(drop)).await?;
        if layout.directory().symlink_metadata().is_ok() || self.is_listed(&request.name) {
            return Err(exists(&layout));
        }
        self.reserve(&request.name)?;
        let maps = (!request.privileged).then(|| IdMaps::for_range(SAMPLE_RANGE, SAMPLE_RANGE));
        let maps = maps.unwrap_or_default();
        let text = config_text(request, &layout, &maps, "dir:/")?;
        parse(&layout.config(), &text).map(|_| ())
    }

    fn is_listed(&self, name: &ContainerName) -> bool {
        self.facts(&ContainerId::system(name.clone())).is_some()
    }

    /// What in the request equals root on the host (`privileged`, a directory
    /// elsewhere, config keys). Empty: it is in the safe subset.
    pub(crate) fn unsafe_create(&self, request: &CreateRequest) -> Result<Vec<String>> {
        let mut found = Vec::new();
        if !request.is_built_in() {
            found.push("template".to_owned());
        }
        if request.privileged {
            found.push("privileged".to_owned());
        }
        if request.wish.directory.is_some() {
            found.push("dir".to_owned());
        }
        let path = self.layout(&request.name).config();
        let empty = parse(&path, "")?;
        found.extend(parse(&path, &lines(&request.config)?)?.unsafe_changes(&empty));
        Ok(found)
    }

    /// Makes a container. Until it returns there is none of that name, and
    /// when it fails or is cancelled nothing is left but what was downloaded. Gives
    /// also what is to be known for logging in first.
    pub(crate) async fn create(
        &self,
        mut request: CreateRequest,
        work: &Work,
    ) -> Result<(ContainerId, String)> {
        work.stage("checking");
        self.check_create(&request).await?;
        let id = ContainerId::system(request.name.clone());
        let layout = self.layout(&id.name);
        let name = self.reserve(&id.name)?;
        let lock = self.lock(&id.name).await?;
        let first_login = self.fetch_image(&mut request, work).await?;
        let staging = Staging::create(Path::new(self.lxc_path()))?;
        let group = match self.fill(&mut request, &layout, &staging, work).await {
            Ok(group) => group,
            Err(error) => return Err(discard(staging, error).await),
        };
        let first_login = match request.settled {
            Some(settled) => settled.message,
            None => first_login,
        };
        work.stage("finishing");
        blocking(move || staging.publish(None, group, &layout)).await?;
        drop((lock, name));
        self.refresh().await?;
        if request.start {
            work.stage("starting");
            self.start(&id).await?;
        }
        Ok((id, first_login))
    }

    /// Makes config and root file system. Gives the host's id of the root
    /// group of a mapped container.
    async fn fill(
        &self,
        request: &mut CreateRequest,
        layout: &ContainerLayout,
        staging: &Staging,
        work: &Work,
    ) -> Result<Option<u32>> {
        self.open_texts(request, layout, staging, work).await?;
        let (maps, made) = self.begin(request, layout, staging).await?;
        self.run_script(request, layout, &made.path, staging, work)
            .await?;
        let root = duplicate::open(&self.0.programs, &made.files, Access::Write).await?;
        give_to(&root, dir::root_of(&maps))
            .map_err(|error| Error::io("making the root directory", &error))?;
        let place = staging.path().join("rootfs");
        let target = match &made.files {
            Files::At(path) => Target::directory(path),
            Files::In(_) => Target {
                place: &place,
                mount: Some(root.as_fd()),
            },
        };
        let excludes = request.excludes();
        let left_out: Vec<&str> = excludes.iter().map(String::as_str).chain(DEVICES).collect();
        let programs = &self.0.programs;
        self.open_layout(request, staging, work).await?;
        match (request.oci_image.take(), request.rootfs.take()) {
            (Some(image), _) => {
                let config = image
                    .unpack(programs, target, &maps, &left_out, work)
                    .await?;
                let (name, owner) = (request.name.as_str(), dir::root_of(&maps));
                let settled = config.settle(&root, name, owner, !maps.is_empty(), work)?;
                request.settled = Some(settled);
                write_config(request, layout, &maps, &made.path, staging)?;
            }
            (None, Some(archive)) => {
                unpack::unpack(programs, archive, target, &maps, &left_out, work).await?;
                request.settle(&root, layout, staging, dir::root_of(&maps))?;
            }
            (None, None) => {
                work.stage("writing busybox");
                let (name, owner) = (request.name.to_string(), dir::root_of(&maps));
                let root = root
                    .try_clone()
                    .map_err(|error| Error::io("making a copy", &error))?;
                blocking(move || Busybox::find()?.install(root.as_fd(), &name, owner)).await?;
            }
        }
        if request.settled.is_none() && !has_init(&root) {
            work.log(
                "the root file system has no /sbin/init; set lxc.init.cmd, or it will not start",
            );
        }
        work.check()?;
        let is_inside = matches!(&made.files, Files::At(path) if path.starts_with(staging.path()));
        if !is_inside {
            duplicate::put_on_disk(root).await?;
        }
        Ok(maps.host_of(IdKind::Group, 0))
    }

    /// Makes an empty root file system and writes the config, with ids that are the
    /// container's own from then on.
    async fn begin(
        &self,
        request: &CreateRequest,
        layout: &ContainerLayout,
        staging: &Staging,
    ) -> Result<(IdMaps, Made)> {
        let _one_at_a_time = self.0.ranges.lock().await;
        let given = maps_of(&parse(&layout.config(), &lines(&request.config)?)?);
        let defaults = maps_of(&read_defaults()?.config);
        let maps = match (request.privileged, given.is_empty(), defaults.is_empty()) {
            (true, ..) | (false, false, _) => IdMaps::default(),
            (false, true, false) => defaults,
            (false, true, true) => {
                let engine = self.clone();
                blocking(move || engine.choose_ids()).await?
            }
        };
        let sample = parse(
            &layout.config(),
            &config_text(request, layout, &maps, "dir:/")?,
        )?;
        let mut wish = request.wish.clone();
        wish.owner = dir::root_of(&maps_of(&sample));
        wish.system = volumes()?;
        let place = self.place(staging, layout);
        let (backend, lxc_path) = (request.backend.clone(), PathBuf::from(self.lxc_path()));
        let made = blocking(move || {
            storage::backend_for(&backend, &wish, &lxc_path)?.create(&wish, &place)
        });
        let made = made.await?;
        let config = write_config(request, layout, &maps, &made.path, staging)?;
        Ok((maps_of(&config), made))
    }
}

/// Writes the config of a container that is being made.
fn write_config(
    request: &CreateRequest,
    layout: &ContainerLayout,
    maps: &IdMaps,
    rootfs: &str,
    staging: &Staging,
) -> Result<Config> {
    let text = config_text(request, layout, maps, rootfs)?;
    let config = parse(&layout.config(), &text)?;
    let path = staging.path().join("config");
    files::replace(&path, text.as_bytes(), CONFIG_MODE)
        .map_err(|error| Error::path("writing", &path, &error))?;
    Ok(config)
}

/// For checking a config before its ids are chosen.
const SAMPLE_RANGE: gantry_core::idmap::IdRange = gantry_core::idmap::IdRange {
    first: gantry_core::idmap::FIRST_FREE,
    count: gantry_core::idmap::RANGE_SIZE,
};

/// Runs what takes long away from the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let lost = |error: tokio::task::JoinError| {
        Error::Failed(format!("a part of the work was lost: {error}"))
    };
    tokio::task::spawn_blocking(work).await.map_err(lost)?
}

/// Removes what was made so far, and gives the error back.
pub(super) async fn discard(staging: Staging, error: Error) -> Error {
    let remove = move || {
        drop(staging);
        Ok(())
    };
    match blocking(remove).await {
        Ok(()) => error,
        Err(lost) => lost,
    }
}

/// Gives a root directory its owner and mode. A mount's descriptor is only a path.
fn give_to(root: &OwnedFd, (uid, gid): (u32, u32)) -> std::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(root, ".", flags, Mode::empty())?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::fchown(&root, Some(uid), Some(gid))?;
    Ok(rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755))?)
}

/// Whether there is an init, as seen from inside.
fn has_init(root: &OwnedFd) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, "sbin/init", flags, Mode::empty(), resolve).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_is_looked_for_inside() {
        let root = tempfile::tempdir().unwrap();
        let fd = files::open_directory(root.path()).unwrap();
        assert!(!has_init(&fd));
        std::fs::create_dir_all(root.path().join("usr/sbin")).unwrap();
        std::os::unix::fs::symlink("/usr/sbin", root.path().join("sbin")).unwrap();
        std::fs::write(root.path().join("usr/sbin/init"), "").unwrap();
        assert!(has_init(&fd));
    }
}
