"""Operations on storage cut at every step: the helper is killed at a system call that changes
something. The next one finds what was there before or what was to be, each whole, and
nothing else.

The helper runs as always; strace is attached to it, counts such calls in each of its
threads and processes, and kills at one of them. A call of a worker's kills only that: then the
operation fails, and leaves what was there before.
"""

import os
import signal
import subprocess
from contextlib import contextmanager

import pytest

import containers
import gantry
from archives import file_of
from gantry import Job, LXC_PATH, options, until
from stores import Snapshots, clone, container_on, wish

# What changes a file system, or brings it to the disk, and which of the calls: the first,
# some in the midst and late ones. Where there are fewer the operation is through, which
# is seen by that it succeeds.
CALLS = {
    "renameat2": (1, 2, 3),
    "rename,renameat": (1, 2, 3, 5),
    "mkdir,mkdirat": (1, 2, 4),
    "unlink,unlinkat,rmdir": (1, 2, 5, 20),
    "fsync,syncfs": (1, 2, 3),
    "fchmod,fchmodat": (1, 2),
    "fchown,fchownat,chown": (1, 3),
    "clone3,vfork,clone": (1, 2),
}


class Helper:
    """The helper, of whose calls one is its end."""

    def __init__(self, bus):
        self.bus = bus

    @contextmanager
    def cut(self, calls, number):
        self.pid = containers.helper_pid(self.bus)
        log = "/run/cut.strace"
        tracer = subprocess.Popen(
            ["strace", "-f", "-q", "-o", log, "-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL:when={number}",
             "-p", str(self.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            until(lambda: all(traced(task) for task in os.listdir(f"/proc/{self.pid}/task")))
            yield
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            tracer.communicate()
            if os.path.exists(log):
                os.unlink(log)

    def is_gone(self):
        return not containers.ask_bus(self.bus, "NameHasOwner")

    def has_ended(self):
        """Whether it was killed; a new one is there then."""
        return self.is_gone() or containers.helper_pid(self.bus) != self.pid


def traced(task):
    try:
        return containers.status_of(task, "TracerPid") != "0"
    except (FileNotFoundError, ProcessLookupError):
        return True


def attempt(work):
    """Does it as far as it goes; whether it has succeeded."""
    try:
        work()
    except (gantry.Refused, gantry.GLib.Error):
        return False
    return True


def files_of(name):
    """What is in a container's root file system, but what each start and copy may set."""
    root = f"{LXC_PATH}/{name}/rootfs"
    found = {}
    for at, folders, files in os.walk(root):
        for entry in folders + files:
            path = os.path.join(at, entry)
            info = os.lstat(path)
            found[os.path.relpath(path, root)] = (info.st_mode, info.st_size if not os.path.isdir(path) else 0)
    return {path: value for path, value in found.items() if not path.startswith("dev/")}


def leftovers():
    return [name for name in os.listdir(LXC_PATH) if name.startswith(".gantry")]


class Case:
    """An operation on the container web, and what is to be seen before and after."""

    # Calls that it does without.
    spared = ()

    def __init__(self, bus, web):
        self.bus, self.web, self.whole = bus, web, files_of("web")
        self.wish = wish(web.get("Backend"))

    def prepare(self):
        """Makes it possible (again)."""

    def check(self, succeeded):
        """What is there is old or new."""
        assert files_of("web") == self.whole


class Create(Case):
    def work(self):
        self.bus.create("new", template="busybox", **self.wish)

    def prepare(self):
        containers.destroy("new")

    def check(self, succeeded):
        super().check(succeeded)
        names = set(self.bus.list())
        assert names in ({"web"}, {"web", "new"})
        if succeeded:
            assert "new" in names
        if "new" in names:
            assert set(files_of("new")) == set(self.whole)
            self.bus.container("new").start()
            self.bus.container("new").kill()


class Clone(Create):
    spared = ("rename,renameat", "fchown,fchownat,chown")

    def work(self):
        clone(self.web, "new")


class Rename(Case):
    spared = ("clone3,vfork,clone",)

    def work(self):
        self.bus.container("web").call("Rename", "(sa{sv})", "new", {})

    def prepare(self):
        if os.path.exists(f"{LXC_PATH}/new"):
            self.bus.container("new").call("Rename", "(sa{sv})", "web", {})

    def check(self, succeeded):
        (name,) = self.bus.list()
        assert name in ("web", "new") and (name == "new" or not succeeded)
        assert files_of(name) == self.whole
        # rootfs, or rootdev where it is an image.
        assert f"/{name}/root" in containers.config_of(name).decode()


class Snapshot(Case):
    spared = ("fchown,fchownat,chown",)

    def __init__(self, bus, web):
        super().__init__(bus, web)
        self.before = Snapshots(web).names()

    def work(self):
        Snapshots(self.web).take(comment="cut")

    def check(self, succeeded):
        super().check(succeeded)
        after = Snapshots(self.web).list()
        new = [one for one in after if one["name"] not in self.before]
        assert len(new) == 1 or (not succeeded and not new)
        for one in new:
            # A name without its comment is no snapshot.
            assert one["comment"] == "cut"
            assert files_of(f"web/snaps/{one['name']}") == self.whole
        self.before = [one["name"] for one in after]


class Delete(Snapshot):
    spared = ("clone3,vfork,clone",)

    def prepare(self):
        while len(Snapshots(self.web).names()) < 2:
            Snapshots(self.web).take(comment="more")
        self.before = Snapshots(self.web).names()

    def work(self):
        Snapshots(self.web).delete(self.before[0])

    def check(self, succeeded):
        Case.check(self, succeeded)
        after = Snapshots(self.web).names()
        assert after in (self.before, self.before[1:]) and not (succeeded and after == self.before)
        for name in after:
            assert files_of(f"web/snaps/{name}") == self.whole


class Restore(Case):
    """With what it was before kept first."""

    spared = ("fchown,fchownat,chown",)

    def prepare(self):
        names = Snapshots(self.web).names()
        for name in names[1:]:
            Snapshots(self.web).delete(name)
        if not names:
            Snapshots(self.web).take()
        self.mark = f"{LXC_PATH}/web/rootfs/changed"
        with open(self.mark, "w") as file:
            file.write("after the snapshot")
        self.changed = files_of("web")

    def work(self):
        Snapshots(self.web).restore("snap0")

    def check(self, succeeded):
        found = files_of("web")
        assert found == self.whole or (not succeeded and found == self.changed)
        names = Snapshots(self.web).names()
        assert names[0] == "snap0" and files_of("web/snaps/snap0") == self.whole
        for name in names[1:]:
            assert files_of(f"web/snaps/{name}") == self.changed
        self.web.start()
        self.web.kill()


class Destroy(Case):
    spared = ("rename,renameat", "fchmod,fchmodat", "fchown,fchownat,chown", "clone3,vfork,clone")

    def prepare(self):
        if not os.path.exists(f"{LXC_PATH}/new"):
            clone(self.web, "new")

    def work(self):
        self.bus.container("new").destroy()

    def check(self, succeeded):
        super().check(succeeded)
        names = set(self.bus.list())
        assert names == {"web"} or (not succeeded and names == {"web", "new"})
        if "new" in names:
            assert files_of("new") == self.whole


class Export(Case):
    spared = ("renameat2", "rename,renameat", "unlink,unlinkat,rmdir", "fchmod,fchmodat", "fchown,fchownat,chown")

    def work(self):
        with open("/run/cut.archive", "wb") as target:
            Job(self.bus, self.web.call("Export", "(ha{sv})", 0, options(compression="none"),
                                        fds=[target.fileno()])).result()

    def check(self, succeeded):
        super().check(succeeded)
        assert set(self.bus.list()) == {"web"}
        with open("/run/cut.archive", "rb") as archive:
            data = archive.read()
        os.unlink("/run/cut.archive")
        assert not succeeded or b"gantry.sha256" in data[-4096:]


class Import(Create):
    spared = ()

    def __init__(self, bus, web):
        super().__init__(bus, web)
        Export.work(self)
        with open("/run/cut.archive", "rb") as archive:
            self.archive = archive.read()
        os.unlink("/run/cut.archive")

    def work(self):
        with file_of(self.archive) as fd:
            Job(self.bus, self.bus.manager("ImportContainer", "(hsa{sv})", 0, "new", {}, fds=[fd])).result()


OPERATIONS = [Create, Clone, Rename, Snapshot, Delete, Restore, Destroy, Export, Import]


def cut_everywhere(bus, backend, operation, calls):
    with container_on(bus, backend) as web:
        containers.kill_helper(bus)
        helper, case, hits = Helper(bus), operation(bus, web), 0
        for number in CALLS[calls]:
            case.prepare()
            with helper.cut(calls, number):
                succeeded = attempt(case.work)
                # What is freed while nobody waits is cut, too.
                until(lambda: helper.is_gone() or not leftovers(), 30)
            ended = helper.has_ended()
            # The next helper has looked round once it answers.
            until(lambda: bus.list() is not None)
            until(lambda: not leftovers(), 30)
            case.check(succeeded)
            hits += ended or not succeeded
            if succeeded and not ended:
                break
        assert hits, "nothing was cut"
        case.prepare()
        assert attempt(case.work), "it can be done now"
        case.check(True)


CUTS = [pytest.param(operation, calls, id=f"{operation.__name__.lower()}-{calls}")
        for operation in OPERATIONS for calls in CALLS if calls not in operation.spared]


@pytest.mark.parametrize("operation, calls", CUTS)
def test_a_helper_that_is_killed_leaves_the_old_or_the_new(bus, no_traces, operation, calls):
    cut_everywhere(bus, "dir", operation, calls)


@pytest.mark.parametrize("backend", ["btrfs", "loop"])
@pytest.mark.parametrize("operation", [Create, Clone, Rename, Destroy], ids=lambda one: one.__name__.lower())
@pytest.mark.parametrize("calls", ["renameat2", "fsync,syncfs"])
def test_other_backends_are_cut(bus, no_traces, backend, operation, calls):
    cut_everywhere(bus, backend, operation, calls)
