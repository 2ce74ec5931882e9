//! Hooks and network scripts.
//!
//! Programs of the host run with root's rights, so each must belong to root,
//! be writable by nobody else and not be setuid; what was checked is what is
//! executed, by descriptor and without a shell. They get a cleared
//! environment and have five minutes.

use crate::failure::{At, Step, failed};
use crate::log;
use crate::sys::{self, Fork};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::{ConsolePath, HookStage, Settings};
use gantry_core::values::{VariableScope, command_words};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

    /// Runs it to its end. What it prints goes to the log.
    pub(crate) fn run(
        &self,
        key: &str,
        extra: &[&str],
        environment: &BTreeMap<String, String>,
    ) -> Step<()> {
        let step = "running hooks";
        let argv = self
            .words
            .iter()
            .map(String::as_str)
            .chain(extra.iter().copied());
        let argv: Vec<CString> = argv.filter_map(|word| CString::new(word).ok()).collect();
        let env = environment
            .iter()
            .filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok());
        let env: Vec<CString> = env.collect();
        let (output, input) =
            pipe_with(PipeFlags::CLOEXEC).at(step, || "cannot make a pipe".to_owned())?;
        log::debug(format!("{key}: running {}", self.line));
        match sys::fork(0, None).at(step, || "cannot start a process".to_owned())? {
            Fork::Child => {
                let error = execute(self.file.as_ref(), &argv, &env, &input);
                let told =
                    rustix::io::write(&input, format!("cannot be executed: {error}\n").as_bytes());
                sys::exit_now(if told.is_ok() { 127 } else { 126 });
            }
            Fork::Parent(_, pidfd) => {
                drop(input);
                self.wait(key, &pidfd, &output)
            }
        }
    }

    fn wait(&self, key: &str, pidfd: &OwnedFd, output: &OwnedFd) -> Step<()> {
        let step = "running hooks";
        let deadline = Instant::now() + PATIENCE;
        let mut text = Output {
            key,
            pending: Vec::new(),
            open: true,
        };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                sys::signal_process(pidfd, libc::SIGKILL)
                    .at(step, || "cannot end a hook".to_owned())?;
                waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
                    .at(step, || "cannot wait".to_owned())?;
                let message = format!("{key}: {} did not end within five minutes.", self.line);
                return failed(FailureKind::HookFailed, step, message);
            }
            let mut waiting = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            if text.open {
                waiting.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut waiting, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno).at(step, || "cannot wait for a hook".to_owned()),
            }
            let ready = |index: usize| waiting.get(index).and_then(PollFd::any).unwrap_or(false);
            if ready(1) {
                text.read(output);
            } else if ready(0) {
                break;
            }
        }
        text.flush();
        let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
            .at(step, || "cannot learn how a hook ended".to_owned())?;
        let ended = status.as_ref().and_then(|status| status.exit_status());
        match ended {
            Some(0) => Ok(()),
            Some(code) => {
                let message = format!(
                    "{key}: {} ended with status {code}; the log has what it printed.",
                    self.line
                );
                failed(FailureKind::HookFailed, step, message)
            }
            None => failed(
                FailureKind::HookFailed,
                step,
                format!("{key}: {} was killed by a signal.", self.line),
            ),
        }
    }
}

/// What a hook prints, a line at a time.
struct Output<'a> {
    key: &'a str,
    pending: Vec<u8>,
    open: bool,
}

