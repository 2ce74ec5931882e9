"""Reading and changing configuration."""

import os

import pytest

import containers
from containers import config_of, config_path, refused
from gantry import LXC_PATH, run, until

ODD = (
    "# a comment   \n"
    "\n"
    "   lxc.uts.name   =    odd\t\n"
    "not a key of LXC = stays # as it is\n"
    "lxc.group = one\n"
    "#lxc.group = no\n"
    "lxc.group =   two  three\n"
    "lxc.rootfs.path = dir:{path}/odd/rootfs\n"
    "lxc.environment = \"A=quoted \"\n"
    "\tlxc.start.auto=1\n"
    "lxc.net.0.type = empty"
).format(path=LXC_PATH)


@pytest.fixture
def odd(bus):
    containers.write_container("odd", ODD)
    return bus.container("odd")


@pytest.fixture
def box(bus):
    return bus.create("box", template="busybox")


def set_config(container, text, revision):
    container.call("SetConfig", "(sta{sv})", text, revision, {})


def set_item(container, key, *values):
    container.call("SetConfigItem", "(sasa{sv})", key, list(values), {})


def get_item(container, key):
    return container.call("GetConfigItem", "(s)", key)


def test_the_text_is_that_of_the_file_byte_for_byte(odd):
    text, revision = odd.call("GetConfig")
    assert text == ODD
    set_config(odd, text, revision)
    assert config_of("odd").decode() == ODD


def test_setting_writes_exactly_what_was_given_and_keeps_owner_and_mode(odd):
    os.chmod(config_path("odd"), 0o640)
    os.chown(config_path("odd"), 12, 34)
    new = ODD.replace("one", "eins") + "\n# end, without a line's"
    set_config(odd, new, odd.call("GetConfig")[1])
    assert config_of("odd").decode() == new
    info = os.stat(config_path("odd"))
    assert (info.st_mode & 0o777, info.st_uid, info.st_gid) == (0o640, 12, 34)
    assert sorted(os.listdir(f"{LXC_PATH}/odd")) == ["config", "rootfs"]


def test_a_stale_revision_is_a_conflict_and_writes_nothing(odd):
    _, revision = odd.call("GetConfig")
    set_config(odd, ODD + "\n", revision)
    with refused("Conflict"):
        set_config(odd, ODD, revision)
    assert config_of("odd").decode() == ODD + "\n"


def test_a_change_by_an_editor_makes_the_revision_stale(bus, odd):
    _, revision = odd.call("GetConfig")
    assert odd.get("ConfigRevision") == revision
    bus.objects()
    with bus.signals("org.freedesktop.DBus.Properties", "PropertiesChanged", odd.path) as seen:
        containers.append_config("odd", "", "lxc.start.delay = 7")
        until(lambda: [1 for _a, _m, (_i, changed, _g) in seen if changed.get("AutostartDelay") == 7], pump=True)
    assert odd.get("ConfigRevision") != revision
    with refused("Conflict"):
        set_config(odd, ODD, revision)


@pytest.mark.parametrize("line, word", [
    ("lxc.nonsense = 1", "lxc.nonsense"),
    ("lxc.tty.max = many", "lxc.tty.max"),
    ("lxc.uts.name", "lxc.uts.name"),
    ("lxc.cap.drop = nonsense", "lxc.cap.drop"),
    ("lxc.include = /no/such/file.conf", "/no/such/file.conf"),
    ("lxc.idmap = x 0 1 2", "lxc.idmap"),
    ("lxc.autodev = 2", "lxc.autodev"),
    ("lxc.signal.halt = PWR", "lxc.signal.halt"),
    ("lxc.net.0.veth.pair = early", "lxc.net.0.veth.pair"),
    ("lxc.mount.auto = nonsense", "lxc.mount.auto"),
])
def test_a_wrong_text_is_refused_with_line_and_key(odd, line, word):
    text, revision = odd.call("GetConfig")
    with refused("InvalidConfig") as caught:
        set_config(odd, f"# one\n# two\n{line}\n" + text, revision)
    assert word in caught[0].message and "3" in caught[0].message, caught[0]
    assert config_of("odd").decode() == ODD


