//! Hooks and network scripts.
//!
//! Programs of the host run with root's rights, so each must belong to root,
//! be writable by nobody else and not be setuid; what was checked is what is
//! executed, by descriptor and without a shell. They get a cleared
//! environment and have five minutes. Their arguments and variables are those
//! of stock LXC.

mod output;
mod program;
mod running;

pub(crate) use program::Command;
pub(crate) use running::Running;

use crate::failure::Step;
use gantry_core::layout::ContainerLayout;
use gantry_core::settings::{ConsolePath, HookStage, Settings};
use gantry_core::values::VariableScope;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The hooks of a container and what they are told.
pub(crate) struct Hooks {
    name: String,
    version: u32,
    commands: BTreeMap<HookStage, Vec<Command>>,
    environment: BTreeMap<String, String>,
}

/// A script of a network interface, and what it is told.
pub(crate) struct Script {
    pub(crate) key: String,
    pub(crate) line: String,
    /// `up` or `down`.
    pub(crate) action: &'static str,
    /// The interface's type, link and host end, as far as it has them, by the
    /// names of version 1's variables.
    pub(crate) details: Vec<(&'static str, String)>,
}

impl Hooks {
    /// Opens and checks every hook of the stages that are wanted.
    pub(crate) fn new(
        layout: &ContainerLayout,
        settings: &Settings,
        rootfs_mount: &Path,
        wanted: impl Fn(HookStage) -> bool,
    ) -> Step<Self> {
        let mut commands = BTreeMap::new();
        for stage in HookStage::ALL.into_iter().filter(|stage| wanted(*stage)) {
            let open = |line: &str| match stage {
                HookStage::Start => Ok(Command::in_container(line)),
                _ => Command::on_host(stage.key(), line),
            };
            let lines = settings.hooks.run_at(stage);
            let opened = lines.map(open).collect::<Step<Vec<_>>>()?;
            if !opened.is_empty() {
                commands.insert(stage, opened);
            }
        }
        Ok(Self {
            name: layout.name().to_string(),
            version: settings.hooks.version,
            commands,
            environment: environment(layout, settings, rootfs_mount),
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

    /// Tells them no longer.
    pub(crate) fn withhold(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// Starts a stage's hook of this number, from 0; none when there are no
    /// more. `extra` are arguments after those that LXC gives to all.
    pub(crate) fn start(
        &self,
        stage: HookStage,
        number: usize,
        extra: &[&str],
    ) -> Step<Option<Running>> {
        let Some(command) = self.commands.get(&stage).and_then(|all| all.get(number)) else {
            return Ok(None);
        };
        let (mut arguments, environment) = self.told("lxc", stage.word());
        arguments.extend(extra);
        command
            .start(stage.key(), &arguments, &environment)
            .map(Some)
    }

    /// Runs a stage's hooks in order, to the first that fails, while nothing
    /// else is done. With the other side of `leash` they end, too.
    pub(crate) fn run(
        &self,
        stage: HookStage,
        extra: &[&str],
        leash: Option<&OwnedFd>,
    ) -> Step<()> {
        let mut number = 0;
        while let Some(running) = self.start(stage, number, extra)? {
            running.wait(leash)?;
            number += 1;
        }
        Ok(())
    }

    /// Starts a script of a network interface.
    pub(crate) fn start_script(&self, script: &Script) -> Step<Running> {
        let (mut arguments, mut environment) = self.told("net", script.action);
        arguments.extend(script.details.iter().map(|(_, value)| value.as_str()));
        if self.version == 1 {
            let details = script.details.iter();
            environment.extend(details.map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        Command::on_host(&script.key, &script.line)?.start(&script.key, &arguments, &environment)
    }

    /// What all are told: version 0 by arguments, version 1 by variables.
    fn told<'a>(
        &'a self,
        section: &'a str,
        kind: &'a str,
    ) -> (Vec<&'a str>, BTreeMap<String, String>) {
        let mut environment = self.environment.clone();
        if self.version == 0 {
            return (vec![&self.name, section, kind], environment);
        }
        environment.insert("LXC_HOOK_TYPE".to_owned(), kind.to_owned());
        environment.insert("LXC_HOOK_SECTION".to_owned(), section.to_owned());
        (Vec::new(), environment)
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
        environment.insert("LXC_ROOTFS_PATH".to_owned(), rootfs.path.path.clone());
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
