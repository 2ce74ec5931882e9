"""Usage, logs and what the host can do."""

import os
import time

import pytest

import containers
from containers import refused
from gantry import Bus, LXC_PATH, until


@pytest.fixture(scope="module")
def web():
    with containers.shared("web") as container:
        yield container


def of(samples, name):
    """The values of one container in each sample."""
    return [entry for _at, entries in samples for entry in entries if name in map(str, entry.values())]


def test_samples_come_at_the_interval_and_count_what_is_used(bus, web):
    with bus.signals("Session", "Sample") as seen:
        session = bus.manager("WatchUsage", "(ua{sv})", 100, {})
        begun = time.monotonic()
        until(lambda: len(seen) >= 5, pump=True)
        assert time.monotonic() - begun > 0.3
        web.execute("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
        count = len(seen)
        until(lambda: len(seen) >= count + 2, pump=True)
        samples = [values for at, _m, values in seen if at == session]
    times = [at for at, _ in samples]
    assert times == sorted(times) and len(set(times)) == len(times)
    entries = of(samples, "web")
    assert entries[0]["memory"] > 0 and entries[0]["pids"] >= 1
    assert entries[-1]["cpu_ns"] - entries[0]["cpu_ns"] > 10_000_000
    bus.call(session, "Session", "Close")
    until(lambda: session not in bus.objects())


def test_samples_are_for_the_one_who_asked_and_end_with_them(bus, web):
    other = Bus()
    with bus.signals("Session", "Sample") as seen:
        session = other.manager("WatchUsage", "(ua{sv})", 100, {})
        end = time.monotonic() + 0.5
        until(lambda: time.monotonic() > end, pump=True)
        assert seen == []
    assert session in bus.objects()
    other.close()
    until(lambda: session not in bus.objects())


def test_a_container_that_starts_meanwhile_appears_in_the_samples(bus):
    with bus.signals("Session", "Sample") as seen:
        session = bus.manager("WatchUsage", "(ua{sv})", 100, {})
        until(lambda: seen, pump=True)
        bus.create("box", template="busybox", start=True)
        until(lambda: of([values for _a, _m, values in seen], "box"), pump=True)
    bus.call(session, "Session", "Close")


@pytest.mark.parametrize("interval", [0, 1])
def test_an_interval_that_would_flood_is_refused_or_slowed(bus, interval):
    with bus.signals("Session", "Sample") as seen:
        try:
            session = bus.manager("WatchUsage", "(ua{sv})", interval, {})
        except Exception as error:
            assert error.name == "InvalidArgument"
            return
        end = time.monotonic() + 0.5
        until(lambda: time.monotonic() > end, pump=True)
        assert len(seen) < 60
        bus.call(session, "Session", "Close")


def test_the_log_of_the_container_can_be_read(web):
    with os.fdopen(web.call("ReadLog", "(sa{sv})", "container", {})) as log:
        log.read()
    with refused("InvalidArgument"):
        web.call("ReadLog", "(sa{sv})", "../../etc/shadow", {})


def test_a_log_is_given_for_reading_only(web):
    fd = web.call("ReadLog", "(sa{sv})", "container", {})
    try:
        with pytest.raises(OSError):
            os.write(fd, b"x")
    finally:
        os.close(fd)


def test_the_host_is_checked(bus):
    findings = bus.manager("CheckHost")
    assert findings
    for topic, item, finding, _ok in findings:
        assert topic and item and finding
    text = " ".join(" ".join(map(str, finding)) for finding in findings).lower()
    for word in ("namespace", "cgroup"):
        assert word in text
    assert [1 for *_rest, ok in findings if ok]


def test_the_manager_says_what_it_is(bus):
    assert bus.get("/io/gantry/Gantry1", "Manager", "LxcPath") == LXC_PATH
    assert bus.get("/io/gantry/Gantry1", "Manager", "Version")
    assert isinstance(bus.get("/io/gantry/Gantry1", "Manager", "Features"), list)


def test_host_interfaces_are_listed(bus):
    with containers.bridge("br-test"):
        found = [dict(entry) for entry in bus.manager("ListHostInterfaces")]
    assert [entry for entry in found if entry.get("name") == "br-test"], found
