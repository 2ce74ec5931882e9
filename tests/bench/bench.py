"""bench.py [ROUNDS]: Gantry beside stock LXC, in one run, on the same containers.

Each round measures one after the other, so that what else the machine does hits
both. Gantry is called over the bus on an open connection, as the app and scripts
that hold one do; stock LXC through its commands, the only way it has. Figures are
medians; the ratio is what counts, and below 1 Gantry is the faster or smaller.
"""

import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import gantry  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 21
LISTED = 1000
bus = gantry.Bus()


def timed(work):
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


def quiet(*argv):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def report(what, ours, theirs, unit="ms"):
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{what:<42}{a:>10.2f}{b:>10.2f} {unit:<3}{a / b:>8.2f}", flush=True)


def life(name, what):
    """Start, attach, memory and kill of one container, by each in turn."""
    with bus.signals("Session", "Exited") as exited:
        rounds(name, what, exited)


def rounds(name, what, exited):
    figures = {key: ([], []) for key in ("start", "attach", "memory", "kill")}
    container = bus.container(name)
    for _ in range(ROUNDS):
        figures["start"][0].append(timed(container.start))
        figures["attach"][0].append(timed(lambda: attach(container, exited)))
        figures["kill"][0].append(timed(container.kill))
        figures["start"][1].append(timed(lambda: quiet("lxc-start", "-n", name)))
        figures["attach"][1].append(timed(lambda: quiet("lxc-attach", "-n", name, "--", "true")))
        figures["kill"][1].append(timed(lambda: quiet("lxc-stop", "-k", "-n", name)))
        gantry.until(lambda: container.state == "STOPPED")
    for _ in range(3):
        container.start()
        figures["memory"][0].append(settled_memory("gantry-monitor"))
        container.kill()
        quiet("lxc-start", "-n", name)
        figures["memory"][1].append(settled_memory("[lxc monitor]"))
        quiet("lxc-stop", "-k", "-n", name)
        gantry.until(lambda: container.state == "STOPPED")
    for key in ("start", "attach", "kill"):
        report(f"{key} ({what})", *figures[key])
    report(f"memory of the monitor ({what})", *figures["memory"], unit="kB")


def attach(container, exited):
    """Until the program's end is known; waits without a pause that would count."""
    *streams, session = container.call("Execute", "(asa{sv})", ["true"], {})
    while not any(path == session for path, _member, _values in exited):
        gantry.GLib.MainContext.default().iteration(True)
    for stream in streams:
        os.close(stream)


def settled_memory(title):
    """PSS in kB of the one process whose command line holds the title, once it idles."""
    time.sleep(2)
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if title in line:
                return int(re.search(r"^Pss:\s+(\d+)", (entry / "smaps_rollup").read_text(), re.M)[1])
        except OSError:
            continue
    raise LookupError(title)


def boot(name):
    """From the call until systemd says that it is done."""
    ours, theirs = [], []
    container = bus.container(name)

    def up(check):
        gantry.until(lambda: check().strip() in ("running", "degraded"), 60)

    inside = ("systemctl", "is-system-running", "--wait")
    for _ in range(max(3, ROUNDS // 5)):
        ours.append(timed(lambda: (container.start(), up(lambda: container.execute(*inside)[1]))))
        container.kill()
        theirs.append(timed(lambda: (quiet("lxc-start", "-n", name), up(
            lambda: gantry.run("lxc-attach", "-n", name, "--", *inside, check=False).stdout))))
        quiet("lxc-stop", "-k", "-n", name)
        gantry.until(lambda: container.state == "STOPPED")
    report("boot until systemd is running (debian)", ours, theirs)


def answer_of_list():
    """The list as it arrives; taking it apart is each client's own matter."""
    g = gantry
    reply = bus.connection.call_sync(g.NAME, g.ROOT, f"{g.NAME}.Manager", "ListContainers",
                                     g.GLib.Variant("(a{sv})", ({},)), None, g.Gio.DBusCallFlags.NONE, -1, None)
    assert reply.get_child_value(0).n_children() >= LISTED


def listing():
    path = pathlib.Path(gantry.LXC_PATH)
    text = (path / "busybox" / "config").read_text()
    for number in range(LISTED):
        folder = path / f"listed{number}"
        (folder / "rootfs").mkdir(parents=True)
        (folder / "config").write_text(text.replace("busybox", folder.name))
    bus.list()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(timed(answer_of_list))
        theirs.append(timed(lambda: quiet("lxc-ls", "-f")))
    report(f"list of {LISTED}", ours, theirs)
    for number in range(LISTED):
        shutil.rmtree(path / f"listed{number}")


print(f"medians of {ROUNDS} rounds, interleaved{'':<7}Gantry  stock LXC       ratio")
bus.create("busybox", template="busybox")
life("busybox", "busybox")
listing()
with open(os.environ["GANTRY_DEBIAN_TAR"], "rb") as tar:
    bus.create("debian", template="local", rootfs=gantry.GLib.Variant("h", 0), fds=[tar.fileno()], wait=300)
life("debian", "debian")
boot("debian")
