"""Names, options and arguments are checked before anything happens."""

import os

import pytest
from gi.repository import GLib

import gantry
import people
from people import place

# NUL is not here: D-Bus has no string with one, and the bus drops who sends it.
BAD_NAMES = ["", "../x", "..", ".", "/", "a/b", "system/", "system/../x", "u1000/a/b", "a\nb", "a\tb",
             "a b", "-a", "_a", "ä", "a" * 64, "a" * 300, "x" * 100_000]
BY_NAME = ["StartContainer", "StopContainer", "KillContainer", "RebootContainer", "FreezeContainer",
           "UnfreezeContainer", "DestroyContainer", "CreateContainer"]


def refusal(call, *args, **more):
    with pytest.raises(gantry.Refused) as caught:
        call(*args, **more)
    return caught.value


@pytest.mark.parametrize("name", BAD_NAMES, ids=[ascii(name)[:20] for name in BAD_NAMES])
def test_21_names_outside_the_allow_list_are_refused(bus, name):
    place("web")
    bus.manager("GetContainer", "(s)", "web")
    for method in BY_NAME:
        assert refusal(bus.manager, method, "(sa{sv})", name, {}).name == "InvalidName", method
    assert refusal(bus.manager, "GetContainer", "(s)", name).name == "InvalidName"
    with open(os.devnull) as null:
        error = refusal(bus.manager, "ImportContainer", "(hsa{sv})", 0, name, {}, fds=[null.fileno()])
        assert error.name == "InvalidName"
    web = bus.container("web")
    error = refusal(web.call, "Rename", "(sa{sv})", name, {})
    assert error.name == "InvalidName" and len(error.message) < 400
    assert os.listdir(gantry.LXC_PATH) == ["web"]


@pytest.mark.parametrize("name", ["web_1", "web-", "a..b", "web."])
def test_21_new_names_are_host_names(bus, name):
    assert refusal(bus.manager, "CreateContainer", "(sa{sv})", name, {}).name == "InvalidName"
    assert os.listdir(gantry.LXC_PATH) == []


def test_names_with_their_owner(bus):
    place("web")
    path = bus.manager("GetContainer", "(s)", "web")
    assert path == gantry.ROOT + "/container/system/web"
    assert bus.manager("GetContainer", "(s)", "system/web") == path
    assert refusal(bus.manager, "GetContainer", "(s)", "u1000/web").name == "NotFound"
    assert refusal(bus.manager, "GetContainer", "(s)", "db").name == "NotFound"


ARGUMENTS = {
    "CreateContainer": ["db"], "WatchUsage": [1000], "Execute": [["true"]], "ReadLog": ["console"],
    "Rename": ["db"], "SetConfigItem": ["lxc.start.auto", ["1"]], "ImportContainer": [0, "db"],
}


def test_unknown_options_are_refused_by_every_method(bus):
    """None is ignored: the key is named, and so are those that exist."""
    place("web")
    bus.manager("GetContainer", "(s)", "web")
    job = bus.manager("StopContainer", "(sa{sv})", "web", {})
    before = bus.container("web").call("GetConfig")
    tried = set()
    for path, interface, method, signature in people.methods(bus):
        if not signature.endswith("a{sv})"):
            continue
        kinds = gantry.split(signature[1:-1])[:-1]
        plain = [dict(people.PLAIN, s="web")[kind] for kind in kinds]
        args = [*ARGUMENTS.get(method, plain), {"no-such-option": GLib.Variant("b", True)}]
        with open(os.devnull) as null:
            error = refusal(bus.call, path, interface, method, signature, *args, fds=[null.fileno()])
        assert error.name == "InvalidArgument", f"{method}: {error}"
        assert "no-such-option" in error.message, f"{method}: {error}"
        tried.add(method)
    assert {"ListContainers", "CreateContainer", "Stop", "SetConfig", "Execute", "Cancel"} <= tried
    assert job
    assert bus.list() == {"web": "STOPPED"}
    assert bus.container("web").call("GetConfig") == before


@pytest.mark.parametrize("method, wrong", [
    ("Stop", {"force": "yes"}),
    ("Stop", {"timeout_ms": GLib.Variant("u", 5)}),
    ("Stop", {"timeout_ms": GLib.Variant("x", -1)}),
    ("Destroy", {"snapshots": GLib.Variant("i", 1)}),
    ("OpenConsole", {"tty": GLib.Variant("u", 1)}),
    ("OpenConsole", {"tty": GLib.Variant("i", -1)}),
    ("OpenShell", {"columns": GLib.Variant("u", 80)}),
])
def test_options_of_another_type_are_refused(bus, method, wrong):
    place("web")
    bus.manager("GetContainer", "(s)", "web")
    error = refusal(bus.container("web").call, method, "(a{sv})", gantry.options(**wrong))
    assert error.name == "InvalidArgument" and next(iter(wrong)).partition("_")[0] in error.message


@pytest.mark.parametrize("named, error", [
    ({"template": "no-such-template"}, "InvalidArgument"),
    ({"template": "a\nb"}, "InvalidArgument"),
    ({"backend": "no-such-backend"}, "InvalidArgument"),
    ({"owner": "self"}, "Unsupported"),
    ({"owner": "bob"}, "InvalidArgument"),
    ({"template": "local"}, "InvalidArgument"),
    ({"config": ["lxc.no.such.key = 1"]}, "InvalidConfig"),
    ({"config": ["lxc.start.auto = 1\nlxc.hook.pre-start = /bin/true"]}, "InvalidConfig"),
    ({"privileged": "yes"}, "InvalidArgument"),
    ({"rootfs": "/etc"}, "InvalidArgument"),
])
def test_what_cannot_be_created_is_refused_before_there_is_a_job(bus, named, error):
    caught = refusal(bus.manager, "CreateContainer", "(sa{sv})", "web", gantry.options(**named))
    assert caught.name in (error, "InvalidArgument"), caught
    assert os.listdir(gantry.LXC_PATH) == []
    assert not [path for path in bus.objects() if "/job/" in path and bus.get(path, "Job", "State") == "running"]


def test_an_existing_name_is_refused(bus):
    place("web")
    assert refusal(bus.manager, "CreateContainer", "(sa{sv})", "web", {}).name == "Exists"


@pytest.mark.parametrize("method, signature, args", [
    ("Wait", "(asx)", [[], 0]),
    ("Wait", "(asx)", [["SLEEPING"], 0]),
    ("ReadLog", "(sa{sv})", ["kernel", {}]),
    ("Execute", "(asa{sv})", [[], {}]),
    ("Execute", "(asa{sv})", [[""], {}]),
    ("Execute", "(asa{sv})", [["true"], gantry.options(env=["PATH"])]),
    ("Execute", "(asa{sv})", [["true"], gantry.options(namespaces=["house"])]),
])
def test_arguments_that_cannot_be_are_refused(bus, method, signature, args):
    place("web")
    bus.manager("GetContainer", "(s)", "web")
    assert refusal(bus.container("web").call, method, signature, *args).name == "InvalidArgument"


@pytest.mark.parametrize("interval", [0, 99, 3_600_001])
def test_watches_are_neither_frantic_nor_asleep(bus, interval):
    assert refusal(bus.manager, "WatchUsage", "(ua{sv})", interval, {}).name == "InvalidArgument"
