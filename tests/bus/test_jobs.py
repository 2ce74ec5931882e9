"""Jobs, sessions, and the objects that come and go."""

import os
import shutil
import signal
import subprocess
import tarfile
import time

import pytest

import gantry
import people
from people import Person, place, rule

MANAGER = "org.freedesktop.DBus.ObjectManager"
PROPERTIES = "org.freedesktop.DBus.Properties"
ALL = "return polkit.Result.YES;"


def create(bus, name, **more):
    return gantry.Job(bus, bus.manager("CreateContainer", "(sa{sv})", name, gantry.options(**more)))


def properties(bus, job):
    return bus.call(job.path, PROPERTIES, "GetAll", "(s)", "io.gantry.Gantry1.Job")


def stuck(bus, name="web"):
    """A creation that waits for its tar, and the end of the pipe that it waits for."""
    read, write = os.pipe()
    options = {**gantry.options(template="local"), "rootfs": gantry.GLib.Variant("h", 0)}
    path = bus.manager("CreateContainer", "(sa{sv})", name, options, fds=[read])
    os.close(read)
    return gantry.Job(bus, path), write


def test_a_job_from_beginning_to_end(bus):
    with bus.signals(MANAGER) as objects, bus.signals("Job", "Finished") as finished:
        job = create(bus, "fresh", template="busybox")
        assert job.path in bus.objects(), "it is there before the method returns"
        assert job.wait() == "done"
        gantry.until(lambda: finished, pump=True)
    assert finished == [(job.path, "Finished", ("done",))]
    added = [values[0] for _at, name, values in objects if name == "InterfacesAdded"]
    assert added.index(job.path) < added.index(bus.container("fresh").path)
    facts = properties(bus, job)
    assert facts == {
        "Operation": "CreateContainer", "Objects": [bus.container("fresh").path], "StartedBy": 0, "State": "done",
        "Stage": facts["Stage"], "Progress": 1.0, "Bytes": facts["Bytes"], "Total": facts["Total"],
        "CanCancel": False, "ErrorName": "", "ErrorMessage": "",
        "Result": {"container": bus.container("fresh").path,
                   "first_login": "Log in as root; there is no password. Set one with passwd."},
    }
    assert job.wait(0) == "done", "it can be asked again"
    with pytest.raises(gantry.Refused) as refused:
        job.cancel()
    assert refused.value.name == "WrongState"


def test_a_failed_job_says_why(bus):
    place("web")
    job = gantry.Job(bus, bus.manager("StopContainer", "(sa{sv})", "web", {}))
    assert job.wait() == "failed"
    facts = properties(bus, job)
    assert facts["ErrorName"] == "io.gantry.Gantry1.Error.WrongState"
    assert "web" in facts["ErrorMessage"]
    assert facts["Result"] == {}


def test_a_cancelled_job_leaves_nothing(bus):
    job, write = stuck(bus)
    assert properties(bus, job)["State"] == "running"
    with pytest.raises(gantry.Refused) as refused:
        job.wait(0.1)
    assert refused.value.name == "TimedOut"
    job.cancel()
    assert job.wait(10) == "cancelled"
    os.close(write)
    assert job.get("ErrorName") == "io.gantry.Gantry1.Error.Cancelled"
    assert os.listdir(gantry.LXC_PATH) == []
    assert bus.list() == {}


def test_37_others_do_not_learn_what_came_of_a_job(bus):
    """Passwords of images and paths of the host are for whom it works."""
    with Person("alice") as alice, bus.signals(PROPERTIES) as changes:
        job = create(bus, "fresh", template="busybox")
        assert job.wait() == "done"
        failed = gantry.Job(bus, bus.manager("StopContainer", "(sa{sv})", "fresh", {}))
        assert failed.wait() == "failed"
        gantry.until(lambda: any("State" in values[1] and at == job.path for at, _name, values in changes), pump=True)
        told = [values for at, _name, values in changes if at in (job.path, failed.path)]
        assert not any({"Result", "ErrorMessage"} & set(changed) for _interface, changed, _invalid in told)
        assert any("Result" in invalid for _interface, _changed, invalid in told)
        (answer,) = alice.ask((job.path, PROPERTIES, "GetAll", "(s)", ["io.gantry.Gantry1.Job"]))
        assert answer[0] == "" and "first_login" not in answer[1] and "'State': 'done'" in answer[1]
        (answer,) = alice.ask((gantry.ROOT, MANAGER, "GetManagedObjects", "()", []))
        assert "first_login" not in answer[1] and job.path in answer[1]
    assert "first_login" in job.get("Result")