impl Output<'_> {
    fn read(&mut self, from: &OwnedFd) {
        let mut buffer = [0; 1024];
        let length = rustix::io::read(from, &mut buffer).unwrap_or(0);
        self.open = length > 0;
        self.pending.extend(buffer.iter().take(length));
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.log(&line);
        }
        if self.pending.len() > 4096 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let line = std::mem::take(&mut self.pending);
        if !line.is_empty() {
            self.log(&line);
        }
    }

    fn log(&self, line: &[u8]) {
        log::debug(format!(
            "{}: {}",
            self.key,
            String::from_utf8_lossy(line).trim_end()
        ));
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

/// The hooks of a container and what they are told.
pub(crate) struct Hooks {
    name: String,
    version: u32,
    commands: BTreeMap<HookStage, Vec<Command>>,
    environment: BTreeMap<String, String>,
}

impl Hooks {
    /// Opens and checks every hook of the config.
    pub(crate) fn new(
        layout: &ContainerLayout,
        settings: &Settings,
        rootfs_mount: &Path,
    ) -> Step<Self> {
        let mut commands = BTreeMap::new();
        for stage in HookStage::ALL {
            // These run when the container is cloned or destroyed.
            if matches!(stage, HookStage::Clone | HookStage::Destroy) {
                continue;
            }
            let open = |line: &String| match stage {
                HookStage::Start => Ok(Command::in_container(line)),
                _ => Command::on_host(stage.key(), line),
            };
            let stage_commands = settings
                .hooks
                .of(stage)
                .iter()
                .map(open)
                .collect::<Step<Vec<_>>>()?;
            if !stage_commands.is_empty() {
                commands.insert(stage, stage_commands);
            }
        }
        let environment = environment(layout, settings, rootfs_mount);
        Ok(Self {
            name: layout.name().to_string(),
            version: settings.hooks.version,
            commands,
            environment,
        })
    }

    /// Whether a stage has hooks.
    pub(crate) fn any(&self, stage: HookStage) -> bool {
        self.commands.contains_key(&stage)
    }

    /// Tells hooks from now on one thing more.
    pub(crate) fn tell(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    /// Runs a stage's hooks in order, to the first that fails. `extra` are
    /// arguments that only version 0 passes.
    pub(crate) fn run(&self, stage: HookStage, extra: &[&str]) -> Step<()> {
        let Some(commands) = self.commands.get(&stage) else {
            return Ok(());
        };
        let mut environment = self.environment.clone();
        let mut arguments = vec![self.name.as_str(), "lxc", stage.word()];
        arguments.extend(extra);
        if self.version == 1 {
            environment.insert("LXC_HOOK_TYPE".to_owned(), stage.word().to_owned());
            environment.insert("LXC_HOOK_SECTION".to_owned(), "lxc".to_owned());
            arguments.clear();
        }
        commands
            .iter()
            .try_for_each(|command| command.run(stage.key(), &arguments, &environment))
    }

    /// Runs a script of a network interface. `details` are its type, link and
    /// host end, as far as it has them.
    pub(crate) fn run_network(
        &self,
        key: &str,
        line: &str,
        action: &str,
        details: &[(&str, &str)],
    ) -> Step<()> {
        let mut environment = self.environment.clone();
        if self.version == 1 {
            environment.insert("LXC_HOOK_TYPE".to_owned(), action.to_owned());
            environment.insert("LXC_HOOK_SECTION".to_owned(), "net".to_owned());
            environment.extend(
                details
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            );
        }
        let mut arguments = vec![self.name.as_str(), "net", action];
        arguments.extend(details.iter().map(|(_, value)| *value));
        Command::on_host(key, line)?.run(key, &arguments, &environment)
    }
}

fn environment(
    layout: &ContainerLayout,
    settings: &Settings,
    rootfs_mount: &Path,
) -> BTreeMap<String, String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut environment: BTreeMap<String, String> = [
        ("PATH", PATH.to_owned()),
        ("LXC_NAME", layout.name().to_string()),
        ("LXC_CONFIG_FILE", text(&layout.config())),
        ("LXC_ROOTFS_MOUNT", text(rootfs_mount)),
        ("LXC_CGNS_AWARE", "1".to_owned()),
        ("LXC_LOG_LEVEL", settings.log.level.stock_name().to_owned()),
        ("LXC_HOOK_VERSION", settings.hooks.version.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(rootfs) = &settings.rootfs {
        let prefix = rootfs.path.kind.prefix();
        let colon = if prefix.is_empty() { "" } else { ":" };
        environment.insert(
            "LXC_ROOTFS_PATH".to_owned(),
            format!("{prefix}{colon}{}", rootfs.path.path),
        );
    }
    match &settings.console.path {
        ConsolePath::None => drop(environment.insert("LXC_CONSOLE".to_owned(), "none".to_owned())),
        ConsolePath::Peer(path) => drop(environment.insert("LXC_CONSOLE".to_owned(), text(path))),
        ConsolePath::Own => {}
    }
    if let Some(path) = &settings.console.log_file {
        environment.insert("LXC_CONSOLE_LOGPATH".to_owned(), text(path));
    }
    environment.extend(variables(settings, VariableScope::Hooks));
    environment
}

/// `lxc.environment` for everyone and for those of `scope`.
pub(crate) fn variables(
    settings: &Settings,
    scope: VariableScope,
) -> impl Iterator<Item = (String, String)> {
    settings
        .environment
        .iter()
        .filter(move |variable| {
            variable.scope == VariableScope::Everyone || variable.scope == scope
        })
        .filter_map(|variable| {
            // A name alone asks for the value of whoever starts.
            let value = variable
                .value
                .clone()
                .or_else(|| std::env::var(&variable.name).ok())?;
            Some((variable.name.clone(), value))
        })
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
            "#!/bin/sh\n[ \"$1 $2\" = 'a b' ] && [ \"$X\" = 1 ] && [ -z \"$HOME\" ]\n",
            0o755,
        );
        let command = Command::on_host("lxc.hook.start-host", path.to_str().unwrap()).unwrap();
        let environment = [("X".to_owned(), "1".to_owned())].into();
        assert!(
            command
                .run("lxc.hook.start-host", &["a", "b"], &environment)
                .is_ok()
        );
        let failure = command
            .run("lxc.hook.start-host", &["b"], &environment)
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::HookFailed);
        assert!(failure.message.contains("status 1"), "{}", failure.message);
        std::fs::remove_file(path).unwrap();
    }
}
