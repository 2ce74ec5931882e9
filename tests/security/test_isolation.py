"""What a container's root may do. Numbers in names are items of the security checklist."""

import os
import time

import pytest

import containers
from gantry import LXC_PATH, run, until

TEMPLATE_DROPS = {"sys_module", "mac_admin", "mac_override", "sys_time"}


@pytest.fixture(scope="module")
def mapped():
    with containers.shared("mapped") as box:
        yield box


@pytest.fixture(scope="module")
def privileged():
    with containers.shared("privileged", privileged=True) as box:
        yield box


def test_16_root_inside_is_nobody_outside(mapped):
    uids = containers.status_of(mapped.get("InitPid"), "Uid").split()
    assert all(int(uid) >= 65536 for uid in uids)
    with open("/etc/subuid") as file:
        for line in file:
            _user, first, count = line.strip().split(":")
            assert not int(first) <= int(uids[0]) < int(first) + int(count) or line.startswith("root:")


def test_16_a_file_with_set_user_id_made_inside_is_harmless_outside(mapped):
    mapped.execute("sh", "-c", "cp /bin/busybox /tmp/su; chmod 4755 /tmp/su")
    info = os.stat(f"{LXC_PATH}/mapped/rootfs/tmp/su")
    assert info.st_uid >= 65536
    assert run(f"{LXC_PATH}/mapped/rootfs/tmp/su", "id", user="alice", check=False).returncode != 0


def test_16_device_nodes_cannot_be_made_in_a_mapped_container(mapped):
    assert mapped.execute("mknod", "/tmp/disk", "b", "8", "0")[0] != 0


def test_18_the_templates_list_of_capabilities_is_dropped(mapped, privileged):
    for box in (mapped, privileged):
        dropped = set(" ".join(box.call("GetConfigItem", "(s)", "lxc.cap.drop")).split())
        assert TEMPLATE_DROPS <= dropped
        for which in ("CapBnd", "CapEff", "CapPrm", "CapInh"):
            assert not containers.capabilities(box.get("InitPid"), which) & dropped, which
        assert "chown" in containers.capabilities(box.get("InitPid"))


def test_18_capabilities_of_a_keep_list_are_all_there_are(bus):
    box = bus.create("box", template="busybox", privileged=True, start=True,
                     config=["lxc.cap.drop =", "lxc.cap.keep = chown setuid setgid kill sys_boot"])
    assert containers.capabilities(box.get("InitPid")) == {"chown", "setuid", "setgid", "kill", "sys_boot"}
    box.kill()
    containers.append_config("box", "lxc.cap.keep =", "lxc.cap.keep = none")
    box.start()
    assert containers.capabilities(box.get("InitPid")) == set()


def test_18_the_clock_of_the_host_cannot_be_set(privileged):
    assert "permitted" in privileged.execute("date", "-s", "2001-01-01")[2]
    assert time.time() > 1_700_000_000


def test_18_devices_are_those_allowed(bus):
    """Version 1 of the device controller takes the lines as they stand, version 2 a program."""
    lines = [f"lxc.cgroup{version}.devices.{line}" for version in ("", "2")
             for line in ("deny = a", "allow = c 1:3 rwm", "allow = c 1:5 r", "allow = c 5:* rwm", "allow = c 136:* rwm",
                          "allow = c 1:1 m")]
    box = bus.create("box", template="busybox", privileged=True, config=lines, start=True)
    status, text, _ = box.execute("sh", "-c", """
        echo x > /dev/null && echo null
        head -c1 /dev/zero > /dev/null && echo zero
        (echo x > /dev/zero) 2> /dev/null || echo 'zero not written'
        mknod /tmp/mem c 1 1 && echo made
        head -c1 /tmp/mem > /dev/null 2>&1 || echo 'mem not read'
        mknod /tmp/disk b 8 0 2> /dev/null || echo 'disk not made'
    """)
    assert text.splitlines() == ["null", "zero", "zero not written", "made", "mem not read", "disk not made"]


def test_18_limits_of_the_config_hold(bus):
    box = bus.create("box", template="busybox", start=True,
                     config=["lxc.cgroup.pids.max = 20", "lxc.cgroup2.pids.max = 20"])
    status, _, errors = box.execute("sh", "-c", "for i in $(seq 40); do sleep 1 & done; wait")
    assert "fork" in errors
    box.kill()
    containers.append_config("box", "lxc.cgroup.memory.limit_in_bytes = nonsense")
    with containers.refused("StartFailed", "InvalidConfig") as caught:
        box.start()
    assert "memory.limit_in_bytes" in caught[0].message


def test_the_config_cannot_be_written_or_read_from_inside(mapped, privileged):
    for box in (mapped, privileged):
        before = containers.config_of(box.name)
        box.execute("sh", "-c", f"""
            for path in /config /../config {LXC_PATH}/{box.name}/config /proc/1/cwd/../config; do
                echo 'lxc.hook.pre-start = /evil' >> $path
            done; true""")
        assert containers.config_of(box.name) == before
        info = os.stat(containers.config_path(box.name))
        assert info.st_uid == 0 and not info.st_mode & 0o022


def test_the_folder_of_a_mapped_container_is_not_its_roots(mapped):
    """Who owns the folder could replace the config in it, after a way out."""
    info = os.stat(f"{LXC_PATH}/mapped")
    assert info.st_uid == 0 or not info.st_mode & 0o200


@pytest.fixture
def console_for_alice():
    """A rule of polkit: alice may use consoles, and nothing else."""
    path = "/etc/polkit-1/rules.d/10-security.rules"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write('polkit.addRule(function (action, subject) {'
                   ' if (action.id == "io.gantry.console" && subject.user == "alice") return polkit.Result.YES; });\n')
    os.chmod(path, 0o644)
    os.chmod(os.path.dirname(path), 0o755)
    yield
    os.unlink(path)


def execute_as_alice(box, *options):
    return run("busctl", "--system", "--allow-interactive-authorization=false", "call", "io.gantry.Gantry1", box.path,
               "io.gantry.Gantry1.Container", "Execute", "asa{sv}", "1", "true", str(len(options) // 3), *options,
               user="alice", check=False, cwd="/")


def test_17_entering_what_shares_the_hosts_users_is_the_unsafe_action(mapped, privileged, console_for_alice):
    until(lambda: execute_as_alice(mapped).returncode == 0, 5, step=0.1)
    for refused in (execute_as_alice(privileged),
                    execute_as_alice(mapped, "elevated", "b", "true"),
                    run("busctl", "--system", "--allow-interactive-authorization=false", "call", "io.gantry.Gantry1",
                        mapped.path, "io.gantry.Gantry1.Container", "Execute", "asa{sv}", "1", "true", "1",
                        "namespaces", "as", "1", "NETWORK", user="alice", check=False, cwd="/")):
        assert refused.returncode != 0
        assert "uthoriz" in refused.stderr, refused.stderr
