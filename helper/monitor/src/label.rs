//! The security label that a process takes on when it executes a program, or that its
//! keys get.

use crate::failure::{At, Step, failure};
use gantry_core::monitor::FailureKind;
use rustix::fs::{Mode, OFlags, open};
use std::os::fd::OwnedFd;

const STEP: &str = "confining";

/// What a process is confined by: which module says so decides how to ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Confiner {
    /// AppArmor, by this profile.
    Profile(String),
    /// SELinux, by this context.
    Context(String),
}

impl Confiner {
    /// That of a process, by its directory in /proc; none if nothing confines it.
    /// The folder of a module is there also when the kernel runs without that module,
    /// but then nothing can be read in it.
    pub(crate) fn of(process: &str) -> Option<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("{process}/attr/{file}")).ok();
        let clean = |text: &str| {
            let label = text.trim_matches(['\0', '\n', ' ']);
            // The mode is not part of a profile's name.
            let label = label.rsplit_once(" (").map_or(label, |(label, _)| label);
            (!label.is_empty() && label != "unconfined").then(|| label.to_owned())
        };
        match read("apparmor/current") {
            Some(text) => clean(&text).map(Self::Profile),
            None => clean(&read("current")?).map(Self::Context),
        }
    }

    /// The label, to be taken on at the next exec; see [`Label::profile`].
    pub(crate) fn prepare(self) -> Step<Label> {
        match self {
            Self::Profile(name) => Label::profile(name),
            Self::Context(context) => Label::context(&context, "exec"),
        }
    }
}

/// A label, and where to ask for it.
#[derive(Debug)]
pub(crate) struct Label {
    file: OwnedFd,
    text: String,
    label: String,
}

impl Label {
    /// Opens the file for a profile of AppArmor (proc_pid_attr(5)) on the /proc that
    /// is seen now, which has to be the host's. Only the process that opens it may
    /// use it.
    pub(crate) fn profile(label: String) -> Step<Self> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        // The second is that of kernels which have no folder for each module.
        let file = open("/proc/self/attr/apparmor/exec", flags, Mode::empty())
            .or_else(|_| open("/proc/self/attr/exec", flags, Mode::empty()))
            .at(STEP, || {
                "cannot open the file for the security label".to_owned()
            })?;
        let text = format!("exec {label}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_confines_is_told_by_the_module_that_says_so() {
        let process = std::env::temp_dir().join(format!("gantry-label-{}", std::process::id()));
        let attr = process.join("attr");
        std::fs::create_dir_all(attr.join("apparmor")).unwrap();
        let of = || Confiner::of(process.to_str().unwrap());
        assert_eq!(of(), None);
        // SELinux, on a kernel that knows AppArmor, too.
        let context = "system_u:system_r:container_t:s0:c1,c2";
        std::fs::write(attr.join("current"), format!("{context}\0")).unwrap();
        assert_eq!(of(), Some(Confiner::Context(context.to_owned())));
        let current = attr.join("apparmor/current");
        std::fs::write(&current, "lxc-container-default-cgns (enforce)\n").unwrap();
        let profile = "lxc-container-default-cgns".to_owned();
        assert_eq!(of(), Some(Confiner::Profile(profile)));
        std::fs::write(&current, "unconfined\n").unwrap();
        assert_eq!(of(), None);
        std::fs::remove_dir_all(process).unwrap();
    }
}
