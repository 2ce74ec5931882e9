"""CheckHost: what the host can do is judged by what is there, and what is not has a remedy."""

import contextlib
import os
import re

import pytest
from gantry import run, until

# Sections and lines of lxc-checkconfig, and the items that say the same here.
ORACLE = {
    "Utsname namespace": "namespace uts",
    "Ipc namespace": "namespace ipc",
    "Pid namespace": "namespace pid",
    "User namespace": "namespace user",
    "Network namespace": "namespace net",
    "Cgroup namespace": "namespace cgroup",
    "Veth pair device": "veth",
    "Macvlan": "macvlan",
    "Vlan": "vlan",
    "Bridges": "bridge",
    "CONFIG_NETFILTER_XT_TARGET_CHECKSUM": "iptables CHECKSUM",
    "CONFIG_NETFILTER_XT_MATCH_COMMENT": "iptables comment",
    "FUSE (for use with lxcfs)": "fuse",
    "Cgroup memory controller": "memory",
    "Cgroup cpuset": "cpuset",
}


def check(bus):
    """Item to (finding, whether all is well)."""
    return {item: (finding, ok) for _topic, item, finding, ok in bus.manager("CheckHost")}


@contextlib.contextmanager
def covered(path, content=""):
    """Another content at a path, while the block lasts; by default none at all."""
    cover = f"/run/cover-{os.path.basename(path)}"
    with open(cover, "w") as file:
        file.write(content)
    os.chmod(cover, 0o755)
    run("mount", "--bind", cover, path)
    try:
        yield
    finally:
        run("umount", path)
        os.unlink(cover)


@contextlib.contextmanager
def kernel_setting(path, value):
    with open(path) as file:
        before = file.read()
    with open(path, "w") as file:
        file.write(value)
    try:
        yield
    finally:
        with open(path, "w") as file:
            file.write(before)


def assert_remedy(bus, item, *words):
    finding, ok = check(bus)[item]
    assert not ok, f"{item}: {finding}"
    for word in words:
        assert word in finding


def test_every_topic_is_looked_at_and_every_problem_is_a_sentence(bus):
    findings = bus.manager("CheckHost")
    assert {topic for topic, *_ in findings} == {
        "kernel", "cgroups", "ids", "tools", "network", "services", "storage", "security", "extras"}
    items = [(topic, item) for topic, item, *_ in findings]
    assert len(items) == len(set(items))
    for topic, item, finding, ok in findings:
        assert re.fullmatch(r"\S.*[.”]", finding), f"{item}: {finding}"
        # What is missing and what to do about it.
        assert ok or finding.count(".") > 1 or "“" in finding, f"{item}: {finding}"


def test_stock_lxc_finds_the_same_in_the_kernel(bus):
    stock = run("lxc-checkconfig", check=False).stdout
    findings, compared = check(bus), 0
    for line in stock.splitlines():
        name, _, verdict = line.partition(": ")
        if name in ORACLE and (word := re.match("enabled|missing|required", verdict)):
            finding, ok = findings[ORACLE[name]]
            assert ok == (word[0] == "enabled"), f"{line} — {finding}"
            compared += 1
    if not compared:
        pytest.skip("the kernel's configuration cannot be read here")
    assert compared > 10, stock


@pytest.mark.parametrize("tool, package", [
    ("/usr/bin/xz", "xz-utils"), ("/usr/sbin/dnsmasq", "dnsmasq-base"), ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/busybox", "busybox-static"), ("/usr/bin/sqv", "sqv"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"), ("/usr/bin/newuidmap", "uidmap"),
])
def test_a_missing_tool_names_its_package(bus, tool, package):
    item = os.path.basename(tool)
    assert check(bus)[item][1]
    with covered(tool):
        assert_remedy(bus, item, f"Run “apt install {package}”")
    assert check(bus)[item][1]


def test_a_mapper_without_its_rights_is_found(bus):
    mode = os.stat("/usr/bin/newuidmap").st_mode & 0o7777
    # A copy of its own: the folder is the build root's.
    with open("/usr/bin/newuidmap", "rb") as file:
        program = file.read()
    with open("/run/newuidmap", "wb") as file:
        file.write(program)
    os.chmod("/run/newuidmap", mode & 0o755)
    run("mount", "--bind", "/run/newuidmap", "/usr/bin/newuidmap")
    try:
        assert_remedy(bus, "newuidmap", "chmod u+s")
    finally:
        run("umount", "/usr/bin/newuidmap")