def test_progress_comes_at_most_ten_times_a_second(bus):
    header = tarfile.TarInfo("big")
    header.size = 1 << 30
    job, write = stuck(bus)
    os.write(write, header.tobuf())
    with bus.signals(PROPERTIES, "PropertiesChanged", job.path) as changes:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            os.write(write, b"\0" * 512)
            gantry.until(lambda: True, pump=True)
        os.close(write)
        assert job.wait() == "failed", "the tar is cut short"
        gantry.until(lambda: any("State" in values[1] for _at, _name, values in changes), pump=True)
    assert 5 <= len(changes) <= 13
    assert changes[-1][2][1]["State"] == "failed"
    assert job.get("Bytes") > 0


def test_38_jobs_are_limited_for_each_user(bus):
    """Root is not."""
    call = (gantry.ROOT, "Manager", "CreateContainer", "(sa{sv})")
    waiting = {"template": ("s", "local"), "rootfs": ("h", 0)}
    with rule(ALL), Person("alice") as alice, Person("bob") as bob:
        answers = alice.ask(*[(*call, [f"alice{number}", waiting]) for number in range(18)])
        answers += bob.ask((*call, ["bob", waiting]))
        errors = [error for error, _ in answers]
        assert errors.count("") == 17 and errors[:18].count("QuotaExceeded") == 2, answers
        job, write = stuck(bus)
        for path in [job.path] + [eval(value) for error, value in answers if not error]:
            gantry.Job(bus, path).cancel()
            assert gantry.Job(bus, path).wait() == "cancelled"
        os.close(write)
    assert bus.list() == {}


def test_objects_follow_what_other_tools_do(bus):
    bus.list()
    path = bus.container("web").path
    with bus.signals(MANAGER) as objects:
        folder = place("web")
        gantry.until(lambda: any(path == values[0] for _at, name, values in objects
                                 if name == "InterfacesAdded"), pump=True)
        assert bus.objects()[path]["io.gantry.Gantry1.Container"]["State"] == "STOPPED"
        subprocess.run(["rm", "-r", folder], check=True)
        gantry.until(lambda: any(path == values[0] for _at, name, values in objects
                                 if name == "InterfacesRemoved"), pump=True)
    assert path not in bus.objects()


def test_a_changed_config_is_announced(bus):
    folder = place("web")
    path = bus.manager("GetContainer", "(s)", "web")
    with bus.signals(PROPERTIES, "PropertiesChanged", path) as changes:
        with open(os.path.join(folder, "config"), "a") as config:
            config.write("lxc.start.auto = 1\n")
        gantry.until(lambda: any("Autostart" in values[1] for _at, _name, values in changes), pump=True)
    assert bus.get(path, "Container", "Autostart") is True


def test_a_config_that_cannot_be_read_stays_in_the_list_with_its_error(bus):
    place("web", "lxc.no.such.key = 1")
    place("db")
    assert bus.list() == {"web": "STOPPED", "db": "STOPPED"}
    error = bus.container("web").get("ConfigError")
    assert "lxc.no.such.key" in error and "line 3" in error
    assert bus.container("db").get("ConfigError") == ""


def test_the_group_option_of_the_list(bus):
    place("web", "lxc.group = shop")
    place("db")
    listed = bus.manager("ListContainers", "(a{sv})", gantry.options(group="shop"))
    assert [entry[0] for entry in listed] == ["web"]


def test_a_thousand_containers(bus):
    for number in range(1000):
        place(f"c{number}")
    assert len(bus.list()) == 1000
    known = bus.objects()
    assert sum("/container/system/c" in path for path in known) == 1000
    for number in range(1000):
        shutil.rmtree(os.path.join(gantry.LXC_PATH, f"c{number}"))
    assert bus.list() == {}


def test_a_killed_helper_is_started_by_the_next_call(bus):
    place("web")
    bus.list()
    os.kill(people.helper_pid(), signal.SIGKILL)
    assert gantry.until(lambda: attempt(bus) == {"web": "STOPPED"})


def attempt(bus):
    try:
        return bus.list()
    except gantry.Refused:
        return None


def test_the_helper_leaves_when_nobody_needs_it(bus):
    bus.list()
    os.kill(people.helper_pid(), signal.SIGKILL)
    time.sleep(0.2)
    client = gantry.Bus()
    gantry.until(lambda: attempt(client) == {})
    pid = people.helper_pid()
    client.close()
    time.sleep(50)
    assert people.helper_pid() == pid, "it stays for a while"
    gantry.until(lambda: people.helper_pid() is None, seconds=15)
    assert bus.list() == {}, "and comes back when it is called"
