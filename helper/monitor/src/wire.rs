//! `wire`: looks at and changes the interfaces of a container that another's monitor
//! holds, for the helper, which never enters one itself. Nothing that would have to be
//! undone at the container's end is done: that monitor does not know of it.

use crate::attach::pid_of;
use crate::config;
use crate::failure::{At, Step, failed};
use crate::message;
use crate::network::{Change, Interfaces, planned};
use crate::run::put_in_place;
use crate::sys;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{FailureKind, LiveWire, WireReply, WireRequest};
use gantry_core::settings::Settings;
use rustix::fs::{Mode, OFlags, fstat, open};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

const STEP: &str = "changing an interface";

/// Answers one request about the container of an init.
pub(crate) fn main(layout: &ContainerLayout, starter: &OwnedFd, init: &OwnedFd) -> ExitCode {
    let reply = match serve(layout, starter, init) {
        Ok(wires) => WireReply::Done { wires },
        Err(failure) => WireReply::Failed(failure),
    };
    match message::send(starter, &reply, &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(layout: &ContainerLayout, starter: &OwnedFd, init: &OwnedFd) -> Step<Vec<LiveWire>> {
    let received = message::receive::<WireRequest>(starter)
        .at(STEP, || "cannot read the request".to_owned())?;
    let Some((request, _)) = received else {
        return failed(FailureKind::Cancelled, STEP, "The request was withdrawn.");
    };
    let (config, settings, mut included) = config::load(layout)?;
    let namespace = namespace(layout, init)?;
    let mut interfaces = Interfaces::of_others(layout, &settings, &namespace)?;
    match request {
        WireRequest::List => {}
        WireRequest::Change {
            number,
            lines,
            saved,
            confirmed,
        } => {
            let (_, after) = planned(&config, &mut included, number, &lines)?;
            refuse(layout, number, [&settings, &after], confirmed)?;
            let change = Change {
                number,
                before: &settings,
                after: &after,
            };
            interfaces.change(&change, &namespace, &mut |_| Ok(()))?;
            if let Err(failure) = put_in_place(layout, &saved) {
                let back = Change {
                    number,
                    before: &after,
                    after: &settings,
                };
                interfaces.change(&back, &namespace, &mut |_| Ok(()))?;
                return Err(failure);
            }
        }
        WireRequest::Confirm { number, .. } | WireRequest::Revert { number } => {
            let message = format!("No change of lxc.net.{number} waits to be confirmed.");
            return failed(FailureKind::WrongState, STEP, message);
        }
    }
    interfaces.wires(&namespace)
}

/// Refuses what only the container's own monitor can do.
fn refuse(
    layout: &ContainerLayout,
    number: u32,
    settings: [&Settings; 2],
    confirmed: bool,
) -> Step<()> {
    let networks = || settings.iter().filter_map(|one| one.networks.get(&number));
    let has_script = networks().any(|one| one.script_up.is_some() || one.script_down.is_some());
    let mut cuts_off = false;
    if !confirmed
        && let [_, after] = settings
        && let Some(network) = after.networks.get(&number)
    {
        cuts_off = Interfaces::cuts_off(network)?;
    }
    if !has_script && !cuts_off {
        return Ok(());
    }
    let what = match has_script {
        true => "runs the scripts of its interfaces",
        false => "could take back what cuts the host off",
    };
    let message = format!(
        "The monitor of container '{}' is not Gantry's, and only it {what}; make the change while the container is stopped, or start it with Gantry.",
        layout.name()
    );
    failed(FailureKind::Unsupported, STEP, message)
}

/// The network namespace of an init, which is not this process's own.
fn namespace(layout: &ContainerLayout, init: &OwnedFd) -> Step<OwnedFd> {
    let what = || "cannot open the container's network".to_owned();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = open("/proc/self/ns/net", flags, Mode::empty()).at(STEP, what)?;
    let Some(pid) = pid_of(init) else {
        let message = format!("Container '{}' is not running.", layout.name());
        return failed(FailureKind::WrongState, STEP, message);
    };
    let found = open(format!("/proc/{pid}/ns/net"), flags, Mode::empty()).at(STEP, what)?;
    // What was found is init's only if init still lives.
    sys::signal_process(init, 0).at(STEP, what)?;
    let number = |file: &OwnedFd| fstat(file).map(|status| status.st_ino);
    if number(&own).at(STEP, what)? == number(&found).at(STEP, what)? {
        let message = format!(
            "Container '{}' runs in the host's network; make the change while it is stopped.",
            layout.name()
        );
        return failed(FailureKind::Unsupported, STEP, message);
    }
    Ok(found)
}
