"""Networks where systemd runs: they come up with the host, their keepers are units that are
replaced when killed and need no helper; and networks of Open vSwitch.
"""

import pytest

from machine import Machine

# What every script begins with.
WORDS = """
manager='/io/gantry/Gantry1 io.gantry.Gantry1.Manager'
gantry() { busctl --timeout=300 call io.gantry.Gantry1 "$@"; }
network() { echo "/io/gantry/Gantry1/network/$1 io.gantry.Gantry1.Network"; }
get() { busctl --timeout=300 get-property io.gantry.Gantry1 $(network "$1") "$2"; }
job() {
    local path
    path=$(gantry $manager "$@" | cut -d '"' -f 2)
    gantry "$path" io.gantry.Gantry1.Job Wait x 300000 | grep -q '"done"' ||
        { busctl get-property io.gantry.Gantry1 "$path" io.gantry.Gantry1.Job ErrorMessage; return 1; }
}
# Unlike `!` alone it ends the script.
not() { ! "$@"; }
# The first time that a command succeeds, in some minutes.
await() {
    local try
    for try in $(seq 600); do
        if "$@"; then return; fi
        sleep 0.2
    done
    echo "never: $*" >&2
    return 1
}
leased() { gantry $(network "$1") Leases | grep -qF "$2"; }
running() { systemctl -q is-active "gantry-network-$1"; }
server() { pgrep -f "^[^ ]*dnsmasq --conf-file=/run/gantry/networks/$1/dnsmasq.conf"; }
init() {
    busctl get-property io.gantry.Gantry1 "/io/gantry/Gantry1/container/system/$1" io.gantry.Gantry1.Container InitPid | cut -d ' ' -f 2
}
inside() { nsenter --net="/proc/$(init "$1")/ns/net" "${@:2}"; }
reaches() { inside "$1" ping -c1 -W2 "$2" >/dev/null; }
"""
NETWORKS = {"dev0": ("bridge", "10.77.0"), "sw0": ("ovs", "10.78.0")}


@pytest.fixture(scope="module")
def machine():
    with Machine(keep=True) as machine:
        script = ["systemctl enable --now --quiet openvswitch-switch", "systemctl enable --quiet gantry-autostart"]
        for number, (name, (driver, net)) in enumerate(NETWORKS.items()):
            config = [f"lxc.net.0.{line}" for line in (
                "type = veth", f"link = {name}", "flags = up", "name = eth0", f"hwaddr = 00:16:3e:00:00:{number:02}")]
            config += ["lxc.start.auto = 1"]
            quoted = " ".join(f"'{line}'" for line in config)
            script += [f"gantry $manager CreateNetwork 'sa{{sv}}' {name} 4 driver s {driver} ipv4 s {net}.1/24 domain s {name} "
                       "autostart b true",
                       f"job CreateContainer 'sa{{sv}}' on{name} 3 template s busybox config as {len(config)} {quoted} start b true"]
        machine.run(WORDS + "\n".join(script), 900)
        yield machine


def check_all(machine):
    """Both networks serve their containers."""
    for name, (driver, net) in NETWORKS.items():
        machine.run(WORDS + f"""
            await running {name}
            await leased {name} {net}.
            test "$(get {name} Managed) $(get {name} Up) $(get {name} Driver)" = 'b true b true s "{driver}"'
            await reaches on{name} {net}.1
            get {name} Ports | grep -q '"on{name}" "eth0"'
            ip -br addr show {name} | grep -qF {net}.1/24
            nft list table inet gantry | grep -q 'saddr {net}.0/24.*masquerade'
        """, 300)


def test_networks_of_the_kernel_and_of_open_vswitch_serve_containers(machine):
    check_all(machine)
    machine.run(WORDS + """
        ovs-vsctl br-exists sw0
        test "$(ovs-vsctl list-ports sw0 | wc -l)" = 1
        port=$(ovs-vsctl list-ports sw0)
        gantry $(network sw0) SetPort 'sa{sv}' "$port" 1 hairpin b true 2>&1 | grep -q 'Open vSwitch'
        gantry $(network sw0) Down 2>&1 | grep -q 'onsw0 is plugged'
        # Names of containers, as its server tells them.
        busybox nslookup onsw0.sw0 10.78.0.1 | grep -q 10.78.0.
    """, 300)


