"""Programs in a container, by Execute and by lxc-attach: what they are must be the same."""

import os
import signal
import subprocess
import time

import pytest

import containers
from containers import refused
from gantry import GLib, options, run, until
from terminals import Terminal, on_terminal

FACTS = """
grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status
uname -m; umask; cat /proc/self/oom_score_adj; ulimit -n
for kind in user mnt pid uts ipc net cgroup; do readlink /proc/self/ns/$kind; done
test -e /only-inside && echo inside
"""


def uint(value):
    return GLib.Variant("u", value)


@pytest.fixture(scope="module", params=["plain", "mapped", "strict"])
def box(request, tmp_path_factory):
    profile = tmp_path_factory.mktemp("attach") / "profile"
    profile.write_text("2\ndenylist\nchroot errno 5\n")
    config = ["lxc.arch = i686", "lxc.no_new_privs = 1", "lxc.init.groups = 7,8", "lxc.cap.drop = mknod net_raw",
              "lxc.environment = SHAPE=round", f"lxc.seccomp.profile = {profile}", "lxc.prlimit.nofile = 500"]
    with containers.shared("box", privileged=request.param != "mapped", config=config if request.param == "strict" else []) as box:
        box.execute("touch", "/only-inside")
        yield box


def by_lxc(*arguments, script=FACTS):
    return run("lxc-attach", "-n", "box", *arguments, "--", "/bin/sh", "-c", script, check=False).stdout


WAYS = {
    "as it is": ([], {}),
    "a user": (["-u", "1000", "-g", "1001"], {"uid": uint(1000), "gid": uint(1001)}),
    "elevated": (["-e"], {"elevated": True}),
    "out of its cgroups": (["-eCGROUP"], {"elevate": ["CGROUP"]}),
    "with every capability": (["-eCAP"], {"elevate": ["CAP"]}),
    "without a label": (["-eLSM"], {"elevate": ["LSM"]}),
    "in some namespaces": (["-s", "NETWORK|UTSNAME"], {"namespaces": ["NETWORK", "UTSNAME"], "elevated": True}),
    "with its mounts": (["-s", "MOUNT|PID"], {"namespaces": ["MOUNT", "PID"], "elevated": True}),
}


@pytest.mark.parametrize("way", WAYS)
def test_rights_and_places_are_those_of_lxc_attach(box, way):
    arguments, named = WAYS[way]
    status, out, errors = box.execute("/bin/sh", "-c", FACTS, **named)
    assert (status, errors) in ((0, ""), (1, ""))
    assert out.splitlines() == by_lxc(*arguments).splitlines()


@pytest.mark.parametrize("way", ["as it is", "elevated", "out of its cgroups", "with every capability"])
def test_groups_are_those_of_lxc_attach(box, way):
    arguments, named = WAYS[way]
    _, out, _ = box.execute("cat", "/proc/self/cgroup", **named)

    def is_inside(text):
        # From inside, the container's own group is the root of what is seen.
        return {line.split(":", 2)[2] in ("/", "/.lxc") for line in text.split()}
    assert is_inside(out) == is_inside(by_lxc(*arguments, script="cat /proc/self/cgroup"))


def test_an_unknown_part_is_refused(box):
    with refused("InvalidArgument") as caught:
        box.execute("true", elevate=["ROOT"])
    assert "CGROUP" in caught[0].message


def test_the_environment_is_lxc_attachs_without_the_callers(box):
    _, mine, _ = box.execute("env", env=["COLOUR=deep blue", "SHAPE=square"])
    stock = run("lxc-attach", "-n", "box", "--clear-env", "-v", "COLOUR=deep blue", "-v", "SHAPE=square", "--", "env").stdout
    known = {"HOME", "USER", "LOGNAME", "SHELL", "PWD", "SHLVL", "OLDPWD", "_", "PATH"}
    read = lambda text: {line for line in text.splitlines() if line.partition("=")[0] not in known}  # noqa: E731
    assert read(mine) == read(stock) and "container=lxc" in mine and "COLOUR=deep blue" in mine


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV], ids=lambda s: s.name)
def test_how_it_ended(box, number):
    assert box.execute("sh", "-c", f"kill -{int(number)} $$")[0] == 128 + number
    assert run("lxc-attach", "-n", "box", "--", "sh", "-c", f"kill -{int(number)} $$", check=False).returncode == 128 + number


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_signals_are_passed_on(box, number):
    script = f"trap 'echo caught; exit 5' {int(number)}; echo ready; while :; do sleep 0.05; done"
    put, out, err, session = box.call("Execute", "(asa{sv})", ["sh", "-c", script], {})
    with os.fdopen(out, "rb") as out, box.bus.signals("Session", "Exited", session) as exited:
        os.close(put), os.close(err)
        assert out.readline() == b"ready\n"
        box.bus.call(session, "Session", "Signal", "(i)", int(number))
        assert out.readline() == b"caught\n"
        until(lambda: exited and exited[0][2] == (5,), pump=True)


def test_a_megabyte_through_a_terminal(box):
    """Every byte that a terminal leaves alone, both ways."""
    text = b"".join(b"%07d the quick brown fox\n" % n for n in range(1 << 15))
    put, out, err, session = box.call("Execute", "(asa{sv})", ["sh", "-c", "stty raw -echo; echo ready; head -c %d" % len(text)],
                                      options(pty=True))
    os.close(put), os.close(err)
    with Terminal(out) as terminal:
        terminal.expect("ready")
        terminal.seen = ""
        got, sent = b"", 0
        os.set_blocking(out, False)
        end = time.monotonic() + 60
        while len(got) < len(text) + 1 and time.monotonic() < end:
            try:
                sent += os.write(out, text[sent:sent + 4096])
            except BlockingIOError:
                pass
            try:
                got += os.read(out, 65536)
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                break
        assert got.lstrip(b"\r\n") == text


@pytest.mark.parametrize("signs", [[], ["<"], [">"], ["2>"], ["<", ">"], ["<", ">", "2>"]], ids="".join)
def test_lxc_attach_on_a_terminal_with_streams_elsewhere(box, signs, tmp_path):
    """Stock LXC's tool in Gantry's container, whichever of its streams are a terminal."""
    (tmp_path / "0").write_text("a line\n")
    files = {"<": tmp_path / "0", ">": tmp_path / "1", "2>": tmp_path / "2"}
    redirections = " ".join(f"{sign} {files[sign]}" for sign in signs)
    script = f"lxc-attach -n box -- sh -c 'read line; echo out $line; echo err $line >&2' {redirections}; echo status $?"
    with on_terminal("sh", "-c", script) as terminal:
        if "<" not in signs:
            # What comes before the terminal is in raw mode is thrown away.
            time.sleep(0.5)
            terminal.send("a line\n")
        shown = terminal.expect("status 0", 20)
    for sign, text in ((">", "out a line"), ("2>", "err a line")):
        assert text in (files[sign].read_text() if sign in signs else shown)


def test_a_hundred_times_the_same(box):
    for _ in range(100):
        assert subprocess.run(["lxc-attach", "-n", "box", "--", "hostname"], capture_output=True).stdout == b"box\n"


def test_the_callers_environment_cannot_be_kept(box):
    """Who asks for it learns how to get what is needed of it."""
    with refused("Unsupported") as caught:
        box.execute("true", keep_env=True)
    assert "env" in caught[0].message
    assert box.execute("true", keep_env=False)[0] == 0
