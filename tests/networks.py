"""What tests of networks share: a network's object, and what is in the kernel of it."""

import glob
import json
import os
import subprocess

import gantry
from gantry import run, until

LXC_NET = "/etc/default/lxc-net"
DIRECTORY = "/etc/gantry/networks"


class Network:
    """A network's object on the bus."""

    def __init__(self, bus, name):
        self.bus, self.name = bus, name
        self.path = f"{gantry.ROOT}/network/{gantry.escape(name)}"

    def get(self, name):
        return self.bus.get(self.path, "Network", name)

    def call(self, method, signature="()", *args):
        return self.bus.call(self.path, "Network", method, signature, *args)

    def up(self):
        self.call("Up")

    def down(self):
        self.call("Down")

    def configure(self, **named):
        self.call("Configure", "(a{sv})", gantry.options(**named))

    def delete(self, **named):
        self.call("Delete", "(a{sv})", gantry.options(**named))

    def leases(self):
        """Addresses by MAC address."""
        return {mac: address for mac, address, _name, _expires in self.call("Leases")}


def networks(bus):
    """The networks on the bus, their properties by name."""
    prefix = f"{gantry.ROOT}/network/"
    found = [interfaces for path, interfaces in bus.objects().items() if path.startswith(prefix)]
    return {one["Name"]: one for one in (interfaces[f"{gantry.NAME}.Network"] for interfaces in found)}


def names(bus):
    return set(networks(bus))


def create(bus, name, **named):
    bus.manager("CreateNetwork", "(sa{sv})", name, gantry.options(**named))
    return Network(bus, name)


def wired(link, *more, number=0, mac=None):
    """The lines of a config that wire a container to a network."""
    lines = ["type = veth", f"link = {link}", "flags = up", "name = eth0", *more]
    if mac:
        lines.append(f"hwaddr = {mac}")
    return [f"lxc.net.{number}.{line}" for line in lines]


def start(bus, name, link, mac=None):
    """A container that has got an address of the network: it and the address."""
    box = bus.create(name, template="busybox", config=wired(link, mac=mac), start=True)
    return box, leased(box)


def leased(box):
    """The IPv4 address that a container has got."""
    return until(lambda: [address for address in box.get("Addresses") if "." in address], 20)[0]


def addresses(link):
    """The host's lasting addresses on a link."""
    text = run("ip", "-json", "addr", "show", "dev", link, check=False).stdout or "[]"
    found = [address for one in json.loads(text) for address in one["addr_info"]]
    return {f"{a['local']}/{a['prefixlen']}" for a in found if a["scope"] == "global"}


def tables():
    """The tables of nftables."""
    return run("nft", "list", "tables").stdout


def rules():
    """Gantry's table."""
    return run("nft", "list", "table", "inet", "gantry", check=False).stdout


def server(name):
    """The pid of a network's dnsmasq, if it runs."""
    return find("dnsmasq", f"--conf-file=/run/gantry/networks/{name}/dnsmasq.conf")


def keeper(name):
    """The pid of who keeps a network, if anybody does."""
    return find("gantry-monitor", f"network\0--name\0{name}\0")


def find(program, words):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path) as file:
                line = file.read()
        except OSError:
            continue
        if os.path.basename(line.partition("\0")[0]) == program and words in line:
            return int(path.split("/")[2])
    return None


def listener(pid, port):
    """A server of TCP in a process's network namespace that tells who asks and answers."""
    code = ("import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1);"
            f"s.bind(('0.0.0.0', {port})); s.listen(); print('ready', flush=True);"
            "c, peer = s.accept(); c.sendall(b'hello\\n'); c.close(); print(peer[0], flush=True)")
    process = subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", "python3", "-c", code],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process
