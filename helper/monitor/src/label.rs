//! The security label that a process takes on when it executes a program.

use crate::failure::{At, Step, failure};
use gantry_core::monitor::FailureKind;
use rustix::fs::{Mode, OFlags, open};
use std::os::fd::OwnedFd;

const STEP: &str = "confining";

/// A label, and where to ask for it.
#[derive(Debug)]
pub(crate) struct Label {
    file: OwnedFd,
    text: String,
    label: String,
}

impl Label {
    /// Opens the file for the label (proc_pid_attr(5)) on the /proc that is seen now,
    /// which has to be the host's. Only the process that opens it may use it.
    pub(crate) fn prepare(label: String) -> Step<Self> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let (file, text) = match open("/proc/self/attr/apparmor/exec", flags, Mode::empty()) {
            Ok(file) => (file, format!("exec {label}")),
            Err(_) => {
                let file = open("/proc/self/attr/exec", flags, Mode::empty()).at(STEP, || {
                    "cannot open the file for the security label".to_owned()
                })?;
                (file, label.clone())
            }
        };
        Ok(Self { file, text, label })
    }

    /// Asks for the label at the next exec.
    pub(crate) fn take_on_at_exec(self) -> Step<()> {
        match rustix::io::write(&self.file, self.text.as_bytes()) {
            Ok(_) => Ok(()),
            Err(rustix::io::Errno::NOENT) => {
                let message = format!(
                    "The security profile {} is not loaded; load it, or name another in lxc.apparmor.profile.",
                    self.label
                );
                Err(failure(FailureKind::StartFailed, STEP, message))
            }
            Err(error) => Err(error).at(STEP, || {
                format!("cannot take on the security label {}", self.label)
            }),
        }
    }
}
