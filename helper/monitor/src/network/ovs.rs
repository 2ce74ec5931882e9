//! Ports of Open vSwitch bridges, which `ovs-vsctl` adds and removes.

use super::wire::Wire;
use crate::failure::{Step, failed};
use crate::hooks::Command;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::Veth;
use gantry_core::values::network::NativeVlan;
use std::collections::BTreeMap;
use std::path::Path;

const PROGRAM: &str = "/usr/bin/ovs-vsctl";

/// The kernel's word for a bridge of Open vSwitch.
pub(super) const KIND: &str = "openvswitch";

/// Makes an interface a port of a bridge.
pub(super) fn add_port(wire: &Wire<'_>, bridge: &str, port: &str, veth: &Veth) -> Step<()> {
    if port.starts_with('-') {
        return Err(wire.wrong("veth.pair", "the name of a port may not begin with '-'"));
    }
    let settings = vlan_settings(wire, veth)?;
    let settings = settings.iter().map(String::as_str);
    let words: Vec<&str> = ["--may-exist", "add-port", bridge, port]
        .into_iter()
        .chain(settings)
        .collect();
    run(&words)
}

/// Removes a port.
pub(super) fn remove_port(bridge: &str, port: &str) -> Step<()> {
    run(&["--if-exists", "del-port", bridge, port])
}

/// The port's columns, see ovs-vswitchd.conf.db(5).
fn vlan_settings(wire: &Wire<'_>, veth: &Veth) -> Step<Vec<String>> {
    let trunks: Vec<String> = veth.tagged_vlans.iter().map(u16::to_string).collect();
    let tag = match veth.native_vlan {
        Some(NativeVlan::Id(id)) => Some(id),
        Some(NativeVlan::Removed) if trunks.is_empty() => {
            let reason = "on an Open vSwitch bridge 'none' needs veth.vlan.tagged.id";
            return Err(wire.wrong("veth.vlan.id", reason));
        }
        _ => None,
    };
    let mode = match (tag, trunks.is_empty()) {
        (None, true) => return Ok(Vec::new()),
        (Some(_), true) => "access",
        (None, false) => "trunk",
        (Some(_), false) => "native-untagged",
    };
    let mut settings = vec![format!("vlan_mode={mode}")];
    settings.extend(tag.map(|id| format!("tag={id}")));
    if !trunks.is_empty() {
        settings.push(format!("trunks={}", trunks.join(",")));
    }
    Ok(settings)
}

fn run(words: &[&str]) -> Step<()> {
    if !Path::new(PROGRAM).exists() {
        let message = "The link is an Open vSwitch bridge, but there is no ovs-vsctl; install openvswitch-switch.";
        return failed(FailureKind::Unsupported, super::STEP, message);
    }
    let words: Vec<&str> = ["--timeout=10", "--"]
        .into_iter()
        .chain(words.iter().copied())
        .collect();
    Command::on_host("Open vSwitch", PROGRAM)?
        .start("Open vSwitch", &words, &BTreeMap::new())?
        .wait(None)
}
