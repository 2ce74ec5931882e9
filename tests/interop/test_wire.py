"""The command socket, byte by byte: Gantry's monitor answers what a monitor of stock LXC
answers to the same bytes, but for what is listed here with the reason.
"""

import os
import socket
import subprocess
from contextlib import nullcontext

import pytest

import containers
import wire
from gantry import run, until
from versions import version_2_alone
from wire import STATES, ask, console_log, context, device, group, interest, request

CGROUP1, CGROUP2 = 0x27e0eb, 0x63677270
KEYS = ("lxc.uts.name lxc.arch lxc.cap.drop lxc.mount.auto lxc.mount.entry lxc.mount.fstab lxc.nonsense lxc "
        "lxc.utsname lxc.net lxc.net.0 lxc.net.0.type lxc.net.0.link lxc.net.0.hwaddr lxc.net.0.flags "
        "lxc.net.1.type lxc.start.auto lxc.start.order lxc.group lxc.rootfs.path lxc.pty.max "
        "lxc.tty.max lxc.tty.dir lxc.signal.halt lxc.signal.reboot lxc.signal.stop lxc.idmap lxc.no_new_privs "
        "lxc.seccomp.profile lxc.seccomp lxc.hook.start lxc.hook.version lxc.apparmor.profile lxc.environment "
        "lxc.init.cmd lxc.init.uid lxc.ephemeral lxc.autodev lxc.console.path lxc.console.buffer.size lxc.prlimit.nofile "
        "lxc.sysctl.kernel.hostname lxc.namespace.keep lxc.namespace.clone lxc.time.offset.boot").split()

# What both answer alike: name to bytes.
SAME = {
    **{f"{number} bare": request(number) for number in (0, 3, 4, 5, 6, 8, 9, 10, 14, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26)},
    **{f"unknown {number}": request(number) for number in (27, 28, 1000, -1)},
    **{f"tty {number}": request(0, inline=number) for number in (1, 5, 6, 99, -1, -2)},
    **{f"{number} {controller.decode()}": request(number, controller + b"\0") for number in (6, 19)
       for controller in (b"freezer", b"devices")},
    "6 without NUL": request(6, b"pids"),
    **{key: request(7, key.encode() + b"\0") for key in KEYS},
    "key of 8192 bytes": request(7, b"x" * 8191 + b"\0"),
    "more than announced": request(7, b"lxc.uts.name\0" + b"x" * 20, length=13),
    **{f"10 {state}": request(10, interest(**{state: 1})) for state in STATES if state not in ("RUNNING", "STOPPED")},
    "10 next RUNNING": request(10, interest(RUNNING=2)),
    "10 none": request(10, interest()),
    "10 short": request(10, interest()[:-1]),
    "10 long": request(10, interest() + b"\0"),
    "12 RUNNING": request(12, inline=2),
    "12 THAWED": request(12, inline=7),
    "14 short": request(14, device(b"c", 1, 3, b"rwm", 1)[:-1]),
    "23": request(23, context()),
    **{f"23 of {size} bytes": request(23, context(size)) for size in (8, 12, 16, 92)},
    "23 longer": request(23, context(104)),
    "23 with wrong counts": request(23, context(layout=77, count=77)),
    **{f"{number} {filesystem:x} {controller.decode()}": request(number, group(filesystem, controller)) for number in (24, 25)
       for filesystem in (0, CGROUP1, CGROUP2, 5)
       for controller in (b"", b"pids", b"freezer", b"name=systemd", b"systemd", b"nothing")
       if controller or filesystem != CGROUP2},
    "24 short": request(24, group()[:-1]),
    "24 long": request(24, group() + b"\0"),
    "3 with data": request(3, b"abcd"),
    "two at once": request(3) + request(4),
}


def both(pair, sent, **more):
    """The answers of both monitors, put alike."""
    seen = []
    for box in pair:
        answer = ask(box.name, sent, **more)
        try:
            seen.append(answer.of(sent, box.name, box.get("InitPid")))
        finally:
            answer.close()
    return seen


@pytest.fixture(scope="module", params=["host", "version 2 alone"])
def boxes(request):
    with version_2_alone() if request.param == "version 2 alone" else nullcontext():
        with containers.shared("wst", stock=True, start=False) as stock, containers.shared("wga", stock=True, start=False) as own:
            yield stock, own


@pytest.fixture
def pair(boxes):
    """(by stock LXC, by Gantry): two running containers that differ by their name alone."""
    stock, own = boxes
    # One that was thawed a moment ago may still be on its way.
    until(lambda: {box.state for box in boxes} <= {"RUNNING", "STOPPED"})
    if stock.state != "RUNNING":
        run("lxc-start", "-n", stock.name)
    if own.state != "RUNNING":
        own.start()
    return boxes


@pytest.mark.parametrize("name", SAME)
def test_the_same_answer(pair, name):
    stock, own = both(pair, SAME[name])
    assert own == stock


