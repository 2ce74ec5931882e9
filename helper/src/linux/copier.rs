//! The worker that copies: this program started anew, which binds its life to the
//! helper's before it executes cp(1), so that nothing goes on writing where the next
//! helper cleans up.

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, execve, getppid};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::IntoRawFd;
use std::path::Path;
use std::process::ExitCode;

/// The first argument that makes this program a copier.
pub(crate) const COPIER: &str = "copy-worker";

/// Places of GNU cp, whose `--archive` keeps all that a file has: owners by number,
/// times, hard links, holes, attributes, access lists and capabilities.
const PROGRAMS: [&str; 2] = ["/usr/bin/cp", "/bin/cp"];

/// Runs the worker if the arguments say so: `copy-worker HELPER-PID FROM TO`.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    if args.next()? != COPIER {
        return None;
    }
    let (helper, from, to) = (args.next()?, args.next()?, args.next()?);
    let error = match execute(&helper, from, to) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    // Standard error is read by the helper.
    writeln!(io::stderr(), "cp cannot be executed: {error}").unwrap_or_default();
    Some(ExitCode::FAILURE)
}

fn execute(helper: &str, from: String, to: String) -> io::Result<std::convert::Infallible> {
    set_pdeathsig(Signal::SIGKILL)?;
    // A helper that had ended before cannot be followed.
    if helper.parse().map(Pid::from_raw) != Ok(getppid()) {
        return Err(io::Error::other("the helper is gone"));
    }
    let program = PROGRAMS.into_iter().find(|path| Path::new(path).exists());
    let program = program.ok_or_else(|| io::Error::other("cp is missing; install coreutils"))?;
    let from = alone(from)?;
    let argv = [
        "cp",
        "--archive",
        "--reflink=auto",
        "--no-target-directory",
        "--",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([from, to])
    .map(CString::new)
    .collect::<Result<Vec<_>, _>>()?;
    let environment = [c"PATH=/usr/bin:/bin", c"LC_ALL=C.UTF-8"];
    Ok(execve(&CString::new(program)?, &argv, &environment)?)
}

/// A path to a directory without what is mounted in it, which is no part of it, for the
/// rest of this process and what it executes; anything else stays as it is.
fn alone(path: String) -> io::Result<String> {
    // A descriptor's mount has nothing mounted in it.
    if path.starts_with("/proc/self/fd/") || !std::fs::symlink_metadata(&path)?.is_dir() {
        return Ok(path);
    }
    let tree = open_tree(CWD, &path, OpenTreeFlags::OPEN_TREE_CLONE)?;
    Ok(format!("/proc/self/fd/{}/.", tree.into_raw_fd()))
}
