//! Making containers.

use super::config::{parse, read_defaults};
use super::idmaps::maps_of;
use super::launcher::Launcher;
use super::staging::{Staging, exists};
use super::{ContainerId, Engine, Error, Result, Work};
use crate::image::busybox::{self, Busybox};
use crate::image::stream::Stream;
use crate::image::unpack::{self, Workers};
use crate::linux::files;
use crate::linux::spawn::Child;
use crate::storage::dir;
use gantry_core::config::Config;
use gantry_core::idmap::{IdKind, IdMaps};
use gantry_core::keys::{self, Match};
use gantry_core::layout::ContainerLayout;
use gantry_core::name::ContainerName;
use gantry_core::values::rootfs::RootfsKind;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Mode of a new config: only root may read it, as LXC has it under Debian.
const CONFIG_MODE: u32 = 0o640;
/// The container gets a /dev of its own.
const DEVICES: [&str; 2] = ["dev/*", "./dev/*"];
/// Templates of LXC that are not there yet.
const LATER_TEMPLATES: [&str; 5] = ["debootstrap", "download", "oci", "debian", "ubuntu"];

/// What container to make. Options that the contract has and this version
/// does not act on are refused by whoever builds this.
#[derive(Debug)]
pub(crate) struct CreateRequest {
    /// Its name, [`ContainerName::new_host`].
    pub(crate) name: ContainerName,
    /// `busybox` or `local`.
    pub(crate) template: String,
    /// For `local`: a tar stream (file, pipe or socket), plain or compressed
    /// with gzip, bzip2, xz or zstd.
    pub(crate) rootfs: Option<OwnedFd>,
    /// Where to store the root file system: `dir` or `best`.
    pub(crate) backend: String,
    /// For `dir`: the directory to hold the root file system instead of
    /// `rootfs` beside the config. It is called after the container and must
    /// not exist; its parent must.
    pub(crate) directory: Option<PathBuf>,
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
            name,
            template: template.to_owned(),
            rootfs: None,
            backend: "dir".to_owned(),
            directory: None,
            privileged: false,
            config: Vec::new(),
            architecture: None,
            start: false,
            ephemeral: false,
        }
    }
}

