"""bench.py [ROUNDS] [PART…]: Gantry beside stock LXC, in one run, on the same containers.
The parts are life, list, starts, usage, console, bridge, wires, plug, snapshots, copies, moving and boot; all of
them if none is named.

Each round measures one after the other, so that what else the machine does hits
both. Gantry is called over the bus on an open connection, as the app and scripts
that hold one do; stock LXC through its commands, the only way it has. Figures are
medians; the ratio is what counts, and below 1 Gantry is the faster or smaller.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import gantry  # noqa: E402
import networks  # noqa: E402

NUMBERS = [word for word in sys.argv[1:] if word.isdigit()]
ROUNDS = int(NUMBERS[0]) if NUMBERS else 21
PARTS = {word for word in sys.argv[1:] if not word.isdigit()}
LISTED = 1000
STARTED = 200
WATCHED = 100
SNAPSHOTS = 1000
CONSOLE_BYTES = 100_000_000
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


def answer(path, interface, method, arguments=None):
    """A list as it arrives; taking it apart is each client's own matter."""
    g = gantry
    reply = bus.connection.call_sync(g.NAME, path, f"{g.NAME}.{interface}", method, arguments, None,
                                     g.Gio.DBusCallFlags.NONE, -1, None)
    assert reply.get_child_value(0).n_children()


def answer_of_list():
    answer(gantry.ROOT, "Manager", "ListContainers", gantry.GLib.Variant("(a{sv})", ({},)))


@contextlib.contextmanager
def copies(count):
    """So many containers like `busybox`, which they share the root file system of."""
    path = pathlib.Path(gantry.LXC_PATH)
    text = (path / "busybox" / "config").read_text()
    names = [f"copy{number}" for number in range(count)]
    for name in names:
        (path / name).mkdir()
        (path / name / "config").write_text(re.sub(r"(?m)^(lxc.uts.name = ).*", rf"\g<1>{name}", text))
    bus.list()
    yield names
    for name in names:
        shutil.rmtree(path / name)


def listing():
    ours, theirs = [], []
    with copies(LISTED):
        for _ in range(ROUNDS):
            ours.append(timed(answer_of_list))
            theirs.append(timed(lambda: quiet("lxc-ls", "-f")))
    report(f"list of {LISTED}", ours, theirs)


