//! Gantry's one table of nftables: what every network that is up needs of it, loaded
//! as a whole in one transaction, so that it is never half there. Tables of others are
//! not looked at.
//!
//! The rules are those of LXC's service: DHCP and DNS are let in from a network, what
//! comes from it and goes to it is passed on, and what leaves it has the host's address.
//! Of an isolated network nothing is passed on.

use crate::error::{Error, Result};
use crate::linux::lock::FileLock;
use crate::linux::{files, tool};
use gantry_core::networks::{FIREWALL, FIREWALL_LOCK, Forward, Network, Subnet, TABLE};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// How long nft may take, and who keeps a network with its lock.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries to take the lock.
const PAUSE: Duration = Duration::from_millis(10);

/// The chains, each with its hook, and its priority as LXC's (or nftables' usual one).
const CHAINS: [(&str, &str, &str, i32); 5] = [
    ("input", "filter", "input", 0),
    ("forward", "filter", "forward", 0),
    ("prerouting", "nat", "prerouting", -100),
    ("output", "nat", "output", -100),
    ("postrouting", "nat", "postrouting", 100),
];

/// Refuses where the host has no nftables.
pub(crate) fn check() -> Result<()> {
    nft().map(drop)
}

fn nft() -> Result<std::path::PathBuf> {
    tool::find("nft").ok_or_else(|| {
        Error::Unsupported(
            "nft is missing, so that no network can be brought up; install it (Debian: nftables)"
                .to_owned(),
        )
    })
}

/// Loads what these networks need, in place of what there was, and leaves it for those
/// who keep networks.
pub(crate) async fn load(networks: &[Network]) -> Result<()> {
    let text = rules(networks).to_string();
    let _lock = lock().await?;
    let path = Path::new(FIREWALL);
    files::replace(path, text.as_bytes(), 0o600)
        .map_err(|error| Error::path("writing", path, &error))?;
    run(&text).await
}

/// Deletes tables of somebody else's, each by its family and name, if they are there.
pub(crate) async fn delete(tables: &[(&str, &str)]) -> Result<()> {
    let commands: Vec<Value> = tables
        .iter()
        .flat_map(|(family, name)| {
            let table = json!({"table": {"family": family, "name": name}});
            [json!({"add": table}), json!({"delete": table})]
        })
        .collect();
    run(&json!({"nftables": commands}).to_string()).await
}

async fn lock() -> Result<FileLock> {
    let path = Path::new(FIREWALL_LOCK);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match FileLock::try_take(path) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if Instant::now() < deadline => sleep(PAUSE).await,
            Ok(None) => {
                return Err(Error::Busy(format!(
                    "somebody else has been changing the firewall for {} s",
                    PATIENCE.as_secs()
                )));
            }
            Err(error) => return Err(Error::path("locking", path, &error)),
        }
    }
}

async fn run(text: &str) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("running nft", &error);
    let mut child = Command::new(nft()?)
        .args(["-j", "-f", "-"])
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes()).await.map_err(failed)?;
    }
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .map_err(|_| Error::TimedOut(format!("nft has not ended after {} s", PATIENCE.as_secs())))?
        .map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "nft does not take the rules of Gantry's networks: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// The commands that make the table anew; without networks it goes.
fn rules(networks: &[Network]) -> Value {
    let table = json!({"table": {"family": "inet", "name": TABLE}});
    // What is not there cannot be deleted.
    let mut commands = vec![json!({"add": table}), json!({"delete": table})];
    if !networks.is_empty() {
        commands.push(json!({"add": table}));
        commands.extend(CHAINS.map(|(name, kind, hook, priority)| {
            json!({"add": {"chain": {
                "family": "inet", "table": TABLE, "name": name,
                "type": kind, "hook": hook, "prio": priority, "policy": "accept",
            }}})
        }));
    }
    // What is let through for one network must not come into one that is isolated.
    let (isolated, open): (Vec<_>, Vec<_>) = networks.iter().partition(|one| one.isolated);
    for network in isolated.into_iter().chain(open) {
        let of_network = network_rules(network).into_iter();
        let forwarded = network.forwards.iter().flat_map(forward_rules);
        commands.extend(of_network.chain(forwarded).map(|(chain, statements)| {
            json!({"add": {"rule": {
                "family": "inet", "table": TABLE, "chain": chain, "expr": statements,
            }}})
        }));
    }
    json!({"nftables": commands})
}