impl Workers for Launcher {
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
            ("busybox", None) => {
                Busybox::find()?;
            }
            ("local", Some(rootfs)) => {
                Stream::check(rootfs)?;
            }
            ("busybox", Some(_)) => {
                return Err(Error::InvalidArgument(
                    "the template 'busybox' takes no rootfs".to_owned(),
                ));
            }
            ("local", None) => {
                return Err(Error::InvalidArgument(
                    "the template 'local' needs 'rootfs', a tar archive as file descriptor"
                        .to_owned(),
                ));
            }
            (other, _) if LATER_TEMPLATES.contains(&other) => {
                return Err(Error::Unsupported(format!(
                    "the template '{other}' is not there yet; use busybox or local"
                )));
            }
            (other, _) => {
                return Err(Error::InvalidArgument(format!(
                    "there is no template '{other}'; use busybox or local"
                )));
            }
        }
        check_backend(&request.backend)?;
        if let Some(directory) = &request.directory {
            check_directory(directory, &request.name)?;
        }
        if layout.directory().symlink_metadata().is_ok() || self.is_listed(&request.name) {
            return Err(exists(&layout));
        }
        let maps = (!request.privileged).then(|| IdMaps::for_range(SAMPLE_RANGE, SAMPLE_RANGE));
        let text = config_text(request, &layout, &maps.unwrap_or_default())?;
        parse(&layout.config(), &text).map(|_| ())
    }

    fn is_listed(&self, name: &ContainerName) -> bool {
        self.facts(&ContainerId::system(name.clone())).is_some()
    }

    /// What in the request equals root on the host (`privileged`, a directory
    /// elsewhere, config keys). Empty: it is in the safe subset.
    pub(crate) fn unsafe_create(&self, request: &CreateRequest) -> Result<Vec<String>> {
        let mut found = Vec::new();
        if request.privileged {
            found.push("privileged".to_owned());
        }
        if request.directory.is_some() {
            found.push("dir".to_owned());
        }
        let path = self.layout(&request.name).config();
        let empty = parse(&path, "")?;
        found.extend(parse(&path, &lines(&request.config)?)?.unsafe_changes(&empty));
        Ok(found)
    }

    /// Makes a container. Until it returns there is none of that name, and
    /// when it fails or is cancelled nothing is left.
    pub(crate) async fn create(
        &self,
        mut request: CreateRequest,
        work: &Work,
    ) -> Result<ContainerId> {
        work.stage("checking");
        self.check_create(&request).await?;
        let id = ContainerId::system(request.name.clone());
        let layout = self.layout(&id.name);
        let lock = self.lock(&id.name).await?;
        let staging = Staging::create(Path::new(self.lxc_path()))?;
        let maps = self.write_config(&request, &layout, &staging).await?;
        let root = make_root(&request, &staging, &maps)?;
        let path = request
            .directory
            .clone()
            .unwrap_or_else(|| staging.path().join("rootfs"));
        match request.rootfs.take() {
            Some(archive) => {
                unpack::unpack(&self.0.launcher, archive, &path, &maps, &DEVICES, work).await?;
            }
            None => {
                work.stage("writing busybox");
                let (name, owner) = (id.name.to_string(), dir::root_of(&maps));
                let root = root
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(|error| Error::io("making a copy", &error))?;
                blocking(move || Busybox::find()?.install(root.as_fd(), &name, owner)).await?;
            }
        }
        if !has_init(&root) {
            work.log(
                "the root file system has no /sbin/init; set lxc.init.cmd, or it will not start",
            );
        }
        work.check()?;
        work.stage("finishing");
        let group = (!maps.is_empty())
            .then(|| maps.host_of(IdKind::Group, 0))
            .flatten();
        let place = layout.clone();
        blocking(move || staging.publish(None, group, &place)).await?;
        drop(lock);
        self.refresh().await?;
        if request.start {
            work.stage("starting");
            self.start(&id).await?;
        }
        Ok(id)
    }

    /// Writes the config, with ids that are the container's own from then on.
    async fn write_config(
        &self,
        request: &CreateRequest,
        layout: &ContainerLayout,
        staging: &Staging,
    ) -> Result<IdMaps> {
        let _one_at_a_time = self.0.ranges.lock().await;
        let given = maps_of(&parse(&layout.config(), &lines(&request.config)?)?);
        let defaults = maps_of(&read_defaults()?.config);
        let maps = match (request.privileged, given.is_empty(), defaults.is_empty()) {
            (true, ..) | (false, false, _) => IdMaps::default(),
            (false, true, false) => defaults,
            (false, true, true) => self.choose_ids()?,
        };
        let text = config_text(request, layout, &maps)?;
        let config = parse(&layout.config(), &text)?;
        let path = staging.path().join("config");
        files::replace(&path, text.as_bytes(), CONFIG_MODE)
            .map_err(|error| Error::path("writing", &path, &error))?;
        Ok(maps_of(&config))
    }
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

fn check_backend(backend: &str) -> Result<()> {
    if matches!(backend, "dir" | "best") {
        return Ok(());
    }
    match RootfsKind::from_prefix(backend) {
        RootfsKind::Other(_) => Err(Error::InvalidArgument(format!(
            "there is no backend '{backend}'; use dir, overlay, btrfs, zfs, lvm or loop"
        ))),
        _ => Err(Error::Unsupported(format!(
            "the backend '{backend}' is not there yet; use dir"
        ))),
    }
}

fn check_directory(directory: &Path, name: &ContainerName) -> Result<()> {
    let refuse = |what: &str| Error::InvalidArgument(format!("'{}' {what}", directory.display()));
    let plain = directory
        .components()
        .skip(1)
        .all(|part| matches!(part, Component::Normal(_)));
    if !directory.is_absolute()
        || !plain
        || directory
            .to_str()
            .is_none_or(|text| text.chars().any(char::is_control))
    {
        return Err(refuse("is not a plain absolute path"));
    }
    if directory
        .file_name()
        .is_none_or(|last| last != name.as_str())
    {
        return Err(refuse(&format!(
            "does not end in the container's name; add /{name}"
        )));
    }
    if directory.symlink_metadata().is_ok() {
        return Err(Error::Exists(format!(
            "'{}' exists already; choose another directory",
            directory.display()
        )));
    }
    if !directory.parent().is_some_and(Path::is_dir) {
        return Err(refuse("is in no directory that exists"));
    }
    Ok(())
}

