//! Pairs: one end in the container, the other a port of a bridge.

use super::names::{check_name, random_name};
use super::{Interfaces, Made, STEP};
use crate::failure::{At, Step, failed};
use crate::netlink::{Link, Netlink, NewPair};
use crate::sys;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::{Network, Veth};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

impl Interfaces {
    #[allow(
        clippy::too_many_arguments,
        reason = "one step of `make`, which has them all at hand"
    )]
    pub(super) fn make_veth(
        &mut self,
        host: &mut Netlink,
        name: &str,
        number: u32,
        network: &Network,
        veth: &Veth,
        names: &BTreeMap<u32, String>,
        namespace: &OwnedFd,
    ) -> Step<u32> {
        let bridge = network
            .link
            .as_deref()
            .map(|link| find_bridge(host, number, link))
            .transpose()?;
        let mtu = network
            .mtu
            .or(bridge.as_ref().and_then(|bridge| bridge.mtu));
        let random = sys::random::<6>().at(STEP, || "cannot draw a random address".to_owned())?;
        let host_name = match &veth.pair {
            Some(pair) => pair.clone(),
            None => random_name()?,
        };
        check_name(&host_name, number, "veth.pair")?;
        let inner_name = names.get(&number).cloned().unwrap_or_default();

        let [_, tail @ ..] = random;
        let [b, c, d, e, f] = tail;
        let pair = NewPair {
            name: &host_name,
            // A high address keeps the bridge from taking it for its own.
            address: [0xfe, b, c, d, e, f],
            bridge: bridge.map(|bridge| bridge.index),
            mtu,
            peer_name: &inner_name,
            peer_address: network.hwaddr.map(|hwaddr| hwaddr.fill(random)),
            namespace,
        };
        host.add_pair(&pair)
            .at(STEP, || format!("cannot make the interface {host_name}"))?;

        let made = host
            .link(&host_name)
            .at(STEP, || format!("cannot find {host_name}"))?;
        let Some(Link {
            index,
            peer: Some(peer),
            ..
        }) = made
        else {
            return failed(
                FailureKind::StartFailed,
                STEP,
                format!("{host_name} vanished while it was made."),
            );
        };
        self.made.push(Made {
            number,
            host_name: host_name.clone(),
            host_index: index,
        });
        // The tag tells later who made it.
        host.tag(index, &format!("gantry:{name}"))
            .at(STEP, || format!("cannot tag {host_name}"))?;
        Ok(peer)
    }
}

fn find_bridge(host: &mut Netlink, number: u32, name: &str) -> Step<Link> {
    match host
        .link(name)
        .at(STEP, || format!("cannot look for {name}"))?
    {
        Some(link) if link.is_bridge => Ok(link),
        Some(_) => {
            let message = format!(
                "lxc.net.{number}.link = {name}: '{name}' is not a Linux bridge; other kinds are not supported yet."
            );
            failed(FailureKind::Unsupported, STEP, message)
        }
        None => {
            let message = format!(
                "There is no bridge '{name}', which lxc.net.{number}.link names; make it or choose another bridge."
            );
            failed(FailureKind::StartFailed, STEP, message)
        }
    }
}
