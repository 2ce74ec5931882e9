"""Containers that leave one host and come to another: nothing is lost, and nothing comes that is not wanted."""

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile

import pytest

import containers
from archives import Archive, file_of
from containers import refused
from gantry import Job, LXC_PATH, options, run, until
from stores import BACKENDS, Snapshots, container_on, everything, fill, first_id, kind, place_for, root_of, size, wish


def export(container, **named):
    """The container's archive."""
    out, into = os.pipe()
    job = Job(container.bus, container.call("Export", "(ha{sv})", 0, options(**named), fds=[into]))
    os.close(into)
    with os.fdopen(out, "rb") as reader:
        data = reader.read()
    job.result()
    return data


def import_result(bus, data, name, **named):
    with file_of(data) as fd:
        return Job(bus, bus.manager("ImportContainer", "(hsa{sv})", 0, name, options(**named), fds=[fd])).result()


def import_as(bus, data, name, **named):
    import_result(bus, data, name, **named)
    return bus.container(name)


def unpacked(data, folder):
    """Where tar has unpacked an archive."""
    os.makedirs(folder)
    path = folder / "archive"
    path.write_bytes(data)
    run("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-xf", str(path), "-C", str(folder))
    path.unlink()
    return folder


@pytest.mark.parametrize("backend", ["dir", "overlay", "btrfs", "loop"])
def test_a_container_comes_back_as_it_left(bus, backend):
    with container_on(bus, backend) as web:
        web.start()
        assert web.execute("sh", "-c", "echo text >/file; chown 7:8 /file; rm /etc/issue")[0] == 0
        web.kill()
        snapshot = None
        if backend in ("dir", "overlay"):
            snapshot = Snapshots(web).take(comment="a word")
        data = export(web, snapshots=True)
        twin = import_as(bus, data, "twin")
        assert twin.get("Backend") == "dir" and twin.get("Privileged") == web.get("Privileged")
        assert not set(idmap(web)) & set(idmap(twin))
        if backend == "dir":
            # Where the source can be read without a mount.
            assert everything(f"{twin.folder}/rootfs", first_id(twin)) == everything(f"{web.folder}/rootfs", first_id(web))
        twin.start()
        assert twin.execute("stat", "-c", "%u %g", "/file")[1] == "7 8\n"
        assert twin.execute("sh", "-c", "cat /file; test -e /etc/issue || echo gone; hostname")[1] == "text\ngone\ntwin\n"
        twin.kill()
        if snapshot:
            (listed,) = Snapshots(twin).list()
            assert (listed["name"], listed["comment"]) == (snapshot, "a word")
            Snapshots(twin).restore(snapshot, safety=False)
            run("lxc-start", "-n", "twin")
            assert run("lxc-attach", "-n", "twin", "--", "cat", "/file").stdout == "text\n"
            run("lxc-stop", "-k", "-n", "twin")


@pytest.mark.parametrize("backend", [backend for backend in BACKENDS if backend != "dir"])
def test_one_can_come_to_another_backend(bus, backend):
    """With all that its files have, and its hooks; either engine starts and ends it."""
    with place_for(bus, backend):
        web = bus.create("web", template="busybox")
        fill(f"{web.folder}/rootfs", first_id(web))
        containers.append_config("web", f"lxc.hook.pre-start = {web.folder}/hook")
        with open(f"{web.folder}/hook", "w") as hook:
            hook.write("#!/bin/sh\ntouch $LXC_CONFIG_FILE.hooked\n")
        os.chmod(f"{web.folder}/hook", 0o755)
        left = everything(f"{web.folder}/rootfs", first_id(web))
        data = export(web)
        twin = import_as(bus, data, "twin", **wish(backend))
        assert twin.get("Backend") == kind(backend)
        first = int(re.match(r"u 0 (\d+)", idmap(twin)[0])[1])
        with root_of(twin) as root:
            came = {path: value for path, value in everything(root, first).items() if path != "lost+found"}
        for path in left:
            # Of a directory's links and time the backend's own makes something else.
            assert came.get(path) == left[path] or path == ".", path
        assert came.keys() == left.keys()
        assert os.listdir(LXC_PATH).count("twin") == 1 and not [n for n in os.listdir(LXC_PATH) if n.startswith(".")]
        twin.start()
        assert twin.execute("stat", "-c", "%u %g", "/file")[1] == "1234 56\n"
        twin.kill()
        run("lxc-start", "-n", "twin")
        run("lxc-stop", "-k", "-n", "twin")
        assert os.path.exists(f"{twin.folder}/config.hooked")
        run("lxc-destroy", "-n", "twin")