@pytest.mark.parametrize("command", [6, 19])
@pytest.mark.parametrize("controller", [b"pids", b"memory", b"name=systemd", b"systemd", b"unified", b"nothing"])
def test_where_a_group_is(pair, command, controller):
    """Where there is none stock hangs up, which can also mean that the monitor has gone."""
    stock, own = both(pair, request(command, controller + b"\0"))
    assert own == {**stock, "ret": -2} if stock["ret"] is None else own == stock


# What Gantry answers otherwise, and why: name to (bytes, Gantry's answer).
OTHERWISE = {
    # Stock calls this one obsolete and says nothing; a client may wait for a word.
    "1 bare": (request(1), {"ret": 0, "inline": 0}),
    # An empty name is none: the group in the unified hierarchy. Stock hangs up.
    "6 empty": (request(6, b"\0"), {"ret": 0}),
    # Stock reads on behind a text that does not end.
    "7 without NUL": (request(7, b"lxc.uts.name"), {"ret": -22}),
    "24 without NUL": (request(24, group(0, b"x" * 64)), {"ret": -22}),
    # The group of version 2, also where it has no controllers.
    **{f"{number} of version 2": (request(number, group(CGROUP2)), {"ret": 0, "fds": 1}) for number in (24, 25)},
    # A word that stock forgets: what is not set has no value.
    "lxc.cgroup.dir": (request(7, b"lxc.cgroup.dir\0"), {"ret": -1}),
    # What is not set has no value. Stock shows what it took in its place.
    "lxc.cap.keep": (request(7, b"lxc.cap.keep\0"), {"ret": -1}),
    "lxc.net.0.name": (request(7, b"lxc.net.0.name\0"), {"ret": -1}),
    "lxc.rootfs.mount": (request(7, b"lxc.rootfs.mount\0"), {"ret": -1}),
    # Who has got what was asked for has no more to hear. Stock keeps the connection.
    "10 RUNNING": (request(10, interest(RUNNING=1)), {"ret": 2, "inline": 2}),
    # Gantry always keeps what was on the console; stock where it is told to.
    "11 empty": (request(11, console_log()), {"ret": 0, "inline": 0}),
    "11 short": (request(11, console_log()[:-1]), {"ret": -22}),
    # Freezing is the clients' work, by 12 and the group. Stock's tools do not ask for this.
    "15": (request(15, inline=5), {"ret": -38}),
    "16": (request(16, inline=5), {"ret": -38}),
    # Too much: an error that can be told from a monitor that has gone.
    "8193 bytes": (request(7, b"x" * 8192 + b"\0"), {"ret": -22}),
    "2 GiB": (request(7, length=2 ** 31 - 1), {"ret": -22}),
    # Gantry's own.
    "0x4701": (request(0x4701), {"ret": 0, "data": "[]"}),
}

# What may end a monitor of stock LXC, and its container with it.
DEADLY = {"7 bare": request(7), "12 of no state": request(12, inline=-1), "length -1": request(7, length=-1), "least length": request(7, length=-2 ** 31)}


@pytest.mark.parametrize("name", OTHERWISE)
def test_another_answer_for_a_reason(pair, name):
    sent, answer = OTHERWISE[name]
    stock, own = both(pair, sent)
    if "data" not in answer:
        own.pop("data", None)
    own["fds"] = len(own["fds"])
    assert own == {"fds": 0, "kept": False, **answer}
    assert stock != own, "it is no longer another answer"


@pytest.mark.parametrize("name", DEADLY)
def test_what_kills_a_stock_monitor_is_refused(pair, name):
    own = ask("wga", DEADLY[name])
    assert own.of(DEADLY[name], "wga", 0) == {"ret": -22, "fds": [], "kept": False}
    assert pair[1].state == "RUNNING"


def test_a_client_that_says_nothing_is_waited_for(pair):
    for sent in (b"", request(7, length=20)[:8], request(7, b"lxc.uts", length=13)):
        assert ask("wga", sent, seconds=0.3) == wire.Answer(kept=True)
    with wire.connected("wga") as client:
        for byte in request(7, b"lxc.uts.name\0"):
            client.send(bytes([byte]))
        assert wire.listen(client).data == b"wga\0"


def test_a_terminal_is_held_by_its_connection(pair):
    for box in pair:
        with wire.connected(box.name) as first:
            first.send(request(0, inline=3))
            held = wire.listen(first)
            assert (held.ret, held.inline, held.kept) == (0, 3, True)
            assert os.isatty(held.fds[0])
            assert ask(box.name, request(0, inline=3)).ret == -9
            held.close()
            assert ask(box.name, request(0, inline=3)).ret == -9
        again = until(lambda: answer if (answer := ask(box.name, request(0, inline=3))).ret == 0 else None)
        again.close()


