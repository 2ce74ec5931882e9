//! The keys of networks.

use super::Effect::{Start, Stop};
use super::{Grammar, Key, safety};

pub(super) static KEYS: &[Key] = &[
    Key::new(
        "lxc.net.N.type",
        Grammar::NetworkType,
        &[Start],
        "The kind of interface.",
    )
    .legacy(&["lxc.network.type"])
    .safe_if(safety::network_type),
    Key::new(
        "lxc.net.N.link",
        Grammar::Link,
        &[Start],
        "The bridge or interface of the host it is attached to.",
    )
    .legacy(&["lxc.network.link"])
    .safe(),
    Key::new(
        "lxc.net.N.name",
        Grammar::InterfaceName,
        &[Start],
        "Its name in the container.",
    )
    .legacy(&["lxc.network.name"])
    .default("eth%d")
    .safe(),
    Key::new(
        "lxc.net.N.flags",
        Grammar::Text,
        &[Start],
        "up brings it up; unset, it stays down.",
    )
    .legacy(&["lxc.network.flags"])
    .safe(),
    Key::new(
        "lxc.net.N.mtu",
        Grammar::Unsigned,
        &[Start],
        "Its largest packet.",
    )
    .legacy(&["lxc.network.mtu"])
    .safe(),
    Key::new(
        "lxc.net.N.hwaddr",
        Grammar::HardwareAddress,
        &[Start],
        "Its MAC address; x is a random digit.",
    )
    .legacy(&["lxc.network.hwaddr"])
    .safe(),
    Key::new(
        "lxc.net.N.ipv4.address",
        Grammar::Ipv4Address,
        &[Start],
        "An IPv4 address.",
    )
    .legacy(&["lxc.network.ipv4"])
    .multi()
    .safe(),
    Key::new(
        "lxc.net.N.ipv6.address",
        Grammar::Ipv6Address,
        &[Start],
        "An IPv6 address.",
    )
    .legacy(&["lxc.network.ipv6"])
    .multi()
    .safe(),
    Key::new(
        "lxc.net.N.ipv4.gateway",
        Grammar::Ipv4Gateway,
        &[Start],
        "The IPv4 router: an address, auto or dev.",
    )
    .legacy(&["lxc.network.ipv4.gateway"])
    .safe(),
    Key::new(
        "lxc.net.N.ipv6.gateway",
        Grammar::Ipv6Gateway,
        &[Start],
        "The IPv6 router: an address, auto or dev.",
    )
    .legacy(&["lxc.network.ipv6.gateway"])
    .safe(),
    Key::new(
        "lxc.net.N.l2proxy",
        Grammar::Flag,
        &[Start],
        "Answers for the addresses on link.",
    )
    .default("0")
    .safe_if(safety::only_zero),
    Key::new(
        "lxc.net.N.script.up",
        Grammar::Command,
        &[Start],
        "Runs on the host when the interface is made.",
    )
    .legacy(&["lxc.network.script.up"]),
    Key::new(
        "lxc.net.N.script.down",
        Grammar::Command,
        &[Stop],
        "Runs on the host when the interface goes.",
    )
    .legacy(&["lxc.network.script.down"]),
    Key::new(
        "lxc.net.N.macvlan.mode",
        Grammar::MacvlanMode,
        &[Start],
        "What those on one link see of each other.",
    )
    .legacy(&["lxc.network.macvlan.mode"])
    .default("private")
    .safe(),
    Key::new(
        "lxc.net.N.ipvlan.mode",
        Grammar::IpvlanMode,
        &[Start],
        "Routed or switched.",
    )
    .default("l3")
    .safe(),
    Key::new(
        "lxc.net.N.ipvlan.isolation",
        Grammar::IpvlanIsolation,
        &[Start],
        "What those on one link see of each other.",
    )
    .default("bridge")
    .safe(),
    Key::new(
        "lxc.net.N.vlan.id",
        Grammar::Vlan,
        &[Start],
        "The VLAN of link.",
    )
    .legacy(&["lxc.network.vlan.id"])
    .safe(),
    Key::new(
        "lxc.net.N.veth.mode",
        Grammar::VethMode,
        &[Start],
        "A port of the bridge, or routed by the host.",
    )
    .default("bridge")
    .safe_if(safety::not_router),
    Key::new(
        "lxc.net.N.veth.pair",
        Grammar::InterfaceName,
        &[Start],
        "The name of the host's end.",
    )
    .legacy(&["lxc.network.veth.pair"])
    .safe(),
    Key::new(
        "lxc.net.N.veth.n_rxqueues",
        Grammar::Count,
        &[Start],
        "How many receive queues it has.",
    )
    .safe(),
    Key::new(
        "lxc.net.N.veth.n_txqueues",
        Grammar::Count,
        &[Start],
        "How many transmit queues it has.",
    )
    .safe(),
    Key::new(
        "lxc.net.N.veth.ipv4.route",
        Grammar::Ipv4Route,
        &[Start],
        "An IPv4 route of the host into the container.",
    )
    .multi(),
    Key::new(
        "lxc.net.N.veth.ipv6.route",
        Grammar::Ipv6Route,
        &[Start],
        "An IPv6 route of the host into the container.",
    )
    .multi(),
    Key::new(
        "lxc.net.N.veth.vlan.id",
        Grammar::NativeVlan,
        &[Start],
        "The VLAN of untagged frames; none for no such VLAN.",
    )
    .safe(),
    Key::new(
        "lxc.net.N.veth.vlan.tagged.id",
        Grammar::TaggedVlan,
        &[Start],
        "A VLAN of tagged frames.",
    )
    .multi()
    .safe(),
];