def test_one_that_does_not_fit_on_its_backend_leaves_nothing(bus):
    web = bus.create("web", template="busybox")
    run("sh", "-c", f"head -c 20M /dev/urandom >{web.folder}/rootfs/big")
    data = export(web)
    for wrong, error in (({"backend": "loop", "fssize": size(8)}, "NoSpace"), ({"backend": "btrfs"}, "Unsupported"),
                         ({"backend": "tape"}, "InvalidArgument"), ({"fssize": size(64)}, "InvalidArgument")):
        with refused(error):
            import_as(bus, data, "twin", **wrong)
        assert os.listdir(LXC_PATH) == ["web"], wrong
    until(lambda: LXC_PATH not in run("losetup", "-a").stdout)


def test_snapshots_that_come_to_another_backend_say_what_they_are(bus):
    with container_on(bus, "dir") as web:
        taken = Snapshots(web).take()
        with file_of(export(web, snapshots=True)) as fd:
            job = Job(bus, bus.manager("ImportContainer", "(hsa{sv})", 0, "twin", options(backend="overlay"), fds=[fd]))
            assert any("snapshots" in warning for warning in job.result()["warnings"])
        twin = bus.container("twin")
        assert Snapshots(twin).names() == [taken] and twin.get("Backend") == "overlay"
        Snapshots(twin).restore(taken, safety=False)
        assert twin.get("Backend") == "dir"
        twin.start()


def idmap(container):
    return container.call("GetConfigItem", "(s)", "lxc.idmap")


@pytest.mark.parametrize("form", ["gantry", "tar", "by hand"])
def test_everything_that_a_file_has_arrives_under_other_ids(bus, form):
    """The source keeps its own, so that the newcomer gets others."""
    web = bus.create("web", template="busybox")
    fill(f"{web.folder}/rootfs", first_id(web))
    if form == "by hand":
        done = run("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--sparse", "-czf", "/run/web.tgz",
                   "-C", LXC_PATH, "web")
        assert not done.stderr
        with open("/run/web.tgz", "rb") as file:
            data = file.read()
        os.unlink("/run/web.tgz")
    else:
        data = export(web, format=form, compression="gzip")
    twin = import_as(bus, data, "twin")
    assert first_id(twin) != first_id(web)
    assert everything(f"{twin.folder}/rootfs", first_id(twin)) == everything(f"{web.folder}/rootfs", first_id(web))
    assert os.stat(f"{twin.folder}/rootfs/hole").st_blocks < 100
    web.destroy()
    again = import_as(bus, data, "web")
    for box in (twin, again):
        box.start()
        assert box.execute("cat", "/file")[1] == "text\n"


def test_what_two_containers_must_not_share_is_new_unless_it_is_to_be_kept(bus):
    web = bus.create("web", template="busybox")
    containers.append_config("web", "lxc.net.0.hwaddr = 00:16:3e:11:22:33", "# a comment of the user's",
                             f"lxc.hook.pre-start = {LXC_PATH}/web/hooks/start", "lxc.net.0.link = nowhere0",
                             "lxc.include = /nowhere/at.conf", "lxc.mount.entry = /nowhere mnt none bind 0 0")
    os.mkdir(f"{web.folder}/hooks")
    with open(f"{web.folder}/hooks/start", "w") as file:
        file.write("#!/bin/sh\n")
    os.chmod(f"{web.folder}/hooks/start", 0o755)
    os.makedirs("/nowhere")
    with open("/nowhere/at.conf", "w") as file:
        file.write("lxc.start.order = 3\n")
    data = export(web)
    run("rm", "-r", "/nowhere")
    result = import_result(bus, data, "twin")
    warnings = "\n".join(result["warnings"])
    for word in ("nowhere0", "/nowhere/at.conf", "/nowhere, which is mounted"):
        assert word in warnings, warnings
    assert "hooks/start" not in warnings
    text = containers.config_of("twin").decode()
    assert "# a comment of the user's" in text and "# lxc.include = /nowhere/at.conf" in text
    assert f"{LXC_PATH}/twin/hooks/start" in text and f"{LXC_PATH}/web" not in text
    hook = os.stat(f"{LXC_PATH}/twin/hooks/start")
    assert (hook.st_uid, hook.st_gid, hook.st_mode & 0o7777) == (0, 0, 0o755)
    twin = bus.container("twin")
    (address,) = twin.call("GetConfigItem", "(s)", "lxc.net.0.hwaddr")
    assert re.fullmatch(r"10:66:6a(:[0-9a-f]{2}){3}", address)
    kept = import_as(bus, data, "kept", keep_mac=True)
    assert kept.call("GetConfigItem", "(s)", "lxc.net.0.hwaddr") == ["00:16:3e:11:22:33"]