def test_all_terminals_can_be_taken_once(pair):
    for box in pair:
        clients = []
        try:
            for number in range(1, 6):
                client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                clients.append(client)
                client.connect(f"\0{wire.LXC_PATH}/{box.name}/command")
                client.send(request(0, inline=-1))
                given = wire.listen(client)
                assert (given.ret, given.inline) == (0, number)
                given.close()
            assert ask(box.name, request(0, inline=-1)).ret == -9
        finally:
            for client in clients:
                client.close()


def told(name, sent, *states):
    """What a client that waits for something hears when the container is put into states,
    and whether the connection then ends."""
    with wire.connected(name) as client:
        client.send(request(10, sent))
        assert wire.listen(client).inline == len(STATES)
        for state in states:
            assert ask(name, request(12, inline=STATES.index(state))).ret == 0
        client.settimeout(0.3)
        try:
            text = client.recv(1 << 16)
            return [(kind, heard == name, value) for kind, heard, value in wire.messages(text)], not client.recv(1)
        except TimeoutError:
            return None


@pytest.mark.parametrize("sent, states", [
    (interest(FROZEN=1), ["FREEZING", "FROZEN", "THAWED"]),
    (interest(FREEZING=1, FROZEN=1), ["FREEZING", "FROZEN", "THAWED"]),
    (interest(THAWED=1), ["FREEZING", "FROZEN", "THAWED"]),
    (interest(RUNNING=2), ["RUNNING"]),
    (interest(RUNNING=2), ["FREEZING", "THAWED"]),
    (interest(STOPPED=1, ABORTING=1), ["FREEZING", "THAWED"]),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "".join(str(byte) for byte in value[::4]))
def test_who_waits_for_a_state_is_told_once(pair, sent, states):
    stock, own = (told(box.name, sent, *states) for box in pair)
    assert own == stock


def test_many_wait_and_all_are_told(pair):
    """With the answers unread, and others being served meanwhile."""
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(300)]
    try:
        for client in clients:
            client.connect(f"\0{wire.LXC_PATH}/wga/command")
            client.sendall(request(10, interest(FROZEN=1)))
        assert ask("wga", request(3)).inline == 2
        for state in ("FREEZING", "FROZEN", "THAWED"):
            assert ask("wga", request(12, inline=STATES.index(state))).ret == 0
        for client in clients:
            client.settimeout(5)
            text = b""
            while piece := client.recv(1 << 10):
                text += piece
            assert wire.messages(text[wire.HEADER.size:]) == [(0, "wga", STATES.index("FROZEN"))]
    finally:
        for client in clients:
            client.close()


def test_who_does_not_read_holds_up_nobody(pair):
    silent = []
    try:
        for _ in range(100):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            silent.append(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            client.connect(f"\0{wire.LXC_PATH}/wga/command")
            client.send(request(7, b"lxc.mount.entry\0"))
        assert ask("wga", request(7, b"lxc.uts.name\0")).data == b"wga\0"
        assert run("lxc-attach", "-n", "wga", "--", "hostname").stdout == "wga\n"
    finally:
        for client in silent:
            client.close()


# What a stranger says, and how much of an answer with how many descriptors comes.
STRANGER = """
import socket, sys
client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
client.connect("\\0" + sys.argv[1])
try:
    client.send(bytes.fromhex(sys.argv[2]))
except BrokenPipeError:
    pass
data, fds, _, _ = socket.recv_fds(client, 100, 10)
print(int.from_bytes(data[:4], sys.byteorder, signed=True), len(data), len(fds))
"""


@pytest.mark.parametrize("command", [0, 2, 3, 4, 5, 8, 10, 12, 18, 21, 23, 0x4700, 0x4704])
@pytest.mark.parametrize("mapped", [False, True], ids=["alice", "alice as root of a namespace"])
def test_only_root_is_answered(pair, command, mapped):
    sent = request(command, {10: interest(STOPPED=1), 23: context()}.get(command, b""))
    enter = ("unshare", "--user", "--map-root-user") if mapped else ()
    for box in pair:
        address = f"{wire.LXC_PATH}/{box.name}/command"
        said = run(*enter, "python3", "-c", STRANGER, address, sent.hex(), user="alice").stdout.split()
        assert said == ["-1", "16", "0"] or (box.name == "wst" and command >= 27 and said == ["-38", "16", "0"])
        assert box.state == "RUNNING"


def test_strangers_do_not_keep_root_out(pair):
    """Not even as many as a monitor serves at a time."""
    crowd = f"""
import socket, sys
crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(900)]
for one in crowd: one.connect("\\0{wire.LXC_PATH}/wga/command")
print("here", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(["runuser", "-u", "alice", "--", "python3", "-c", crowd], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as strangers:
        try:
            assert strangers.stdout.readline() == "here\n"
            assert ask("wga", request(3)).inline == 2
        finally:
            strangers.stdin.close()