def at_once(calls):
    """All of them begun before the first is waited for."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result()


def many_starts():
    ours, theirs = [], []
    with copies(STARTED) as names:
        # The bus allows a connection 128 calls without an answer.
        connections = gantry.Bus(), gantry.Bus()
        containers = [connections[n % 2].container(name) for n, name in enumerate(names)]
        for _ in range(3):
            ours.append(timed(lambda: at_once([c.start for c in containers])))
            at_once([c.kill for c in containers])
            theirs.append(timed(lambda: at_once([lambda n=n: quiet("lxc-start", "-n", n) for n in names])))
            at_once([lambda n=n: quiet("lxc-stop", "-k", "-n", n) for n in names])
            gantry.until(lambda: "RUNNING" not in bus.list().values(), 60)
    report(f"{STARTED} starts at once", ours, theirs)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sampling():
    """What watching costs the helper; stock LXC has nothing that watches so many."""
    (pid,) = map(int, subprocess.run(["pidof", "gantry-helper"], check=True, capture_output=True).stdout.split())
    with copies(WATCHED) as names:
        containers = [bus.container(name) for name in names]
        at_once([c.start for c in containers])
        session = bus.manager("WatchUsage", "(ua{sv})", 1000, {})
        time.sleep(5)
        begin, used = time.monotonic(), cpu_seconds(pid)
        time.sleep(60)
        share = 100 * (cpu_seconds(pid) - used) / (time.monotonic() - begin)
        bus.call(session, "Session", "Close")
        at_once([c.kill for c in containers])
    print(f"{f'usage of {WATCHED} watched at 1 Hz':<42}{share:>10.2f}{'-':>10} % of a core", flush=True)


def console():
    """From the first byte that a container writes to its console until a viewer has the last."""
    ours, theirs = [], []
    container = bus.container("busybox")
    flood = f"head -c {CONSOLE_BYTES} /dev/zero >/dev/console"

    def seen_through(fd):
        writer = subprocess.Popen(["lxc-attach", "-n", "busybox", "--", "sh", "-c", flood], stdin=subprocess.DEVNULL)
        count = 0
        while count < CONSOLE_BYTES:
            count += os.read(fd, 1 << 20).count(0)
        assert writer.wait() == 0

    for _ in range(3):
        container.start()
        fd, _session = container.call("OpenConsole", "(a{sv})", {"tty": gantry.GLib.Variant("i", 0)})
        ours.append(timed(lambda: seen_through(fd)))
        os.close(fd)
        container.kill()
        quiet("lxc-start", "-n", "busybox")
        pid, fd = os.forkpty()
        if pid == 0:
            os.execvp("lxc-console", ["lxc-console", "-n", "busybox", "-t", "0"])
        # It says how to leave before it passes anything on.
        while b"exit" not in os.read(fd, 4096):
            pass
        theirs.append(timed(lambda: seen_through(fd)))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)
        quiet("lxc-stop", "-k", "-n", "busybox")
        gantry.until(lambda: container.state == "STOPPED")
    report(f"{CONSOLE_BYTES // 1_000_000} MB through the console", ours, theirs)


def hot_plug(name):
    """One more interface on a bridge, up in the running container; beside ip(8) and
    lxc-device, which is how it is done with stock LXC. And its end."""
    container = bus.container(name)
    quiet("ip", "link", "add", "benchbr", "type", "bridge")
    quiet("ip", "link", "set", "benchbr", "up")
    container.start()
    figures = {"hot-plug a link": ([], []), "take it out": ([], [])}
    pid = str(container.get("InitPid"))
    for _ in range(ROUNDS):
        added = []
        figures["hot-plug a link"][0].append(timed(lambda: added.append(
            container.add_wire("veth", link="benchbr", name="bench0"))))
        figures["take it out"][0].append(timed(lambda: container.interfaces("Remove", "(ua{sv})", *added, {})))

        def plug():
            quiet("ip", "link", "add", "benchup", "type", "veth", "peer", "name", "benchin")
            quiet("ip", "link", "set", "benchup", "master", "benchbr", "up")
            quiet("lxc-device", "-n", name, "add", "benchin", "bench0")
            quiet("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "link", "set", "bench0", "up")

        figures["hot-plug a link"][1].append(timed(plug))
        figures["take it out"][1].append(timed(lambda: quiet("ip", "link", "del", "benchup")))
    container.kill()
    quiet("ip", "link", "del", "benchbr")
    for key, figure in figures.items():
        report(f"{key} (ip and lxc-device)", *figure)


def moving(name, what):
    """Export beside `tar czf`, import beside `tar xzf`, of the same root file system."""
    figures = {key: ([], []) for key in ("export", "size of the archive", "import")}
    container = bus.container(name)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        ours, theirs, place = (f"{folder}/{name}" for name in ("ours", "theirs", "place"))
        for _ in range(max(3, ROUNDS // 5)):
            with open(ours, "wb") as file:
                figures["export"][0].append(timed(lambda: job(container.call(
                    "Export", "(ha{sv})", 0, {}, fds=[file.fileno()]))))
            figures["export"][1].append(timed(lambda: quiet(
                "tar", "--numeric-owner", "-czf", theirs, "-C", gantry.LXC_PATH, name)))
            with open(ours, "rb") as file:
                figures["import"][0].append(timed(lambda: job(bus.manager(
                    "ImportContainer", "(hsa{sv})", 0, "imported", {}, fds=[file.fileno()]))))
            job(bus.container("imported").call("Destroy", "(a{sv})", {}))
            os.mkdir(place)
            figures["import"][1].append(timed(lambda: quiet("tar", "--numeric-owner", "-xzf", theirs, "-C", place)))
            shutil.rmtree(place)
        for index, path in enumerate((ours, theirs)):
            figures["size of the archive"][index].append(os.path.getsize(path) / 1e6)
    for key, figure in figures.items():
        report(f"{key} ({what}; tar czf, xzf)", *figure, unit="MB" if "size" in key else "ms")


LXC_NET = "/usr/libexec/lxc/lxc-net"
THROUGH = 2_000_000_000


def bridge_up():
    """lxcbr0 with its DHCP, names and rules, beside LXC's script for the same."""
    ours, theirs = [], []
    lxcbr0 = networks.Network(bus, "lxcbr0")
    for _ in range(ROUNDS):
        ours.append(timed(lxcbr0.up))
        lxcbr0.down()
        theirs.append(timed(lambda: quiet(LXC_NET, "start")))
        quiet(LXC_NET, "stop")
    report("lxcbr0 up", ours, theirs)


