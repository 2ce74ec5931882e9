"""People who log in: sessions of logind, opened by PAM."""

import termios
from contextlib import contextmanager

from gantry import until
from terminals import on_terminal

SECONDS = 120
# What makes PAM's session one at the computer's own screen, which is in front.
AT_THE_SCREEN = {"XDG_SEAT": "seat0", "XDG_VTNR": "1", "XDG_SESSION_TYPE": "wayland", "XDG_SESSION_CLASS": "user"}


def session(**environment):
    """A command that runs another as alice in a session, with her bus and environment."""
    return ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--property=User=alice", "--property=PAMName=login",
            *(f"--setenv={key}={value}" for key, value in environment.items()),
            "--setenv=DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket"]


@contextmanager
def logged_in():
    """A shell of alice's on a terminal, after a login at the screen with her password."""
    environment = [f"{key}={value}" for key, value in AT_THE_SCREEN.items()]
    with on_terminal("env", *environment, "login", "-p", "alice") as terminal:
        def asked():
            # Login hangs the terminal up first, so that nobody else is on it.
            terminal.seen += terminal.read(1) or ""
            return "Password:" in terminal.seen

        until(asked, SECONDS)
        give_password(terminal, "alice")
        terminal.expect("$ ", SECONDS)
        yield terminal
        terminal.send("exit\n")


def give_password(terminal, password):
    """Answers a prompt, as soon as it takes one: what is typed before is thrown away."""
    terminal.expect("Password:", SECONDS)
    until(lambda: not termios.tcgetattr(terminal.fd)[3] & termios.ECHO, SECONDS)
    terminal.send(password + "\n")