def test_who_keeps_a_network_is_replaced_and_needs_no_helper(machine):
    machine.run(WORDS + """
        await not systemctl -q is-active gantry-helper
    """, 600)
    machine.run(WORDS + """
        leases=$(cat /var/lib/misc/dnsmasq.dev0.leases)
        before=$(systemctl show -P MainPID gantry-network-dev0) served=$(server dev0)
        kill -KILL "$before"
        replaced() { local now; now=$(systemctl show -P MainPID gantry-network-dev0); [ "$now" != 0 ] && [ "$now" != "$before" ]; }
        await replaced
        served_anew() { local now; now=$(server dev0) && [ "$now" != "$served" ]; }
        await served_anew
        served=$(server dev0)
        kill -KILL "$served"
        await served_anew
        nft flush ruleset
        await eval 'nft list table inet gantry 2>/dev/null | grep -q masquerade'
        not systemctl -q is-active gantry-helper
        test "$leases" = "$(cat /var/lib/misc/dnsmasq.dev0.leases)"
        # A helper that comes now finds all in order.
        get dev0 Managed | grep -q true
        test "$(systemctl show -P NRestarts gantry-network-dev0)" = 1
    """, 600)


def test_they_come_up_with_the_host(machine):
    machine.reboot()
    machine.run("systemctl start gantry-autostart", 600)
    check_all(machine)


def test_a_network_of_open_vswitch_goes_as_a_whole(machine):
    machine.run(WORDS + """
        gantry $manager KillContainer 'sa{sv}' onsw0 0
        await eval 'test -z "$(ovs-vsctl list-ports sw0)"'
        # The host's cable as its port: the net outside is on the switch.
        ip link add cable type veth peer name plug
        ip netns add outside
        ip link set cable netns outside; ip -n outside link set cable up; ip link set plug up
        gantry $(network sw0) Down
        gantry $(network sw0) Configure 'a{sv}' 5 dhcp b false nat b false domain s '' uplink s plug ipv4 s 10.9.0.2/24
        gantry $(network sw0) Up
        ovs-vsctl list-ports sw0 | grep -qx plug
        ip -n outside addr add 10.9.0.1/24 dev cable
        await ip netns exec outside ping -c1 -W2 10.9.0.2
        gantry $(network sw0) Delete 'a{sv}' 1 force b true
        not ovs-vsctl br-exists sw0
        not ip link show sw0 2>/dev/null
        ip link show plug >/dev/null
        ip netns del outside
    """, 600)


def test_what_is_below_a_vlan_or_behind_a_switch_is_the_hosts_way_out(machine):
    machine.run(WORDS + """
        ip netns add world
        ip link add card type veth peer name wall netns world
        ip link set card up; ip -n world link set wall up
        ip link add link card name card.5 type vlan id 5
        ip -n world link add link wall name wall.5 type vlan id 5
        ip link set card.5 up; ip -n world link set wall.5 up
        ip addr add 10.9.5.2/24 dev card.5; ip -n world addr add 10.9.5.1/24 dev wall.5
        ip route add default via 10.9.5.1
        outside() { ping -c1 -W2 10.9.5.1 >/dev/null; }
        leads_by() { ip route show default | grep -q "dev $1 "; }
        waits() { busctl --timeout=300 get-property io.gantry.Gantry1 $manager Unconfirmed | grep -q '"card"'; }
        way_out() { busctl --timeout=300 --json=short call io.gantry.Gantry1 $manager ListHostInterfaces | jq -e --arg name "$1" '.data[0][] | select(.name.data == $name).uplink.data' >/dev/null; }
        await outside
        way_out card; way_out card.5

        # As a bridge's port, and back.
        gantry $manager CreateNetwork 'sa{sv}' br9 1 uplink s card
        gantry $(network br9) Up
        waits
        await outside
        gantry $manager ConfirmInterface 'sa{sv}' card 0
        gantry $(network br9) Delete 'a{sv}' 0
        await outside

        # In a container, whose going down takes the VLAN's routes, and back.
        wires=/io/gantry/Gantry1/container/system/ondev0
        gantry $wires io.gantry.Gantry1.Interfaces Add 'a{sv}' 3 type s phys link s card name s card
        waits
        not ip link show card 2>/dev/null
        gantry $wires io.gantry.Gantry1.Interfaces Revert 'ua{sv}' 1 0
        await leads_by card.5
        await outside
        ip link del card.5

        # Behind a bridge of Open vSwitch that somebody else has made.
        ovs-vsctl add-br sw9 -- add-port sw9 card
        ip link set sw9 up; ip addr add 10.9.0.2/24 dev sw9; ip -n world addr add 10.9.0.1/24 dev wall
        ip route add default via 10.9.0.1
        way_out sw9; way_out card
        not way_out dev0
        ovs-vsctl del-br sw9; ip link del card; ip netns del world
    """, 900)
