//! The worker that runs a program which makes a root file system: this program started
//! anew. What it starts has a mount table and processes of its own, so that nothing of it
//! is left when it, or the helper, comes to an end.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, chdir, execve, fork, getppid, setsid};
use std::ffi::CString;
use std::io::{self, Write};
use std::process::ExitCode;

/// The first argument that makes this program such a worker.
pub(crate) const WORKER: &str = "tool-worker";

/// The variables by which programs know their proxies, as curl(1) reads them.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "ftp_proxy"];

/// Runs the worker if the arguments say so: `tool-worker HELPER-PID PROXY PROGRAM
/// ARG…`; an empty proxy is none.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    if args.next()? != WORKER {
        return None;
    }
    let (helper, proxy) = (args.next()?, args.next()?);
    Some(match run(&helper, &proxy, args) {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)),
        Err(error) => {
            // Standard error is read by the helper.
            writeln!(io::stderr(), "the program cannot be executed: {error}").unwrap_or_default();
            ExitCode::FAILURE
        }
    })
}

fn run(helper: &str, proxy: &str, args: impl Iterator<Item = String>) -> io::Result<i32> {
    set_pdeathsig(Signal::SIGKILL)?;
    // A helper that had ended before cannot be followed.
    if helper.parse().map(Pid::from_raw) != Ok(getppid()) {
        return Err(io::Error::other("the helper is gone"));
    }
    let argv = args.map(CString::new).collect::<Result<Vec<_>, _>>()?;
    let program = argv
        .first()
        .ok_or_else(|| io::Error::other("no program is named"))?;
    let own = [
        c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        c"LC_ALL=C.UTF-8",
        c"HOME=/root",
        c"DEBIAN_FRONTEND=noninteractive",
    ];
    let mut environment: Vec<CString> = own.map(ToOwned::to_owned).into();
    for name in PROXIES.into_iter().filter(|_| !proxy.is_empty()) {
        environment.push(CString::new(format!("{name}={proxy}"))?);
    }
    umask(Mode::from_bits_truncate(0o022));
    chdir("/")?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, status) => Ok(status),
            WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
            _ => Err(io::Error::other("it was stopped")),
        },
        ForkResult::Child => {
            // The end of the first process is that of all others in its namespace.
            set_pdeathsig(Signal::SIGKILL)?;
            setsid()?;
            match execve(program, &argv, &environment)? {}
        }
    }
}