def wires():
    """Two containers on lxcbr0, each network and its containers run by one of both."""
    figures = {key: ([], []) for key in ("start until it has an address", "throughput between containers")}
    names = ["near", "far"]
    for name in names:
        bus.create(name, template="busybox", config=networks.wired("lxcbr0"))
    lxcbr0 = networks.Network(bus, "lxcbr0")

    def measured(which, start, pid_of):
        for name in names:
            figures["start until it has an address"][which].append(timed(lambda: (start(name), addressed(pid_of(name)))))
        near, far = (pid_of(name) for name in names)
        figures["throughput between containers"][which].append(throughput(near, far, addressed(far)))

    def pid_of(name):
        return int(gantry.run("lxc-info", "-pHn", name).stdout)

    for _ in range(max(3, ROUNDS // 3)):
        lxcbr0.up()
        measured(0, lambda name: bus.container(name).start(), lambda name: bus.container(name).get("InitPid"))
        for name in names:
            bus.container(name).kill()
        gantry.until(lambda: not lxcbr0.get("Ports"))
        lxcbr0.down()
        quiet(LXC_NET, "start")
        measured(1, lambda name: quiet("lxc-start", "-n", name), pid_of)
        for name in names:
            quiet("lxc-stop", "-k", "-n", name)
        gantry.until(lambda: not os.listdir("/sys/class/net/lxcbr0/brif"))
        quiet(LXC_NET, "stop")
    for key, figure in figures.items():
        report(f"{key} (busybox)", *figure, unit="MB/s" if "throughput" in key else "ms")


def addressed(pid):
    """The IPv4 address of a container, as soon as the kernel has it."""
    while True:
        found = re.search(r"\|-- (10\.0\.3\.\d+)\n +/32 host LOCAL", pathlib.Path(f"/proc/{pid}/net/fib_trie").read_text())
        if found:
            return found[1]
        time.sleep(0.001)


def throughput(near, far, address):
    """Megabytes a second from one network namespace into another."""
    sink = ("import socket, sys; s = socket.create_server(('', 7000)); print(flush=True); c, _ = s.accept();"
            "b = bytearray(1 << 20)\nwhile c.recv_into(b): pass")
    source = f"import socket; c = socket.create_connection(('{address}', 7000)); b = bytes(1 << 20)\n" \
             f"for _ in range({THROUGH} >> 20): c.sendall(b)\nc.shutdown(1); c.recv(1)"
    enter = lambda pid: ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c"]  # noqa: E731
    with subprocess.Popen([*enter(far), sink], stdout=subprocess.PIPE, text=True) as server:
        server.stdout.readline()
        took = timed(lambda: quiet(*enter(near), source))
    return THROUGH / 1e6 / (took / 1000)


def copying(name, what):
    """Copies, clones that share their files, and their ends, beside lxc-copy and lxc-destroy,
    and beside `cp -a` of the root file system alone."""
    figures = {key: ([], []) for key in ("full copy; lxc-copy", "full copy; cp -a --reflink=auto",
                                         "copy-on-write clone; lxc-copy -s", "end of a clone", "end of a copy")}
    container, path = bus.container(name), gantry.LXC_PATH

    def clone(**named):
        return timed(lambda: job(container.call("Clone", "(sa{sv})", "ours", gantry.options(**named))))

    def ends(key):
        figures[key][0].append(timed(lambda: job(bus.container("ours").call("Destroy", "(a{sv})", {}))))
        figures[key][1].append(timed(lambda: quiet("lxc-destroy", "-n", "theirs")))

    for _ in range(max(3, ROUNDS // 5)):
        figures["full copy; lxc-copy"][0].append(clone())
        figures["full copy; lxc-copy"][1].append(timed(lambda: quiet("lxc-copy", "-n", name, "-N", "theirs")))
        figures["full copy; cp -a --reflink=auto"][0].append(figures["full copy; lxc-copy"][0][-1])
        figures["full copy; cp -a --reflink=auto"][1].append(timed(
            lambda: quiet("cp", "-a", "--reflink=auto", f"{path}/{name}/rootfs", f"{path}/copy")))
        shutil.rmtree(f"{path}/copy")
        ends("end of a copy")
    for _ in range(ROUNDS):
        figures["copy-on-write clone; lxc-copy -s"][0].append(clone(snapshot=True))
        figures["copy-on-write clone; lxc-copy -s"][1].append(timed(
            lambda: quiet("lxc-copy", "-s", "-B", "overlay", "-n", name, "-N", "theirs")))
        ends("end of a clone")
    for key, figure in figures.items():
        report(f"{key} ({what})", *figure)


def snapshots(name):
    """Snapshots beside lxc-snapshot, of a container that is a clone; what many of them cost."""
    job(bus.container(name).call("Clone", "(sa{sv})", "clone", gantry.options(snapshot=True)))
    container = bus.container("clone")
    figures = {key: ([], []) for key in ("snapshot (of a clone)", "its end", "list of it")}

    def call(method, signature, *args):
        return bus.call(container.path, "Snapshots", method, signature, *args)

    for _ in range(ROUNDS):
        figures["snapshot (of a clone)"][0].append(timed(lambda: job(call("Take", "(sa{sv})", "", {}))))
        figures["snapshot (of a clone)"][1].append(timed(lambda: quiet("lxc-snapshot", "-n", "clone")))
        figures["list of it"][0].append(timed(lambda: call("List", "()")))
        figures["list of it"][1].append(timed(lambda: quiet("lxc-snapshot", "-n", "clone", "-L")))
        names = [snapshot["name"] for snapshot in call("List", "()")]
        figures["its end"][0].append(timed(lambda: job(call("Delete", "(sa{sv})", names[0], {}))))
        figures["its end"][1].append(timed(lambda: quiet("lxc-snapshot", "-n", "clone", "-d", names[1])))
    for key, figure in figures.items():
        report(key, *figure)
    few = [timed(answer_of_list) for _ in range(ROUNDS)]
    place = pathlib.Path(gantry.LXC_PATH) / "clone"
    (place / "snaps").mkdir(exist_ok=True)
    for number in range(SNAPSHOTS):
        folder = place / "snaps" / f"snap{number}"
        folder.mkdir()
        shutil.copy(place / "config", folder / "config")
        (folder / "ts").write_text("2026:01:01 00:00:00")
        (folder / "rootfs").mkdir()
    many = [timed(answer_of_list) for _ in range(ROUNDS)]
    print(f"{f'containers, {SNAPSHOTS} snapshots beside none':<42}{statistics.median(many):>10.2f}"
          f"{statistics.median(few):>10.2f} ms {statistics.median(many) / statistics.median(few):>8.2f}", flush=True)
    ours = [timed(lambda: answer(container.path, "Snapshots", "List")) for _ in range(max(3, ROUNDS // 5))]
    theirs = [timed(lambda: quiet("lxc-snapshot", "-n", "clone", "-L")) for _ in range(3)]
    report(f"list of {SNAPSHOTS} snapshots", ours, theirs)
    shutil.rmtree(place / "snaps")
    job(container.call("Destroy", "(a{sv})", {}))


def job(path):
    gantry.Job(bus, path).result(600)


def wanted(part):
    return not PARTS or part in PARTS


print(f"medians of {ROUNDS} rounds, interleaved{'':<7}Gantry  stock LXC       ratio")
bus.create("busybox", template="busybox")
if wanted("life"):
    life("busybox", "busybox")
for part, work in {"list": listing, "starts": many_starts, "usage": sampling, "console": console,
                   "bridge": bridge_up, "wires": wires, "plug": lambda: hot_plug("busybox"),
                   "snapshots": lambda: snapshots("busybox")}.items():
    if wanted(part):
        work()
if any(map(wanted, ("life", "moving", "copies", "boot"))):
    with open(os.environ["GANTRY_DEBIAN_TAR"], "rb") as tar:
        bus.create("debian", template="local", rootfs=gantry.GLib.Variant("h", 0), fds=[tar.fileno()], wait=300)
for part, work in {"life": life, "copies": copying, "moving": moving}.items():
    if wanted(part):
        work("debian", "debian")
if wanted("boot"):
    boot("debian")
