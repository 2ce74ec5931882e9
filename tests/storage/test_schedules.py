"""Snapshots that come and go by a schedule; time is pretended by their dates."""

import os
import time

import pytest

import containers
from containers import refused
from gantry import GLib, Job, Refused, run
from stores import Snapshots, clone

HOUR = 3600


def schedule(container, **kept):
    options = {key: GLib.Variant("u", number) for key, number in kept.items()}
    Snapshots(container).call("SetSchedule", "(a{sv})", options)


def pass_time(bus, seconds=HOUR):
    """Makes all snapshots older, and does what the timer does."""
    for container in bus.list():
        snaps = f"{containers.LXC_PATH}/{container}/snaps"
        for name in os.listdir(snaps) if os.path.isdir(snaps) else ():
            path = f"{snaps}/{name}/ts"
            then = os.stat(path).st_mtime - seconds
            os.utime(path, (then, then))
    return run_schedules(bus)


def run_schedules(bus):
    return Job(bus, bus.manager("RunSchedules", "(a{sv})", {})).result()["snapshots"]


def test_a_schedule_takes_and_removes_its_own(bus):
    web = bus.create("web", template="busybox", start=True)
    bus.create("other", template="busybox")
    snapshots = Snapshots(web)
    assert snapshots.call("GetSchedule") == {"hourly": 0, "daily": 0, "weekly": 0}
    snapshots.take("mine")
    assert run_schedules(bus) == [], "without a schedule nothing is done"
    schedule(web, hourly=2)
    assert snapshots.call("GetSchedule") == {"hourly": 2, "daily": 0, "weekly": 0}
    assert run_schedules(bus) == ["web/snap0"] and web.state == "RUNNING"
    assert [(s["name"], s["scheduled"]) for s in snapshots.list()] == [("mine", False), ("snap0", True)]
    # Once in an hour, whoever calls; unless the hour is just over.
    assert len(run_schedules(bus)) <= 1
    for _ in range(4):
        assert len(pass_time(bus)) == 1
    kept = [s for s in snapshots.list() if s["scheduled"]]
    assert len(kept) == 2 and all(s["comment"] == "by the schedule" for s in kept)
    assert "mine" in snapshots.names(), "a person's own stays"
    web.kill()
    # It lies beside the config, which LXC reads, and goes where the container goes.
    run("lxc-start", "-n", "web")
    run("lxc-stop", "-k", "-n", "web")
    snapshots.restore(kept[0]["name"], safety=False)
    assert snapshots.call("GetSchedule")["hourly"] == 2
    schedule(web)
    assert pass_time(bus, 100 * HOUR) == [] and len([s for s in snapshots.list() if s["scheduled"]]) == 2
    assert not os.path.exists(f"{web.folder}/.gantry-schedule")


def test_a_clock_that_was_set_back_costs_nothing(bus):
    web = bus.create("web", template="busybox")
    schedule(web, hourly=1)
    run_schedules(bus)
    pass_time(bus, -5 * HOUR)
    names = Snapshots(web).names()
    assert len(names) == 2, "one to come, one of now"
    pass_time(bus, 10 * HOUR)
    assert len(Snapshots(web).names()) == 1


def test_one_that_fails_does_not_hold_up_the_others(bus):
    broken, web = bus.create("a", template="busybox"), bus.create("web", template="busybox")
    for container in (broken, web):
        schedule(container, daily=1)
    with open(f"{broken.folder}/.gantry-schedule", "w") as file:
        file.write('{"hourly": "often"}')
    with pytest.raises(Refused) as caught:
        run_schedules(bus)
    assert "a: " in str(caught.value) and "set the schedule anew" in str(caught.value)
    assert Snapshots(web).names() == ["snap0"] and Snapshots(broken).names() == []
    for wrong in ({"hourly": GLib.Variant("u", 5000)}, {"yearly": GLib.Variant("u", 1)},
                  {"daily": GLib.Variant("s", "all")}):
        with refused("InvalidArgument"):
            Snapshots(web).call("SetSchedule", "(a{sv})", wrong)


def test_the_unit_s_program_has_the_helper_do_it(bus):
    web = bus.create("web", template="busybox")
    schedule(web, weekly=1)
    run(f"/proc/{containers.helper_pid(bus)}/exe", "snapshots")
    assert Snapshots(web).names() == ["snap0"]


def test_what_others_need_goes_when_they_are_gone(bus):
    base = bus.create("base", template="busybox")
    web = clone(base, "web", snapshot=True)
    schedule(web, hourly=1)
    run_schedules(bus)
    Snapshots(web).restore("snap0", new_name="twin")
    for _ in range(2):
        pass_time(bus)
    assert len(Snapshots(web).names()) == 1
    assert bus.container("twin").get("State") == "STOPPED"


def test_what_a_snapshot_costs_is_said_before(bus):
    base = bus.create("base", template="busybox")
    web = clone(base, "web", snapshot=True)
    with open(f"{base.folder}/rootfs/big", "wb") as file:
        file.write(os.urandom(8 << 20))
    full = Snapshots(base).job("Estimate", "(a{sv})", {})
    assert full["full"] and 8 << 20 < full["size"] < 64 << 20 and full["seconds"] >= 1 and full["free"] > 0
    shared = Snapshots(web).job("Estimate", "(a{sv})", {})
    assert not shared["full"] and shared["size"] < 1 << 20
    begun = time.time()
    Snapshots(base).take()
    (taken,) = Snapshots(base).list()
    again = Snapshots(base).job("Estimate", "(a{sv})", {})
    assert abs(again["size"] - taken["size"]) < 1 << 20
    assert again["seconds"] <= 2 * (time.time() - begun) + 2, "by the pace of the last time"
