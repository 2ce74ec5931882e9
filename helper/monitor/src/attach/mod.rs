//! `attach`: one session in a container.
use gantry_core::layout::ContainerLayout;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
pub(crate) fn main(_layout: ContainerLayout, _starter: OwnedFd) -> ExitCode {
    ExitCode::FAILURE
}
