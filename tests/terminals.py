"""Terminals: the master end of a PTY as a person would use it."""

import itertools
import os
import re
import select
import subprocess
import time
from contextlib import contextmanager

import gantry
from archives import write_all

MARKS = itertools.count()


class Terminal:
    """The master end of a PTY, read and written as a person would."""

    def __init__(self, fd):
        self.fd, self.seen = fd, ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def send(self, text):
        write_all(self.fd, text.encode())

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return ""
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return None
        return data.decode(errors="replace") if data else None

    def expect(self, text, seconds=10):
        """Reads until `text` was seen; gives what came before it, and forgets both."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0, f"{text!r} did not come, but {self.seen!r}"
            piece = self.read(left)
            assert piece is not None, f"the terminal closed before {text!r}, after {self.seen!r}"
            self.seen += piece
        before, _, self.seen = self.seen.partition(text)
        return before

    def match(self, pattern, seconds=10):
        """As expect, for a regular expression; gives the match."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            left = end - time.monotonic()
            assert left > 0, f"{pattern!r} did not come, but {self.seen!r}"
            piece = self.read(left)
            assert piece is not None, f"the terminal closed before {pattern!r}, after {self.seen!r}"
            self.seen += piece
        self.seen = self.seen[found.end():]
        return found

    def ask(self, command, seconds=10):
        """The output of a command typed to a shell, between two marks that only its
        output has: the echo of the command holds them in quotes."""
        mark = f"{next(MARKS)}:"
        self.send(f"echo 'fr''om'{mark}; {command}; echo 'un''til'{mark}\n")
        self.match(rf"from{mark}\r+\n", seconds)
        return self.expect(f"until{mark}", seconds).replace("\r", "").strip()

    def drain(self):
        """Forgets what comes until there is a pause, as a replay of what was before."""
        while self.read(0.15):
            pass
        self.seen = ""

    def closed(self, seconds=10):
        """Waits until the other end is gone."""
        end = time.monotonic() + seconds
        while (piece := self.read(max(0, end - time.monotonic()))) is not None:
            assert time.monotonic() < end, "the terminal stays open"
            self.seen += piece
        return True


def open_console(container, tty=0):
    fd, session = container.call("OpenConsole", "(a{sv})", gantry.options(tty=gantry.GLib.Variant("i", tty)))
    return Terminal(fd), session


def open_shell(container):
    fd, session = container.call("OpenShell", "(a{sv})", {})
    return Terminal(fd), session


@contextmanager
def on_terminal(*argv):
    """A program on a PTY of its own."""
    master, slave = os.openpty()
    process = subprocess.Popen(["setsid", "--ctty", "--wait", *argv], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    try:
        with Terminal(master) as terminal:
            yield terminal
    finally:
        # Its terminal is gone, and with it the program.
        process.wait(10)
