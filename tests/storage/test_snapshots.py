"""Snapshots on every backend, by Gantry and by stock LXC in turn."""

import os
import re
import signal
import subprocess
import time

import pytest

import containers
from containers import refused
from gantry import Job, LXC_PATH, options, run, until
from stores import BACKENDS, Snapshots, container_on
from test_clones import mark, mark_of, runs_by_turns


@pytest.fixture(params=BACKENDS)
def web(bus, request):
    with container_on(bus, request.param) as container:
        yield container


def test_one_can_walk_back_and_forth(web):
    snapshots = Snapshots(web)
    assert snapshots.list() == []
    mark(web, "one")
    assert snapshots.take(comment="the first") == "snap0"
    mark(web, "two")
    assert snapshots.take("before-upgrade") == "before-upgrade"
    mark(web, "three")
    first, second = snapshots.list()
    assert (first["name"], first["comment"], first["parent"], first["current"]) == ("snap0", "the first", "", False)
    assert (second["name"], second["parent"], second["current"]) == ("before-upgrade", "snap0", True)
    assert abs(first["created"] - time.time()) < 60
    assert first["backend"] == web.get("Backend")
    assert (first["size"] > 100_000) == Snapshots(web).estimate()["full"], "what was copied for it"
    snapshots.restore("snap0")
    assert mark_of(web) == "one"
    names = snapshots.names()
    assert names == ["snap0", "before-upgrade", "snap1"], "the state before is kept"
    assert [s["name"] for s in snapshots.list() if s["current"]] == ["snap0"]
    snapshots.restore("snap1", safety=False)
    assert mark_of(web) == "three"
    assert snapshots.names() == names
    snapshots.restore("before-upgrade", safety=False)
    assert mark_of(web) == "two"
    runs_by_turns(web)


@pytest.mark.parametrize("backend", [backend for backend in BACKENDS if backend != "overlay"])
def test_stock_lxc_destroys_one_that_went_back(bus, backend):
    """Not overlays: LXC finds that those have clones, which are these snapshots."""
    with container_on(bus, backend) as web:
        snapshots = Snapshots(web)
        snapshots.take()
        snapshots.restore("snap0")
        run("lxc-destroy", "-s", "-n", "web")
        assert not os.path.exists(web.folder)
        if backend in ("lvm", "thin", "zfs"):
            listed = run("sh", "-c", "lvs --noheadings -o lv_name; zfs list -H -t all -o name").stdout
            assert "web" not in listed


def test_a_snapshot_as_a_new_container(bus, web):
    snapshots = Snapshots(web)
    mark(web, "then")
    snapshots.take()
    mark(web, "now")
    snapshots.restore("snap0", new_name="old")
    old = bus.container("old")
    assert mark_of(old) == "then" and mark_of(web) == "now"
    runs_by_turns(old)


def test_one_in_the_middle_goes_and_its_neighbours_stay(web):
    snapshots = Snapshots(web)
    for number in range(3):
        mark(web, str(number))
        snapshots.take()
    snapshots.delete("snap1")
    first, last = snapshots.list()
    assert (first["name"], last["name"], last["parent"], last["current"]) == ("snap0", "snap2", "snap0", True)
    snapshots.restore("snap2", safety=False)
    assert mark_of(web) == "2"
    snapshots.restore("snap0", safety=False)
    assert mark_of(web) == "0"
    snapshots.delete("snap0")
    snapshots.delete("snap2")
    assert snapshots.list() == []
    assert snapshots.take() == "snap0", "the first number that is free"
    with refused("HasDependents"):
        web.destroy()
    web.destroy(snapshots=True)
    assert not os.path.exists(web.folder)


