//! Debian and Ubuntu from their packages, by mmdebstrap(1) or debootstrap(8). The result
//! is kept as a tar, so that the next container of a kind is a matter of unpacking.

use super::build::{self, Tool};
use super::catalog::is_word;
use super::confined::Workers;
use super::download::Freshness;
use super::id::ImageId;
use super::server::usual_proxy;
use crate::error::{Error, Result};
use crate::linux::files;
use crate::linux::lock::FileLock;
use crate::work::Work;
use gantry_core::layout::fnv1a_64;
use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, Uid};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the results are.
const CACHE: &str = "/var/cache/lxc/debootstrap";
/// How long one will do: packages get older every day.
const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Those that do the work, the faster one first.
const PROGRAMS: [&str; 3] = [
    "/usr/bin/mmdebstrap",
    "/usr/sbin/debootstrap",
    "/usr/bin/debootstrap",
];
/// What a container needs besides the essential packages: an init, its bus, and a network
/// that asks for an address.
const PACKAGES: &str = "systemd-sysv,dbus,iproute2,netbase,ifupdown,isc-dhcp-client";
/// What may be given besides.
const INCLUDE: &str = "--include=";
const COMPONENTS: &str = "--components=";
/// Between two looks whether another has made what is wanted.
const PAUSE: Duration = Duration::from_millis(200);
/// The mirror that Debian's programs take by themselves: whether a proxy is for that.
const MIRROR: &str = "http://deb.debian.org/debian";
/// What is to be known for logging in.
pub(crate) const FIRST_LOGIN: &str = "root has no password, so that nobody can log in on the console yet: \
    open a shell in the container and set one with passwd.";

/// What to make.
#[derive(Debug, Clone)]
pub(crate) struct BootstrapRequest {
    /// Which distribution, release, architecture, and debootstrap's variant.
    pub(crate) id: ImageId,
    /// Where the packages are from, `http://` or `https://`; the program's own choice
    /// unless given.
    pub(crate) mirror: Option<String>,
    /// More packages (`--include=A,B`) and where they are looked for (`--components=A,B`).
    pub(crate) arguments: Vec<String>,
    /// The proxy to go through, `http://HOST:PORT`; that of the helper's environment unless
    /// given, none if empty.
    pub(crate) proxy: Option<String>,
    /// How new.
    pub(crate) freshness: Freshness,
}

impl BootstrapRequest {
    /// Refuses what no program is to be given.
    pub(crate) fn check(&self) -> Result<()> {
        if !matches!(self.id.distribution.as_str(), "debian" | "ubuntu") {
            return Err(Error::InvalidArgument(format!(
                "debootstrap makes debian and ubuntu, not '{}'; try the template download",
                self.id.distribution
            )));
        }
        if let Some(mirror) = &self.mirror
            && !is_address(mirror)
        {
            return Err(Error::InvalidArgument(format!(
                "'{}' is not the address of a mirror; give http://HOST/PATH or https://HOST/PATH",
                mirror.escape_debug()
            )));
        }
        if let Some(wrong) = self.arguments.iter().find(|given| !is_argument(given)) {
            return Err(Error::InvalidArgument(format!(
                "'{}' is no argument that debootstrap is given; use --include=PACKAGE,… or --components=NAME,…",
                wrong.escape_debug()
            )));
        }
        program().map(drop)
    }

    fn path(&self) -> PathBuf {
        let mirror = self.mirror.as_deref().unwrap_or_default();
        let word: String = mirror
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '.' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let more = match self.arguments.as_slice() {
            [] => String::new(),
            arguments => format!("+{:016x}", fnv1a_64(arguments.join(" ").as_bytes())),
        };
        Path::new(CACHE).join(format!("{}@{word}{more}.tar", self.id.word()))
    }
}

fn is_address(text: &str) -> bool {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| text.len() <= 200 && rest.trim_end_matches('/').split('/').all(is_word))
}

/// What names packages, or components of an archive.
fn is_argument(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        name.bytes().next().is_some_and(is_plain)
            && name
                .bytes()
                .all(|byte| is_plain(byte) || b"+.-".contains(&byte))
    };
    text.len() <= 2000
        && [INCLUDE, COMPONENTS]
            .iter()
            .filter_map(|option| text.strip_prefix(option))
            .any(|names| names.split(',').all(is_name))
}

