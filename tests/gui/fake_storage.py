"""Snapshots, images, archives and room of the helper that pretends.

A snapshot of `slow…` waits until cancelled, one of `needed…` cannot be deleted. A server
`…nowhere…` cannot be reached. The root file system of `loop…` has a size of its own and
can grow up to 100 GB; that of `closed…` cannot be looked at.
"""

from gi.repository import GLib

from fake_networks import Refusal

XML = """
<interface name="io.gantry.Gantry1.Snapshots">
  <method name="Take"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="List"><arg type="aa{sv}" direction="out"/></method>
  <method name="Restore"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="Delete"><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="Estimate"><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="GetSchedule"><arg type="a{sv}" direction="out"/></method>
  <method name="SetSchedule"><arg type="a{sv}" direction="in"/></method>
  <method name="RestorePaths"><arg type="s" direction="in"/><arg type="as" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="Diff"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
</interface>
<interface name="io.gantry.Gantry1.Resources">
  <method name="GetLimit"><arg type="s" direction="in"/><arg type="s" direction="out"/></method>
  <method name="GetRoom"><arg type="a{sv}" direction="in"/><arg type="a{sv}" direction="out"/></method>
  <method name="Grow"><arg type="t" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
</interface>
"""


class Storage:
    """What the helper does for files; whoever mixes it in has objects and jobs."""

    def __init__(self):
        self.sizes = {}

    def SnapshotsList(self, path):
        if not self.name(path).startswith(("web", "needed")):
            return [], "(aa{sv})", ([],)
        v = GLib.Variant

        def snapshot(number, comment, size, current=False):
            return {"name": v("s", f"snap{number}"), "comment": v("s", comment), "size": v("t", size),
                    "created": v("x", 1_790_000_000 + number * 86_400), "backend": v("s", "dir"),
                    "parent": v("s", f"snap{number - 1}" if number else ""), "current": v("b", current)}

        return [], "(aa{sv})", ([
            snapshot(0, "", 1_204_000_000), snapshot(1, "before the upgrade to Debian 13", 1_310_000_000, True),
            snapshot(2, "a word that is much longer than the place that there is for it in a narrow window", 0)],)

    def Take(self, path, _name, _options):
        work = None if self.name(path).startswith("slow") else lambda: None
        return [], "(o)", (self.job("Take", [path], work),)

    def Restore(self, path, _name, _options):
        return [], "(o)", (self.job("Restore", [path], lambda: None),)

    def Delete(self, path, name, _options):
        def work():
            if self.name(path).startswith("needed"):
                raise Refusal("HasDependents", f"“web1” and “db” need the snapshot “{name}”; destroy those first.")

        return [], "(o)", (self.job("Delete", [path], work),)

    def Estimate(self, path, _options):
        v = GLib.Variant
        cost = {"full": v("b", True), "size": v("t", 1_204_000_000), "seconds": v("t", 70), "free": v("t", 52_000_000_000)}
        return [], "(o)", (self.job("Estimate", [path], lambda: cost),)

    def GetSchedule(self, _path):
        v = GLib.Variant
        return [], "(a{sv})", ({"hourly": v("u", 0), "daily": v("u", 7), "weekly": v("u", 4)},)

    def SetSchedule(self, _path, options):
        print("schedule " + repr(options), flush=True)

    def RestorePaths(self, path, name, paths, _options):
        def work():
            raise Refusal("NotFound", f"The snapshot “{name}” has no {paths[0]}.")

        return [], "(o)", (self.job("RestorePaths", [path], work),)

    def Diff(self, path, source, target, options):
        v = GLib.Variant

        def work():
            if source == target:
                return {"changes": v("a(ss)", []), "truncated": v("b", False)}
            changes = [("changed", "/etc/passwd"), ("added", "/etc/apt/sources.list.d/backports.sources"),
                       ("removed", "/var/lib/dpkg/lock"), ("metadata", "/usr/bin/sudo")]
            if options["content"]:
                changes.append(("changed", "/etc/machine-id"))
            return {"changes": v("a(ss)", changes), "truncated": v("b", source == "snap0")}

        return [], "(o)", (self.job("Diff", [path], None if self.name(path).startswith("slow") else work),)

    def ListRemoteImages(self, _path, server, _options):
        v = GLib.Variant

        def image(distribution, release, variant, cached):
            words = {"server": server or "https://images.linuxcontainers.org", "distribution": distribution,
                     "release": release, "architecture": "amd64", "variant": variant, "serial": "20261128_05:24"}
            return {**{key: v("s", word) for key, word in words.items()}, "cached": v("b", cached)}

        def work():
            if "nowhere" in server:
                raise Refusal("Failed", f"The server {server} cannot be reached: no such name.")
            return {"images": v("aa{sv}", [image("alpine", "3.22", "default", False), image("debian", "trixie", "cloud", False),
                                           image("debian", "trixie", "default", True)])}

        return [], "(o)", (self.job("ListRemoteImages", [], work),)

    def ImportContainer(self, _path, _archive, name, _options):
        return [], "(o)", (self.job("ImportContainer", [self.path_of(name)], lambda: self.container(name)),)

    def Export(self, path, _target, _options):
        return [], "(o)", (self.job("Export", [path], lambda: None),)

    def GetLimit(self, _path, key):
        return [], "(s)", ("100" if key == "cpu.weight" else "max",)

    def GetRoom(self, path, _options):
        v, name = GLib.Variant, self.name(path)
        if name.startswith("closed"):
            raise Refusal("NotAuthorized", "Nobody may look at the disk.")
        own = name.startswith("loop")
        size = self.sizes.get(path, 1 << 30) if own else 250_000_000_000
        return [], "(a{sv})", ({"size": v("t", size), "free": v("t", size - 900_000_000), "own": v("b", own)},)

    def Grow(self, path, size, _options):
        def work():
            if size > 100 << 30:
                raise Refusal("NoSpace", "The disk has 52 GB free: give “loop1” less.")
            self.sizes[path] = size
            return {"size": GLib.Variant("t", size)}

        return [], "(o)", (self.job("Grow", [path], work),)
