#!/usr/bin/env python3
"""A whole Debian 13 in a virtual machine, for tests of what needs one.

    with Machine() as machine:                  # with Gantry; its disk is new each time
        print(machine.run("systemctl --failed"))
    with Machine(clean=True) as machine:        # without Gantry
        ...
    with Machine(keep=True) as machine:         # the disk outlives a boot
        machine.run("touch /etc/mark; sync")
        machine.cut()                           # the power fails
        machine.boot()
        machine.reboot()                        # cleanly
        machine.power_off()

It begins where a machine that had booted was saved (`save`), in a second or two; a boot
takes about 20 seconds on a quiet host and minutes on a loaded one. Everything inside is
ten times slower than outside: few boots, few telling tests. Scripts run as root, in
/root. The checkout lies in /checkout and cannot be written; /mnt is `machine.share` out
here. The tests' own things lie in /var/lib/gantry-test: debian-13.tar, a root file
system, and in debs/ stock LXC's packages. Users: root, alice and bob, each with their
name as the password.

GANTRY_MACHINE is the folder of the image, and GANTRY_INSTALLED of that with Gantry:
disk.img, vmlinuz, initrd, and `state`, of the machine that left the disk so.

As a program: machine.py save IMAGE | install IMAGE | run SCRIPT | shell.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from contextlib import suppress

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# On a host that does much else an emulated machine may be ten times slower.
BOOT_SECONDS = 600
# From a saved state it takes a second.
RESUME_SECONDS = 120
# What the agent writes on the console when its machine can be saved.
AWAY = "gantry-test-agent: away"
# However a test ends, its machine ends with it.
QEMU = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max", "-m", "3072",
        "-smp", "2", "-no-reboot", "-nic", "none"]
# A host that does much else makes the kernel believe that there is no timer.
KERNEL_LINE = "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=1 panic=-1 mitigations=off init_on_alloc=0 no_timer_check"


class Trouble(Exception):
    """What went wrong, with the last lines of the machine's console."""


