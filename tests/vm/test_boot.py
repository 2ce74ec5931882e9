"""The host starts and stops, and its containers with it: in LXC's order, with delays
and groups, as units of systemd that the helper can do without.
"""

import json

import pytest

from machine import Machine

# Name to config: `other` is of another group, `never` is not marked.
CONTAINERS = {
    "first": ["lxc.start.auto = 1", "lxc.group = onboot", "lxc.start.order = -1", "lxc.start.delay = 5"],
    "second": ["lxc.start.auto = 1", "lxc.group = onboot web", "lxc.start.order = 5"],
    "alone": ["lxc.start.auto = 1"],
    "other": ["lxc.start.auto = 1", "lxc.group = web"],
    "never": ["lxc.group = onboot"],
}
AT_BOOT = ["first", "second", "alone"]

# What every script begins with.
WORDS = """
manager='/io/gantry/Gantry1 io.gantry.Gantry1.Manager'
gantry() { busctl --timeout=300 call io.gantry.Gantry1 "$@"; }
job() {
    local path
    path=$(gantry $manager "$@" | cut -d '"' -f 2)
    gantry "$path" io.gantry.Gantry1.Job Wait x 300000 | grep -q '"done"' ||
        { busctl get-property io.gantry.Gantry1 "$path" io.gantry.Gantry1.Job ErrorMessage; return 1; }
}
states() { gantry $manager ListContainers 'a{sv}' 0; }
"""


@pytest.fixture(scope="module")
def machine():
    with Machine(keep=True) as machine:
        script = ["mkdir -p /var/log/journal; systemctl restart systemd-journald",
                  "systemctl enable --quiet gantry-autostart"]
        for name, lines in CONTAINERS.items():
            quoted = " ".join(f"'{line}'" for line in lines)
            script += [f"job CreateContainer 'sa{{sv}}' {name} 2 template s busybox config as {len(lines)} {quoted}",
                       # What a clean shutdown leaves behind.
                       f"echo '::shutdown:/bin/sh -c \"echo halted >>/halted\"' >>/var/lib/lxc/{name}/rootfs/etc/inittab"]
        machine.run(WORDS + "\n".join(script), 600)
        yield machine


def entries(machine, *arguments):
    output = machine.run(f"journalctl --quiet --no-pager --output=json {' '.join(arguments)}")
    return [json.loads(line) for line in output.splitlines()]


def turns(machine, boot, word):
    """The containers that had their turn, in order, as the journal's fields have it."""
    return [entry for entry in entries(machine, f"-b {boot}", "-t gantry-helper") if word in entry["MESSAGE"]]


def test_a_container_is_a_unit_with_its_groups_below(machine):
    # It was started when it was installed and there was nothing to start.
    machine.run("systemctl restart gantry-autostart")
    shown = dict(line.split("=", 1) for line in machine.run(
        "systemctl show gantry-container-first -p ActiveState,Slice,Delegate,ControlGroup,MainPID,Description").splitlines())
    assert (shown["ActiveState"], shown["Slice"], shown["Delegate"]) == ("active", "gantry.slice", "yes")
    group = shown["ControlGroup"]
    init = machine.run("pgrep --parent " + shown["MainPID"]).split()[0]
    assert machine.run(f"cat /proc/{shown['MainPID']}/cgroup").strip() == f"0::{group}/lxc.monitor.first"
    assert machine.run(f"cat /proc/{init}/cgroup").strip() == f"0::{group}/lxc.payload.first"
    assert {"memory", "pids"} <= set(machine.run(f"cat /sys/fs/cgroup{group}/cgroup.subtree_control").split())
    assert machine.run(f"readlink /proc/{shown['MainPID']}/exe").startswith("/memfd:")
    said = [entry["MESSAGE"] for entry in entries(machine, "CONTAINER=first", "-t gantry-monitor")]
    assert any(f"process {init} as init" in line for line in said), said


def test_the_helper_is_killed_under_load_and_costs_nothing(machine):
    machine.run(WORDS + """
        before=$(systemctl show -P MainPID gantry-container-first gantry-container-second)
        # Some work at once, and the helper dies in the midst of it.
        for round in 1 2 3; do
            gantry $manager StartContainer 'sa{sv}' never 0 >/dev/null 2>&1 &
            states >/dev/null 2>&1 &
            kill -KILL "$(systemctl show -P MainPID gantry-helper)" || true
            wait
            states | grep -q '"first" "system" "RUNNING"'
            # Started or not, but nothing between.
            states | grep -Eq '"never" "system" "(RUNNING|STOPPED)"'
            gantry $manager KillContainer 'sa{sv}' never 0 >/dev/null 2>&1 || true
        done
        states | grep -q '"never" "system" "STOPPED"'
        test "$before" = "$(systemctl show -P MainPID gantry-container-first gantry-container-second)"
        systemctl restart gantry-helper
        test "$before" = "$(systemctl show -P MainPID gantry-container-first gantry-container-second)"
        gantry /io/gantry/Gantry1/container/system/first io.gantry.Gantry1.Container Execute 'asa{sv}' 1 true 0 >/dev/null
    """, 600)


def test_systemctl_stop_shuts_a_container_down(machine):
    machine.run(WORDS + """
        gantry $manager StartContainer 'sa{sv}' other 0
        rm -f /var/lib/lxc/other/rootfs/halted
        systemctl stop gantry-container-other
        test "$(cat /var/lib/lxc/other/rootfs/halted)" = halted
        states | grep -q '"other" "system" "STOPPED"'
        test -z "$(systemctl list-units --all --plain --no-legend gantry-container-other.service)"
    """, 600)


def test_a_monitor_that_is_killed_takes_its_container_along_and_leaves_nothing(machine):
    machine.run(WORDS + """
        gantry $manager StartContainer 'sa{sv}' other 0
        kill -KILL "$(systemctl show -P MainPID gantry-container-other)"
        for try in $(seq 600); do
            [ -e /sys/fs/cgroup/gantry.slice/gantry-container-other.service ] || break
            sleep 0.1
        done
        test ! -e /sys/fs/cgroup/gantry.slice/gantry-container-other.service
        gantry $manager StartContainer 'sa{sv}' other 0
        states | grep -q '"other" "system" "RUNNING"'
        gantry $manager KillContainer 'sa{sv}' other 0
    """, 600)


def test_marked_containers_start_with_the_host_in_order_with_their_delays(machine):
    machine.reboot()
    # Waits for the end of what is starting.
    machine.run("systemctl start gantry-autostart")
    started = turns(machine, 0, "was started in its turn")
    assert [entry["CONTAINER"] for entry in started] == AT_BOOT
    assert len({entry["JOB"] for entry in started}) == 1 and started[0]["JOB"].startswith("/io/gantry/Gantry1/job/")
    began = {entry["CONTAINER"]: int(entry["__MONOTONIC_TIMESTAMP"]) for entry in turns(machine, 0, "started in ")
             if "turn" not in entry["MESSAGE"]}
    assert began["second"] - began["first"] > 3_000_000
    states = machine.run(WORDS + "states")
    assert [states.count(f'"{name}" "system" "RUNNING"') for name in CONTAINERS] == [1, 1, 1, 0, 0]


def test_power_off_shuts_them_down_in_the_opposite_order(machine):
    machine.run("rm -f /var/lib/lxc/*/rootfs/halted")
    machine.reboot()
    ended = [entry["CONTAINER"] for entry in turns(machine, -1, "was shut down in its turn")]
    assert ended == ["second", "alone", "first"]
    for name in AT_BOOT:
        assert machine.run(f"cat /var/lib/lxc/{name}/rootfs/halted") == "halted\n"