def test_forwarding_is_found_off_and_on(bus):
    path = "/proc/sys/net/ipv4/ip_forward"
    with kernel_setting(path, "0"):
        assert_remedy(bus, "IPv4 forwarding", "sysctl -w net.ipv4.ip_forward=1")
    with kernel_setting(path, "1"):
        assert check(bus)["IPv4 forwarding"][1]


def test_a_closed_limit_of_namespaces_is_found(bus):
    with covered("/proc/sys/user/max_user_namespaces", "0\n"):
        assert_remedy(bus, "namespace limits", "sysctl -w user.max_user_namespaces=10000")
    assert check(bus)["namespace limits"][1]


def test_the_bridge_and_its_server_are_found_once_they_run(bus):
    assert check(bus)["lxcbr0"] == ("Comes up when a container that is wired to it starts.", True)
    with covered("/etc/default/lxc-net", 'USE_LXC_BRIDGE="false"\n'):
        assert_remedy(bus, "lxcbr0", "USE_LXC_BRIDGE")
    run("/usr/libexec/lxc/lxc-net", "start")
    try:
        findings = check(bus)
        finding, ok = findings["lxcbr0"]
        assert ok and finding.startswith("Up, with 10.0.3.1/24")
        assert findings["DHCP and DNS"][1]
        with open("/run/lxc/dnsmasq.pid") as file:
            pid = int(file.read())
        os.kill(pid, 9)
        until(lambda: not os.path.exists(f"/proc/{pid}"))
        assert_remedy(bus, "DHCP and DNS", "systemctl restart lxc-net")
    finally:
        run("/usr/libexec/lxc/lxc-net", "stop", check=False)


def test_defaults_that_name_no_bridge_are_found(bus):
    with covered("/etc/lxc/default.conf", "lxc.net.0.type = veth\nlxc.net.0.link = br-nowhere\n"):
        assert_remedy(bus, "new containers", "br-nowhere")
    assert check(bus)["new containers"][1]


def test_apparmor_is_found_where_it_is_on(bus):
    if os.path.exists("/sys/module/apparmor"):
        pytest.skip("this kernel has AppArmor: the test for one without it pretends")
    assert_remedy(bus, "AppArmor", "CONFIG_SECURITY_APPARMOR")
    run("mount", "-t", "tmpfs", "tmpfs", "/sys/module")
    try:
        os.makedirs("/sys/module/apparmor/parameters")
        for value, ok in (("Y\n", True), ("N\n", False)):
            with open("/sys/module/apparmor/parameters/enabled", "w") as file:
                file.write(value)
            assert check(bus)["AppArmor"][1] == ok
        assert_remedy(bus, "AppArmor", "apparmor=1")
    finally:
        run("umount", "/sys/module")


def test_a_closed_folder_on_the_way_is_found(bus):
    os.chmod("/var/lib/lxc", 0o700)
    try:
        assert_remedy(bus, "permissions", "chmod o+x /var/lib/lxc")
    finally:
        os.chmod("/var/lib/lxc", 0o755)
    assert check(bus)["permissions"][1]


def test_a_mount_that_cannot_hold_containers_is_found(bus):
    run("mount", "-t", "tmpfs", "-o", "size=4m,noexec,nodev,mode=755", "tmpfs", "/var/lib/lxc")
    try:
        assert check(bus)["file system"] == ("It is tmpfs.", True)
        assert_remedy(bus, "mount options", "remount,exec,dev")
        with open("/var/lib/lxc/filler", "wb") as file:
            with contextlib.suppress(OSError):
                file.write(bytes(4 << 20))
        assert_remedy(bus, "/var/lib/lxc", "Free some space")
        run("mount", "-o", "remount,ro", "/var/lib/lxc")
        assert_remedy(bus, "/var/lib/lxc", "remount,rw")
    finally:
        run("umount", "/var/lib/lxc")


def test_a_btrfs_shares_blocks_between_copies(bus):
    run("truncate", "-s", "128M", "/run/btrfs.img")
    try:
        run("mkfs.btrfs", "-q", "/run/btrfs.img")
        run("mount", "-o", "loop", "/run/btrfs.img", "/var/lib/lxc")
        try:
            findings = check(bus)
            assert findings["file system"] == ("It is btrfs.", True)
            assert findings["reflinks"][1]
        finally:
            run("umount", "/var/lib/lxc")
    finally:
        os.unlink("/run/btrfs.img")