class Machine:
    """One virtual machine; `keep` gives it a disk that outlives a boot."""

    def __init__(self, keep=False, clean=False, image=None):
        self.image = image or os.environ["GANTRY_MACHINE" if clean else "GANTRY_INSTALLED"]
        self.keep, self.process, self.scripts = keep, None, 0
        self.scratch = tempfile.mkdtemp(prefix="gantry-machine.", dir="/var/tmp")
        self.share = os.path.join(self.scratch, "share")
        self.console_path = os.path.join(self.scratch, "console")
        self.said_path = os.path.join(self.scratch, "said")
        self.disk = os.path.join(self.scratch if keep else self.image, "disk.img")

    def __enter__(self):
        try:
            self.begin()
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
                "-virtfs", f"{share},path={TOP},mount_tag=checkout,readonly=on",
                # By this the agent sees that it goes on in another run.
                "-fw_cfg", f"name=opt/gantry/run,string={uuid.uuid4()}", *more]

    # --- its life

    def begin(self):
        """Goes on from its image's state; where that does not serve it boots, which only
        takes longer."""
        try:
            self.resume()
        except Trouble as trouble:
            warnings.warn(f"it has to boot: {trouble}", stacklevel=3)
            self.cut()
            self.new_disk()
            self.boot()

    def resume(self):
        """Goes on from its image's state, with the disk of that moment."""
        self.new_disk()
        self.boot("-incoming", f"file:{self.image}/state", seconds=RESUME_SECONDS)

    def new_disk(self):
        if self.keep:
            copy_disk(self.image, self.scratch)

    def boot(self, *more, seconds=BOOT_SECONDS):
        """Switches it on, and waits until it takes scripts."""
        with open(self.said_path, "wb") as said:
            self.start("-display", "none", "-serial", f"file:{self.console_path}", "-monitor", "stdio", *more,
                       stdin=subprocess.PIPE, stdout=said, stderr=said)
        self.await_file("up", seconds)

    def start(self, *more, **popen):
        assert self.process is None, "the machine runs"
        shutil.rmtree(self.share, ignore_errors=True)
        os.mkdir(self.share)
        self.scripts = 0
        self.process = subprocess.Popen(self.command(*more), **popen)

    def save(self, folder):
        """Ends a machine that keeps its disk, and makes of that and of its state an image,
        whose machines go on from here. A state that does not serve is not kept."""
        self.write("leave", "")
        self.await_that(lambda: AWAY in self.console(), "a word of leave", RESUME_SECONDS)
        state = os.path.join(folder, "state")
        self.process.stdin.write(f"migrate_set_parameter max-bandwidth 100G\nmigrate file:{state}\nquit\n".encode())
        self.process.stdin.flush()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(RESUME_SECONDS)
        self.cut()
        copy_disk(self.scratch, folder)
        trial = Machine(image=folder)
        try:
            trial.resume()
        except Trouble as trouble:
            print(f"machine: the state of {folder} does not serve; it will boot each time: {trouble}", file=sys.stderr)
            with suppress(FileNotFoundError):
                os.unlink(state)
        finally:
            trial.close()

    def cut(self):
        """The power fails: it ends at once, whatever it does."""
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def wait_off(self, seconds=BOOT_SECONDS):
        """Waits until it has powered off or, which ends it just so, wants to boot again."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self.trouble("it does not power off") from None
        self.cut()

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
        self.write(f"{self.scripts}.script", script)
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

    def write(self, name, text):
        """Leaves a file for the agent, whole at once."""
        new = os.path.join(self.share, "new")
        with open(new, "w") as file:
            file.write(text)
        os.rename(new, os.path.join(self.share, name))

    def read(self, name):
        with open(os.path.join(self.share, name), errors="replace") as file:
            return file.read()

    def console(self):
        """What its kernel and systemd said on the console."""
        return text_of(self.console_path)

    def await_file(self, name, seconds, more=lambda: ""):
        path = os.path.join(self.share, name)
        self.await_that(lambda: os.path.exists(path), name, seconds, more)

    def await_that(self, there, what, seconds, more=lambda: ""):
        end = time.monotonic() + seconds
        while not there():
            if self.process is None or self.process.poll() is not None:
                raise self.trouble(f"it ended before there was {what}", more())
            if time.monotonic() > end:
                raise self.trouble(f"no {what} within {seconds} s", more())
            time.sleep(0.05)

    def trouble(self, what, more=""):
        status = self.process.poll() if self.process else None
        return Trouble(f"{what}\n{more[-5000:]}\nThe machine's console:\n{self.console()[-5000:]}\n"
                       f"QEMU (status {status}):\n{text_of(self.said_path)[-2000:]}")


def text_of(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def copy_disk(image, other):
    subprocess.run(["cp", "--reflink=auto", "--sparse=always", f"{image}/disk.img", other], check=True)


def save(image):
    """Boots the image once, and saves in it what the machine is like then."""
    machine = Machine(keep=True, image=image)
    try:
        machine.new_disk()
        machine.boot()
        machine.run("systemctl is-system-running --wait", BOOT_SECONDS, check=False)
        machine.save(image)
    finally:
        machine.close()


def install(image):
    """Makes an image with Gantry, as it was built."""
    shutil.rmtree(image, ignore_errors=True)
    os.makedirs(image)
    with Machine(keep=True, clean=True) as machine:
        for name in "vmlinuz", "initrd":
            os.symlink(os.path.join(machine.image, name), os.path.join(image, name))
        machine.run("/checkout/tests/vm/install")
        machine.save(image)


def main(verb, *words):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if verb in ("save", "install"):
        return {"save": save, "install": install}[verb](*words)
    if verb == "shell":
        machine = Machine(clean=True)
        try:
            # systemd gives agetty and login their credentials: root is logged in on the console.
            credentials = "value=io.systemd.credential:agetty.autologin=root,value=io.systemd.credential:login.noauth=yes"
            machine.start("-nographic", "-smbios", f"type=11,{credentials}")
            machine.wait_off(None)
        finally:
            machine.close()
        return 0
    with open(words[0]) as file:
        text = file.read()
    with Machine() as machine:
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