def test_items_are_read_with_every_value(odd):
    assert get_item(odd, "lxc.uts.name") == ["odd"]
    assert get_item(odd, "lxc.group") == ["one", "two", "three"]
    assert get_item(odd, "lxc.environment") == ["A=quoted "]
    assert get_item(odd, "lxc.start.auto") == ["1"]
    with refused("InvalidArgument"):
        get_item(odd, "lxc.nonsense")


def test_setting_an_item_changes_its_lines_alone(odd):
    set_item(odd, "lxc.uts.name", "even")
    assert get_item(odd, "lxc.uts.name") == ["even"]
    before, after = ODD.splitlines(), config_of("odd").decode().splitlines()
    assert [line for line in before if line not in after] == ["   lxc.uts.name   =    odd\t"]
    assert [line for line in after if line not in before] == ["lxc.uts.name = even"]
    set_item(odd, "lxc.group", "four", "five")
    assert get_item(odd, "lxc.group") == ["four", "five"]
    set_item(odd, "lxc.group")
    assert get_item(odd, "lxc.group") == []
    assert odd.get("Groups") == []
    text = config_of("odd").decode()
    assert "not a key of LXC = stays # as it is" in text and "#lxc.group = no" in text


def test_a_wrong_item_is_refused(odd):
    for key, values in (("lxc.nonsense", ["1"]), ("lxc.tty.max", ["many"]), ("lxc.uts.name", ["a", "b"])):
        with refused("InvalidConfig", "InvalidArgument"):
            set_item(odd, key, *values)
    assert config_of("odd").decode() == ODD


def test_keys_of_the_first_generation_are_read(bus):
    containers.write_container("old", f"lxc.utsname = old\nlxc.rootfs = {LXC_PATH}/old/rootfs\nlxc.tty = 3\n"
                                      "lxc.network.type = empty\nlxc.start.auto = 1\n"
                                      "lxc.id_map = u 0 700000 65536\nlxc.id_map = g 0 700000 65536\n")
    old = bus.container("old")
    assert old.get("Autostart") is True and old.get("Privileged") is False
    assert get_item(old, "lxc.uts.name") == ["old"]
    assert get_item(old, "lxc.tty.max") == ["3"]
    assert get_item(old, "lxc.net.0.type") == ["empty"]


def test_lines_that_end_as_on_windows_are_read_as_by_stock_lxc(bus):
    containers.write_container("crlf", "lxc.uts.name = crlf\r\nlxc.start.auto = 1\r\n\r\n"
                                       f"lxc.rootfs.path = dir:{LXC_PATH}/crlf/rootfs\r\n")
    crlf = bus.container("crlf")
    assert crlf.get("ConfigError") == "" and crlf.get("Autostart") is True
    assert get_item(crlf, "lxc.uts.name") == ["crlf"]


def test_includes_count_and_stay_one_line(bus, tmp_path):
    (tmp_path / "b.conf").write_text("lxc.start.order = 5\n")
    (tmp_path / "a.conf").write_text("lxc.start.auto = 1\n")
    (tmp_path / "c.txt").write_text("lxc.nonsense = 1\n")
    text = f"lxc.include = {tmp_path}/\nlxc.rootfs.path = dir:{LXC_PATH}/inc/rootfs\n"
    containers.write_container("inc", text)
    inc = bus.container("inc")
    assert inc.get("Autostart") is True and inc.get("AutostartOrder") == 5
    set_item(inc, "lxc.start.delay", "3")
    assert config_of("inc").decode() == text + "lxc.start.delay = 3\n"


def test_properties_follow_the_config(odd):
    assert (odd.get("Autostart"), odd.get("Groups")) == (True, ["one", "two", "three"])
    assert odd.get("Architecture") == os.uname().machine or odd.get("Architecture") == ""
    set_item(odd, "lxc.start.order", "12")
    assert odd.get("AutostartOrder") == 12


def test_groups_with_commas_are_taken_apart(bus):
    containers.write_container("gr", f"lxc.group = g1 , g2,g3\nlxc.rootfs.path = dir:{LXC_PATH}/gr/rootfs\n")
    assert bus.container("gr").get("Groups") == ["g1", "g2", "g3"]


