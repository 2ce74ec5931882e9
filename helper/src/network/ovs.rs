//! Bridges of Open vSwitch, made and removed in its database by its own tool
//! (ovs-vsctl(8)), which also waits until they are there.

use crate::error::{Error, Result};
use crate::linux::tool;
use gantry_core::networks::Places;

/// The kernel's word for them.
pub(crate) const KIND: &str = "openvswitch";
/// What the kernel calls all of Open vSwitch: no bridge.
pub(crate) const DATAPATH: &str = "ovs-system";

/// Where Gantry's mark stands in the database, which outlasts the host's restart.
const MARK: &str = "gantry";

/// Refuses where the host has none.
pub(crate) fn check() -> Result<()> {
    program().map(drop)
}

fn program() -> Result<std::path::PathBuf> {
    tool::find("ovs-vsctl").ok_or_else(|| {
        Error::Unsupported(
            "ovs-vsctl is missing, so that no network of Open vSwitch can be brought up; install it (Debian: openvswitch-switch)"
                .to_owned(),
        )
    })
}

/// Makes the bridge of a network.
///
/// # Errors
/// `Exists` where somebody else's database entry has its name.
pub(crate) async fn make(places: &Places, name: &str, mac: &str) -> Result<()> {
    let exists = run(&["--columns=name", "find", "bridge", &format!("name={name}")]).await?;
    if !exists.trim().is_empty() && !is_ours(places, name).await? {
        return Err(Error::Exists(format!(
            "Open vSwitch has a bridge {name} already, which is not Gantry's"
        )));
    }
    let hwaddr = format!("other-config:hwaddr={}", mac.replace(':', "\\:"));
    run(&[
        "--may-exist",
        "add-br",
        name,
        "--",
        "br-set-external-id",
        name,
        MARK,
        &places.mark(),
        "--",
        "set",
        "bridge",
        name,
        &hwaddr,
    ])
    .await
    .map(drop)
}

/// Whether the database says that Gantry has made a bridge.
pub(crate) async fn is_ours(places: &Places, name: &str) -> Result<bool> {
    let mark = run(&["br-get-external-id", name, MARK]).await?;
    Ok(mark.trim() == places.mark())
}

/// Removes a bridge.
pub(crate) async fn remove(name: &str) -> Result<()> {
    run(&["--if-exists", "del-br", name]).await.map(drop)
}

/// The ports of a bridge.
pub(crate) async fn ports(name: &str) -> Result<Vec<String>> {
    let list = run(&["list-ports", name]).await?;
    Ok(list.lines().map(str::to_owned).collect())
}

/// Makes an interface of the host a port of a bridge.
pub(crate) async fn add_port(name: &str, port: &str) -> Result<()> {
    run(&["--may-exist", "add-port", name, port])
        .await
        .map(drop)
}

/// Takes a port from its bridge.
pub(crate) async fn remove_port(name: &str, port: &str) -> Result<()> {
    run(&["--if-exists", "del-port", name, port])
        .await
        .map(drop)
}

async fn run(words: &[&str]) -> Result<String> {
    let program = program()?;
    let words: Vec<String> = ["--timeout=10", "--"]
        .iter()
        .chain(words)
        .map(|word| (*word).to_owned())
        .collect();
    let ended = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        tool::run(&program, &words)
    })
    .await
    .map_err(|error| Error::Failed(format!("ovs-vsctl was given up: {error}")))?
    .map_err(|error| Error::io("running ovs-vsctl", &error))?;
    if ended.status == 0 {
        return Ok(ended.output);
    }
    Err(Error::Failed(format!(
        "Open vSwitch does not do what is asked of it ({}); look whether its service runs: systemctl status openvswitch-switch",
        ended.errors.trim()
    )))
}