fn make_root(request: &CreateRequest, staging: &Staging, maps: &IdMaps) -> Result<OwnedFd> {
    let Some(directory) = &request.directory else {
        return dir::create(staging.directory(), "rootfs", maps)
            .map_err(|error| Error::io("making the root directory", &error));
    };
    let failed = |error: std::io::Error| Error::path("making", directory, &error);
    staging.note_elsewhere(directory)?;
    let parent = directory.parent().unwrap_or(Path::new("/"));
    let parent = files::open_directory(parent).map_err(failed)?;
    dir::create(parent, request.name.as_str(), maps).map_err(failed)
}

/// Whether there is an init, as seen from inside.
fn has_init(root: &OwnedFd) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, "sbin/init", flags, Mode::empty(), resolve).is_ok()
}

/// The extra lines of a request as one text.
fn lines(lines: &[String]) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        let refuse =
            |what: &str| Error::InvalidArgument(format!("'{}' {what}", line.escape_debug()));
        let Some((key, _)) = line
            .split_once('=')
            .filter(|_| !line.chars().any(char::is_control))
        else {
            return Err(refuse("is not one line of the form 'key = value'"));
        };
        match keys::find(key.trim()) {
            Some(Match::Key(found)) if found.key.name == "lxc.rootfs.path" => {
                return Err(refuse("is for the helper to set; use 'backend' and 'dir'"));
            }
            Some(_) => {}
            None => return Err(refuse("names no key of a container's config")),
        }
        text.push_str(line.trim());
        text.push('\n');
    }
    Ok(text)
}

/// The config of a new container: LXC's header, the defaults, what the
/// template needs, what the container is, and what was asked for.
fn config_text(request: &CreateRequest, layout: &ContainerLayout, maps: &IdMaps) -> Result<String> {
    let random =
        files::random_bytes(64).map_err(|error| Error::io("reading random bytes", &error))?;
    let defaults = read_defaults()?.config;
    let mut text = format!(
        "# Template used to create this container: {}\n# Parameters passed to the template:\n\
         # For additional config options, please look at lxc.container.conf(5)\n\n",
        request.template
    );
    text.push_str(&without_idmaps(&with_addresses(defaults.text(), &random)));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str("\n# Template specific configuration\n");
    text.push_str(COMMON);
    if request.template == "busybox" {
        text.push_str(busybox::CONFIG);
    } else {
        text.push_str("lxc.tty.max = 4\n");
    }
    let privileged = maps.is_empty()
        && maps_of(&Config::read(
            &layout.config(),
            lines(&request.config)?,
            &mut gantry_core::config::SkipIncludes,
        ))
        .is_empty();
    if privileged {
        text.push_str(&device_rules());
    }
    let rootfs = request.directory.clone().unwrap_or_else(|| layout.rootfs());
    // Writing to a String cannot fail.
    write!(
        text,
        "\n# Container specific configuration\nlxc.rootfs.path = dir:{}\nlxc.uts.name = \"{}\"\nlxc.arch = {}\n",
        rootfs.display(),
        layout.name(),
        request.architecture.as_deref().unwrap_or(std::env::consts::ARCH)
    )
    .unwrap_or_default();
    for map in &maps.0 {
        writeln!(text, "lxc.idmap = {map}").unwrap_or_default();
    }
    if request.ephemeral {
        text.push_str("lxc.ephemeral = 1\n");
    }
    text.push_str(&lines(&request.config)?);
    Ok(text)
}

/// What every container gets.
const COMMON: &str = "\
lxc.pty.max = 1024
lxc.cap.drop = mac_admin mac_override sys_module sys_rawio sys_time
lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed
";

