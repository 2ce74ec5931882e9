"""Making containers from the embedded busybox template."""

import os
import stat

import pytest

import containers
from containers import config_of, refused
from gantry import GLib, Job, LXC_PATH, options, run, until


@pytest.fixture(scope="module")
def web():
    with containers.shared("web") as container:
        yield container


def id_map(pid):
    with open(f"/proc/{pid}/uid_map") as file:
        return [tuple(map(int, line.split())) for line in file]


def test_a_new_container_is_there_stopped_and_lists_itself(bus):
    box = bus.create("box", template="busybox")
    assert bus.list()["box"] == "STOPPED"
    assert box.get("InitPid") == 0
    assert (box.get("Name"), box.get("Owner"), box.get("Backend")) == ("box", "system", "dir")
    assert bus.manager("GetContainer", "(s)", "box") == box.path
    assert bus.manager("GetContainer", "(s)", "system/box") == box.path


def test_stock_lxc_knows_a_new_container(bus):
    bus.create("box", template="busybox")
    assert "box" in run("lxc-ls", "-1").stdout.split()
    assert "STOPPED" in run("lxc-info", "-n", "box", "-s").stdout


def test_start_option_starts_it(web):
    assert web.state == "RUNNING"
    assert web.get("InitPid") > 0


def test_containers_are_id_mapped_unless_asked_otherwise(web):
    assert web.get("Privileged") is False
    (inside, outside, count), = id_map(web.get("InitPid"))
    assert inside == 0 and outside >= 65536 and count == 65536
    rootfs = os.stat(f"{LXC_PATH}/web/rootfs")
    assert (rootfs.st_uid, rootfs.st_gid) == (outside, outside)
    assert {os.lstat(os.path.join(at, name)).st_uid for at, _d, files in os.walk(f"{LXC_PATH}/web/rootfs")
            for name in files} == {outside}


def test_ranges_of_two_containers_are_disjoint(bus, web):
    box = bus.create("box", template="busybox", start=True)
    ranges = sorted(id_map(c.get("InitPid"))[0][1:] for c in (web, box))
    assert ranges[0][0] + ranges[0][1] <= ranges[1][0]
    with open("/etc/subuid") as file:
        for line in file:
            user, first, count = line.strip().split(":")
            for start, length in ranges:
                assert user == "root" or start + length <= int(first) or int(first) + int(count) <= start


def test_ranges_in_configs_of_stopped_and_stock_containers_are_avoided(bus):
    containers.write_container("taken", f"lxc.idmap = u 0 1000000 65536\nlxc.idmap = g 0 1000000 65536\n"
                                        f"lxc.rootfs.path = dir:{LXC_PATH}/taken/rootfs\n")
    box = bus.create("box", template="busybox", start=True)
    outside = id_map(box.get("InitPid"))[0][1]
    assert not 1000000 - 65536 < outside < 1065536


def test_roots_own_subordinate_range_is_used_where_there_is_one(bus):
    before = {}
    for path in ("/etc/subuid", "/etc/subgid"):
        with open(path) as file:
            before[path] = file.read()
        with open(path, "w") as file:
            file.writelines(line for line in before[path].splitlines(True) if not line.startswith("root:"))
            file.write("root:5000000:655360\n")
    try:
        box = bus.create("box", template="busybox", start=True)
        assert 5000000 <= id_map(box.get("InitPid"))[0][1] <= 5655360 - 65536
    finally:
        for path, text in before.items():
            with open(path, "w") as file:
                file.write(text)


def test_a_privileged_container_has_no_map(bus):
    box = bus.create("box", template="busybox", privileged=True, start=True)
    assert box.get("Privileged") is True
    assert id_map(box.get("InitPid")) == [(0, 0, 4294967295)]
    assert os.stat(f"{LXC_PATH}/box/rootfs").st_uid == 0
    assert box.execute("id", "-u")[1] == "0\n"


def test_the_template_brings_init_getty_login_dhcp_and_a_root_account(web):
    for applet in ("init", "getty", "udhcpc", "login"):
        assert web.execute("sh", "-c", f"command -v {applet}")[0] == 0, applet
    status, text, _ = web.execute("cat", "/etc/passwd")
    assert status == 0 and text.startswith("root:")
    status, text, _ = web.execute("hostname")
    assert text.strip() == "web"


def test_all_applets_of_busybox_are_linked(web):
    listed = set(run("/bin/busybox", "--list").stdout.split()) - {"busybox", "linuxrc"}
    _, text, _ = web.execute("sh", "-c", "ls /bin /sbin /usr/bin /usr/sbin 2>/dev/null")
    assert listed <= set(text.split())


