//! The process that holds one running container, and what enters containers.
//!
//! Ten modes: `run` is a container's monitor, `attach` supervises one session in
//! a container, `destroy` runs the hooks before a container's end, `finish` does the
//! last in a copy that is to be a container, `netlink` opens a socket in a container's
//! network namespace, `node` works on its device nodes and `wire` on the interfaces of one
//! that another's monitor holds, `mount` mounts a root file
//! system where only the helper sees it, `network` keeps a network of the host.
//! Each of these is started with a socket on descriptor 3, over which it reports.
//! The first four and the last may, after the word `unit`, be the main process of a unit
//! of systemd's, where their standard error is the journal. `run`, `attach` and `network`
//! outlive whoever starts them: without a unit, in which `run` has a delegated cgroup,
//! they detach themselves. `undo` is what a monitor starts, with a socket
//! as standard input, to clean up the host's network.

mod apparmor;
mod attach;
mod begin;
mod cgroup;
mod config;
mod confine;
mod console;
mod destroy;
mod execute;
mod failure;
mod finish;
mod hooks;
mod keeper;
mod label;
mod log;
mod message;
mod mount;
mod netlink;
mod netns;
mod network;
mod node;
mod proc;
mod process_limits;
mod run;
mod setup;
mod sys;
mod syslog;
mod terminal;
mod wire;

use gantry_core::layout::ContainerLayout;
use gantry_core::name::{ContainerName, InterfaceName};
use std::process::ExitCode;

/// The descriptor of the socket to whoever started this process.
const STARTER: i32 = 3;
/// And that of the pidfd of the init that `node` and `wire` are about.
const INIT: i32 = 4;

const USAGE: &str =
    "usage: gantry-monitor [unit] run|attach|destroy|finish --lxcpath PATH --name NAME
       gantry-monitor [unit] network --name NAME
       gantry-monitor netlink --pid PID
       gantry-monitor mount to-read|to-write ROOTFS
       gantry-monitor node
       gantry-monitor wire --lxcpath PATH --name NAME
It is started by gantry-helper or for it by systemd, with a socket on descriptor 3.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (in_unit, words) = match words.as_slice() {
        ["unit", rest @ ..] => (true, rest),
        all => (false, all),
    };
    if in_unit && let Err(error) = begin::run_sealed().and_then(|()| log::write_to_journal()) {
        eprintln!("gantry-monitor cannot begin: {error}");
        return ExitCode::FAILURE;
    }
    let starter = sys::inherited(STARTER);
    match words {
        ["run", rest @ ..] => layout(rest).map(|layout| run::main(layout, starter, in_unit)),
        ["attach", rest @ ..] => {
            layout(rest).and_then(|layout| Some(attach::main(layout, starter?)))
        }
        ["destroy", rest @ ..] => {
            layout(rest).and_then(|layout| Some(destroy::main(&layout, starter?)))
        }
        ["finish", rest @ ..] => {
            layout(rest).and_then(|layout| Some(finish::main(&layout, starter?)))
        }
        ["network", "--name", name] => InterfaceName::new(name)
            .ok()
            .and_then(|name| Some(keeper::main(&name, starter?, in_unit))),
        ["netlink", "--pid", pid] => pid
            .parse()
            .ok()
            .and_then(|pid| Some(netns::main(pid, &starter?))),
        ["undo", "--name", _] => sys::inherited(0).map(|monitor| network::undo::main(&monitor)),
        ["mount", how @ ("to-read" | "to-write"), rootfs] => {
            starter.map(|starter| mount::main(rootfs, *how == "to-read", &starter))
        }
        ["wire", rest @ ..] => layout(rest)
            .and_then(|layout| Some(wire::main(&layout, &starter?, &sys::inherited(INIT)?))),
        ["node"] => starter.and_then(|starter| Some(node::main(&starter, &sys::inherited(INIT)?))),
        _ => None,
    }
    .unwrap_or_else(|| {
        eprintln!("{USAGE}");
        ExitCode::from(2)
    })
}

fn layout(words: &[&str]) -> Option<ContainerLayout> {
    match words {
        ["--lxcpath", path, "--name", name] if path.starts_with('/') => {
            Some(ContainerLayout::new(path, ContainerName::new(name).ok()?))
        }
        _ => None,
    }
}
