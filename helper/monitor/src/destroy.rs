//! `destroy`: runs the hooks of a container that is about to be destroyed.

use crate::config;
use crate::failure::Step;
use crate::hooks::Hooks;
use crate::log;
use crate::setup::mount_point;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::Report;
use gantry_core::settings::HookStage;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs them as long as the other end of `starter` is open, and reports there
/// that all went well, or what failed.
pub(crate) fn main(layout: &ContainerLayout, starter: OwnedFd) -> ExitCode {
    let ran = run(layout, &starter);
    log::report_to(Some(starter));
    match ran {
        Ok(()) => {
            log::report(&Report::Done);
            ExitCode::SUCCESS
        }
        Err(failure) => log::report_failure(failure),
    }
}

fn run(layout: &ContainerLayout, starter: &OwnedFd) -> Step<()> {
    let (_, settings, _) = config::load(layout)?;
    log::open(layout, &settings)?;
    let rootfs = settings.rootfs.as_ref().map(mount_point).transpose()?;
    let rootfs = rootfs.unwrap_or_else(|| PathBuf::from("/"));
    let is_wanted = |stage| stage == HookStage::Destroy;
    Hooks::new(layout, &settings, &rootfs, is_wanted)?.run(HookStage::Destroy, &[], Some(starter))
}