def test_stock_lxc_sees_them_and_the_reverse(web):
    snapshots = Snapshots(web)
    mark(web, "gantry")
    snapshots.take(comment="of Gantry")
    listed = run("lxc-snapshot", "-n", "web", "-L", "-C").stdout
    assert re.search(r"snap0 \(\S+/snaps\) \d{4}:\d\d:\d\d \d\d:\d\d:\d\d", listed) and "of Gantry" in listed
    if web.get("Backend") == "lvm":
        return  # Stock LXC takes none of volumes.
    mark(web, "stock")
    comment = f"{LXC_PATH}/web/words"
    with open(comment, "w") as file:
        file.write("of stock\n")
    run("lxc-snapshot", "-n", "web", "-c", comment)
    assert [(s["name"], s["comment"]) for s in snapshots.list()] == [("snap0", "of Gantry"), ("snap1", "of stock")]
    run("lxc-snapshot", "-n", "web", "-r", "snap0", "-N", "byst")
    assert mark_of(web.bus.container("byst")) == "gantry"
    snapshots.restore("snap1", new_name="byga")
    assert mark_of(web.bus.container("byga")) == "stock"
    for name in ("byst", "byga"):
        run("lxc-destroy", "-n", name)
    run("lxc-snapshot", "-n", "web", "-d", "snap0")
    assert snapshots.names() == ["snap1"]
    snapshots.delete("snap1")
    assert "No snapshots" in run("lxc-snapshot", "-n", "web", "-L").stdout


def test_a_running_container_is_held_for_the_moment(bus):
    web = bus.create("web", template="busybox", start=True)
    snapshots = Snapshots(web)
    snapshots.take()
    assert web.state == "RUNNING"
    with refused("WrongState") as caught:
        snapshots.restore("snap0")
    assert "stop it first" in caught[0].message
    web.kill()


def test_restoring_keeps_what_is_about_the_container(bus):
    web = bus.create("web", template="busybox")
    containers.append_config("web", "lxc.net.0.hwaddr = 00:16:3e:11:22:33")
    with open(f"{web.folder}/notes", "w") as file:
        file.write("mine")
    snapshots = Snapshots(web)
    snapshots.take()
    containers.append_config("web", "lxc.start.auto = 1")
    snapshots.restore("snap0")
    assert os.path.exists(f"{web.folder}/notes")
    assert web.call("GetConfigItem", "(s)", "lxc.net.0.hwaddr") == ["00:16:3e:11:22:33"]
    assert until(lambda: not web.get("Autostart")) is True
    snapshots.restore("snap1", safety=False)
    until(lambda: web.get("Autostart"))


def test_a_restore_that_is_cut_is_finished_or_forgotten(bus):
    """Killed at any moment, the helper leaves the old state or the new one, and all snapshots."""
    web = bus.create("web", template="busybox")
    snapshots = Snapshots(web)
    mark(web, "then")
    run("sh", "-c", f"head -c 100M /dev/urandom >{web.folder}/rootfs/big")
    snapshots.take()
    mark(web, "now")
    for pause in (0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3):
        try:
            snapshots.call("Restore", "(sa{sv})", "snap0", {"safety": containers.gantry.variant(False)})
        except containers.gantry.Refused:
            pass
        time.sleep(pause)
        containers.kill_helper(bus)
        assert bus.list() == {"web": "STOPPED"}
        assert snapshots.names() == ["snap0"]
        until(lambda: os.listdir(LXC_PATH) == ["web"])
        assert mark_of(web) in ("then", "now")


def test_comments_can_be_changed(bus):
    web = bus.create("web", template="busybox")
    snapshots = Snapshots(web)
    snapshots.take(comment="a")
    snapshots.call("SetComment", "(ss)", "snap0", "b c")
    assert snapshots.list()[0]["comment"] == "b c"
    snapshots.call("SetComment", "(ss)", "snap0", "")
    assert snapshots.list()[0]["comment"] == ""
    for name, comment, error in (("snap9", "x", "NotFound"), ("../x", "x", "InvalidName"),
                                 ("snap0", "a\nb", "InvalidArgument"), ("snap0", "x" * 2000, "InvalidArgument")):
        with refused(error):
            snapshots.call("SetComment", "(ss)", name, comment)


@pytest.mark.parametrize("method", ["Restore", "Delete"])
def test_what_is_not_there(bus, method):
    web = bus.create("web", template="busybox")
    for name, error in (("snap0", "NotFound"), ("../web", "InvalidName"), ("", "InvalidName")):
        with refused(error):
            Snapshots(web).job(method, "(sa{sv})", name, {})


