//! The last steps before init: rights, hooks of the container, exec.

use super::dev::Terminals;
use super::mounts::filesystem;
use super::{FromInit, Plan, die_with_monitor};
use crate::execute::{PATH, execute};
use crate::failure::{At, Step, failed};
use crate::hooks::variables;
use crate::label::Label;
use crate::message;
use crate::sys;
use gantry_core::caps::{Capability, CapabilitySet};
use gantry_core::monitor::FailureKind;
use gantry_core::namespaces::Namespace;
use gantry_core::settings::{Capabilities, HookStage, Settings};
use gantry_core::values::VariableScope;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::MountAttrFlags;
use rustix::thread::{CapabilitySet as Set, CapabilitySets, capabilities, set_capabilities};
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;

const STEP: &str = "executing init";

/// Writes `lxc.sysctl.*` through a /proc that nobody else sees.
pub(super) fn write_sysctls(settings: &Settings) -> Step<()> {
    if settings.sysctls.is_empty() {
        return Ok(());
    }
    let step = "setting sysctls";
    let proc = filesystem("proc", "proc", &[], MountAttrFlags::empty())
        .at(step, || "cannot open /proc".to_owned())?;
    for (key, value) in &settings.sysctls {
        let path = format!("sys/{}", key.replace('.', "/"));
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(
            &proc,
            &path,
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
        .and_then(|file| rustix::io::write(&file, value.as_bytes()))
        .at(step, || format!("cannot set lxc.sysctl.{key} = {value}"))?;
    }
    Ok(())
}

/// Gives up rights and becomes init.
pub(super) fn run(
    plan: &Plan<'_>,
    terminals: Terminals,
    label: Option<Label>,
    monitor: &OwnedFd,
) -> Step<Infallible> {
    let settings = plan.settings;
    // Then reboot(2) is about the container.
    let own_pids = plan.owns(Namespace::Pid);
    if let Some(personality) = settings.personality {
        sys::set_personality(personality.number()).at(STEP, || "cannot set lxc.arch".to_owned())?;
    }
    let kept = limit_capabilities(settings.capabilities, own_pids)
        .at(STEP, || "cannot drop capabilities".to_owned())?;
    if let Some(label) = label {
        label.take_on()?;
    }
    if settings.no_new_privs {
        rustix::thread::set_no_new_privs(true)
            .at(STEP, || "cannot set lxc.no_new_privs".to_owned())?;
    }
    // Its hooks are the container's own programs, and held like them.
    if let Some(listener) = plan.confinement.filter_system_calls()? {
        message::send(
            monitor,
            &FromInit::Filtered { notifies: true },
            &[&listener],
        )
        .at(STEP, || "cannot reach the monitor".to_owned())?;
    }
    plan.hooks.run(HookStage::Start, &[], None)?;

    let environment = environment(settings, &terminals);
    let input = match &terminals.console {
        Some(console) => console
            .slave
            .try_clone()
            .at(STEP, || "cannot copy a descriptor".to_owned())?,
        None => rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
            .at(STEP, || "cannot open /dev/null".to_owned())?,
    };
    standard_streams(&input).at(STEP, || "cannot set the standard streams".to_owned())?;
    drop(input);
    drop(terminals);
    rustix::process::setsid().at(STEP, || "cannot begin a session".to_owned())?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let cwd = settings
        .init
        .cwd
        .as_deref()
        .unwrap_or(std::path::Path::new("/"));
    rustix::process::chdir(cwd).at(STEP, || {
        format!("cannot enter lxc.init.cwd = {}", cwd.display())
    })?;
    inside_root().at(STEP, || {
        "the working directory is outside of the container".to_owned()
    })?;
    become_init_user(settings, kept).at(STEP, || "cannot become lxc.init.uid".to_owned())?;
    die_with_monitor(settings)?;
    sys::default_signals();
    sys::close_on_exec_from(3).at(STEP, || "cannot close descriptors".to_owned())?;
    become_program(&settings.init.argv(), &environment)
}

fn standard_streams(input: &OwnedFd) -> io::Result<()> {
    rustix::stdio::dup2_stdin(input)?;
    rustix::stdio::dup2_stdout(input)?;
    rustix::stdio::dup2_stderr(input)?;
    Ok(())
}

/// The kernel prefixes a directory that cannot be reached from the root.
fn inside_root() -> io::Result<()> {
    let path = rustix::process::getcwd(Vec::new())?;
    if path.to_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Takes what is not to be kept out of the bounding and inheritable sets, and
/// gives back what is kept.
fn limit_capabilities(wanted: Capabilities, may_boot: bool) -> io::Result<CapabilitySet> {
    let mut kept = CapabilitySet::default();
    for capability in CapabilitySet::from_bits(u64::MAX).iter() {
        if wanted.leave(capability) && (may_boot || capability != Capability::SYS_BOOT) {
            kept.insert(capability);
        } else if !sys::drop_from_bounding_set(capability.number())? {
            break;
        }
    }
    let mut sets = capabilities(None)?;
    sets.inheritable &= Set::from_bits_retain(kept.bits());
    set_capabilities(None, sets)?;
    Ok(kept)
}

/// Root gets its rights by the rules for root at exec. Any other user has
/// none, unless the config says which to keep: these it gets by the ambient
/// set.
fn become_init_user(settings: &Settings, kept: CapabilitySet) -> io::Result<()> {
    let init = &settings.init;
    let groups = init.groups.as_deref();
    if init.uid == 0 {
        if init.gid != 0 || groups.is_some() {
            sys::become_user(0, init.gid, groups)?;
        }
        return Ok(());
    }
    rustix::thread::set_keep_capabilities(true)?;
    sys::become_user(init.uid, init.gid, Some(groups.unwrap_or_default()))?;
    if matches!(settings.capabilities, Capabilities::Drop(_)) {
        return Ok(());
    }
    let permitted = capabilities(None)?.permitted & Set::from_bits_retain(kept.bits());
    set_capabilities(
        None,
        CapabilitySets {
            effective: permitted,
            permitted,
            inheritable: permitted,
        },
    )?;
    let raise = |capability: Capability| sys::raise_ambient(capability.number());
    CapabilitySet::from_bits(permitted.bits())
        .iter()
        .try_for_each(raise)
}

/// `container`, which nobody says otherwise, `container_ttys` if there are any, then what
/// the config says.
fn environment(settings: &Settings, terminals: &Terminals) -> Vec<(String, String)> {
    let mut environment = vec![("container".to_owned(), "lxc".to_owned())];
    if !terminals.ttys.is_empty() {
        let ttys: Vec<String> = terminals
            .ttys
            .iter()
            .map(|tty| format!("pts/{}", tty.number))
            .collect();
        environment.push(("container_ttys".to_owned(), ttys.join(" ")));
    }
    let configured = variables(settings, VariableScope::Runtime);
    for (name, value) in configured.filter(|(name, _)| name != "container") {
        environment.retain(|(known, _)| *known != name);
        environment.push((name, value));
    }
    environment
}

fn become_program(argv: &[String], environment: &[(String, String)]) -> Step<Infallible> {
    let Some(program) = argv.first() else {
        return failed(
            FailureKind::InvalidConfig,
            STEP,
            "lxc.init.cmd names no program; correct it.",
        );
    };
    let path = environment.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or(PATH, |(_, value)| value.as_str());
    let variables: Vec<String> = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let reason = io::Error::from(execute(program, argv, &variables, path));
    let message = format!(
        "The container cannot execute {program}: {reason}. Check lxc.init.cmd and the root file system."
    );
    failed(FailureKind::StartFailed, STEP, message)
}
