//! By which of its interfaces a host reaches others, and would be cut off without. Whoever
//! asks has read the links and routes from the kernel.

use std::collections::BTreeSet;

/// The kernel's word for Open vSwitch, and the name of the link of which all ports of all
/// its bridges are, as the kernel sees it.
const SWITCH: &str = "openvswitch";
const DATAPATH: &str = "ovs-system";

/// A link of the host, as far as packets on their way out take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way<'a> {
    /// Its number in the kernel.
    pub index: u32,
    /// Its name.
    pub name: &'a str,
    /// What it is in the kernel's words.
    pub kind: &'a str,
    /// What it is a port of (`IFLA_MASTER`).
    pub master: Option<u32>,
    /// What it is on top of (`IFLA_LINK`), if that is in the same namespace.
    pub lower: Option<u32>,
}

/// The links by which packets leave the host: those by which default routes lead out
/// (`routed`), what these are on top of (a VLAN's card, say), and the ports of those that
/// have some (a bridge, a bond). Of Open vSwitch it is the ports of all its bridges, which
/// may lead to each other.
pub fn ways_out(links: &[Way<'_>], routed: BTreeSet<u32>) -> BTreeSet<u32> {
    let mut found = routed;
    loop {
        let ways: Vec<&Way<'_>> = links.iter().filter(|l| found.contains(&l.index)).collect();
        // The other end of a pair is beside it, not below.
        let is_pair = |way: &Way<'_>| matches!(way.kind, "veth" | "netkit");
        let below = ways.iter().filter(|w| !is_pair(w)).filter_map(|w| w.lower);
        let is_switched = ways.iter().any(|way| way.kind == SWITCH);
        let is_port = |link: &&Way<'_>| {
            (is_switched && link.name == DATAPATH)
                || link.master.is_some_and(|master| found.contains(&master))
        };
        let ports = links.iter().filter(is_port).map(|link| link.index);
        let more: BTreeSet<u32> = below.chain(ports).collect();
        if more.is_subset(&found) {
            return found;
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way<'a>(index: u32, kind: &'a str, master: u32, lower: u32) -> Way<'a> {
        let some = |number: u32| Some(number).filter(|number| *number != 0);
        let (master, lower) = (some(master), some(lower));
        let name = if index == 99 { DATAPATH } else { "x" };
        Way {
            index,
            name,
            kind,
            master,
            lower,
        }
    }

    fn found(links: &[Way<'_>], routed: &[u32]) -> Vec<u32> {
        let routed = routed.iter().copied().collect();
        ways_out(links, routed).into_iter().collect()
    }

    #[test]
    fn what_carries_a_way_out_is_one() {
        // A VLAN on a bridge on a bond of two cards; a third has nothing to do with it.
        let links = [
            way(1, "", 3, 0),
            way(2, "", 3, 0),
            way(3, "bond", 4, 0),
            way(4, "bridge", 0, 0),
            way(5, "vlan", 0, 4),
            way(6, "", 0, 0),
        ];
        assert_eq!(found(&links, &[5]), [1, 2, 3, 4, 5]);
        assert_eq!(found(&links, &[6]), [6]);
        assert_eq!(found(&links, &[]), [0; 0]);
    }

    #[test]
    fn the_other_end_of_a_pair_is_not_below_and_what_is_on_top_is_not_it() {
        let links = [
            way(1, "veth", 0, 2),
            way(2, "veth", 0, 1),
            way(3, "macvlan", 0, 1),
        ];
        assert_eq!(found(&links, &[1]), [1]);
        assert_eq!(found(&links, &[3]), [1, 3]);
    }

    #[test]
    fn a_bridge_of_open_vswitch_leads_out_by_ports_of_the_datapath() {
        let links = [
            way(1, "", 99, 0),
            way(2, SWITCH, 0, 0),
            way(99, SWITCH, 0, 0),
        ];
        assert_eq!(found(&links, &[2]), [1, 2, 99]);
    }
}
