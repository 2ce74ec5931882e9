//! The security label that a process takes on when it executes a program, or that its
//! keys get.

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

    /// Opens one of SELinux's files for a context, by its name in /proc/PID/attr:
    /// `exec` for the next program, `keycreate` for new keys.
    pub(crate) fn context(context: &str, file: &str) -> Step<Self> {
        let path = format!("/proc/self/attr/{file}");
        let opened = open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self {
            file: opened.at(STEP, || format!("cannot open {path}"))?,
            text: context.to_owned(),
            label: context.to_owned(),
        })
    }

    /// Asks for the label, for what the file is about.
    pub(crate) fn take_on(self) -> Step<()> {
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
