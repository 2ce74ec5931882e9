//! `attach`: one session in a container, and its supervisor.
//!
//! The supervisor stays on the host, in none of the container's namespaces
//! but that for its child's pid. The child enters the rest and becomes the
//! program. Neither can be looked into from the container.

pub(crate) mod client;
mod enter;
mod session;
mod target;
mod user;

pub(crate) use target::{container_root, pid_of};

use crate::begin;
use crate::confine::Filter;
use crate::failure::{At, Step, failed};
use crate::message;
use crate::sys::{self, Fork};
use crate::terminal;
use client::Client;
use enter::{Entering, FromProgram, Streams};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{AttachReply, AttachRequest, Failure, FailureKind, Hello};
use gantry_core::namespaces::Namespace;
use nix::sched::{CloneFlags, setns};
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, mkdirat, openat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::DumpableBehavior;
use session::{Listener, Session};
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use target::{STEP, Target};

/// The ends of a session's streams.
struct Ends {
    program: Streams,
    /// What the caller gets: a master, or the pipes' other ends.
    caller: Vec<OwnedFd>,
    terminal: Option<(OwnedFd, u32)>,
}

/// Receives a request, starts its program and supervises it.
pub(crate) fn main(layout: ContainerLayout, starter: OwnedFd) -> ExitCode {
    let session = match start(&layout, &starter) {
        Ok((session, ends)) => {
            let caller: Vec<&OwnedFd> = ends.iter().collect();
            let reply = AttachReply::Started {
                pid: session.hello.pid,
            };
            if message::send(&starter, &reply, &caller).is_err() {
                // A session that nobody can use ends as one that is closed.
                drop(sys::signal_process(&session.pidfd, libc::SIGKILL));
            }
            session
        }
        Err(failure) => return reply_failed(&starter, failure),
    };
    match session.supervise(starter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn reply_failed(starter: &OwnedFd, failure: Failure) -> ExitCode {
    // If the starter is gone there is nobody to tell.
    drop(message::send(starter, &AttachReply::Failed(failure), &[]));
    ExitCode::FAILURE
}

fn start(layout: &ContainerLayout, starter: &OwnedFd) -> Step<(Session, Vec<OwnedFd>)> {
    let detached = || -> io::Result<()> {
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        begin::lead_session()?;
        rustix::process::umask(Mode::from_raw_mode(0o077));
        Ok(rustix::process::chdir("/")?)
    };
    detached().at(STEP, || "cannot detach".to_owned())?;
    let received = message::receive::<AttachRequest>(starter)
        .at(STEP, || "cannot read the request".to_owned())?;
    let Some((request, fds)) = received else {
        return failed(FailureKind::Cancelled, STEP, "The request was withdrawn.");
    };
    let target = Target::find(layout, &request)?;
    let listener = Listener::bind(request.session)?;
    let ends = open_streams(&target, &request)?;
    let filter = fds.into_iter().next().map(Filter::from);
    let entering = Entering {
        target: &target,
        request: &request,
        filter: filter.as_ref(),
    };
    let (pid, pidfd) = start_program(layout, &entering, ends.program)?;
    let hello = Hello {
        session: request.session,
        owner: request.owner,
        lxc_path: layout.lxc_path().to_owned(),
        name: layout.name().to_string(),
        pid: pid.unsigned_abs(),
        pty: request.pty,
    };
    Ok((
        Session {
            listener,
            hello,
            pidfd,
            terminal: ends.terminal,
        },
        ends.caller,
    ))
}

fn open_streams(target: &Target, request: &AttachRequest) -> Step<Ends> {
    if !request.pty {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).at(STEP, || "cannot make a pipe".to_owned());
        let ((input, to_input), (from_output, output), (from_error, error)) =
            (pipe()?, pipe()?, pipe()?);
        let program = Streams::Pipes([input, output, error]);
        return Ok(Ends {
            program,
            caller: vec![to_input, from_output, from_error],
            terminal: None,
        });
    }
    let Some(devpts) = &target.devpts else {
        let message = "The container's monitor gives no access to its terminals; update it, or do without a terminal.";
        return failed(FailureKind::Unsupported, STEP, message);
    };
    let open = || -> io::Result<Ends> {
        let opened = terminal::open(devpts)?;
        terminal::check_slave(&opened.slave, opened.number)?;
        if let Some(uid) = target.host_uid {
            fchown(&opened.slave, Some(Uid::from_raw(uid)), None::<Gid>)?;
        }
        if request.columns > 0 && request.rows > 0 {
            terminal::resize(&opened.master, request.columns, request.rows)?;
        }
        let terminal = Some((devpts.try_clone()?, opened.number));
        Ok(Ends {
            program: Streams::Terminal(opened.slave),
            caller: vec![opened.master],
            terminal,
        })
    };
    open().at(STEP, || {
        "cannot open a terminal in the container".to_owned()
    })
}

/// Starts the child and waits until it has become the program.
fn start_program(
    layout: &ContainerLayout,
    entering: &Entering<'_>,
    streams: Streams,
) -> Step<(i32, OwnedFd)> {
    let target = entering.target;
    if target.joins(Namespace::Pid) {
        // Concerns the next child only.
        setns(&target.init, CloneFlags::CLONE_NEWPID)
            .at(STEP, || "cannot join the pid namespace".to_owned())?;
    }
    let (ours, theirs) = sys::pair().at(STEP, || "cannot make a socket".to_owned())?;
    match fork_into(target.unified.as_ref()).at(STEP, || {
        "cannot start a process in the container".to_owned()
    })? {
        Fork::Child => {
            drop(ours);
            enter::run(entering, streams, theirs)
        }
        Fork::Parent(pid, pidfd) => {
            drop(theirs);
            drop(streams);
            loop {
                let heard = message::receive::<FromProgram>(&ours)
                    .at(STEP, || "cannot hear the session's process".to_owned())?;
                let failure = match heard {
                    None => return Ok((pid, pidfd)),
                    Some((FromProgram::Filtered, fds)) => {
                        for listener in &fds {
                            Client::new(layout).hand_over(listener)?;
                        }
                        continue;
                    }
                    Some((FromProgram::Failed(failure), _)) => failure,
                };
                let options = rustix::process::WaitIdOptions::EXITED;
                let id = rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd));
                rustix::process::waitid(id, options).at(STEP, || "cannot wait".to_owned())?;
                return Err(failure);
            }
        }
    }
}

/// A group whose children have controllers takes no process itself
/// (cgroups(7)); as stock LXC does, a group beside the container's own is used
/// then.
fn fork_into(unified: Option<&OwnedFd>) -> io::Result<Fork> {
    const BESIDE: &str = ".lxc";
    match (sys::fork(0, unified), unified) {
        (Err(error), Some(group)) if error.raw_os_error() == Some(libc::EBUSY) => {
            match mkdirat(group, BESIDE, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            sys::fork(0, Some(&openat(group, BESIDE, flags, Mode::empty())?))
        }
        (result, _) => result,
    }
}