/// The program that does the work.
pub(crate) fn program() -> Result<&'static str> {
    PROGRAMS
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or_else(|| {
            Error::Unsupported(
                "neither mmdebstrap nor debootstrap is here; install mmdebstrap".to_owned(),
            )
        })
}

/// The root file system as a tar. Two who want the same make it once.
pub(crate) async fn obtain(
    workers: &impl Workers,
    request: &BootstrapRequest,
    work: &Work,
) -> Result<File> {
    let path = request.path();
    let failed = |error: io::Error| Error::path("making", &path, &error);
    if let Some(file) = kept(&path, request.freshness) {
        return Ok(file);
    }
    if request.freshness == Freshness::Cached {
        return Err(Error::NotFound(format!(
            "{} was never made here; leave the option 'cache' out",
            request.id
        )));
    }
    let place = workshop_of(&path);
    let mut waited = false;
    let _lock = loop {
        match FileLock::try_take(&lock_of(&place)).map_err(failed)? {
            Some(lock) => break lock,
            None => {
                work.stage("waiting for another who makes the same");
                waited = true;
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = work.cancelled() => work.check()?,
                }
            }
        }
    };
    if waited && let Some(file) = kept(&path, Freshness::Usual) {
        return Ok(file);
    }
    remove_left(Path::new(CACHE)).map_err(failed)?;
    let workshop = Workshop(place);
    files::remove(&workshop.0).map_err(failed)?;
    files::create_dirs(&workshop.0, 0o700).map_err(failed)?;
    let new = workshop.0.join("tar");
    make(workers, request, &workshop.0, &new, work).await?;
    std::fs::rename(&new, &path).map_err(failed)?;
    Ok(files::open_regular(&path).map_err(failed)?.0)
}

/// What was made before, if it will do.
fn kept(path: &Path, freshness: Freshness) -> Option<File> {
    let (file, metadata) = files::open_regular(path).ok()?;
    let age = metadata
        .modified()
        .ok()
        .and_then(|made| made.elapsed().ok());
    let is_fresh = age.is_none_or(|age| age < LIFE);
    let will_do = match freshness {
        Freshness::Cached => true,
        Freshness::Usual => is_fresh,
        Freshness::Newest => false,
    };
    will_do.then_some(file)
}

/// Where the file at a path is made.
fn workshop_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().display();
    path.with_file_name(format!(".{name}"))
}

/// The lock of whoever works there.
fn lock_of(workshop: &Path) -> PathBuf {
    let name = workshop.file_name().unwrap_or_default().display();
    workshop.with_file_name(format!("{name}.lock"))
}

/// Removes the workshops of those who were killed.
fn remove_left(cache: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(cache)? {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_hidden && entry.file_type()?.is_dir() {
            let lock = FileLock::try_take(&lock_of(&entry.path()))?;
            if lock.is_some() {
                files::remove(&entry.path())?;
            }
        }
    }
    Ok(())
}

/// A directory that goes when it is dropped.
struct Workshop(PathBuf);

impl Drop for Workshop {
    fn drop(&mut self) {
        if let Err(error) = files::remove(&self.0) {
            tracing::warn!("removing {} failed: {error}", self.0.display());
        }
    }
}

async fn make(
    workers: &impl Workers,
    request: &BootstrapRequest,
    place: &Path,
    new: &Path,
    work: &Work,
) -> Result<()> {
    let program = program()?;
    work.stage(&format!(
        "making {} {}",
        request.id.distribution, request.id.release
    ));
    let whole = program.ends_with("mmdebstrap");
    let tree = place.join("tree");
    let target = if whole { new } else { &tree };
    let id = &request.id;
    let mut packages = vec![PACKAGES];
    let mut arguments = vec![format!("--variant={}", id.variant)];
    for given in &request.arguments {
        match given.strip_prefix(INCLUDE) {
            Some(more) => packages.push(more),
            None => arguments.push(given.clone()),
        }
    }
    arguments.push(format!("{INCLUDE}{}", packages.join(",")));
    if whole {
        arguments.extend([
            format!("--architectures={}", id.architecture),
            "--mode=root".into(),
            "--format=tar".into(),
        ]);
    } else {
        // It would go on without the keys.
        arguments.extend([
            format!("--arch={}", id.architecture),
            "--force-check-gpg".into(),
        ]);
    }
    arguments.extend([id.release.clone(), target.to_string_lossy().into_owned()]);
    arguments.extend(request.mirror.clone());
    Tool {
        program: program.into(),
        arguments,
        proxy: request
            .proxy
            .clone()
            .or_else(|| usual_proxy(request.mirror.as_deref().unwrap_or(MIRROR)))
            .unwrap_or_default(),
    }
    .run(workers, place, work)
    .await?;
    if whole {
        return Ok(());
    }
    build::packer(&tree, &new.to_string_lossy())?
        .run(workers, place, work)
        .await
}

