//! The end of a container, and its reboot.

use super::{Init, Monitor};
use crate::failure::{At, Step};
use crate::log;
use crate::sys;
use gantry_core::command::StateMessage;
use gantry_core::namespaces::Namespace;
use gantry_core::settings::HookStage;
use gantry_core::states::State;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, open, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

impl Monitor {
    /// Cleans up after init. Gives back whether the container runs again:
    /// the kernel reports reboot(2) in a pid namespace as death by SIGHUP.
    pub(super) fn end(&mut self, status: i32) -> Step<bool> {
        let may_reboot = self.init.as_ref().is_some_and(Init::ends_all);
        let reboot = status == libc::SIGHUP && may_reboot && !self.stopping;
        let target = if reboot { "reboot" } else { "stop" };
        self.tell_monitord(&StateMessage::exit_code(
            self.layout.name().as_str(),
            status,
        ));
        self.set_state(State::Stopping);
        log::info(format!("init has ended, target {target}"));
        self.hooks.tell("LXC_TARGET", target);
        self.interfaces.give_back();
        self.interfaces
            .run_down_scripts(&self.settings, &self.hooks);
        self.run_stop_hooks();
        self.console.disconnect();
        self.init = None;
        self.cgroups.remove_payload();
        if reboot {
            self.interfaces.remove();
            // Clients wait for the new start, as nobody has left the socket.
            self.tell_monitord(&StateMessage::state(
                self.layout.name().as_str(),
                State::Stopped,
            ));
            match self
                .hooks
                .run(HookStage::PostStop, &[])
                .and_then(|()| self.start())
            {
                Ok(()) => return Ok(true),
                Err(failure) => {
                    log::error(format!("the reboot becomes a stop: {}", failure.message));
                    self.abort();
                    return Ok(false);
                }
            }
        }
        self.interfaces.release_names(&self.settings);
        self.server.close();
        self.interfaces.remove();
        self.set_state(State::Stopped);
        self.leave();
        Ok(false)
    }

    /// Undoes a start that failed: nothing of it is left afterwards.
    pub(super) fn abort(&mut self) {
        self.set_state(State::Aborting);
        if let Some(init) = self.init.take() {
            let ended = sys::signal_process(&init.pidfd, libc::SIGKILL).and_then(|()| {
                self.cgroups.thaw();
                waitid(WaitId::PidFd(init.pidfd.as_fd()), WaitIdOptions::EXITED)?;
                Ok(())
            });
            if let Err(error) = ended {
                log::debug(format!("init had ended already: {error}"));
            }
        }
        self.set_state(State::Stopping);
        self.interfaces.give_back();
        self.interfaces
            .run_down_scripts(&self.settings, &self.hooks);
        self.console.disconnect();
        self.cgroups.remove_payload();
        self.interfaces.remove();
        self.set_state(State::Stopped);
        self.hooks.tell("LXC_TARGET", "stop");
        self.leave();
        self.server.close();
    }

    /// What is done when everybody may see that the container has stopped.
    fn leave(&mut self) {
        if let Err(failure) = self.hooks.run(HookStage::PostStop, &[]) {
            log::error(failure.message);
        }
        self.cgroups.remove_monitor();
        if self.settings.ephemeral
            && let Err(failure) = self.remove_container()
        {
            log::error(failure.message);
        }
    }

    fn run_stop_hooks(&mut self) {
        let Some(init) = &self.init else { return };
        let monitor = rustix::process::getpid().as_raw_nonzero();
        let path = |fd: i32| format!("/proc/{monitor}/fd/{fd}");
        let namespaces: Vec<(Namespace, String)> = init
            .namespaces
            .iter()
            .map(|(kind, fd)| (*kind, path(fd.as_raw_fd())))
            .collect();
        let arguments: Vec<String> = namespaces
            .iter()
            .map(|(kind, path)| format!("{}:{path}", kind.proc_name()))
            .collect();
        for (kind, path) in namespaces {
            self.hooks.tell(
                &format!("LXC_{}_NS", kind.proc_name().to_ascii_uppercase()),
                path,
            );
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if let Err(failure) = self.hooks.run(HookStage::Stop, &arguments) {
            log::error(failure.message);
        }
    }

    /// Removes an ephemeral container's directory. Only what lies below the
    /// LXC path goes, and no symbolic link is followed.
    fn remove_container(&self) -> Step<()> {
        let step = "removing the ephemeral container";
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let what = || format!("cannot remove {}", self.layout.directory().display());
        let parent = open(self.layout.lxc_path(), flags, Mode::empty()).at(step, what)?;
        let name = std::ffi::CString::new(self.layout.name().as_str()).at(step, what)?;
        remove_tree(&parent, &name).at(step, what)
    }
}

/// Removes a file, or a directory with all in it, but nothing of another file
/// system that is mounted below.
fn remove_tree(parent: &impl AsFd, name: &CStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        result => return Ok(result?),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let directory = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        match (entry.file_name(), entry.file_type()) {
            (name, _) if name == c"." || name == c".." => {}
            (name, FileType::Directory | FileType::Unknown) => remove_tree(&directory, name)?,
            (name, _) => unlinkat(&directory, name, AtFlags::empty())?,
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_removed_without_following_links() {
        let base = std::env::temp_dir().join(format!("gantry-remove-{}", std::process::id()));
        let outside = base.join("outside");
        let tree = base.join("lxc/c1/rootfs/deep");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        std::fs::write(tree.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        let parent = open(
            base.join("lxc"),
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .unwrap();
        remove_tree(&parent, c"c1").unwrap();
        assert!(!base.join("lxc/c1").exists());
        assert!(outside.join("kept").exists());
        std::fs::remove_dir_all(base).unwrap();
    }
}
