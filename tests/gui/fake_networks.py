"""The networks of the helper that pretends, and the interfaces of its containers.

There are `lxcbr0`, to which every container is wired, `isolated0`, which is down, and
`virbr0`, which another program runs. Creating a network `taken…` is refused; `isolated0`
is named by the configuration of a container; interfaces of `closed…` cannot be read. The
host is reached by `enp4s0`: whoever gives it away as a whole, or to a network that is up,
has to confirm that within some seconds.
"""

from gi.repository import GLib

NAME = "io.gantry.Gantry1"
ROOT = "/io/gantry/Gantry1"
XML = """
<interface name="io.gantry.Gantry1.Interfaces">
  <method name="List"><arg type="aa{sv}" direction="out"/></method>
  <method name="Add"><arg type="a{sv}" direction="in"/><arg type="u" direction="out"/></method>
  <method name="Remove"><arg type="u" direction="in"/><arg type="a{sv}" direction="in"/></method>
  <method name="Connect"><arg type="u" direction="in"/><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/></method>
  <method name="Disconnect"><arg type="u" direction="in"/><arg type="a{sv}" direction="in"/></method>
  <method name="Configure"><arg type="u" direction="in"/><arg type="a{sv}" direction="in"/></method>
  <method name="Revert"><arg type="u" direction="in"/><arg type="a{sv}" direction="in"/></method>
</interface>
<interface name="io.gantry.Gantry1.Network">
  <method name="Up"/>
  <method name="Down"/>
  <method name="Configure"><arg type="a{sv}" direction="in"/></method>
  <method name="Delete"><arg type="a{sv}" direction="in"/></method>
  <method name="Leases"><arg type="a(sssx)" direction="out"/></method>
  <method name="Reservations"><arg type="a(sss)" direction="out"/></method>
  <method name="AddReservation"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="s" direction="in"/></method>
  <method name="RemoveReservation"><arg type="s" direction="in"/></method>
  <method name="SetPort"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/></method>
  <method name="AddForward"><arg type="s" direction="in"/><arg type="u" direction="in"/><arg type="s" direction="in"/><arg type="u" direction="in"/><arg type="a{sv}" direction="in"/></method>
  <method name="RemoveForward"><arg type="s" direction="in"/><arg type="u" direction="in"/></method>
  <method name="Forwards"><arg type="a(susu)" direction="out"/></method>
</interface>
"""


class Refusal(Exception):
    """An error of the contract."""


