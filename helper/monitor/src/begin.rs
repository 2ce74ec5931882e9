//! How a process of this program begins where systemd starts it.

use crate::failure::{At, Step};
use nix::unistd::fexecve;
use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fchmod, fcntl_add_seals, fcntl_get_seals, memfd_create,
    open,
};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::io;

/// All that this program and what it executes get to see of an environment.
const ENVIRONMENT: [&std::ffi::CStr; 2] =
    [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin", c"LC_ALL=C.UTF-8"];

/// Goes on in a copy of the program that nobody can change: a container into
/// which a process of it goes could otherwise reach the file through /proc and
/// overwrite it (CVE-2019-5736). Returns where that is so already.
pub(crate) fn run_sealed() -> io::Result<()> {
    let mut own = File::open("/proc/self/exe")?;
    if fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(SealFlags::WRITE)) {
        return Ok(());
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC;
    let mut copy = File::from(memfd_create("gantry-monitor", flags)?);
    io::copy(&mut own, &mut copy)?;
    fchmod(&copy, Mode::from_raw_mode(0o500))?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&copy, seals)?;
    let arguments = std::env::args()
        .map(CString::new)
        .collect::<Result<Vec<_>, _>>()?;
    match fexecve(&copy, &arguments, &ENVIRONMENT)? {}
}

/// setsid(2). What systemd has started leads a session already, and is told
/// that it may not begin another.
pub(crate) fn lead_session() -> io::Result<()> {
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Lets go of terminal, session and directory of whoever started this.
pub(crate) fn detach() -> Step<()> {
    let step = "detaching from the helper";
    lead_session().at(step, || "cannot begin a session".to_owned())?;
    rustix::process::chdir("/").at(step, || "cannot enter /".to_owned())?;
    let null = open(
        "/dev/null",
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(step, || "cannot open /dev/null".to_owned())?;
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&null))
        .and_then(|()| rustix::stdio::dup2_stderr(&null))
        .at(step, || "cannot set the standard streams".to_owned())
}