def test_26_a_changed_or_shortened_archive_is_refused(bus):
    web = bus.create("web", template="busybox")
    plain = export(web, compression="none")
    packed = export(web)
    # Somewhere in busybox, which is most of it.
    middle = len(plain) // 2
    changed = plain[:middle] + bytes([plain[middle] ^ 1]) + plain[middle + 1:]
    manifest = plain.replace(b'"backend": "dir"', b'"backend": "zfs"', 1)
    trailer = plain[:-1536] + plain[-1536:].replace(b"sha256 ", b"sha256 0", 1)[:1536]
    for bad in (changed, manifest, trailer, plain[:-2048], plain[:-1], plain[: len(plain) // 2], plain + bytes(512),
                packed[: len(packed) // 2], packed[:-3]):
        with refused("VerificationFailed"):
            import_result(bus, bad, "twin")
        assert os.listdir(LXC_PATH) == ["web"] and list(bus.list()) == ["web"]


@pytest.mark.parametrize("program", ["gzip", "bzip2", "xz", "zstd"])
def test_26_a_shortened_archive_of_another_program_is_refused(bus, program):
    packed = subprocess.run([program, "-c"], input=plain_lxc(), capture_output=True, check=True).stdout
    for end in (len(packed) // 3, len(packed) // 2, len(packed) - 40, len(packed) - 3):
        with refused("VerificationFailed"):
            import_result(bus, packed[:end], "twin")
        assert not os.listdir(LXC_PATH)
    import_result(bus, packed, "twin")


def plain_lxc():
    """A container's directory as tar packs it, with more in it than one block of any of them."""
    archive = Archive(prefix="web/rootfs/")
    archive.file("filling", os.urandom(1 << 20))
    archive.prefix = "web/"
    archive.file("config", b"lxc.uts.name = web\nlxc.rootfs.path = dir:/var/lib/lxc/web/rootfs\n"
                 b"lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n")
    return archive.bytes()


def test_an_archive_that_was_unpacked_and_packed_again_comes_in(bus, tmp_path):
    web = bus.create("web", template="busybox")
    fill(f"{web.folder}/rootfs", first_id(web))
    before = everything(f"{web.folder}/rootfs", first_id(web))
    folder = unpacked(export(web), tmp_path / "a")
    web.destroy()
    out = run("sh", "-ec", f"cd {folder}; tar --numeric-owner --xattrs --xattrs-include=* --acls -cf {tmp_path}/again .")
    assert out.returncode == 0
    result = import_result(bus, (tmp_path / "again").read_bytes(), "web")
    assert any("no checksum" in warning for warning in result["warnings"])
    assert everything(f"{web.folder}/rootfs", first_id(web)) == before
    assert not os.path.exists(f"{web.folder}/gantry.json")
    web.start()


HOSTILE = {
    "a newer form": {"gantry": 2},
    "no number": {"gantry": "one"},
    "a directory that is none": {"directory": "../../etc"},
    "a snapshot elsewhere": {"snapshots": ["../../../etc"]},
    "a snapshot that did not come": {"snapshots": ["snap0"]},
    "maps of half": {"idmap": ["u 0 100000 65536"]},
    "maps that meet": {"idmap": ["u 0 100000 65536", "u 5 100000 65536", "g 0 100000 65536"]},
    "no map": {"idmap": ["x"]},
}


def member(name, content):
    """A file as it stands in a sealed archive."""
    header = bytearray(512)
    for at, text in ((0, name.encode()), (100, b"0000644\x000000000\x000000000\0"), (124, b"%011o\0" % len(content)),
                     (136, b"00000000000\0"), (148, b"        0"), (257, b"ustar\x0000")):
        header[at:at + len(text)] = text
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512)


def sealed(manifest, made):
    """Whoever makes an archive can seal it: the checksum is no obstacle."""
    data = member("gantry.json", json.dumps(manifest).encode()) + made.bytes().rstrip(b"\0")
    data += bytes(-len(data) % 512)
    text = f"sha256 {hashlib.sha256(data).hexdigest()}\nbytes {len(data)}\n"
    return data + member("gantry.sha256", text.encode()) + bytes(1024)


def small(**changed):
    manifest = {"gantry": 1, "name": "old", "directory": f"{LXC_PATH}/old", "backend": "dir", "idmap": [], "snapshots": [],
                "created": 0}
    made = Archive(base=False, prefix="")
    made.folder("rootfs")
    made.file("config", f"lxc.rootfs.path = dir:{LXC_PATH}/old/rootfs\nlxc.net.0.type = empty\n".encode())
    return sealed(manifest | changed, made)


@pytest.mark.parametrize("what", HOSTILE)
def test_23_a_manifest_is_not_believed(bus, victim, what):
    with refused("InvalidArgument", "Unsupported", "InvalidName", "Failed"):
        import_result(bus, small(**HOSTILE[what]), "new")
    assert os.listdir(LXC_PATH) == [] and bus.list() == {}
    import_result(bus, small(), "new")


def test_23_snapshots_in_an_archive_are_not_those_of_others(bus):
    """A link in the place of the folder of snapshots leads to another container's."""
    web = bus.create("web", template="busybox")
    Snapshots(web).take()
    before = containers.tree(web.folder)
    made = Archive(base=False, prefix="")
    made.folder("rootfs")
    made.link("snaps", f"{web.folder}/snaps")
    made.file("config", f"lxc.rootfs.path = dir:{LXC_PATH}/old/rootfs\nlxc.net.0.type = empty\n".encode())
    manifest = {"gantry": 1, "name": "old", "directory": f"{LXC_PATH}/old", "backend": "dir", "idmap": [], "created": 0}
    for data in (sealed(manifest | {"snapshots": ["snap0"]}, made), sealed(manifest | {"snapshots": []}, made)):
        try:
            import_as(bus, data, "new").destroy(snapshots=True)
        except containers.gantry.Refused as error:
            assert error.name == "InvalidArgument"
        assert containers.tree(web.folder) == before


def test_a_plain_archive_brings_its_snapshots(bus, tmp_path):
    """As LXC's users pack it; its files get new owners where the ids are taken here."""
    web = bus.create("web", template="busybox")
    with open(f"{web.folder}/rootfs/file", "w") as file:
        file.write("then")
    os.chown(f"{web.folder}/rootfs/file", first_id(web) + 7, first_id(web) + 8)
    Snapshots(web).take(comment="a word")
    os.mkdir(f"{web.folder}/snaps/broken")
    exported = export(web, format="tar", snapshots=True)
    run("tar", "--numeric-owner", "-cf", str(tmp_path / "a"), "-C", web.folder, "config", "rootfs", "snaps")
    for data in (exported, (tmp_path / "a").read_bytes()):
        result = import_result(bus, data, "twin")
        twin = bus.container("twin")
        assert ("broken" in "".join(result["warnings"])) == (data != exported)
        listed, = Snapshots(twin).list()
        assert (listed["name"], listed["comment"]) == ("snap0", "a word")
        assert first_id(twin) != first_id(web)
        os.unlink(f"{twin.folder}/rootfs/file")
        Snapshots(twin).restore("snap0", safety=False)
        info = os.stat(f"{twin.folder}/rootfs/file")
        assert (info.st_uid - first_id(twin), info.st_gid - first_id(twin)) == (7, 8)
        twin.destroy(snapshots=True)


def test_23_notes_of_gantrys_own_in_an_archive_mean_nothing(bus):
    made = Archive(base=False)
    for name in (".gantry-replaced", ".gantry-elsewhere", "..gantry-renaming", ".gantry-current"):
        made.file(name, b".gantry-create-aaaaaa")
    made.folder("rootfs")
    made.file("hook", b"#!/bin/sh\n", mode=0o6777, uid=1000, gid=1000)
    made.file("config", f"lxc.rootfs.path = dir:{LXC_PATH}/old/rootfs\nlxc.net.0.type = empty\n".encode())
    import_as(bus, made.bytes(), "new")
    assert sorted(os.listdir(f"{LXC_PATH}/new")) == ["config", "hook", "rootfs"]
    hook = os.stat(f"{LXC_PATH}/new/hook")
    assert (hook.st_uid, hook.st_gid, hook.st_mode & 0o7777) == (0, 0, 0o755)


def test_a_helper_that_is_killed_while_it_imports_leaves_nothing(bus):
    web = bus.create("web", template="busybox")
    data = export(web)
    out, into = os.pipe()
    job = Job(bus, bus.manager("ImportContainer", "(hsa{sv})", 0, "twin", options(), fds=[out]))
    os.close(out)
    os.write(into, data[:60_000])
    until(lambda: job.get("Bytes") > 0)
    containers.kill_helper(bus)
    assert list(bus.list()) == ["web"]
    until(lambda: os.listdir(LXC_PATH) == ["web"])
    os.close(into)
    import_as(bus, data, "twin").start()


INDEX = """\
name: c1
backend: dir
pool: default
snapshots: [snap0]
optimized: false
type: container
config:
  container:
    architecture: x86_64
    ephemeral: false
    config:
      image.os: Debian
      boot.autostart: "true"
      limits.memory: 512MiB
      limits.processes: "200"
      raw.lxc: lxc.hook.pre-start=/bin/true
      volatile.eth0.hwaddr: 00:16:3e:01:02:03
      volatile.last_state.idmap: '{last}'
    expanded_devices:
      eth0: {{name: eth0, network: incusbr0, type: nic}}
      root: {{path: /, pool: default, type: disk}}
      gpu: {{type: gpu}}
    name: c1
"""
SHIFTED = json.dumps([{"Isuid": kind == "u", "Isgid": kind == "g", "Hostid": 1000000, "Nsid": 0, "Maprange": 1000000000}
                      for kind in "ug"])


def backup(last="[]", first=0, index=INDEX):
    made = Archive("gz", prefix="backup/container/rootfs/")
    for name in ("srv", "srv/file"):
        (made.folder if name == "srv" else made.file)(name, uid=first + 1000, gid=first + 1001)
    again = Archive("gz", base=False, prefix="backup/")
    again.file("index.yaml", index.format(last=last).encode())
    again.folder("container")
    again.file("container/backup.yaml", b"container: {}\n")
    again.file("container/metadata.yaml", b"architecture: x86_64\n")
    with tarfile.open(fileobj=io.BytesIO(made.bytes())) as tar:
        for member in tar:
            if not member.issym() and member.uid == 0:
                member.uid = member.gid = first
            again.tar.addfile(member, tar.extractfile(member) if member.isfile() else None)
    again.folder("snapshots")
    return again.bytes()


@pytest.mark.parametrize("last, first", [("[]", 0), (SHIFTED, 1000000)], ids=["ids of the container", "ids of a host"])
def test_a_backup_of_incus_becomes_a_container(bus, last, first):
    result = import_result(bus, backup(last, first), "web")
    warnings = "\n".join(result["warnings"])
    for word in ("raw.lxc", "incusbr0", "the device gpu", "snapshots"):
        assert word in warnings, warnings
    web = bus.container("web")
    assert not web.get("Privileged") and web.get("Autostart")
    text = containers.config_of("web").decode()
    assert "lxc.cgroup2.memory.max = 536870912" in text and "lxc.cgroup2.pids.max = 200" in text
    assert "lxc.net.0.link = lxcbr0" in text and "/bin/true" not in text
    assert sorted(os.listdir(web.folder)) == ["config", "rootfs"]
    assert first_id(web) >= 100_000
    with containers.bridge():
        web.start()
        assert web.execute("stat", "-c", "%u %g", "/srv/file")[1] == "1000 1001\n"
        web.kill()


@pytest.mark.parametrize("index", ["{", "name: [", "type: virtual-machine\nname: x\n", "optimized: true\nname: x\n", "&a [*a]"])
def test_23_a_backup_that_says_nonsense_is_refused(bus, index):
    with refused("InvalidArgument", "Unsupported"):
        import_result(bus, backup(index=index.replace("{", "{{")), "web")
    assert os.listdir(LXC_PATH) == []
