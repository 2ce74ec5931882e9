"""Hooks of clones: when they run, what they are told, what comes of them. Stock LXC says
what they are told."""

import fcntl
import os

import pytest

import containers
from containers import refused
from gantry import Job, LXC_PATH, options, run, until
from stores import clone, container_on

# Writes down its words, what LXC tells it, and what it sees of the clone; and changes its config.
TELLER = """#!/bin/sh
exec >> TOLD
for word in "$0" "$@"; do echo "word $word"; done
env | grep ^LXC_ | sort
[ -d "$LXC_ROOTFS_MOUNT/sbin" ] && echo root is there
grep lxc.uts.name "$LXC_CONFIG_FILE"
echo "# changed by $LXC_NAME" >> "$LXC_CONFIG_FILE"
"""


def script(path, text):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


def told(path):
    """Words, variables and the rest."""
    lines = path.read_text().splitlines()
    path.unlink()
    variables = dict(line.split("=", 1) for line in lines if line.startswith("LXC_"))
    return [line for line in lines if line.startswith("word")], variables, lines[-2:]


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("snapshot", [False, True], ids=["full", "copy-on-write"])
def test_a_clone_hook_is_told_what_stock_tells_it(bus, tmp_path, version, snapshot):
    web = bus.create("web", template="busybox")
    hook = script(tmp_path / "hook", TELLER.replace("TOLD", f"{tmp_path}/told"))
    containers.append_config("web", f"lxc.hook.version = {version}", f"lxc.hook.clone = {hook} 'one two'")
    run("lxc-copy", "-n", "web", "-N", "twin", *(["-s"] if snapshot else []), "--", "more", "words")
    stock = told(tmp_path / "told")
    run("lxc-destroy", "-n", "twin")
    twin = clone(web, "twin", snapshot=snapshot, hook_arguments=["more", "words"])
    words, variables, rest = told(tmp_path / "told")
    assert (words[1:], rest) == (stock[0][1:], stock[2])
    assert "root is there" in rest
    place = variables.pop("LXC_ROOTFS_MOUNT"), stock[1].pop("LXC_ROOTFS_MOUNT")
    assert snapshot or place == (f"{twin.folder}/rootfs",) * 2
    assert variables.items() >= stock[1].items()
    assert f"{twin.folder}/" in variables["LXC_ROOTFS_PATH"]
    assert containers.config_of("twin").endswith(b"# changed by twin\n")
    twin.start()
    assert twin.execute("cat", "/etc/hostname") == (0, "twin\n", "")
    assert not os.path.ismount("/run/gantry/rootfs")


@pytest.mark.parametrize("backend", ["loop", "btrfs"])
def test_a_hook_sees_the_files_of_every_store(bus, tmp_path, backend):
    with container_on(bus, backend) as web:
        # One of the container's own, which comes along.
        script(f"{web.folder}/hook", "#!/bin/sh\necho $LXC_SRC_NAME > $LXC_ROOTFS_MOUNT/from\n")
        containers.append_config("web", f"lxc.hook.clone = {web.folder}/hook")
        twin = clone(web, "twin")
        assert twin.call("GetConfigItem", "(s)", "lxc.hook.clone") == [f"{twin.folder}/hook"]
        twin.start()
        assert twin.execute("cat", "/from", "/etc/hostname") == (0, "web\ntwin\n", "")


def test_a_hook_that_fails_leaves_no_half_clone(bus, tmp_path):
    before = containers.traces()
    web = bus.create("web", template="busybox")
    hook = script(tmp_path / "hook", "#!/bin/sh\necho not this one\nexit 3\n")
    containers.append_config("web", f"lxc.hook.clone = {hook}")
    for named in ({}, {"snapshot": True}):
        with refused("HookFailed") as caught:
            clone(web, "twin", **named)
        assert "status 3" in caught[0].message and "not this one" in caught[0].message
        assert os.listdir(LXC_PATH) == ["web"] and bus.list() == {"web": "STOPPED"}
    assert web.get("Dependents") == []
    containers.assert_no_traces(before)


def test_it_runs_for_another_name_as_with_stock(bus, tmp_path):
    """A renamed container has its new name inside, too."""
    hook = script(tmp_path / "hook", TELLER.replace("TOLD", f"{tmp_path}/told"))
    web = bus.create("web", template="busybox")
    containers.append_config("web", f"lxc.hook.clone = {hook} one")
    run("lxc-copy", "-R", "-n", "web", "-N", "twin")
    stock = told(tmp_path / "told")
    run("lxc-copy", "-R", "-n", "twin", "-N", "web")
    (tmp_path / "told").unlink()
    web.call("Rename", "(sa{sv})", "twin", {})
    words, variables, rest = told(tmp_path / "told")
    assert (words[1:], rest) == (stock[0][1:], stock[2])
    assert variables.items() >= stock[1].items() and variables["LXC_SRC_NAME"] == "web"
    assert containers.config_of("twin").endswith(b"# changed by twin\n")
    twin = bus.container("twin")
    twin.start()
    assert twin.execute("cat", "/etc/hostname") == (0, "twin\n", "")


def test_a_hook_that_fails_keeps_the_name(bus, tmp_path):
    web = bus.create("web", template="busybox")
    hook = script(tmp_path / "hook", "#!/bin/sh\necho not this one\nexit 3\n")
    containers.append_config("web", f"lxc.hook.clone = {hook}")
    before = containers.tree(web.folder)
    with refused("HookFailed") as caught:
        web.call("Rename", "(sa{sv})", "twin", {})
    assert "not this one" in caught[0].message
    assert bus.list() == {"web": "STOPPED"} and containers.tree(web.folder) == before
    web.start()
    assert web.execute("hostname") == (0, "web\n", "")


