"""Groups and autostart, beside lxc-autostart: who, in which order, with which delays."""

import pytest

import containers
from archives import Archive, create_local, file_of
from containers import refused
from gantry import GLib, Job, options, run, until


@pytest.fixture
def boxes(bus):
    """Small containers; each with its order, delay, mark and groups."""
    made = {}
    for name, lines in {
        "gamma": ["lxc.start.order = 1", "lxc.start.auto = 1", "lxc.group = web"],
        "beta": ["lxc.start.order = 7", "lxc.start.auto = 1", "lxc.group = web onboot", "lxc.start.delay = 1"],
        "alpha": ["lxc.start.order = 7", "lxc.start.auto = 1", "lxc.group = onboot"],
        "delta": ["lxc.start.order = -2", "lxc.start.auto = 1"],
        "omega": ["lxc.start.auto = 1"],
        "manual": ["lxc.group = web"],
    }.items():
        with file_of(Archive().bytes()) as fd:
            made[name] = create_local(bus, name, fd)
        containers.append_config(name, *lines)
    until(lambda: made["manual"].get("Groups") == ["web"])
    return made


def group(bus, method, name, seconds=60, **named):
    return Job(bus, bus.manager(method, "(sa{sv})", name, options(**named))).result(seconds)["containers"]


def autostart(bus, seconds=60, **named):
    return Job(bus, bus.manager("Autostart", "(a{sv})", options(**named))).result(seconds)["containers"]


def stock(*arguments):
    """The names that lxc-autostart would act on, in its order."""
    return [line.split()[0] for line in run("lxc-autostart", "-L", *arguments).stdout.splitlines()]


def running(bus):
    return {name for name, state in bus.list().items() if state == "RUNNING"}


CHOICES = [
    ([], {}),
    (["-g", "web"], {"groups": ["web"]}),
    (["-g", "onboot,"], {"groups": ["onboot", ""]}),
    (["-g", "web,onboot"], {"groups": ["web", "onboot"]}),
    (["-a"], {"all": True}),
    (["-A", "-g", "web"], {"groups": ["web"], "ignore_auto": True}),
    (["-a", "-A"], {"all": True, "ignore_auto": True}),
    (["-g", "nobody"], {"groups": ["nobody"]}),
]


@pytest.mark.parametrize("arguments, chosen", CHOICES, ids=lambda part: "_".join(part) if isinstance(part, list) else "")
def test_autostart_takes_the_same_in_the_same_order_as_stock(bus, boxes, arguments, chosen):
    expected = stock(*arguments)
    assert autostart(bus, **chosen) == expected
    assert running(bus) == set(expected)
    # Those that run are left alone, by both.
    assert stock(*arguments) == [] and autostart(bus, **chosen) == []
    for how, flag in [("reboot", "-r"), ("stop", "-s"), ("kill", "-k")]:
        assert sorted(stock(flag, *arguments)) == sorted(expected)
    ended = stock("-k", *arguments)
    assert autostart(bus, action="kill", **chosen) == ended
    assert running(bus) == set()


def test_a_group_is_started_stopped_rebooted_and_killed_whole(bus, boxes):
    in_order = ["manual", "gamma", "beta"]
    for name in in_order:
        # The small init knows no reboot: forced, it is killed and started again.
        containers.append_config(name, "lxc.signal.reboot = SIGWINCH")
    assert group(bus, "StartGroup", "web") == in_order
    assert running(bus) == set(in_order)
    assert group(bus, "StartGroup", "web") == []
    for name in in_order:
        containers.catches(boxes[name].get("InitPid"), 30)
    before = {name: boxes[name].get("InitPid") for name in in_order}
    assert group(bus, "RebootGroup", "web", timeout_ms=GLib.Variant("x", 500), force=True) == in_order
    assert all(boxes[name].get("InitPid") not in (0, before[name]) for name in in_order)
    for name in in_order:
        containers.catches(boxes[name].get("InitPid"), 30)
    assert group(bus, "StopGroup", "web") == in_order[::-1]
    assert running(bus) == set()
    boxes["gamma"].start()
    assert group(bus, "KillGroup", "web") == ["gamma"]
    assert running(bus) == set()


def test_the_delay_comes_after_the_container_that_has_it(bus, boxes):
    path = bus.manager("Autostart", "(a{sv})", options(groups=["onboot"]))
    job = Job(bus, path)
    assert job.get("Objects") == [boxes[name].path for name in ("alpha", "beta")]
    until(lambda: job.get("Stage") == "beta: waiting for its start delay", step=0.001)
    assert running(bus) == {"alpha", "beta"}
    assert job.result()["containers"] == ["alpha", "beta"]
    assert (job.get("Bytes"), job.get("Total"), job.get("Progress")) == (2, 2, 1.0)


def test_cancelled_in_a_delay_the_rest_is_left_alone(bus, boxes):
    containers.append_config("alpha", "lxc.start.delay = 3600")
    until(lambda: boxes["alpha"].get("AutostartDelay") == 3600)
    job = Job(bus, bus.manager("StartGroup", "(sa{sv})", "onboot", {}))
    until(lambda: job.get("Stage") == "alpha: waiting for its start delay")
    job.cancel()
    assert job.wait() == "cancelled"
    assert running(bus) == {"alpha"}


def test_one_that_fails_does_not_stop_the_others_and_is_named(bus, boxes):
    containers.append_config("gamma", "lxc.hook.pre-start = /bin/false")
    with refused("Failed") as caught:
        group(bus, "StartGroup", "web")
    assert "1 of 3" in caught[0].message and "'gamma'" in caught[0].message and "beta" not in caught[0].message
    assert running(bus) == {"manual", "beta"}


def test_the_list_of_a_group_and_of_none(bus, boxes):
    def listed(name):
        return {entry[0] for entry in bus.manager("ListContainers", "(a{sv})", options(group=name))}
    assert listed("web") == {"gamma", "beta", "manual"} == set(run("lxc-ls", "-1", "-g", "web").stdout.split())
    assert listed("") == {"delta", "omega"}
    assert listed("we") == set()


def test_own_leaves_alone_what_stock_has_started(bus, boxes):
    run("lxc-start", "-n", "delta")
    boxes["omega"].start()
    until(lambda: running(bus) == {"delta", "omega"})
    assert autostart(bus, all=True, ignore_auto=True, own=True, action="kill") == ["omega"]
    assert running(bus) == {"delta"}
    assert autostart(bus, action="kill") == ["delta"]


def test_what_makes_no_sense_is_refused(bus, boxes):
    with refused("NotFound"):
        group(bus, "StartGroup", "nobody")
    with refused("InvalidArgument"):
        autostart(bus, all=True, groups=["web"])
    with refused("InvalidArgument"):
        autostart(bus, action="explode")
    with refused("InvalidArgument"):
        group(bus, "StopGroup", "web", timeout_ms=GLib.Variant("x", -1))
    with refused("InvalidArgument"):
        group(bus, "StartGroup", "web", force=True)
    assert running(bus) == set()
