//! Giving up root's powers before bytes from outside are touched. It is done before
//! there are threads.
//!
//! What is left is a tree of its own with the host's /usr, read-only, and the files
//! given; an id that owns nothing, no capability, and the network only where it is
//! asked for.

use super::worker::{enter, lend_system};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, getppid, setgroups, setresgid, setresuid};
use std::io;
use std::path::Path;

/// The id of nobody, on every distribution.
const NOBODY: u32 = 65_534;
/// Where the tree is made. What the host has there is not seen any more.
const PLACE: &str = "/run";

/// Secludes this process, which ends with the helper. `files` are paths below the new
/// root, such as `etc/hosts`, and what they hold; everybody may read them.
pub(crate) fn seclude(helper: u32, files: &[(&str, Vec<u8>)], network: bool) -> io::Result<()> {
    umask(Mode::from_bits_truncate(0o022));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    rustix::thread::set_no_new_privs(true)?;
    let mut apart = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if !network {
        apart |= CloneFlags::CLONE_NEWNET;
    }
    unshare(apart)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let root = Path::new(PLACE);
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len() + 8192).sum();
    mount(
        Some("tmpfs"),
        root,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(format!("mode=755,size={}", bytes + 65_536).as_str()),
    )?;
    lend_system(root)?;
    for (name, bytes) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(root))?;
        std::fs::write(path, bytes)?;
    }
    enter(root)?;
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    // Other processes of nobody's are not to look into this one.
    nix::sys::prctl::set_dumpable(false)?;
    // A change of ids clears it, so that it comes last.
    set_pdeathsig(Signal::SIGKILL)?;
    // A helper that had ended before cannot be followed.
    match i32::try_from(helper).map(Pid::from_raw) {
        Ok(pid) if pid == getppid() => Ok(()),
        _ => Err(io::Error::other("the helper is gone")),
    }
}
