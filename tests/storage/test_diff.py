"""What changed between snapshots and until now, on every backend."""

import os
import random
import time

import pytest

from containers import refused
from gantry import GLib, Job, LXC_PATH, options, run, until
from stores import BACKENDS, Snapshots, container_on, root_of

# In the container, by busybox.
BEFORE = """
mkdir -p /d/same /d/gone/deep /d/moved /d/kind
echo 1 >/d/same/file; echo old >/d/changed; echo keep >/d/touched; echo x >/d/gone/deep/file
echo m >/d/moved/inner; echo m >/d/mode; ln -s one /d/link; echo k >/d/kind/file; mkfifo /d/fifo
echo a >/d/swapped; mkdir /d/one /d/two; echo 1 >/d/one/file; echo 2 >/d/two/file
"""
AFTER = """
echo new >/d/changed; touch -d '2001-02-03 04:05:06' /d/touched; rm -r /d/gone; mv /d/moved /d/there
chmod 700 /d/mode; chown 5:6 /d/fifo; ln -sfn two /d/link; rm -r /d/kind; echo k >/d/kind
mkdir /d/new; echo n >/d/new/file; chmod 700 /d/same; mv /d/one /d/t; mv /d/two /d/one; mv /d/t /d/two
"""
EXPECTED = {
    "/d/changed": "changed", "/d/touched": "metadata", "/d/mode": "metadata", "/d/fifo": "metadata",
    "/d/link": "changed", "/d/kind": "changed", "/d/kind/file": "removed", "/d/same": "metadata",
    "/d/gone": "removed", "/d/gone/deep": "removed", "/d/gone/deep/file": "removed",
    "/d/moved": "removed", "/d/moved/inner": "removed", "/d/there": "added", "/d/there/inner": "added",
    "/d/new": "added", "/d/new/file": "added", "/d/one/file": "changed", "/d/two/file": "changed",
}
BACK = {"added": "removed", "removed": "added", "changed": "changed", "metadata": "metadata"}


@pytest.fixture(params=BACKENDS)
def web(bus, request):
    with container_on(bus, request.param) as container:
        yield container


def inside(container, script):
    status, _out, errors = container.execute("sh", "-ec", script)
    assert status == 0, errors


def diff(container, old, new, **named):
    result = Snapshots(container).job("Diff", "(ssa{sv})", old, new, options(**named))
    return {path: kind for kind, path in result["changes"] if path.startswith("/d")}, result["truncated"]


def test_every_way_in_which_files_differ(web):
    snapshots = Snapshots(web)
    web.start()
    inside(web, BEFORE)
    snapshots.take("old")
    inside(web, AFTER)
    # A walk over all files trusts their times; the clock of file systems is coarse.
    read = {"content": True}
    assert diff(web, "old", "", **read) == (EXPECTED, False), "until now, while it runs"
    snapshots.take("new")
    web.kill()
    assert diff(web, "old", "new", **read) == (EXPECTED, False)
    assert diff(web, "new", "old", **read) == ({path: BACK[kind] for path, kind in EXPECTED.items()}, False)
    assert diff(web, "new", "") == ({}, False) == diff(web, "new", "new")
    assert diff(web, "old", "", **read) == (EXPECTED, False), "until now, when it is stopped"
    assert not [left for left in os.listdir(LXC_PATH) if left.startswith(".")]


def test_a_changed_file_is_told_by_each_of_its_names(web):
    web.start()
    inside(web, """
        mkdir -p /d/a/b /d/c; echo x >/d/one; ln /d/one /d/a/two; ln /d/one /d/a/b/three; ln /d/one /d/c/less
        echo same >/d/same; ln /d/same /d/a/same; echo y >/d/mode; ln /d/mode /d/c/mode; echo z >/d/c/more""")
    snapshots = Snapshots(web)
    snapshots.take("old")
    inside(web, """
        echo more >>/d/a/two; rm /d/c/less; chmod 600 /d/c/mode; ln /d/same /d/a/b/another
        ln /d/c/more /d/a/more; mv /d/a/b /d/moved""")
    snapshots.take("new")
    web.kill()
    expected = {
        "/d/one": "changed", "/d/a/two": "changed", "/d/a/b/three": "removed", "/d/moved/three": "added",
        "/d/c/less": "removed", "/d/mode": "metadata", "/d/c/mode": "metadata", "/d/moved/another": "added",
        "/d/a/more": "added", "/d/a/b": "removed", "/d/moved": "added"}
    assert diff(web, "old", "new", content=True) == (expected, False)
    assert diff(web, "new", "old", content=True) == ({path: BACK[kind] for path, kind in expected.items()}, False)


def test_names_are_told_as_they_are(web):
    names = ["ta\tb", "new\nline", "back\\slash", "a b", "\\0040", "(+1)", " -> ", "ä", "<xattrdir>"]

    def of_each(script):
        status, _out, errors = web.execute("sh", "-ec", f'cd /d; for name; do {script}; done', "sh", *names)
        assert status == 0, errors

    web.start()
    inside(web, "mkdir /d")
    of_each('mkdir "./$name"; echo x >"./$name/$name"')
    Snapshots(web).take("old")
    of_each('echo y >>"./$name/$name"; : >"./$name/more $name"')
    found, cut = diff(web, "old", "", content=True)
    assert not cut
    assert found == {f"/d/{name}/{name}": "changed" for name in names} | {f"/d/{name}/more {name}": "added" for name in names}