/// The devices that a container whose root is the host's root may use: those
/// of every system, and making nodes of others without using them.
fn device_rules() -> String {
    const ALLOWED: [&str; 12] = [
        "c *:* m",
        "b *:* m",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:1 rwm",
        "c 5:2 rwm",
        "c 136:* rwm",
        "c 10:229 rwm",
    ];
    let version_1 = crate::cgroup::Host::read()
        .is_ok_and(|host| host.version_of("devices") == Some(crate::cgroup::Version::One));
    let key = if version_1 {
        "lxc.cgroup.devices"
    } else {
        "lxc.cgroup2.devices"
    };
    let allowed: String = ALLOWED
        .iter()
        .map(|rule| format!("{key}.allow = {rule}\n"))
        .collect();
    format!("{key}.deny = a\n{allowed}")
}

/// Replaces each `x` in hardware addresses by a random digit. The second
/// digit is even, which makes an address of one interface, not of a group.
fn with_addresses(text: &str, random: &[u8]) -> String {
    let mut digits = random.iter().cycle();
    let mut digit = |even: bool| {
        let number = digits
            .next()
            .map_or(0, |byte| byte & if even { 0xe } else { 0xf });
        char::from_digit(u32::from(number), 16).unwrap_or('0')
    };
    let expand = |line: &str| -> String {
        let is_address = line.trim_start().starts_with("lxc.net") && line.contains(".hwaddr");
        match line.split_once('=').filter(|_| is_address) {
            Some((key, value)) => {
                let offset = value.len() - value.trim_start().len();
                let value = value.char_indices().map(|(index, c)| match c {
                    'x' | 'X' => digit(index == offset + 1),
                    other => other,
                });
                format!("{key}={}", value.collect::<String>())
            }
            None => line.to_owned(),
        }
    };
    text.split_inclusive('\n').map(expand).collect()
}

/// The maps stand with the rest of what is the container's own.
fn without_idmaps(text: &str) -> String {
    let is_map = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("lxc.idmap") || line.starts_with("lxc.id_map")
    };
    text.split_inclusive('\n')
        .filter(|line| !is_map(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_one_interface() {
        let text = "lxc.net.0.type = veth\nlxc.net.0.hwaddr = xx:16:3e:xx:xx:xx\n# xx stays\n";
        let expanded = with_addresses(text, &[0xff; 8]);
        assert_eq!(
            expanded,
            "lxc.net.0.type = veth\nlxc.net.0.hwaddr = fe:16:3e:ff:ff:ff\n# xx stays\n"
        );
    }

    #[test]
    fn extra_lines_are_lines_of_known_keys() {
        let one = |line: &str| lines(&[line.to_owned()]);
        assert_eq!(one(" lxc.tty.max = 1").unwrap(), "lxc.tty.max = 1\n");
        for bad in [
            "lxc.tty.max",
            "lxc.tty.max = 1\nlxc.hook.start = x",
            "lxc.nonsense = 1",
            "x = 1",
            "lxc.rootfs.path = /",
        ] {
            assert!(matches!(one(bad), Err(Error::InvalidArgument(_))), "{bad}");
        }
    }

    #[test]
    fn backends_are_known_or_not() {
        assert!(check_backend("best").is_ok());
        assert!(matches!(check_backend("zfs"), Err(Error::Unsupported(_))));
        assert!(matches!(
            check_backend("tape"),
            Err(Error::InvalidArgument(_))
        ));
    }

    #[test]
    fn a_directory_elsewhere_is_called_after_the_container() {
        let parent = tempfile::tempdir().unwrap();
        let name = ContainerName::new("web").unwrap();
        let check = |path: &Path| check_directory(path, &name);
        assert!(check(&parent.path().join("web")).is_ok());
        assert!(check(&parent.path().join("data")).is_err());
        assert!(check(&parent.path().join("x/../web")).is_err());
        assert!(check(Path::new("srv/web")).is_err());
        std::fs::create_dir(parent.path().join("web")).unwrap();
        assert!(matches!(
            check(&parent.path().join("web")),
            Err(Error::Exists(_))
        ));
    }

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
