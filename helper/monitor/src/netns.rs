//! `netlink`: a socket in a container's network namespace, for the helper,
//! which never enters one itself.

use crate::failure::{At, Step, failed};
use crate::message;
use crate::netlink::Netlink;
use gantry_core::monitor::{FailureKind, Report};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

const STEP: &str = "entering the network namespace";

/// Sends the socket with a `Running` report, or a `Failed` one.
pub(crate) fn main(pid: i32, starter: &OwnedFd) -> ExitCode {
    let sent = match open(pid) {
        Ok(socket) => message::send(
            starter,
            &Report::Running {
                pid: pid.unsigned_abs(),
            },
            &[&socket],
        ),
        Err(failure) => message::send(starter, &Report::Failed(failure), &[]),
    };
    if sent.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn open(pid: i32) -> Step<OwnedFd> {
    let Some(process) = Pid::from_raw(pid) else {
        return failed(
            FailureKind::InvalidArgument,
            STEP,
            format!("{pid} is not a process."),
        );
    };
    let process = pidfd_open(process, PidfdFlags::empty())
        .at(STEP, || format!("cannot find process {pid}"))?;
    let netlink = Netlink::open_in(&process).at(STEP, || {
        format!("cannot enter the network of process {pid}")
    })?;
    Ok(netlink.into_socket())
}