def test_what_cannot_be_compared(bus):
    web = bus.create("web", template="busybox")
    Snapshots(web).take()
    for args, error in ((("snap0", "snap9"), "NotFound"), (("../x", ""), "InvalidName")):
        with refused(error):
            diff(web, *args)
    with refused("InvalidArgument"):
        diff(web, "snap0", "", limit=GLib.Variant("u", 1_000_000))
    with refused("InvalidArgument"):
        diff(web, "snap0", "", depth=True)


def test_much_is_cut_and_can_be_cancelled(bus, victim):
    """The tree is the container's: its links lead nowhere, and its size is no matter."""
    web = bus.create("web", template="busybox")
    root = f"{web.folder}/rootfs"
    Snapshots(web).take()
    os.mkdir(f"{root}/d")
    os.symlink(victim, f"{root}/d/link")
    deep = os.open(f"{root}/d", os.O_RDONLY)
    for _ in range(40):
        os.mkdir("x" * 120, dir_fd=deep)
        below = os.open("x" * 120, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    run("sh", "-ec", f"cd {root}/d; mkfifo fifo; printf x >'new\nline'; : >\"$(printf '\\377')\"")
    changes, cut = diff(web, "snap0", "")
    assert cut, "what lies too deep is told of"
    assert changes["/d/link"] == "added" and "/d/link/file" not in changes and changes["/d/new\nline"] == "added"
    assert len(changes) > 30 and len(max(changes, key=len)) < 4200
    some, cut = diff(web, "snap0", "", limit=GLib.Variant("u", 3))
    assert cut and len(some) <= 3
    run("rm", "-r", f"{root}/d/{'x' * 120}")
    for number in (1, 2):
        run("sh", "-c", f"truncate -s 100G {root}/d/hole; touch -d @{number} {root}/d/hole")
        if number == 1:
            Snapshots(web).take()
    job = Job(bus, Snapshots(web).call("Diff", "(ssa{sv})", "snap1", "", {}))
    until(lambda: job.get("Stage"))
    job.cancel()
    assert job.wait() == "cancelled"


def test_a_link_in_place_of_a_directory_leads_nowhere(bus, victim):
    web = bus.create("web", template="busybox")
    root = f"{web.folder}/rootfs"
    os.mkdir(f"{root}/d")
    with open(f"{root}/d/file", "w") as file:
        file.write("x")
    Snapshots(web).take()
    run("rm", "-r", f"{root}/d")
    os.symlink(victim, f"{root}/d")
    assert diff(web, "snap0", "")[0] == {"/d": "changed", "/d/file": "removed"}


@pytest.mark.parametrize("backend", [backend for backend in BACKENDS if backend in ("btrfs", "zfs")])
def test_of_a_million_things_only_the_changed_ones_are_looked_at(bus, backend):
    """Random changes, found by the kernel's own account, are those that a walk would find."""
    chance = random.Random(time.time_ns())
    print("seed state", chance.getstate()[1][0])
    with container_on(bus, backend) as web, root_of(web) as top:
        root = f"{top}/d"
        os.mkdir(root)

        def paths(kind):
            found = [os.path.join(at, name) for at, folders, files in os.walk(root)
                     for name in (folders if kind == "d" else files)]
            return found or [root]

        def mutate():
            what = chance.choice("fffddlmmmrsw")
            place = chance.choice([root, *(p for p in paths("d") if p != root)])
            name = os.path.join(place, f"n{chance.randrange(40)}")
            try:
                if what == "f":
                    with open(name, "a") as file:
                        file.write("more")
                elif what == "d":
                    os.mkdir(name)
                elif what == "l":
                    os.link(chance.choice(paths("f")), name)
                elif what == "m":
                    os.rename(chance.choice(paths(chance.choice("df"))), name)
                elif what == "r":
                    run("rm", "-rf", chance.choice([p for p in paths("f") if p != root] or [name]))
                elif what == "w":
                    run("chmod", chance.choice(["700", "755"]), chance.choice(paths("d")))
                elif what == "s":
                    run("rm", "-rf", chance.choice([p for p in paths("d") if p != root] or [name]))
            except OSError:
                pass

        def state(top):
            seen = {}
            for at, folders, files in os.walk(top):
                for entry in folders + files:
                    path = os.path.join(at, entry)
                    info = os.lstat(path)
                    data = open(path, "rb").read() if os.path.isfile(path) else None
                    seen["/d/" + os.path.relpath(path, top)] = (data, info.st_mode & 0o7777)
            return seen

        for round_ in range(6):
            for _ in range(60):
                mutate()
            name = Snapshots(web).take()
            before = state(root)
            for _ in range(25):
                mutate()
            after = state(root)
            expected = {path: "added" for path in after.keys() - before.keys()}
            expected |= {path: "removed" for path in before.keys() - after.keys()}
            for path in before.keys() & after.keys():
                if before[path][0] != after[path][0]:
                    expected[path] = "changed"
                elif before[path][1] != after[path][1]:
                    expected[path] = "metadata"
            found, _ = diff(web, name, "")
            told = {path: kind for path, kind in found.items() if path in expected}
            assert told == expected
            assert all(kind == "metadata" for path, kind in found.items() if path not in expected)
