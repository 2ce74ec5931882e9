"""Stock LXC installed beside Gantry, both services enabled: they share the bridge, each
container starts once with the host, and all end cleanly with it, whoever runs them.
"""

import pytest

from machine import Machine
from test_boot import WORDS

# LXC's default.conf puts each on the bridge.
CONTAINERS = {
    "alone": ["lxc.start.auto = 1"],
    "early": ["lxc.start.auto = 1", "lxc.group = onboot", "lxc.start.order = -1"],
    "site": ["lxc.start.auto = 1", "lxc.group = site"],
    "never": ["lxc.start.order = 9"],
}


@pytest.fixture(scope="module")
def machine():
    with Machine(keep=True) as machine:
        machine.run("dpkg -i /var/lib/gantry-test/debs/*.deb", 600)
        script = ["mkdir -p /var/log/journal; systemctl restart systemd-journald",
                  # The emulated machine needs longer than the five seconds that are usual.
                  "sed -i s/^SHUTDOWNDELAY=.*/SHUTDOWNDELAY=100/ /etc/default/lxc",
                  "systemctl is-enabled lxc lxc-net gantry-autostart"]
        for name, lines in CONTAINERS.items():
            quoted = " ".join(f"'{line}'" for line in lines)
            script += [f"job CreateContainer 'sa{{sv}}' {name} 3 template s busybox privileged b true config as {len(lines)} {quoted}",
                       f"""printf '%s\\n' '::sysinit:/bin/sh -c "echo booted >>/told"' '::shutdown:/bin/sh -c "echo halted >>/told"' \\
                           >>/var/lib/lxc/{name}/rootfs/etc/inittab"""]
        machine.run(WORDS + "\n".join(script), 600)
        yield machine


def noted(machine, *wanted):
    """Waits until each of these (`NAME WORD...`) is what a container has noted on booting
    and halting since this was last called, and nothing else is."""
    lines = "\n".join(sorted(wanted))
    machine.run(f"""cd /var/lib/lxc
        noted() {{ for name in {' '.join(sorted(CONTAINERS))}; do
            [ ! -e $name/rootfs/told ] || echo $name $(cat $name/rootfs/told); done; }}
        for try in $(seq 300); do
            [ "$(noted)" != "{lines}" ] || {{ rm -f */rootfs/told; exit 0; }}
            sleep 0.2
        done
        noted; exit 1""")


def running(machine):
    """By Gantry and by LXC, which have to agree."""
    shown = machine.run(WORDS + "states").split('"')
    ours = {name for name, state in zip(shown[1::8], shown[5::8]) if state == "RUNNING"}
    assert ours == set(machine.run("lxc-ls --active").split())
    return ours


def units(machine):
    return set(machine.run("systemctl list-units --plain --no-legend 'gantry-container-*' | cut -d ' ' -f 1").split())


def test_at_boot_each_starts_once(machine):
    machine.reboot()
    machine.run("systemctl start gantry-autostart lxc")
    assert machine.run("systemctl is-failed --quiet lxc lxc-net gantry-autostart || echo well") == "well\n"
    assert running(machine) == {"alone", "early"}
    # LXC's service comes first.
    assert units(machine) == set()
    noted(machine, "alone booted", "early booted")


def test_both_put_containers_on_the_one_bridge(machine):
    machine.run(WORDS + """
        gantry $manager StartContainer 'sa{sv}' never 0
        for name in alone never; do
            for try in $(seq 300); do
                lxc-info --name $name --ips | grep -q 10.0.3. && break
                sleep 0.2
            done
            ping -c 1 -W 20 "$(lxc-info --no-humanize --name $name --ips | head -n 1)"
        done
        test "$(ls /sys/class/net/lxcbr0/brif | wc -l)" = 3
        systemctl restart gantry-helper
        systemctl is-active lxc-net
    """, 600)
    assert units(machine) == {"gantry-container-never.service"}


def test_at_power_off_all_end_cleanly(machine):
    assert running(machine) == {"alone", "early", "never"}
    noted(machine, "never booted")
    machine.reboot()
    # Those that are marked start again.
    noted(machine, "alone halted booted", "early halted booted", "never halted")


def test_the_stop_of_its_service_ends_ours_well(machine):
    """lxc-autostart --all --ignore-auto --shutdown"""
    machine.run(WORDS + "gantry $manager StartContainer 'sa{sv}' never 0")
    noted(machine, "never booted")
    machine.run("systemctl start gantry-autostart; systemctl stop lxc", 600)
    assert running(machine) == set()
    noted(machine, "alone halted", "early halted", "never halted")
    machine.run("for try in $(seq 600); do systemctl --quiet is-active gantry-container-never || break; sleep 0.1; done")
    assert units(machine) == set()
    # It starts none twice, and ours, which is enabled beside it, starts none again.
    machine.run("systemctl start lxc; systemctl restart gantry-autostart", 600)
    assert running(machine) == {"alone", "early"}


def test_what_is_set_for_its_service_counts_for_ours(machine):
    machine.run("systemctl disable lxc; sed -i 's/^BOOTGROUPS=.*/BOOTGROUPS=\"site,onboot\"/' /etc/default/lxc")
    machine.reboot()
    machine.run("systemctl start gantry-autostart")
    assert running(machine) == {"site", "early"}
    assert units(machine) == {"gantry-container-site.service", "gantry-container-early.service"}
    began = machine.run("journalctl --quiet --no-pager -b 0 -t gantry-helper --grep 'started in its turn' -o cat --output-fields=CONTAINER")
    assert began.split() == ["site", "early"]
    # One that cannot end is killed when its time is up.
    machine.run("sed -i s/^SHUTDOWNDELAY=.*/SHUTDOWNDELAY=1/ /etc/default/lxc; sed -i s/^LXC_AUTO=.*/LXC_AUTO=false/ /etc/default/lxc; "
                "kill -STOP $(lxc-info --no-humanize --pid --name early)")
    machine.run("systemctl restart gantry-autostart", 300)
    assert running(machine) == set()