def test_the_old_place_of_snapshots_is_used_where_it_is(bus):
    """As with LXC before version 1.0, and since then where that has left some."""
    web = bus.create("web", template="busybox")
    snapshots = Snapshots(web)
    old = f"{LXC_PATH}snaps"
    os.mkdir(old)
    try:
        mark(web, "gantry")
        snapshots.take(comment="of Gantry")
        assert os.path.exists(f"{old}/web/snap0/config")
        assert "snap0" in run("lxc-snapshot", "-n", "web", "-L").stdout
        mark(web, "stock")
        run("lxc-snapshot", "-n", "web")
        assert [(s["name"], s["comment"]) for s in snapshots.list()] == [("snap0", "of Gantry"), ("snap1", "")]
        snapshots.restore("snap0", safety=False)
        assert mark_of(web) == "gantry"
        snapshots.restore("snap1", new_name="twin")
        assert mark_of(web.bus.container("twin")) == "stock"
        result = snapshots.job("Diff", "(ssa{sv})", "snap0", "snap1", {})
        assert ("changed", "/mark") in result["changes"]
        snapshots.delete("snap0")
        assert snapshots.names() == ["snap1"] and not os.path.exists(f"{web.folder}/snaps")
        with refused("HasDependents"):
            web.destroy()
        with refused("HasDependents"):
            web.call("Rename", "(sa{sv})", "other", {})
        assert snapshots.names() == ["snap1"]
        web.destroy(snapshots=True)
        assert not os.path.exists(f"{old}/web")
        # The next of that name begins with none.
        assert Snapshots(bus.create("web", template="busybox")).list() == []
    finally:
        run("rm", "-rf", old)


def test_one_that_was_started_meanwhile_keeps_its_files(bus):
    """Whoever comes first after a snapshot is taken, stock LXC's start or going back: no container loses what it runs on."""
    web = bus.create("web", template="busybox")
    snapshots = Snapshots(web)
    mark(web, "then")
    snapshots.take()
    mark(web, "now")
    run("sh", "-ec", f"mkdir {web.folder}/rootfs/many; cd {web.folder}/rootfs/many; seq 20000 | xargs touch")

    def copier():
        return run("pgrep", "-f", "copy-worker .*/web/rootfs", check=False).stdout.split()

    taking = Job(bus, snapshots.call("Take", "(sa{sv})", "", {}))
    pid, = until(copier)
    os.kill(int(pid), signal.SIGSTOP)
    try:
        # Both wait for the lock.
        starting = subprocess.Popen(["lxc-start", "-n", "web"])
        job = Job(bus, snapshots.call("Restore", "(sa{sv})", "snap0", options(safety=False)))
    finally:
        os.kill(int(pid), signal.SIGCONT)
    taking.result()
    try:
        job.result()
        state = "then"
    except containers.gantry.Refused as refusal:
        assert refusal.name == "WrongState"
        state = "now"
    assert starting.wait(60) == 0
    assert web.wait("RUNNING") == "RUNNING"
    assert web.execute("cat", "/mark")[1].strip() == state
    web.kill()
    until(lambda: os.listdir(LXC_PATH) == ["web"], 60)


def test_one_that_others_need_says_who(bus):
    """Also where a very old LXC only counted them."""
    web = bus.create("web", template="busybox")
    snapshots = Snapshots(web)
    snapshots.take()
    needed = f"{web.folder}/snaps/snap0/lxc_snapshots"
    for text, who in ((f"{LXC_PATH}\ndb\n{LXC_PATH}\nmail\n", "db, mail"), ("2", "2 containers")):
        with open(needed, "w") as file:
            file.write(text)
        with refused("HasDependents") as caught:
            snapshots.delete("snap0")
        assert who in caught[0].message
    os.rename(needed, f"{web.folder}/lxc_snapshots")
    with refused("HasDependents") as caught:
        until(lambda: web.get("Dependents"))
        web.destroy(snapshots=True)
    assert "2 containers" in caught[0].message
    os.unlink(f"{web.folder}/lxc_snapshots")
