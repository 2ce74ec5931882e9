//! Workers: this program started anew, which shuts itself in before it touches what
//! others have written. They run before there are threads.
//!
//! What one can reach is a tree of its own with the host's /usr, read-only, and what it
//! works on; it has no network, sees no other process, and holds no capability but in a
//! user namespace with the container's ids. Where the kernel has AppArmor a profile
//! holds it besides.

use super::{layering, packing, unpacking, unsquashing};
use nix::fcntl::{FcntlArg, fcntl};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Uid, chdir, fork, pivot_root, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};
use std::fs::{File, create_dir, read_link, read_to_string, symlink_metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;

/// The first argument that makes this program unpack an archive.
pub(crate) const UNPACKER: &str = "unpack-worker";
/// The first argument that makes this program put a layer of an image on those below.
pub(crate) const LAYERER: &str = "layer-worker";
/// The first argument that makes this program unpack an image of squashfs.
pub(crate) const UNSQUASHER: &str = "unsquash-worker";
/// The first argument that makes this program pack one.
pub(crate) const PACKER: &str = "pack-worker";
/// The word for a target that is the mount on descriptor 5, for which the directory is
/// only a place.
pub(crate) const MOUNT: &str = "mount";
/// And for one that is the directory's content.
pub(crate) const DIRECTORY: &str = "directory";
/// The descriptor on which a worker reports, a line of JSON each time.
const REPORT_FD: i32 = 3;
/// The descriptor on which a byte comes when its id maps are written.
const GO_FD: i32 = 4;
/// The descriptor of the mount that an archive is unpacked into, if it is one.
pub(super) const MOUNT_FD: i32 = 5;
/// The exit status when the worker could not shut itself in.
pub(crate) const NOT_CONFINED: i32 = 125;
/// The exit status when an archive does not have the checksum that it brings, or is cut
/// short.
pub(crate) const DAMAGED: i32 = 124;
/// What programs that a worker runs find in their environment.
pub(super) const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/usr/bin:/bin"), ("LC_ALL", "C")];
/// The most bytes that a worker moves at once.
pub(super) const CHUNK: usize = 256 * 1024;
/// How tar is to read and write: half of that at once. Its own ten KiB wake whoever is at the
/// other end of the pipe thirty thousand times for a container.
pub(crate) const BLOCKING: &str = "--blocking-factor=256";

/// Gives a pipe room for more than its usual 64 KiB, so that neither end waits for the other
/// as often (F_SETPIPE_SZ, fcntl(2)).
pub(crate) fn widen(pipe: impl AsFd) {
    const ROOM: i32 = 1 << 20;
    if let Err(error) = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(ROOM)) {
        // Whoever has many has no right to more; a narrow one will do.
        tracing::debug!("a pipe stays narrow: {error}");
    }
}

/// What a worker tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// It is shut in and waits for its id maps. When unpacking: the manifest that the
    /// archive begins with.
    Ready(Option<String>),
    /// Bytes of the archive, as they are before packing, that are through.
    Bytes(u64),
    /// About how many there are.
    Total(u64),
}

/// Runs the worker if the arguments say so.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    let work = match args.next()?.as_str() {
        UNPACKER => unpacking::run,
        LAYERER => layering::run,
        UNSQUASHER => unsquashing::run,
        PACKER => packing::run,
        _ => return None,
    };
    let args: Vec<String> = args.collect();
    let status = match work(&args) {
        Ok(status) => status,
        Err(error) => {
            // Standard error is read by the helper.
            writeln!(io::stderr(), "the worker could not do its work: {error}").unwrap_or_default();
            NOT_CONFINED
        }
    };
    Some(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}

/// The AppArmor profile of workers.
pub(super) struct Profile(File);

impl Profile {
    /// data/apparmor/gantry-worker
    const NAME: &str = "gantry-worker";

    /// Opens the file for the label (proc_pid_attr(5)) while /proc is there; none where
    /// the kernel has no AppArmor.
    pub(super) fn prepare() -> io::Result<Option<Self>> {
        match read_to_string("/sys/module/apparmor/parameters/enabled") {
            Ok(enabled) if enabled.trim() == "Y" => {}
            _ => return Ok(None),
        }
        let open = |path| File::options().write(true).open(path);
        open("/proc/thread-self/attr/apparmor/current")
            .or_else(|_| open("/proc/thread-self/attr/current"))
            .map(|file| Some(Self(file)))
    }