type Rule = (&'static str, Vec<Value>);

fn network_rules(network: &Network) -> Vec<Rule> {
    let name = network.name.as_str();
    let from = || is(json!({"meta": {"key": "iifname"}}), json!(name));
    let to = || is(json!({"meta": {"key": "oifname"}}), json!(name));
    let accept = || json!({"accept": null});
    let mut rules = Vec::new();
    for protocol in ["udp", "tcp"] {
        let ports = is(payload(protocol, "dport"), json!({"set": [53, 67]}));
        rules.push(("input", vec![from(), ports, accept()]));
    }
    if network.isolated {
        // Where frames of a bridge are shown to it (br_netfilter), they go on.
        let elsewhere = |key| matches("!=", json!({"meta": {"key": key}}), json!(name));
        let drop = || json!({"drop": null});
        rules.push(("forward", vec![from(), elsewhere("oifname"), drop()]));
        rules.push(("forward", vec![to(), elsewhere("iifname"), drop()]));
    }
    rules.push(("forward", vec![from(), accept()]));
    rules.push(("forward", vec![to(), accept()]));
    for (protocol, net) in [("ip", network.nat4), ("ip6", network.nat6)] {
        let Some(net) = net.map(Subnet::net) else {
            continue;
        };
        let inside = is(payload(protocol, "saddr"), prefix(net));
        let outside = matches("!=", payload(protocol, "daddr"), prefix(net));
        rules.push((
            "postrouting",
            vec![inside, outside, json!({"masquerade": null})],
        ));
    }
    if let Some(net) = network
        .ipv4
        .map(Subnet::net)
        .filter(|_| !network.forwards.is_empty())
    {
        // Who asks for a forwarded port from the same network is answered by the
        // host, or the answer would take a shorter way than the question.
        let hairpin = vec![
            is(json!({"ct": {"key": "status"}}), json!("dnat")),
            is(payload("ip", "saddr"), prefix(net)),
            is(payload("ip", "daddr"), prefix(net)),
            json!({"masquerade": null}),
        ];
        rules.push(("postrouting", hairpin));
    }
    rules
}

/// A port of the host, asked for by others and by the host itself: at any of its addresses
/// but loopback's, which no other interface may carry (RFC 1122, 3.2.1.3).
fn forward_rules(forward: &Forward) -> Vec<Rule> {
    let (family, target, loopback) = match forward.address {
        IpAddr::V4(address) => (
            "ip",
            address.to_string(),
            json!({"prefix": {"addr": "127.0.0.0", "len": 8}}),
        ),
        IpAddr::V6(address) => ("ip6", address.to_string(), json!("::1")),
    };
    ["prerouting", "output"]
        .map(|chain| {
            let local = json!({"fib": {"result": "type", "flags": ["daddr"]}});
            let statements = vec![
                is(
                    json!({"meta": {"key": "nfproto"}}),
                    json!(if family == "ip" { "ipv4" } else { "ipv6" }),
                ),
                is(local, json!("local")),
                matches("!=", payload(family, "daddr"), loopback.clone()),
                is(
                    payload(&forward.protocol, "dport"),
                    json!(forward.host_port),
                ),
                json!({"dnat": {"family": family, "addr": target, "port": forward.port}}),
            ];
            (chain, statements)
        })
        .to_vec()
}

fn payload(protocol: &str, field: &str) -> Value {
    json!({"payload": {"protocol": protocol, "field": field}})
}

fn prefix(net: Subnet) -> Value {
    json!({"prefix": {"addr": net.address.to_string(), "len": net.prefix}})
}

fn is(left: Value, right: Value) -> Value {
    matches("==", left, right)
}

fn matches(operator: &str, left: Value, right: Value) -> Value {
    json!({"match": {"op": operator, "left": left, "right": right}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_networks_the_table_goes() {
        let commands = rules(&[]);
        assert_eq!(commands["nftables"].as_array().unwrap().len(), 2);
        assert!(commands["nftables"][1].get("delete").is_some());
    }

    #[test]
    fn a_network_is_hidden_only_if_it_is_to_be() {
        let mut network = gantry_core::networks::lxc_net::read(&[]).unwrap().network;
        let text = rules(std::slice::from_ref(&network)).to_string();
        assert_eq!(text.matches("masquerade").count(), 2);
        (network.nat4, network.nat6) = (None, None);
        let text = rules(&[network]).to_string();
        assert!(!text.contains("masquerade") && text.contains("\"lxcbr0\""));
    }
}