/// Gives a new root file system the container's name and a network. `owner` are the
/// host's ids of its root.
pub(crate) fn settle(root: &OwnedFd, name: &str, owner: (u32, u32)) -> Result<()> {
    let network = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n";
    put_name(root, name, owner)?;
    put(root, "etc/network/interfaces", network, owner)
}

/// Gives a root file system the container's name.
pub(crate) fn put_name(root: &OwnedFd, name: &str, owner: (u32, u32)) -> Result<()> {
    let hosts = format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    );
    put(root, "etc/hostname", &format!("{name}\n"), owner)?;
    put(root, "etc/hosts", &hosts, owner)
}

fn put(root: &OwnedFd, path: &str, text: &str, owner: (u32, u32)) -> Result<()> {
    write(root.as_fd(), path, text, owner)
        .map_err(|error| Error::path("writing in the root file system", Path::new(path), &error))
}

fn write(root: BorrowedFd<'_>, path: &str, text: &str, owner: (u32, u32)) -> io::Result<()> {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let folder = match rustix::fs::openat2(root, folder, flags, Mode::empty(), resolve) {
        // No such program, no such file.
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        folder => folder?,
    };
    match rustix::fs::unlinkat(&folder, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o644))?;
    let mut file = File::from(file);
    file.write_all(text.as_bytes())?;
    rustix::fs::fchown(
        &file,
        Some(Uid::from_raw(owner.0)),
        Some(Gid::from_raw(owner.1)),
    )?;
    Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(distribution: &str, mirror: Option<&str>) -> BootstrapRequest {
        BootstrapRequest {
            id: ImageId::new(distribution, "trixie", "amd64", "minbase").unwrap(),
            mirror: mirror.map(str::to_owned),
            arguments: Vec::new(),
            proxy: None,
            freshness: Freshness::Usual,
        }
    }

    #[test]
    fn mirrors_are_addresses() {
        assert!(is_address("http://deb.example.org/debian/"));
        for bad in [
            "deb [trusted=yes] http://x/ y main",
            "file:///srv",
            "-x",
            "http://x/../y",
            "http://x y",
            "copy:/x",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
        assert!(matches!(
            request("alpine", None).check(),
            Err(Error::InvalidArgument(_))
        ));
        assert!(matches!(
            request("debian", Some("x")).check(),
            Err(Error::InvalidArgument(_))
        ));
        assert_ne!(
            request("debian", None).path(),
            request("debian", Some("http://x/y")).path()
        );
    }

    #[test]
    fn arguments_name_packages() {
        for good in [
            "--include=vim",
            "--include=g++,libc6-dev",
            "--components=main,contrib",
        ] {
            assert!(is_argument(good), "{good}");
        }
        for bad in [
            "--include=",
            "--include=a,-o=x",
            "--include=./a.deb",
            "--setup-hook=id",
            "vim",
            "--include=a b",
        ] {
            assert!(!is_argument(bad), "{bad}");
        }
        let mut with = request("debian", None);
        with.arguments.push("--include=vim".to_owned());
        assert_ne!(with.path(), request("debian", None).path());
    }

    #[test]
    fn only_what_nobody_works_on_is_removed() {
        let cache = tempfile::tempdir().unwrap();
        let [busy, left] = ["busy", "left"].map(|name| workshop_of(&cache.path().join(name)));
        for place in [&busy, &left] {
            std::fs::create_dir(place).unwrap();
        }
        let _lock = FileLock::try_take(&lock_of(&busy)).unwrap().unwrap();
        remove_left(cache.path()).unwrap();
        assert!(busy.exists() && !left.exists());
    }

    #[test]
    fn the_name_is_written_inside_alone() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, root.path().join("etc/hostname")).unwrap();
        let fd = files::open_directory(root.path()).unwrap();
        let me = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        settle(&fd, "web", me).unwrap();
        assert_eq!(
            std::fs::read_to_string(root.path().join("etc/hostname")).unwrap(),
            "web\n"
        );
        assert_eq!(std::fs::read_to_string(victim).unwrap(), "kept");
    }
}