    /// Confines this process, and what it executes, for good. Where the profile is not
    /// loaded everything else holds them; CheckHost tells.
    fn take_on(mut self) -> io::Result<()> {
        match self
            .0
            .write_all(format!("changeprofile {}", Self::NAME).as_bytes())
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// Leaves the mounts of others.
pub(super) fn begin() -> io::Result<()> {
    umask(Mode::from_bits_truncate(0o022));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    rustix::thread::set_no_new_privs(true)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    Ok(mount(
        none,
        "/",
        none,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        none,
    )?)
}

/// Mounts over `root` what will be the worker's tree; `size` bounds it.
pub(super) fn make_root(root: &Path, size: &str) -> io::Result<()> {
    mount(
        Some("tmpfs"),
        root,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(format!("mode=755,size={size}").as_str()),
    )?;
    lend_system(root)
}

/// Makes a tree, read-only from here on, the root of this process.
pub(super) fn enter(root: &Path) -> io::Result<()> {
    let none = None::<&str>;
    mount(
        none,
        root,
        none,
        MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        none,
    )?;
    chdir(root)?;
    pivot_root(".", ".")?;
    Ok(umount2(".", MntFlags::MNT_DETACH)?)
}

/// A descriptor that the helper has started this worker with; to be taken once.
pub(crate) fn descriptor(number: i32) -> OwnedFd {
    // SAFETY: the helper starts a worker with this descriptor open, and nothing else in
    // this process knows of it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Leaves everything behind but the tree, which cannot be written to any more, and all
/// rights over the host; `place` in it becomes the working directory.
pub(super) fn shut_in(root: &Path, place: &str, profile: Option<Profile>) -> io::Result<()> {
    enter(root)?;
    chdir(place)?;
    unshare(
        CloneFlags::CLONE_NEWUSER
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )?;
    profile.map_or(Ok(()), Profile::take_on)
}

/// Gives a tree that is to be a worker's root the host's programs and libraries,
/// read-only, and /dev/null.
pub(super) fn lend_system(root: &Path) -> io::Result<()> {
    let none = None::<&str>;
    for directory in ["usr", "dev"] {
        create_dir(root.join(directory))?;
    }
    let read_only = MsFlags::MS_BIND
        | MsFlags::MS_REMOUNT
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV;
    let bind = |path: &str| -> io::Result<()> {
        let place = root.join(path);
        mount(
            Some(&Path::new("/").join(path)),
            &place,
            none,
            MsFlags::MS_BIND,
            none,
        )?;
        Ok(mount(none, &place, none, read_only, none)?)
    };
    bind("usr")?;
    for path in ["bin", "lib", "lib32", "lib64", "libx32"] {
        let original = Path::new("/").join(path);
        match symlink_metadata(&original) {
            Ok(metadata) if metadata.is_symlink() => {
                symlink(read_link(&original)?, root.join(path))?
            }
            Ok(_) => {
                create_dir(root.join(path))?;
                bind(path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    File::create_new(root.join("dev/null"))?;
    mount(
        Some("/dev/null"),
        &root.join("dev/null"),
        none,
        MsFlags::MS_BIND,
        none,
    )?;
    Ok(())
}

/// Works as process 1 of the worker's namespace, and gives the exit status.
pub(super) fn inside(work: impl FnOnce(Helper) -> io::Result<i32>) -> io::Result<i32> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, status) => Ok(status),
            WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
            _ => Err(io::Error::other("the worker was stopped")),
        },
        // Ends with the worker, and everything in its namespace with it.
        ForkResult::Child => {
            set_pdeathsig(Signal::SIGKILL)?;
            work(Helper::adopt()?)
        }
    }
}

/// The helper, as a worker sees it.
pub(super) struct Helper {
    reports: File,
    go: File,
}

/// Takes on a descriptor that the helper has started the worker with.
pub(super) fn adopt(number: i32) -> io::Result<OwnedFd> {
    let fd = descriptor(number);
    // What the worker runs has no business with them.
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

impl Helper {
    fn adopt() -> io::Result<Self> {
        Ok(Self {
            reports: adopt(REPORT_FD)?.into(),
            go: adopt(GO_FD)?.into(),
        })
    }

    /// Another one, for another thread.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            reports: self.reports.try_clone()?,
            go: self.go.try_clone()?,
        })
    }

    /// Tells something; in one write, so that threads do not mix theirs.
    pub(super) fn tell(&mut self, report: &Report) -> io::Result<()> {
        let line = serde_json::to_string(report)? + "\n";
        self.reports.write_all(line.as_bytes())
    }

    /// Reports, and returns when this process is root of the mapped container.
    pub(super) fn become_root(&mut self, manifest: Option<String>) -> io::Result<()> {
        self.tell(&Report::Ready(manifest))?;
        self.go.read_exact(&mut [0])?;
        setgroups(&[])?;
        setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0))?;
        setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0))?;
        // Another user's process has forgotten it.
        Ok(set_pdeathsig(Signal::SIGKILL)?)
    }
}
