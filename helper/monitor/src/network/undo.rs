//! Undoing what would outlive the container's network namespace: interfaces
//! of the host that are in it, ports in Open vSwitch's database, addresses
//! that the host answers for.
//!
//! This is the work of a process of its own, which is told of each thing
//! before it is done and begins when the monitor's end of the socket closes:
//! at the container's stop, after a start that failed, or because the monitor
//! was killed. With a monitor that is a unit's main process systemd kills all of
//! the unit, so that this process gets a scope of its own there.

use super::phys::Guest;
use super::{LOOPBACK, STEP, ovs};
use crate::failure::{At, Step};
use crate::log;
use crate::message;
use crate::netlink::{Netlink, Route};
use crate::sys::{self, Fork};
use gantry_core::monitor::SHUTDOWN_PATIENCE;
use nix::sys::signal::SigSet;
use nix::sys::socket::{Shutdown, shutdown};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";

/// One thing to undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Debt {
    /// An interface of the host; the container's namespace comes along.
    Phys(Guest),
    /// A port of an Open vSwitch bridge.
    Port { bridge: String, port: String },
    /// An address that the host answers for on an interface.
    Proxy { index: u32, address: IpAddr },
    /// A route to an address by way of loopback.
    LoopbackRoute { address: IpAddr },
}

/// What the process is told.
#[derive(Serialize, Deserialize)]
struct Note {
    debt: Debt,
    /// It was undone before the container's end, and is no debt any more.
    is_settled: bool,
}

/// What the process says first: from now on nobody ends it.
#[derive(Serialize, Deserialize)]
struct Ready {}

/// The process that undoes.
pub(super) struct Undo {
    socket: OwnedFd,
    process: OwnedFd,
}

impl Undo {
    /// Starts the process, and waits until it listens.
    pub(super) fn start(container: &str, in_unit: bool) -> Step<Self> {
        let what = || "cannot start the process that cleans up".to_owned();
        let (socket, theirs) = sys::pair().at(STEP, what)?;
        // Its own copy of this program, so that it holds nothing else of ours.
        let own = open_program("/proc/self/exe").at(STEP, what)?;
        let mut arguments = ["gantry-monitor", "undo", "--name", container]
            .map(str::to_owned)
            .to_vec();
        let mut launcher = None;
        if in_unit {
            // systemd-run(1) becomes the program, which it finds by its descriptor.
            launcher = Some(open_program(SYSTEMD_RUN).at(STEP, what)?);
            let program = format!("/proc/self/fd/{}", own.as_raw_fd());
            arguments = scope(container)
                .into_iter()
                .chain([program])
                .chain(arguments.into_iter().skip(1))
                .collect();
        }
        let arguments = arguments
            .into_iter()
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
            .at(STEP, what)?;
        let arguments: Vec<_> = arguments.iter().map(CString::as_c_str).collect();
        let process = match sys::fork(0, None).at(STEP, what)? {
            Fork::Child => {
                let kept = launcher
                    .as_ref()
                    .map_or(Ok(()), |_| fcntl_setfd(&own, FdFlags::empty()));
                if kept.is_ok() && rustix::stdio::dup2_stdin(&theirs).is_ok() {
                    sys::execute_file(launcher.as_ref().unwrap_or(&own), &arguments, &[]);
                }
                sys::exit_now(127)
            }
            Fork::Parent(_, process) => process,
        };
        drop(theirs);
        match message::receive::<Ready>(&socket).at(STEP, what)? {
            Some(_) => Ok(Self { socket, process }),
            None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)).at(STEP, what),
        }
    }

    /// Tells of one thing more.
    pub(super) fn owe(&self, debt: Debt, fds: &[&OwnedFd]) -> Step<()> {
        self.tell(debt, false, fds)
    }

    /// Tells that one of them is undone.
    pub(super) fn forget(&self, debt: Debt) -> Step<()> {
        self.tell(debt, true, &[])
    }

    fn tell(&self, debt: Debt, is_settled: bool, fds: &[&OwnedFd]) -> Step<()> {
        message::send(&self.socket, &Note { debt, is_settled }, fds).at(STEP, || {
            "cannot reach the process that cleans up".to_owned()
        })
    }

    /// Lets everything be undone, and waits for it.
    pub(super) fn settle(self) {
        let settled = || -> io::Result<()> {
            shutdown(self.socket.as_raw_fd(), Shutdown::Write)?;
            while let Some((complaint, _)) = message::receive::<String>(&self.socket)? {
                log::error(complaint);
            }
            waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED)?;
            Ok(())
        };
        if let Err(error) = settled() {
            log::error(format!("cleaning up the network failed: {error}"));
        }
    }
}

fn open_program(path: &str) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// The words before the program that is to run in a scope. At power-off it may take
/// as long as the container that it waits for.
fn scope(container: &str) -> Vec<String> {
    // The scope before may still be there when its process has ended.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let patience = SHUTDOWN_PATIENCE.as_secs() + 60;
    [
        "systemd-run",
        "--scope",
        "--quiet",
        "--collect",
        "--no-ask-password",
        "--slice=gantry.slice",
        &format!("--unit=gantry-undo-{}-{number}", std::process::id()),
        &format!("--description=Clean-up of the network after container {container}"),
        &format!("--property=TimeoutStopSec={patience}"),
        "--",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// `undo`: the process itself.
pub(crate) fn main(socket: &OwnedFd) -> ExitCode {
    // It ends when it has done its work and not before.
    let blocked = SigSet::all().thread_block();
    if message::send(socket, &Ready {}, &[]).is_err() {
        return ExitCode::FAILURE;
    }
    let mut debts: Vec<(Debt, Vec<OwnedFd>)> = Vec::new();
    while let Ok(Some((note, fds))) = message::receive::<Note>(socket) {
        let Note { debt, is_settled } = note;
        if is_settled {
            debts.retain(|(other, _)| *other != debt);
        } else {
            debts.push((debt, fds));
        }
    }
    let mut complaints = Vec::new();
    for (debt, fds) in debts.into_iter().rev() {
        if let Err(complaint) = settle(&debt, fds.first()) {
            complaints.push(complaint);
        }
    }
    let told = complaints
        .iter()
        // Nobody listens when the monitor was killed.
        .all(|complaint| message::send(socket, complaint, &[]).is_ok());
    if blocked.is_ok() && complaints.is_empty() && told {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Undoes one thing.
pub(super) fn settle(debt: &Debt, namespace: Option<&OwnedFd>) -> Result<(), String> {
    let on_host = |work: &dyn Fn(&mut Netlink) -> io::Result<()>| {
        Netlink::open().and_then(|mut host| work(&mut host))
    };
    match debt {
        Debt::Phys(guest) => match namespace {
            Some(namespace) => guest
                .bring_home(namespace)
                .map_err(|error| format!("cannot bring an interface home: {error} ({guest:?})")),
            None => Err(format!(
                "the namespace of an interface is missing ({guest:?})"
            )),
        },
        Debt::Port { bridge, port } => {
            ovs::remove_port(bridge, port).map_err(|failure| failure.message)
        }
        Debt::Proxy { index, address } => on_host(&|host| host.delete_proxy(*index, *address))
            .map_err(|error| format!("cannot stop answering for {address}: {error}")),
        Debt::LoopbackRoute { address } => {
            on_host(&|host| host.delete_route(&Route::to(*address, LOOPBACK)))
                .map_err(|error| format!("cannot remove the route to {address}: {error}"))
        }
    }
}
