"""A database that is written to while its container is copied, and held: what is copied
is what a power cut would have left, on every backend.
"""

import os
import threading

import pytest

import containers
from gantry import Job, options, until
from stores import Snapshots, container_on
from stores import BACKENDS

WRITER = """
import sqlite3
db = sqlite3.connect("/data/db")
db.execute("pragma journal_mode = {journal}")
db.execute("pragma synchronous = full")
db.execute("create table rows (number integer primary key, text)")
number = 0
while True:
    number += 1
    db.execute("insert into rows values (?, ?)", (number, "x" * 2000))
    db.commit()
    print(number, flush=True)
"""
READER = """
import sqlite3
db = sqlite3.connect("/data/db")
print(db.execute("pragma integrity_check").fetchone()[0])
print(*db.execute("select count(*), max(number) from rows").fetchone())
"""
# The host's Python, in a busybox container.
MOUNTS = [f"lxc.mount.entry = {place} {place[1:]} none ro,rbind,create=dir 0 0"
          for place in ("/usr", "/lib", "/lib64")]


@pytest.mark.parametrize("backend, journal", [*((backend, "delete") for backend in BACKENDS), ("loop", "wal")])
def test_it_is_whole_and_has_all_that_was_committed(bus, backend, journal):
    with container_on(bus, backend) as web:
        containers.append_config("web", *MOUNTS)
        web.start()
        assert web.execute("mkdir", "/data")[0] == 0
        put, out, errors, _session = web.call("Execute", "(asa{sv})", ["/usr/bin/python3", "-c",
                                              WRITER.replace("{journal}", journal)], options())
        os.close(put)
        os.close(errors)
        committed = [0]

        def follow():
            with os.fdopen(out) as lines:
                for line in lines:
                    committed.append(int(line))

        reader = threading.Thread(target=follow)
        reader.start()
        until(lambda: committed[-1] > 20, 30)
        least = committed[-1]
        name = Snapshots(web).take()
        after = committed[-1]
        until(lambda: committed[-1] > after, 30)
        web.kill()
        reader.join()
        Snapshots(web).restore(name, new_name="then")
        then = bus.container("then")
        then.start()
        status, output, errors = then.execute("/usr/bin/python3", "-c", READER)
        assert status == 0, errors
        whole, counts = output.splitlines()
        count, last = map(int, counts.split())
        assert whole == "ok" and count == last and last >= least


@pytest.mark.parametrize("backend", ["dir", "loop"])
def test_a_killed_helper_lets_the_container_go_on(bus, backend):
    with container_on(bus, backend) as web:
        web.start()
        store = f"{web.folder}/rootfs/big" if backend == "dir" else f"{web.folder}/rootdev"
        if backend == "dir":
            containers.run("sh", "-c", f"head -c 400M /dev/urandom >{store}")
        for _ in range(3):
            job = Job(bus, Snapshots(web).call("Take", "(sa{sv})", "", {}))
            until(lambda: job.get("Stage") != "" or job.get("State") != "running")
            containers.kill_helper(bus)
            until(lambda: web.state == "RUNNING")
            assert web.execute("sh", "-c", "echo x >/written && sync")[0] == 0
