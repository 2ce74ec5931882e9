"""Both engines behind the same few words, so that an assertion can be tried on each."""

import subprocess
from contextlib import contextmanager

import containers
from gantry import Refused, run


class Stock:
    """LXC, by its tools."""

    def __init__(self, bus):
        self.bus = bus

    def start(self, name):
        """Whether it started."""
        return run("lxc-start", "-n", name, check=False).returncode == 0

    def kill(self, name):
        run("lxc-stop", "-k", "-n", name)

    def shut_down(self, name):
        run("lxc-stop", "-n", name, "-t", "60", "--nokill")

    def reboot(self, name):
        run("lxc-stop", "-r", "-n", name, "-t", "60")

    def execute(self, name, *argv, stdin=b""):
        """(status, output, errors) of a program in it."""
        done = subprocess.run(["lxc-attach", "-n", name, "--", *argv], input=stdin, capture_output=True)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def init_pid(self, name):
        """None when it does not run."""
        return int(run("lxc-info", "-n", name, "-pH").stdout or 0) or None


class Gantry:
    """Gantry, by its bus."""

    def __init__(self, bus):
        self.bus = bus

    def start(self, name):
        try:
            self.bus.container(name).start()
        except Refused as error:
            assert error.name in ("StartFailed", "HookFailed", "InvalidConfig"), error
            return False
        return True

    def kill(self, name):
        self.bus.container(name).kill()

    def shut_down(self, name):
        self.bus.container(name).stop(60)

    def reboot(self, name):
        box = self.bus.container(name)
        containers.gantry.Job(self.bus, box.call("Reboot", "(a{sv})", {})).result(60)

    def execute(self, name, *argv, stdin=b""):
        return self.bus.container(name).execute(*argv, stdin=stdin)

    def init_pid(self, name):
        return self.bus.container(name).get("InitPid") or None


@contextmanager
def ranges_of_root():
    """Ids from 910000 on, which root may map."""
    files = {path: open(path).read() for path in ("/etc/subuid", "/etc/subgid")}
    try:
        for path, text in files.items():
            with open(path, "w") as file:
                file.write(text + "root:910000:10000\n")
        yield
    finally:
        for path, text in files.items():
            with open(path, "w") as file:
                file.write(text)


ENGINES = {"stock": Stock, "gantry": Gantry}
