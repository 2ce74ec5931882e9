//! The process that becomes the session's program.

use super::target::{STEP, Target};
use super::user::User;
use crate::cgroup;
use crate::confine::Filter;
use crate::execute::{PATH, execute};
use crate::failure::{At, Step, failed};
use crate::label::Confiner;
use crate::message;
use crate::process_limits;
use crate::sys;
use gantry_core::caps::CapabilitySet;
use gantry_core::monitor::{AttachRequest, Failure, FailureKind};
use gantry_core::namespaces::Namespace;
use nix::sched::{CloneFlags, setns};
use rustix::fs::{Mode, readlinkat};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet as Set, capabilities, set_capabilities};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

const TERM: &str = "xterm-256color";

/// The program's side of its terminal or pipes.
pub(super) enum Streams {
    Terminal(OwnedFd),
    Pipes([OwnedFd; 3]),
}

/// What the process says on its way to become the program. Its end, without a failure
/// before, is the program's beginning.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromProgram {
    /// The filter is in force, and what listens to it comes along.
    Filtered,
    /// It did not become the program.
    Failed(Failure),
}

/// Where a session goes, what it is, and what filters its system calls.
pub(super) struct Entering<'a> {
    pub(super) target: &'a Target,
    pub(super) request: &'a AttachRequest,
    pub(super) filter: Option<&'a Filter>,
}

/// Enters the container and becomes the program; never comes back. A failure
/// to enter is told over `supervisor`; one to execute is told on standard
/// error, and by the status that shells use.
pub(super) fn run(entering: &Entering<'_>, streams: Streams, supervisor: OwnedFd) -> ! {
    let user = match enter(entering, &streams, &supervisor) {
        Ok(user) => user,
        Err(failure) => {
            // If the supervisor is gone there is nobody to tell.
            drop(message::send(
                &supervisor,
                &FromProgram::Failed(failure),
                &[],
            ));
            sys::exit_now(1);
        }
    };
    let (errno, program) = become_program(entering.target, entering.request, &user);
    let message = format!(
        "gantry: cannot execute {program}: {}\n",
        io::Error::from(errno)
    );
    let told = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
    let not_found = told.is_ok() && errno == Errno::NOENT;
    sys::exit_now(if not_found { 127 } else { 126 })
}

fn enter(entering: &Entering<'_>, streams: &Streams, supervisor: &OwnedFd) -> Step<User> {
    let (target, request) = (entering.target, entering.request);
    for tasks in &target.tasks {
        cgroup::enter(tasks).at(STEP, || "cannot enter the container's cgroup".to_owned())?;
    }
    let label = target
        .label
        .clone()
        .filter(|_| !request.elevated.label)
        .map(Confiner::prepare)
        .transpose()?;
    if target.core_scheduling && !request.elevated.cgroup {
        target.share_core()?;
    }
    for (name, limit) in &target.limits {
        process_limits::apply(0, name, *limit)?;
    }
    let own = super::target::own_namespaces()?;
    join(target, &own)?;
    let user = User::find(request.uid);
    rustix::process::setsid().at(STEP, || "cannot begin a session".to_owned())?;
    connect(streams).at(STEP, || "cannot set the standard streams".to_owned())?;
    if target.is_32_bit {
        sys::set_personality(0x0008).at(STEP, || "cannot set the personality".to_owned())?;
    }
    if !request.elevated.capabilities {
        limit_capabilities(target.bounding).at(STEP, || "cannot drop capabilities".to_owned())?;
    }
    if let Some(label) = label {
        label.take_on()?;
    }
    if target.no_new_privs {
        rustix::thread::set_no_new_privs(true).at(STEP, || "cannot set no_new_privs".to_owned())?;
    }
    if let Some(filter) = entering.filter {
        let loaded = filter.load();
        let listener = loaded.at(STEP, || "cannot load the system call filter".to_owned())?;
        if let Some(listener) = listener {
            let sent = message::send(supervisor, &FromProgram::Filtered, &[&listener]);
            sent.at(STEP, || "cannot reach the supervisor".to_owned())?;
        }
    }
    sys::become_user(request.uid, request.gid, Some(&[]))
        .at(STEP, || format!("cannot become user {}", request.uid))?;
    change_directory(request, &user)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::default_signals();
    sys::close_on_exec_from(3).at(STEP, || "cannot close descriptors".to_owned())?;
    Ok(user)
}