def test_config_begins_with_the_defaults_and_the_lines_given(bus):
    box = bus.create("box", template="busybox", config=["lxc.start.auto = 1", "lxc.group = a b"])
    text = config_of("box").decode()
    assert "lxc.net.0.type = empty" in text
    assert "lxc.start.auto = 1" in text
    assert box.get("Autostart") is True
    assert box.get("Groups") == ["a", "b"]


def test_random_digits_of_a_default_mac_are_drawn_at_creation(bus):
    with open("/etc/lxc/default.conf") as file:
        before = file.read()
    try:
        with open("/etc/lxc/default.conf", "w") as file:
            file.write("lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n")
        macs = {bus.create(name, template="busybox").call("GetConfigItem", "(s)", "lxc.net.0.hwaddr")[0]
                for name in ("one", "two")}
    finally:
        with open("/etc/lxc/default.conf", "w") as file:
            file.write(before)
    assert len(macs) == 2
    for mac in macs:
        assert mac.startswith("00:16:3e:") and "x" not in mac, mac
        assert mac in "".join(config_of(name).decode() for name in ("one", "two"))


def test_folder_and_config_are_closed_to_others(bus):
    bus.create("box", template="busybox")
    folder, config = os.stat(f"{LXC_PATH}/box"), os.stat(f"{LXC_PATH}/box/config")
    assert not stat.S_IMODE(folder.st_mode) & 0o007
    assert not stat.S_IMODE(config.st_mode) & 0o022 and config.st_uid == 0
    assert not os.path.exists(f"{LXC_PATH}/box/partial")


def test_a_job_tells_how_it_goes_and_how_it_ended(bus):
    with bus.signals("Job", "Finished") as finished:
        path = bus.manager("CreateContainer", "(sa{sv})", "box", options(template="busybox"))
        job = Job(bus, path)
        assert job.wait() == "done"
        until(lambda: [v for at, _m, v in finished if at == path] == [("done",)], pump=True)
    assert job.get("State") == "done"
    assert job.get("StartedBy") == 0
    assert job.get("Operation")
    assert job.get("Progress") == 1.0
    assert bus.container("box").path in job.get("Objects") or "box" in str(job.get("Objects"))


@pytest.mark.parametrize("more, error", [
    ({"template": "nonsense"}, "InvalidArgument"),
    ({"template": "busybox", "backend": "nonsense"}, "InvalidArgument"),
    ({"template": "busybox", "no_such_option": "x"}, "InvalidArgument"),
    ({"template": "busybox", "owner": "nobody"}, "InvalidArgument"),
    ({"template": "busybox", "start": "yes"}, "InvalidArgument"),
    ({"template": "busybox", "config": ["lxc.nonsense = 1"]}, "InvalidArgument"),
    ({"template": "local"}, "InvalidArgument"),
])
def test_a_request_that_makes_no_sense_is_refused_and_makes_nothing(bus, more, error):
    before = os.listdir(LXC_PATH)
    with refused(error):
        bus.create("box", **more)
    assert os.listdir(LXC_PATH) == before


def test_creating_a_name_that_is_there_changes_nothing(bus, web):
    before = containers.tree(f"{LXC_PATH}/web")
    with refused("Exists") as caught:
        bus.create("web", template="busybox")
    assert "web" in caught[0].message
    before_, after = (dict(t) for t in (before, containers.tree(f"{LXC_PATH}/web")))
    assert before_ == after
    assert web.state == "RUNNING"


def test_a_folder_without_a_config_keeps_its_name(bus):
    os.mkdir(f"{LXC_PATH}/box")
    try:
        with refused("Exists"):
            bus.create("box", template="busybox")
        assert os.listdir(f"{LXC_PATH}/box") == []
    finally:
        os.rmdir(f"{LXC_PATH}/box")


def test_two_creations_of_one_name_give_one_container(bus):
    jobs, errors = [], []
    for _ in range(4):
        try:
            jobs.append(Job(bus, bus.manager("CreateContainer", "(sa{sv})", "box", options(template="busybox"))))
        except Exception as error:
            errors.append(error.name)
    states = [job.wait() for job in jobs]
    errors += [job.get("ErrorName").rpartition(".")[2] for job, state in zip(jobs, states) if state == "failed"]
    assert states.count("done") == 1
    assert set(errors) <= {"Exists", "Busy"}, errors


def test_options_of_the_wrong_type_are_refused(bus):
    with refused("InvalidArgument"):
        bus.create("box", template=GLib.Variant("i", 1))
