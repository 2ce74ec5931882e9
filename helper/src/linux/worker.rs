//! The worker that unpacks archives: this program started anew, which shuts
//! itself in before it executes tar(1). It runs before there are threads.
//!
//! What it can reach is a tree of its own with the host's /usr, read-only, and
//! the target; it has no network, sees no other process, and holds no
//! capability but in a user namespace with the container's ids. Where the kernel has
//! AppArmor a profile holds tar besides.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Gid, Uid, chdir, execve, fork, pivot_root, setgroups, setresgid, setresuid,
};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::ffi::CString;
use std::fs::{File, create_dir, read_link, read_to_string, symlink_metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

/// The first argument that makes this program a worker.
pub(crate) const WORKER: &str = "unpack-worker";
/// The descriptor on which the worker asks for its id maps and waits for them.
pub(crate) const MAPS_FD: usize = 3;
/// The exit status when the worker could not shut itself in.
pub(crate) const NOT_CONFINED: i32 = 125;

/// Runs the worker if the arguments say so: `unpack-worker TARGET TAR ARG…`,
/// with the archive on standard input.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    if args.next()? != WORKER {
        return None;
    }
    let (target, tar) = (args.next()?, args.next()?);
    let work = || {
        let profile = Profile::prepare()?;
        confine(Path::new(&target))?;
        profile.map_or(Ok(()), Profile::take_on)?;
        execute(&tar, args)
    };
    let status = match work() {
        Ok(status) => status,
        Err(error) => {
            // Standard error is read by the helper.
            writeln!(io::stderr(), "the worker could not be confined: {error}").unwrap_or_default();
            NOT_CONFINED
        }
    };
    Some(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}

/// The AppArmor profile of workers.
struct Profile(File);

impl Profile {
    /// data/apparmor/gantry-worker
    const NAME: &str = "gantry-worker";

    /// Opens the file for the label (proc_pid_attr(5)) while /proc is there; none where
    /// the kernel has no AppArmor.
    fn prepare() -> io::Result<Option<Self>> {
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

/// Leaves everything behind but the target, which becomes the working
/// directory.
fn confine(target: &Path) -> io::Result<()> {
    umask(Mode::from_bits_truncate(0o022));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    rustix::thread::set_no_new_privs(true)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let tree = open_tree(
        rustix::fs::CWD,
        target,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )?;
    // The target's place, of which the worker has a copy, is where its own
    // tree begins.
    let root = target;
    mount(
        Some("tmpfs"),
        root,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=755,size=64k"),
    )?;
    for directory in ["target", "usr", "dev"] {
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
    let place = root.join("target");
    move_mount(
        &tree,
        "",
        rustix::fs::CWD,
        &place,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    drop(tree);
    mount(
        none,
        &place,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        none,
    )?;
    mount(
        none,
        root,
        none,
        MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        none,
    )?;
    chdir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/target")?;
    become_container_root()
}

/// Enters a user namespace in which the helper maps the container's ids.
fn become_container_root() -> io::Result<()> {
    unshare(
        CloneFlags::CLONE_NEWUSER
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )?;
    let mut helper = UnixStream::from(maps_socket()?);
    helper.write_all(b"m")?;
    let mut answer = [0];
    helper.read_exact(&mut answer)?;
    setgroups(&[])?;
    setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0))?;
    Ok(setresuid(
        Uid::from_raw(0),
        Uid::from_raw(0),
        Uid::from_raw(0),
    )?)
}

fn maps_socket() -> io::Result<std::os::fd::OwnedFd> {
    // SAFETY: the helper starts a worker with this descriptor open, and
    // nothing else in this process knows of it.
    let socket = unsafe { BorrowedFd::borrow_raw(MAPS_FD as i32) };
    socket.as_fd().try_clone_to_owned()
}

/// Executes tar as process 1 of its namespace, and gives its exit status.
fn execute(tar: &str, args: impl Iterator<Item = String>) -> io::Result<i32> {
    let argv = std::iter::once(tar.to_owned())
        .chain(args)
        .map(CString::new)
        .collect::<Result<Vec<_>, _>>()?;
    let environment = [c"PATH=/usr/bin:/bin", c"LC_ALL=C"];
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, status) => Ok(status),
            WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
            _ => Err(io::Error::other("tar was stopped")),
        },
        ForkResult::Child => {
            // Ends with the worker, and everything in its namespace with it.
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            rustix::io::ioctl_fioclex(maps_socket()?)?;
            let path = CString::new(tar)?;
            match execve(&path, &argv, &environment)? {}
        }
    }
}