/// Joins the namespaces, and makes sure of it: not to be where init is would
/// be to be on the host.
fn join(target: &Target, own: &OwnedFd) -> Step<()> {
    let flags = target
        .joins
        .iter()
        .filter(|join| join.namespace != Namespace::Pid)
        .fold(0, |flags, join| flags | join.namespace.clone_flag());
    if flags != 0 {
        let flags = CloneFlags::from_bits_retain(flags as i32);
        setns(&target.init, flags)
            .at(STEP, || "cannot join the container's namespaces".to_owned())?;
    }
    for join in &target.joins {
        let name = join.namespace.proc_name();
        let link = readlinkat(own, name, Vec::new())
            .at(STEP, || format!("cannot verify the {name} namespace"))?;
        if link.as_bytes() != join.link.as_os_str().as_bytes() {
            let message = format!("The {name} namespace is not init's; nothing was executed.");
            return failed(FailureKind::NotPermitted, STEP, message);
        }
    }
    Ok(())
}

fn connect(streams: &Streams) -> io::Result<()> {
    let [input, output, error] = match streams {
        Streams::Terminal(slave) => {
            rustix::process::ioctl_tiocsctty(slave)?;
            [slave, slave, slave]
        }
        Streams::Pipes([input, output, error]) => [input, output, error],
    };
    rustix::stdio::dup2_stdin(input)?;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(error)?;
    Ok(())
}

/// Nothing that init could not get by any exec.
fn limit_capabilities(bounding: CapabilitySet) -> io::Result<()> {
    for capability in CapabilitySet::from_bits(u64::MAX).iter() {
        if !bounding.contains(capability) && !sys::drop_from_bounding_set(capability.number())? {
            break;
        }
    }
    let mut sets = capabilities(None)?;
    sets.inheritable &= Set::from_bits_retain(bounding.bits());
    Ok(set_capabilities(None, sets)?)
}

/// An asked-for directory must be there; a home may be missing.
fn change_directory(request: &AttachRequest, user: &User) -> Step<()> {
    match &request.cwd {
        Some(cwd) => {
            rustix::process::chdir(cwd.as_str()).at(STEP, || format!("cannot enter {cwd}"))?
        }
        None => rustix::process::chdir(user.home.as_str())
            .or_else(|_| rustix::process::chdir("/"))
            .at(STEP, || "cannot enter /".to_owned())?,
    }
    let inside =
        rustix::process::getcwd(Vec::new()).is_ok_and(|path| path.to_bytes().starts_with(b"/"));
    if inside {
        Ok(())
    } else {
        failed(
            FailureKind::NotPermitted,
            STEP,
            "The directory is outside of the container.",
        )
    }
}

fn environment(target: &Target, request: &AttachRequest, user: &User) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = [
        ("PATH", PATH),
        ("container", "lxc"),
        ("HOME", &user.home),
        ("USER", &user.name),
        ("LOGNAME", &user.name),
        ("SHELL", &user.shell),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if request.pty {
        environment.insert("TERM".to_owned(), TERM.to_owned());
    }
    for variable in target.environment.iter().chain(&request.env) {
        if let Some((name, value)) = variable.split_once('=') {
            environment.insert(name.to_owned(), value.to_owned());
        }
    }
    environment
}

/// Tries to become the program; gives back why not, and what was tried.
fn become_program(target: &Target, request: &AttachRequest, user: &User) -> (Errno, String) {
    let environment = environment(target, request, user);
    let (program, words) = match request.argv.as_slice() {
        [] => {
            let name = user.shell.rsplit('/').next().unwrap_or("sh");
            (user.shell.clone(), vec![format!("-{name}")])
        }
        [program, ..] => (program.clone(), request.argv.clone()),
    };
    let variables: Vec<String> = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let path = environment.get("PATH").map_or(PATH, String::as_str);
    (execute(&program, &words, &variables, path), program)
}