def test_it_runs_for_a_container_that_is_made_of_a_snapshot(bus, tmp_path):
    hook = script(tmp_path / "hook", TELLER.replace("TOLD", f"{tmp_path}/told"))
    web = bus.create("web", template="busybox")
    containers.append_config("web", f"lxc.hook.clone = {hook}", "lxc.hook.clone = /usr/share/lxc/hooks/clonehostname")
    with open(f"{web.folder}/rootfs/etc/hosts", "w") as file:
        file.write("127.0.1.1 web\n")
    job = lambda method, *args: Job(bus, bus.call(web.path, "Snapshots", method, *args)).result()  # noqa: E731
    job("Take", "(sa{sv})", "then", {})
    assert not (tmp_path / "told").exists()
    job("Restore", "(sa{sv})", "then", options(new_name="twin"))
    _words, variables, rest = told(tmp_path / "told")
    assert (variables["LXC_NAME"], variables["LXC_SRC_NAME"]) == ("twin", "web") and "root is there" in rest
    twin = bus.container("twin")
    with open(f"{twin.folder}/rootfs/etc/hosts") as file:
        assert file.read() == "127.0.1.1 twin\n"
    job("Restore", "(sa{sv})", "then", options(safety=False))
    assert not (tmp_path / "told").exists()


def test_lxcs_own_hook_is_known_and_follows_nothing(bus, victim):
    """The name in /etc/hosts, as LXC's script changes it where it may."""
    web = bus.create("web", template="busybox")
    containers.append_config("web", "lxc.hook.clone = /usr/share/lxc/hooks/clonehostname")
    root = f"{web.folder}/rootfs"
    with open(f"{root}/etc/hosts", "w") as file:
        file.write("127.0.0.1 localhost\n127.0.1.1 web web.example\n")
    os.chmod(f"{root}/etc/hosts", 0o604)
    run("lxc-copy", "-n", "web", "-N", "twin")
    with open(f"{LXC_PATH}/twin/rootfs/etc/hosts") as file:
        stock = file.read()
    run("lxc-destroy", "-n", "twin")
    twin = clone(web, "twin")
    with open(f"{twin.folder}/rootfs/etc/hosts") as file:
        assert file.read() == stock == "127.0.0.1 localhost\n127.0.1.1 twin web.example\n"
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o604
    os.unlink(f"{root}/etc/hosts")
    os.symlink(f"{victim}/file", f"{root}/etc/hosts")
    clone(web, "one")
    run("mv", f"{root}/etc", f"{root}/real")
    os.symlink(victim, f"{root}/etc")
    clone(web, "two")


# --- holding for the copy

def start_without_lock():
    """As an lxc-start that had LXC's lock before, for it holds that but while it reads the config."""
    run("unshare", "--mount", "sh", "-c", "mount -t tmpfs lock /run/lxc/lock && lxc-start -n web")


def big(web):
    run("sh", "-c", f"head -c 600M /dev/urandom >{web.folder}/rootfs/big")


def copying():
    return any(os.path.exists(f"{LXC_PATH}/{name}/rootfs/big") for name in os.listdir(LXC_PATH)
               if name.startswith(".gantry-create-"))


def test_a_container_that_a_killed_helper_held_goes_on(bus):
    web = bus.create("web", template="busybox", start=True)
    big(web)
    web.call("Clone", "(sa{sv})", "twin", {})
    until(copying)
    assert web.state == "FROZEN"
    containers.kill_helper(bus)
    assert run("lxc-info", "-n", "web", "-sH").stdout.strip() == "FROZEN"
    assert web.state == "RUNNING"
    assert web.execute("echo", "on") == (0, "on\n", "")
    until(lambda: os.listdir(LXC_PATH) == ["web"])
    web.call("Freeze", "(a{sv})", {})
    # Held by somebody's wish, it stays so.
    containers.kill_helper(bus)
    assert web.state == "FROZEN"


def test_one_that_is_started_before_the_copy_is_held(bus):
    """By lxc-start, while the clone waits for LXC's lock."""
    web = bus.create("web", template="busybox")
    lock = f"/run/lxc/lock{LXC_PATH}/.web"
    os.makedirs(os.path.dirname(lock), exist_ok=True)
    with open(lock, "w") as file, bus.signals("Container", "StateChanged", web.path) as seen:
        fcntl.lockf(file, fcntl.LOCK_EX)
        job = containers.gantry.Job(bus, web.call("Clone", "(sa{sv})", "twin", {}))
        start_without_lock()
        assert job.get("State") == "running"
        fcntl.lockf(file, fcntl.LOCK_UN)
        job.result()
        until(lambda: "FROZEN RUNNING" in " ".join(v[1] for _p, _m, v in seen if v[1] in ("FROZEN", "RUNNING")), pump=True)


def test_one_that_is_started_during_the_copy_is_not_cloned(bus):
    web = bus.create("web", template="busybox")
    big(web)
    job = containers.gantry.Job(bus, web.call("Clone", "(sa{sv})", "twin", {}))
    until(copying)
    start_without_lock()
    with refused("WrongState") as caught:
        job.result()
    assert "started" in caught[0].message
    assert os.listdir(LXC_PATH) == ["web"] and web.state == "RUNNING"