class Networks:
    """What the helper does for networks; whoever mixes it in has objects and signals."""

    def __init__(self):
        self.reservations = [("00:16:3e:00:00:09", "10.0.3.200", "shop")]
        self.forwards = [("tcp", 8080, "web1", 80)]
        self.wires = {}
        self.trials = {}

    def networks(self):
        self.network("lxcbr0", up=True, ipv4="10.0.3.1/24", ipv6="fc42:5009:ba4b:5ab0::1/64", dhcp=True, nat=True)
        self.network("isolated0", ipv4="10.77.0.1/24", domain="dev")
        self.network("virbr0", up=True, managed=False, ipv4="192.168.122.1/24")

    def network(self, name, up=False, managed=True, **is_to_be):
        v = GLib.Variant
        self.add(f"{ROOT}/network/{name}", f"{NAME}.Network", {
            "Name": v("s", name), "Managed": v("b", managed), "Up": v("b", up), "Ports": v("a(sss)", []),
            "Fault": v("s", ""), **self.described({"driver": "bridge", **is_to_be})})
        self.plug()

    def ListHostInterfaces(self, _path):
        v, whole = GLib.Variant, ["port", "macvlan", "ipvlan", "vlan", "phys"]
        found = [("enp4s0", "physical", True, whole), ("enp5s0", "physical", False, whole),
                 ("wlp3s0", "physical", False, ["ipvlan"]), ("lxcbr0", "bridge", False, ["veth", "macvlan", "ipvlan", "vlan"])]
        return [], "(aa{sv})", ([{"name": v("s", name), "kind": v("s", kind), "wireless": v("b", name == "wlp3s0"),
                                  "uplink": v("b", way_out), "serves": v("as", serves), "up": v("b", name != "enp5s0"),
                  "addresses": v("as", ["192.0.2.7/24"] if way_out else []),
                  "note": v("s", "A wireless card cannot be bridged." if name == "wlp3s0" else "")}
                                 for name, kind, way_out, serves in found],)

    # --- changes of the host's interfaces on trial

    def unconfirmed(self):
        return GLib.Variant("a(sx)", sorted(self.trials.items()))

    def tried(self):
        self.signal(ROOT, "org.freedesktop.DBus.Properties", "PropertiesChanged",
                    GLib.Variant("(sa{sv}as)", (f"{NAME}.Manager", {"Unconfirmed": self.unconfirmed()}, [])))

    def put_on_trial(self, take_back):
        def late():
            if self.trials.pop("enp4s0", None):
                take_back()
                self.tried()
            return False

        self.trials["enp4s0"] = int(GLib.get_real_time() / 1_000_000) + 15
        GLib.timeout_add(15000, late)
        self.tried()

    def ConfirmInterface(self, _path, name, _options):
        print(f"confirmed {name}", flush=True)
        if not self.trials.pop(name, None):
            raise Refusal("NotFound", f"no change of the interface {name} waits to be confirmed")
        for wires in self.wires.values():
            for wire in wires.values():
                wire.pop("confirm_within", None)
        self.tried()

    @staticmethod
    def described(options):
        """Options of CreateNetwork as properties."""
        v = GLib.Variant
        ipv4, dhcp = options.get("ipv4", ""), options.get("dhcp", False)
        usual = f"{ipv4.rpartition('.')[0]}.2,{ipv4.rpartition('.')[0]}.254"
        return {
            "Driver": v("s", options.get("driver", "bridge")),
            "Addresses": v("as", [one for one in (ipv4, options.get("ipv6", "")) if one]),
            "Nat": v("b", options.get("nat", False)), "Isolated": v("b", options.get("isolated", False)),
            "Uplink": v("s", options.get("uplink", "")), "Dhcp": v("b", dhcp),
            "DhcpRange": v("s", (options.get("dhcp_range") or usual) if dhcp else ""),
            "Domain": v("s", options.get("domain", "")), "Autostart": v("b", options.get("autostart", False)),
        }

    def named(self, name):
        return f"{ROOT}/network/{name}"

    def plug(self):
        """Makes the ports of networks those of what runs."""
        ports = {}
        for path, wires in self.wires.items():
            if path in self.objects and self.objects[path][1]["State"].unpack() == "RUNNING":
                name = self.name(path)
                for number, wire in wires.items():
                    if wire["link"]:
                        port = (f"veth{name[:6]}{number}", name, wire["name"])
                        ports.setdefault(wire["link"], []).append(port)
        for path, (kind, properties) in list(self.objects.items()):
            if kind.endswith(".Network"):
                now = GLib.Variant("a(sss)", ports.get(self.name(path), []))
                if properties["Ports"].unpack() != now.unpack():
                    self.change(path, Ports=now)

    def CreateNetwork(self, _path, name, options):
        print(f"network {name} {options}", flush=True)
        if name.startswith("taken"):
            raise Refusal("InvalidArgument", f"ipv4: {options['ipv4']} overlaps with what eth0 has; give another net")
        self.network(name, **options)
        return [], "(o)", (self.named(name),)

    def NetworkUp(self, path):
        self.change(path, Up=GLib.Variant("b", True))
        if self.objects[path][1]["Uplink"].unpack() == "enp4s0":
            self.put_on_trial(lambda: self.change(path, Uplink=GLib.Variant("s", "")))

    def NetworkDown(self, path):
        ports = [port[1] for port in self.objects[path][1]["Ports"].unpack()]
        if ports:
            raise Refusal("HasDependents", f"{', '.join(ports)} is plugged into the network {self.name(path)}; unplug it first")
        self.change(path, Up=GLib.Variant("b", False))

    def NetworkConfigure(self, path, options):
        print(f"configure {self.name(path)} {options}", flush=True)
        if options.get("take_over"):
            self.change(path, Managed=GLib.Variant("b", True))
            return
        have = {key: value.unpack() for key, value in self.objects[path][1].items()}
        now = {"ipv4": next((one for one in have["Addresses"] if ":" not in one), ""),
               "ipv6": next((one for one in have["Addresses"] if ":" in one), ""), "nat": have["Nat"],
               "dhcp": have["Dhcp"], "dhcp_range": have["DhcpRange"], "domain": have["Domain"], "autostart": have["Autostart"], "uplink": have["Uplink"]}
        self.change(path, **self.described({**now, **options}))
        if options.get("uplink") == "" and self.trials.pop("enp4s0", None):
            self.tried()
        elif options.get("uplink") == "enp4s0" and have["Up"]:
            self.put_on_trial(lambda: self.change(path, Uplink=GLib.Variant("s", "")))

    def NetworkDelete(self, path, options):
        if self.name(path) == "isolated0" and not options.get("force"):
            raise Refusal("HasDependents", "the configs of db name the network isolated0, without which they do not "
                          "start; change them, or force it")
        self.remove(path)

    def NetworkLeases(self, path):
        if self.name(path) != "lxcbr0":
            return [], "(a(sssx))", ([],)
        return [], "(a(sssx))", ([("00:16:3e:11:22:33", "10.0.3.17", "web1", 1_790_000_000), ("00:16:3e:11:22:34", "10.0.3.18", "", 0)],)

    def NetworkReservations(self, path):
        return [], "(a(sss))", (self.reservations if self.name(path) == "lxcbr0" else [],)

    def NetworkAddReservation(self, _path, mac, address, name):
        if address == "10.0.3.1":
            raise Refusal("InvalidArgument", "10.0.3.1 is taken: it is the host's own")
        self.reservations.append((mac, address, name))

    def NetworkRemoveReservation(self, _path, mac):
        self.reservations = [one for one in self.reservations if one[0] != mac]

    def NetworkSetPort(self, _path, port, options):
        print(f"port {port} {options}", flush=True)

    def NetworkForwards(self, path):
        return [], "(a(susu))", (self.forwards if self.name(path) == "lxcbr0" else [],)

    def NetworkAddForward(self, _path, protocol, outer, container, inner, _options):
        if outer == 22:
            raise Refusal("Exists", "the host's tcp port 22 leads to container 'db' already")
        self.forwards.append((protocol, outer, container, inner))

    def NetworkRemoveForward(self, _path, protocol, outer):
        self.forwards = [one for one in self.forwards if one[:2] != (protocol, outer)]

    # --- interfaces of containers

    def InterfacesList(self, path):
        if self.name(path).startswith("closed"):
            raise Refusal("NotAuthorized", "Nobody may look at the interfaces.")
        v = GLib.Variant
        kinds = {str: "s", bool: "b", int: "u", list: "as"}
        runs = self.objects[path][1]["State"].unpack() == "RUNNING"
        found = []
        for number, wire in sorted(self.wires[path].items()):
            live = {"carrier": bool(wire["link"]), "addresses": ["10.0.3.17/24"] if wire["link"] else []} if runs else {}
            entry = {"index": number, **{key: value for key, value in wire.items() if value != ""}, **live}
            found.append({key: v(kinds[type(value)], value) for key, value in entry.items()})
        return [], "(aa{sv})", (found,)

    def rewired(self, path):
        self.plug()
        self.signal(path, NAME + ".Interfaces", "Changed", None)

    def InterfacesAdd(self, path, options):
        print(f"add {options}", flush=True)
        number = max(self.wires[path], default=-1) + 1
        if options.get("link") == "virbr0":
            raise Refusal("NotFound", "there is no interface virbr0")
        wire = {"type": "veth", "link": "", "name": f"eth{number}", "hwaddr": f"00:16:3e:00:00:{number:02x}", "up": True}
        self.wires[path][number] = {**wire, **options}
        if options.get("type") == "phys":
            self.wires[path][number]["confirm_within"] = 15
            self.put_on_trial(lambda: self.taken_back(path, number))
        self.rewired(path)
        return [], "(u)", (number,)

    def InterfacesRemove(self, path, number, _options):
        del self.wires[path][number]
        self.rewired(path)

    def taken_back(self, path, number):
        if self.wires[path].get(number, {}).get("confirm_within"):
            self.InterfacesRemove(path, number, {})

    def InterfacesRevert(self, path, number, _options):
        print(f"reverted {number}", flush=True)
        self.trials.pop("enp4s0", None)
        self.taken_back(path, number)
        self.tried()

    def InterfacesConnect(self, path, number, link, _options):
        print(f"connect {number} {link}", flush=True)
        if link == "isolated0":
            raise Refusal("WrongState", "the network isolated0 is down; bring it up first")
        self.wires[path][number]["link"] = link
        self.rewired(path)

    def InterfacesDisconnect(self, path, number, _options):
        self.wires[path][number]["link"] = ""
        self.rewired(path)

    def InterfacesConfigure(self, path, number, options):
        print(f"set {number} {options}", flush=True)
        self.wires[path][number].update(options)
        self.rewired(path)
