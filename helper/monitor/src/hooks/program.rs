//! Programs of hooks and scripts: finding, checking and executing them.

use super::running::Running;
use crate::failure::{At, Step, failed};
use crate::log;
use crate::sys::{self, Fork};
use gantry_core::monitor::FailureKind;
use gantry_core::values::command_words;
use rustix::fs::{FileType, Mode, OFlags, fcntl_setfl, fstat, open};
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;

/// A program to run: a command line from the config, opened and checked.
pub(crate) struct Command {
    line: String,
    words: Vec<String>,
    /// None for a program of the container, which runs with its rights.
    file: Option<OwnedFd>,
}

impl Command {
    /// Opens and checks a program of the host.
    pub(crate) fn on_host(key: &str, line: &str) -> Step<Self> {
        let words = command_words(line);
        let step = "checking hooks";
        let Some(path) = words.first().filter(|path| path.starts_with('/')) else {
            let message = format!("{key} = {line}: give the program by its absolute path.");
            return failed(FailureKind::HookFailed, step, message);
        };
        let refuse = |reason: &str| {
            failed(
                FailureKind::HookFailed,
                step,
                format!("{key}: {path} {reason}."),
            )
        };
        let file = match open(path.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            Err(errno) => return refuse(&format!("cannot be opened: {errno}")),
        };
        let status = fstat(&file).at(step, || format!("cannot look at {path}"))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return refuse("is not a file");
        }
        if status.st_uid != 0 && status.st_uid != rustix::process::geteuid().as_raw() {
            return refuse("does not belong to root; give it to root");
        }
        if status.st_mode & 0o022 != 0 {
            return refuse("can be written to by others than its owner; take that right away");
        }
        if status.st_mode & 0o6000 != 0 {
            return refuse("is setuid or setgid; take that away");
        }
        Ok(Self {
            line: line.to_owned(),
            words,
            file: Some(file),
        })
    }

    /// A program in the container's own root.
    pub(crate) fn in_container(line: &str) -> Self {
        Self {
            line: line.to_owned(),
            words: command_words(line),
            file: None,
        }
    }

    /// Starts it, with words after those of its line. What it prints goes to
    /// the log.
    pub(crate) fn start(
        &self,
        key: &str,
        extra: &[&str],
        environment: &BTreeMap<String, String>,
    ) -> Step<Running> {
        let step = "running hooks";
        let words = self.words.iter().map(String::as_str);
        let argv: Vec<CString> = words
            .chain(extra.iter().copied())
            .filter_map(|word| CString::new(word).ok())
            .collect();
        let env: Vec<CString> = environment
            .iter()
            .filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok())
            .collect();
        let (output, input) =
            pipe_with(PipeFlags::CLOEXEC).at(step, || "cannot make a pipe".to_owned())?;
        fcntl_setfl(&output, OFlags::NONBLOCK).at(step, || "cannot make a pipe".to_owned())?;
        log::debug(format!("{key}: running {}", self.line));
        match sys::fork(0, None).at(step, || "cannot start a process".to_owned())? {
            Fork::Child => {
                let error = execute(self.file.as_ref(), &argv, &env, &input);
                let told =
                    rustix::io::write(&input, format!("cannot be executed: {error}\n").as_bytes());
                sys::exit_now(if told.is_ok() { 127 } else { 126 });
            }
            Fork::Parent(pid, pidfd) => Ok(Running::new(key, &self.line, pid, pidfd, output)),
        }
    }
}

/// Becomes the program; comes back only with the error.
fn execute(
    file: Option<&OwnedFd>,
    argv: &[CString],
    env: &[CString],
    output: &OwnedFd,
) -> io::Error {
    let prepare = || -> io::Result<()> {
        sys::default_signals();
        // Not in the way of anybody's terminal.
        rustix::process::setsid()?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        let null = open("/dev/null", OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(output)?;
        rustix::stdio::dup2_stderr(output)?;
        sys::close_on_exec_from(3)?;
        if let Some(file) = file {
            // An interpreter opens its script by this descriptor.
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?;
        }
        Ok(())
    };
    if let Err(error) = prepare() {
        return error;
    }
    let argv: Vec<&CStr> = argv.iter().map(CString::as_c_str).collect();
    let env: Vec<&CStr> = env.iter().map(CString::as_c_str).collect();
    match (file, argv.first()) {
        (Some(file), _) => sys::execute_file(file, &argv, &env),
        (None, Some(path)) => match nix::unistd::execve(path, &argv, &env) {
            Ok(never) => match never {},
            Err(errno) => errno.into(),
        },
        (None, None) => io::ErrorKind::InvalidInput.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(name: &str, text: &str, mode: u32) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("gantry-hook-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn checklist_31_hooks_that_others_may_change_are_refused() {
        for (mode, good) in [
            (0o755, true),
            (0o775, false),
            (0o757, false),
            (0o4755, false),
        ] {
            let path = script("mode", "#!/bin/sh\n", mode);
            let opened = Command::on_host("lxc.hook.pre-start", path.to_str().unwrap());
            assert_eq!(opened.is_ok(), good, "{mode:o}");
            std::fs::remove_file(path).unwrap();
        }
        assert!(Command::on_host("lxc.hook.pre-start", "touch /tmp/x").is_err());
        assert!(Command::on_host("lxc.hook.pre-start", "/bin").is_err());
    }

    #[test]
    fn hooks_get_their_arguments_and_only_their_environment() {
        let path = script(
            "ok",
            "#!/bin/sh\n[ \"$1 $2\" = 'a b' ] && [ \"$X\" = 1 ] && [ -z \"$HOME\" ] || { echo bad words; exit 1; }\n",
            0o755,
        );
        let key = "lxc.hook.start-host";
        let command = Command::on_host(key, path.to_str().unwrap()).unwrap();
        let environment = [("X".to_owned(), "1".to_owned())].into();
        let run = |words: &[&str]| command.start(key, words, &environment).unwrap().wait(None);
        assert!(run(&["a", "b"]).is_ok());
        let failure = run(&["b"]).unwrap_err();
        assert_eq!(failure.kind, FailureKind::HookFailed);
        let message = format!(
            "{key}: {} ended with status 1. It printed last:\nbad words",
            path.display()
        );
        assert_eq!(failure.message, message);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_flood_does_not_hold_up_a_hooks_end() {
        let path = script("flood", "#!/bin/sh\nyes &\nsleep 0.1\nexit 4\n", 0o755);
        let command = Command::on_host("hook", path.to_str().unwrap()).unwrap();
        let mut running = command.start("hook", &[], &BTreeMap::new()).unwrap();
        let failure = loop {
            match running.go_on() {
                Ok(ended) => assert!(!ended),
                Err(failure) => break failure,
            }
        };
        assert!(failure.message.contains("status 4"), "{}", failure.message);
        assert!(failure.message.ends_with("\ny\ny"), "{}", failure.message);
        std::fs::remove_file(path).unwrap();
    }
}
