#!/usr/bin/env python3
"""A whole Debian 13 in a virtual machine, for tests of what needs one.

    with Machine() as machine:                  # boots; its disk is new each time
        print(machine.run("systemctl --failed"))
    with Machine(keep=True) as machine:         # the disk outlives a boot
        machine.install()                       # Gantry, as `./dev vm` found it built
        machine.run("touch /etc/mark; sync")
        machine.cut()                           # the power fails
        machine.boot()
        machine.reboot()                        # cleanly
        machine.power_off()

A boot takes about 20 seconds on a quiet host and minutes on a loaded one, and
everything inside is ten times slower than outside: few boots, few telling tests.
Scripts run as root, in /root. The checkout lies in /checkout and cannot be written;
/mnt is `machine.share` out here. The tests' own things lie in /var/lib/gantry-test:
debian-13.tar, a root file system, and in debs/ stock LXC's packages. Users: root,
alice and bob, each with their name as the password.

As a program: machine.py run SCRIPT | shell.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# On a host that does much else an emulated machine may be ten times slower.
BOOT_SECONDS = 600
# However a test ends, its machine ends with it.
QEMU = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max", "-m", "3072",
        "-smp", "2", "-no-reboot", "-nic", "none"]
# A host that does much else makes the kernel believe that there is no timer.
KERNEL_LINE = "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=1 panic=-1 mitigations=off no_timer_check"


class Trouble(Exception):
    """What went wrong, with the last lines of the machine's console."""


class Machine:
    """One virtual machine; `keep` gives it a disk that outlives a boot."""

    def __init__(self, keep=False):
        self.image = os.environ["GANTRY_MACHINE"]
        self.keep, self.process, self.scripts = keep, None, 0
        self.scratch = tempfile.mkdtemp(prefix="gantry-machine.", dir="/var/tmp")
        self.share = os.path.join(self.scratch, "share")
        self.console_path = os.path.join(self.scratch, "console")
        self.disk = os.path.join(self.image, "disk.img")
        if keep:
            kept = os.path.join(self.scratch, "disk.img")
            subprocess.run(["cp", "--reflink=auto", "--sparse=always", self.disk, kept], check=True)
            self.disk = kept

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.cut()
        shutil.rmtree(self.scratch)

    def command(self, *more):
        snapshot = "off" if self.keep else "on"
        share = "local,security_model=none,multidevs=remap"
        return [*QEMU, "-kernel", f"{self.image}/vmlinuz", "-initrd", f"{self.image}/initrd", "-append", KERNEL_LINE,
                "-drive", f"file={self.disk},format=raw,if=virtio,snapshot={snapshot},cache=unsafe",
                "-virtfs", f"{share},path={self.share},mount_tag=share",
                "-virtfs", f"{share},path={TOP},mount_tag=checkout,readonly=on", *more]

    # --- its life

    def boot(self):
        """Switches it on, and waits until it takes scripts."""
        self.start("-display", "none", "-serial", f"file:{self.console_path}")
        self.await_file("up", BOOT_SECONDS)

    def start(self, *more, **popen):
        assert self.process is None, "the machine runs"
        shutil.rmtree(self.share, ignore_errors=True)
        os.mkdir(self.share)
        self.scripts = 0
        self.process = subprocess.Popen(self.command(*more), **{"stdin": subprocess.DEVNULL, **popen})

    def cut(self):
        """The power fails: it ends at once, whatever it does."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wait_off(self, seconds=BOOT_SECONDS):
        """Waits until it has powered off or, which ends it just so, wants to boot again."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self.trouble("it does not power off") from None
        self.process = None

    def power_off(self):
        self.send("systemctl poweroff")
        self.wait_off()

    def reboot(self):
        """A clean reboot of a machine that keeps its disk."""
        assert self.keep
        self.send("systemctl reboot")
        self.wait_off()
        self.boot()

    # --- work in it

    def send(self, script):
        """Hands it a script for bash; returns its number for `result`."""
        self.scripts += 1
        new = os.path.join(self.share, "new")
        with open(new, "w") as file:
            file.write(script)
        os.rename(new, os.path.join(self.share, f"{self.scripts}.script"))
        return self.scripts

    def ended(self, number):
        """Whether a script has; it has too when the machine did."""
        return os.path.exists(os.path.join(self.share, f"{number}.status")) or self.process.poll() is not None

    def output(self, number):
        """What a script said so far, on stdout and stderr."""
        try:
            return self.read(f"{number}.output")
        except FileNotFoundError:
            return ""

    def result(self, number, seconds):
        """(status, output) of a script, which has to end in time."""
        self.await_file(f"{number}.status", seconds, lambda: self.output(number))
        return int(self.read(f"{number}.status")), self.output(number)

    def run(self, script, seconds=300, check=True):
        """Runs a script for bash in it, with `set -eu`; gives its output."""
        status, output = self.result(self.send(f"set -eu\n{script}\n"), seconds)
        if check and status:
            raise Trouble(f"status {status} of\n{script}\n{output}")
        return output

    def install(self):
        """Installs Gantry as it was built."""
        self.run("/checkout/tests/vm/install")

    def read(self, name):
        with open(os.path.join(self.share, name), errors="replace") as file:
            return file.read()

    def console(self):
        """What its kernel and systemd said on the console."""
        try:
            with open(self.console_path, errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def await_file(self, name, seconds, more=lambda: ""):
        path, end = os.path.join(self.share, name), time.monotonic() + seconds
        while not os.path.exists(path):
            if self.process is None or self.process.poll() is not None:
                raise self.trouble(f"it ended before there was {name}", more())
            if time.monotonic() > end:
                raise self.trouble(f"no {name} within {seconds} s", more())
            time.sleep(0.1)

    def trouble(self, what, more=""):
        return Trouble(f"{what}\n{more[-5000:]}\nThe machine's console:\n{self.console()[-5000:]}")


def main(verb, *script):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if verb == "shell":
        machine = Machine()
        try:
            # systemd gives agetty and login their credentials: root is logged in on the console.
            credentials = "value=io.systemd.credential:agetty.autologin=root,value=io.systemd.credential:login.noauth=yes"
            machine.start("-nographic", "-smbios", f"type=11,{credentials}", stdin=None)
            machine.wait_off(None)
        finally:
            machine.close()
        return 0
    with open(script[0]) as file:
        text = file.read()
    with Machine() as machine:
        machine.install()
        number, shown = machine.send(text), 0
        while not machine.ended(number):
            shown += sys.stdout.write(machine.output(number)[shown:])
            sys.stdout.flush()
            time.sleep(0.5)
        status, output = machine.result(number, 0)
        sys.stdout.write(output[shown:])
        return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
