//! `mount`: a root file system as a mount that is attached nowhere, for the helper. It
//! is gone with its last user.

use crate::message;
use crate::setup::mount_store;
use gantry_core::monitor::Report;
use gantry_core::values::rootfs::RootfsPath;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// Sends the mount with a `Done` report, or a `Failed` one.
pub(crate) fn main(rootfs: &str, to_read: bool, starter: &OwnedFd) -> ExitCode {
    let sent = match mount_store(&RootfsPath::parse(rootfs), to_read) {
        Ok(mount) => message::send(starter, &Report::Done, &[&mount]),
        Err(failure) => message::send(starter, &Report::Failed(failure), &[]),
    };
    if sent.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
