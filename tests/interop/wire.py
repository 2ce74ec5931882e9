"""A monitor's command socket by its bytes, and what comes back put so that the answers
of two monitors can be compared.
"""

import os
import re
import select
import socket
import struct
from contextlib import contextmanager
from dataclasses import dataclass, field

from gantry import LXC_PATH

HEADER = struct.Struct("=iiQ")
MESSAGE = struct.Struct("=i256si")
STATES = ("STOPPED", "STARTING", "RUNNING", "STOPPING", "ABORTING", "FREEZING", "FROZEN", "THAWED")


def request(command, data=b"", inline=0, length=None):
    """A request's bytes; `length` announces another length than the data has."""
    return HEADER.pack(command, len(data) if length is None else length, inline & (1 << 64) - 1) + data


def interest(**states):
    """What a client of command 10 sends: states it waits for."""
    return struct.pack("=8i", *(states.get(state, 0) for state in STATES))


def console_log(clear=False, read=False, most=0, write=False):
    """What a client of command 11 sends."""
    return struct.pack("=??6xQ?7x", clear, read, most, write)


def device(kind, major, minor, access, allow):
    """What a client of command 14 sends."""
    return struct.pack("=c3xii4si20x", kind, major, minor, access, allow)


def context(size=96, layout=-1, count=0):
    """What a client of command 23 sends, of one that knows `size` bytes of it."""
    return struct.pack("=iII20i4x", layout, 0, count, *[-1] * 20).ljust(size, b"\0")[:size]


def group(filesystem=0, controller=b""):
    """What a client of commands 24 and 25 sends."""
    return struct.pack("=iIii64s", -1, 0, filesystem, -1, controller)


def messages(data):
    """(kind, container, value) of each message about a state."""
    return [(kind, name.rstrip(b"\0").decode(), value) for kind, name, value in MESSAGE.iter_unpack(data)]


@contextmanager
def connected(name):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(f"\0{LXC_PATH}/{name}/command")
        yield client


@dataclass
class Answer:
    """What a monitor said, if anything, and whether it keeps the connection."""

    ret: int | None = None
    length: int = 0
    inline: int | None = None
    data: bytes = b""
    fds: list = field(default_factory=list)
    kept: bool = False

    def close(self):
        while self.fds:
            os.close(self.fds.pop())

    def of(self, sent, name, pid):
        """As the monitor of a container called NAME, with an init of pid INIT, would answer
        to `sent`."""
        command, = struct.unpack_from("=i", sent)
        seen = {"ret": self.ret, "kept": self.kept, "fds": sorted(described(fd, name, pid) for fd in self.fds)}
        if self.length:
            # The numbers of the sender's own descriptors.
            where = {23: slice(12, 92), 24: slice(12, 16), 25: slice(12, 16)}.get(command, slice(0))
            data = bytearray(self.data)
            data[where] = b"#" * len(data[where])
            seen["data"] = placed(data.decode("latin-1").replace(name, "NAME"))
        elif self.ret is not None and self.ret >= 0 and not (self.fds and command == 23):
            seen["inline"] = "INIT" if self.inline == pid else self.inline
        return seen


def placed(path):
    """The path of a control group without the group that the whole sandbox is in, below
    which stock puts its own."""
    return re.sub(r"^/?(sandbox/)?(?=lxc\.)|(?<=/)sandbox/(?=lxc\.)", "", path)


def described(fd, name, pid):
    link = os.readlink(f"/proc/self/fd/{fd}").replace(name, "NAME")
    if "pidfd" in link:
        with open(f"/proc/self/fdinfo/{fd}") as file:
            of = int(re.search(r"^Pid:\s+(-?\d+)", file.read(), re.M).group(1))
        return "pidfd of " + ("INIT" if of == pid else str(of))
    return placed(re.sub(r"pts/\d+", "pts/N", link))


def ask(name, sent, fds=(), seconds=5):
    """What a monitor answers to these bytes."""
    with connected(name) as client:
        if sent:
            socket.send_fds(client, [sent], fds)
        return listen(client, seconds)


def listen(client, seconds=5):
    """The next answer on a connection, which may take so long to come. The connection
    counts as kept when its end does not follow at once."""
    answer, text = Answer(), b""
    while True:
        if not select.select([client], [], [], 0.15 if text else seconds)[0]:
            answer.kept = True
            break
        try:
            piece, fds, _flags, _address = socket.recv_fds(client, 1 << 20, 32)
        except ConnectionResetError:
            break
        if not piece:
            break
        text += piece
        answer.fds += fds
    if text:
        answer.ret, answer.length, answer.inline = HEADER.unpack_from(text)
        answer.data = text[HEADER.size:]
    return answer