def test_what_needs_a_restart_is_said(box):
    box.start()
    assert box.get("NeedsRestart") == []
    set_item(box, "lxc.uts.name", "other")
    set_item(box, "lxc.start.auto", "1")
    assert "lxc.uts.name" in box.get("NeedsRestart")
    assert "lxc.start.auto" not in box.get("NeedsRestart")
    assert box.execute("hostname")[1] == "box\n"
    set_item(box, "lxc.uts.name", "box")
    assert box.get("NeedsRestart") == []
    set_item(box, "lxc.uts.name", "other")
    box.kill()
    assert box.get("NeedsRestart") == []
    box.start()
    assert box.get("NeedsRestart") == []
    assert box.execute("hostname")[1] == "other\n"


def test_defaults_are_read_written_and_used(bus):
    path = "/etc/lxc/default.conf"
    with open(path) as file:
        before = file.read()
    try:
        text, revision = bus.manager("GetDefaults")
        assert text == before
        bus.manager("SetDefaults", "(sta{sv})", text + "lxc.start.order = 9\n", revision, {})
        with open(path) as file:
            assert file.read() == before + "lxc.start.order = 9\n"
        with refused("Conflict"):
            bus.manager("SetDefaults", "(sta{sv})", text, revision, {})
        with refused("InvalidConfig"):
            bus.manager("SetDefaults", "(sta{sv})", "lxc.nonsense = 1\n", bus.manager("GetDefaults")[1], {})
        assert bus.create("box", template="busybox").get("AutostartOrder") == 9
    finally:
        with open(path, "w") as file:
            file.write(before)


def test_without_a_file_the_defaults_are_debians(bus):
    path = "/etc/lxc/default.conf"
    with open(path) as file:
        before = file.read()
    os.unlink(path)
    try:
        text, revision = bus.manager("GetDefaults")
        assert (text, revision) == ("lxc.apparmor.profile = generated\nlxc.apparmor.allow_nesting = 1\n", 0)
        assert text in containers.config_of(bus.create("box", template="busybox").name).decode()
        bus.manager("SetDefaults", "(sta{sv})", text + "lxc.start.order = 9\n", revision, {})
        with open(path) as file:
            assert file.read() == text + "lxc.start.order = 9\n"
    finally:
        with open(path, "w") as file:
            file.write(before)


@pytest.fixture
def without_lxc():
    """LXC's own files are out of sight, as where its package is not installed."""
    run("mount", "-t", "tmpfs", "none", "/usr/share/lxc")
    yield
    run("umount", "/usr/share/lxc")


INCLUDES = [f"lxc.include = /usr/share/lxc/config/{name}.conf" for name in ("debian.common", "nesting", "oci.common")]


@pytest.mark.parametrize("privileged", [True, False], ids=["privileged", "mapped"])
def test_lxcs_common_files_can_be_included_where_they_are_not_installed(bus, without_lxc, privileged):
    lines = INCLUDES + ([] if privileged else ["lxc.include = /usr/share/lxc/config/userns.conf"])
    box = bus.create("box", template="busybox", privileged=privileged, config=[*lines, "lxc.apparmor.profile = unconfined"])
    assert box.get("ConfigError") == ""
    box.start()
    pid = box.get("InitPid")
    assert ("sys_time" in containers.capabilities(pid)) != privileged
    assert containers.status_of(pid, "Seccomp") == "2"
    assert box.execute("sh", "-c", "cd /dev; echo tty[0-9]; ls .lxc/proc | head -n 1")[1] == "tty1 tty2 tty3 tty4\n1\n"
    if privileged:
        assert {"c 5:1 rwm", "c 10:200 rwm"} <= set(containers.in_group("box", "devices.list").splitlines())
    else:
        assert containers.in_group("box", "devices.list") == "a *:* rwm"
    # Stock LXC's own tools cannot read such a config.
    box.destroy(force=True)


def test_a_file_that_lxc_never_had_stays_missing(bus, without_lxc):
    containers.write_container("odd", "lxc.include = /usr/share/lxc/config/beos.common.conf\n")
    assert "beos.common.conf" in bus.container("odd").get("ConfigError")
