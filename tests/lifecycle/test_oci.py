"""The template `oci`: layouts, archives and registries that the test makes."""

import glob
import json
import os
import subprocess
import tarfile
from contextlib import contextmanager, suppress

import pytest

import containers
import gantry
import image_server
import oci
from archives import Archive, file_of
from containers import refused
from gantry import LXC_PATH, run, until
from image_server import REGISTRIES
from oci import Image, base, folder_of, registry

ROOT = f"{LXC_PATH}/box/rootfs"
HANDLE = gantry.GLib.Variant("h", 0)


def make(bus, fd, name="box", **named):
    return bus.create(name, fds=[fd], template="oci", rootfs=HANDLE, **named)


def pull(bus, site, name="box", release="1.0", untrusted=True, **named):
    return bus.create(name, template="oci", server=site.url, distribution=site.repository, release=release,
                      untrusted=untrusted, **named)


def make_of(bus, image, **named):
    with file_of(image.archive()) as fd:
        return make(bus, fd, **named)


@contextmanager
def refused_saying(name, text):
    with refused(name) as why:
        yield
    assert text in why[0].message, why[0].message
    assert not os.listdir(LXC_PATH)


def text(name):
    with open(f"{ROOT}/{name}") as file:
        return file.read()


def layer():
    return Archive(base=False, prefix="")


def value(config, key):
    return [line.partition("=")[2].strip() for line in config.splitlines() if line.partition("=")[0].strip() == key]


def test_a_container_runs_what_its_image_says(bus):
    image = Image(base(), Entrypoint=["serve", "it's on"], Cmd=["two words"], WorkingDir="/srv/app", User="web:mail",
                  Env=["PATH=/usr/bin:/bin", "GREETING=hello world", "LD_PRELOAD=/x.so", "bare"], StopSignal="SIGTERM")
    box = make_of(bus, image)
    config = containers.config_of("box").decode()
    assert value(config, "lxc.environment") == ["PATH=/usr/bin:/bin", "GREETING=hello world"]
    # Hooks of the host do not see it.
    assert value(config, "lxc.environment.runtime") == []
    assert value(config, "lxc.init.cmd")[0].startswith("/bin/env LD_PRELOAD=/x.so /bin/serve ")
    assert value(config, "lxc.init.cwd") == ["/srv/app"]
    assert (value(config, "lxc.init.uid"), value(config, "lxc.init.gid")) == (["33"], ["8"])
    box.start()
    until(lambda: os.path.exists(f"{ROOT}/tmp/ready"))
    assert text("tmp/argv") == "/bin/serve it's on two words\n"
    assert text("tmp/cwd") == "/srv/app\n"
    assert (text("tmp/uid"), text("tmp/gid")) == ("33\n", "8\n")
    assert "GREETING=hello world\n" in text("tmp/env") and "LD_PRELOAD=/x.so\n" in text("tmp/env")
    assert text("etc/hostname") == "box\n"
    box.stop(timeout_ms=gantry.GLib.Variant("x", 20_000))
    assert box.state == "STOPPED"


def test_stock_lxc_starts_what_an_image_became(bus):
    make_of(bus, Image(base(), Cmd=["/bin/serve"], Env=["GREETING=hello", "JAVA_HOME=/opt/java 21", "PYTHON_VERSION=3"]))
    try:
        run("lxc-start", "-n", "box", check=True)
        until(lambda: os.path.exists(f"{ROOT}/tmp/ready"))
        for variable in ("GREETING=hello", "JAVA_HOME=/opt/java 21", "PYTHON_VERSION=3"):
            assert f"{variable}\n" in text("tmp/env")
    finally:
        run("lxc-stop", "-k", "-n", "box")


def test_layers_replace_and_hide_what_is_below(bus):
    lower = base()
    for name in ("etc/motd", "opt/old/a", "opt/old/b/c", "was/folder/x", "link/target"):
        lower.file(name, b"lower")
    lower.link("usr-bin", "bin")
    lower.hard_link("opt/second", "opt/old/a")
    upper = layer()
    upper.file("etc/.wh.motd")
    upper.file("opt/old/.wh..wh..opq")
    upper.file("opt/old/new", b"upper")
    upper.file("was/folder", b"a file now")
    upper.file("usr-bin/.wh.serve")
    upper.file(".wh..wh.plnk")
    top = layer()
    top.folder("was", mode=0o700)
    top.file("opt/old/a", b"again")
    top.link("link", "etc")
    make_of(bus, Image(lower, upper, top))
    assert not os.path.exists(f"{ROOT}/etc/motd")
    assert sorted(os.listdir(f"{ROOT}/opt/old")) == ["a", "new"]
    assert text("opt/old/a") == "again" and text("opt/second") == "lower"
    assert text("was/folder") == "a file now" and os.stat(f"{ROOT}/was").st_mode & 0o777 == 0o700
    assert not os.path.exists(f"{ROOT}/bin/serve") and os.path.islink(f"{ROOT}/usr-bin")
    assert os.readlink(f"{ROOT}/link") == "etc"
    assert not glob.glob(f"{ROOT}/**/.wh.*", recursive=True)


def test_a_file_is_not_hidden_by_its_own_layer(bus):
    upper = layer()
    upper.file("new/thing", b"kept")
    upper.file("new/.wh.thing")
    upper.file("new/.wh..wh..opq")
    make_of(bus, Image(base(), upper))
    assert text("new/thing") == "kept"


def test_owners_modes_and_capabilities_of_layers_stay(bus):
    upper = layer()
    upper.file("data", b"x" * 5000, mode=0o4750, uid=33, gid=34)
    box = make_of(bus, Image(base(), upper))
    found = os.stat(f"{ROOT}/data")
    first = int(value(containers.config_of("box").decode(), "lxc.idmap")[0].split()[2])
    assert (found.st_uid - first, found.st_gid - first, found.st_mode & 0o7777) == (33, 34, 0o4750)
    assert box.state == "STOPPED"


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("compress", [bytes, oci.packed, zstd], ids=["plain", "gzip", "zstd"])
def test_layers_are_packed_in_any_way(bus, compress):
    make_of(bus, Image(base(), compress=compress))
    assert os.path.exists(f"{ROOT}/bin/busybox")


def test_a_folder_with_a_layout_will_do(bus, tmp_path):
    with folder_of(Image(base()).folder(str(tmp_path))) as fd:
        make(bus, fd)
    assert os.path.exists(f"{ROOT}/bin/serve")


def test_of_several_images_one_is_chosen(bus):
    first, second = base(), base()
    second.file("second", b"")
    image, other = Image(first), Image(second)
    with file_of(image.archive(other=other)) as fd, refused_saying("InvalidArgument", "one, other"):
        make(bus, fd)
    with file_of(image.archive(other=other)) as fd, refused_saying("NotFound", "one, other"):
        make(bus, fd, release="third")
    with file_of(image.archive(other=other)) as fd:
        make(bus, fd, release="other")
    assert os.path.exists(f"{ROOT}/second")


def test_what_a_layout_lacks_is_named(bus, tmp_path):
    path = Image(base()).folder(str(tmp_path))
    os.remove(f"{path}/index.json")
    with folder_of(path) as fd, refused_saying("InvalidArgument", "index.json is missing"):
        make(bus, fd)
    with refused_saying("InvalidArgument", "or give the image as 'rootfs'"):
        bus.create("box", template="oci")


def test_a_changed_part_is_refused(bus, tmp_path):
    image = Image(base())
    path = image.folder(str(tmp_path))
    victim = f"{path}/blobs/sha256/{image.layers[0]['digest'][7:]}"
    with open(victim, "r+b") as file:
        file.seek(5000)
        file.write(b"changed")
    with folder_of(path) as fd, refused_saying("VerificationFailed", "checksum"):
        make(bus, fd)


def test_a_link_in_place_of_a_part_leads_nowhere(bus, tmp_path):
    image = Image(base())
    path = image.folder(str(tmp_path / "layout"))
    part = f"{path}/blobs/sha256/{image.layers[0]['digest'][7:]}"
    os.rename(part, tmp_path / "outside")
    os.symlink(tmp_path / "outside", part)
    with folder_of(path) as fd, refused_saying("Failed", "opening"):
        make(bus, fd)
    os.remove(part)
    os.mkfifo(part)
    with folder_of(path) as fd, refused_saying("InvalidArgument", "is no file"):
        make(bus, fd)


def test_a_layer_that_is_another_than_the_image_says_is_refused(bus):
    with refused_saying("VerificationFailed", "layer"):
        make_of(bus, Image(base(), diff_ids=["sha256:" + "0" * 64]))


def test_a_cut_layer_is_refused(bus):
    whole = base().bytes()
    cut = Image(whole, compress=lambda data: oci.packed(data)[:-30_000])
    with refused_saying("VerificationFailed", "cut short"):
        make_of(bus, cut)


@pytest.mark.parametrize("privileged", [False, True], ids=["mapped", "privileged"])
class TestHostile:
    """Layers that want out; `victim` is a folder of the host's that must stay as it is."""

    def try_it(self, bus, upper, privileged, *more):
        host = os.listdir("/")
        with suppress(gantry.Refused):
            make_of(bus, Image(base(), upper, *more), privileged=privileged)
        assert os.listdir("/") == host
        made = "box" in bus.list()
        assert sorted(os.listdir(LXC_PATH)) == ["box"] * made
        return made

    def test_names_that_lead_out(self, bus, victim, privileged):
        for name in (f"../../../../..{victim}/evil", "bin/../../evil", f"{victim}/evil"):
            upper = layer()
            upper.file(name, b"evil")
            if self.try_it(bus, upper, privileged):
                containers.destroy("box")

    def test_whiteouts_that_lead_out(self, bus, victim, privileged):
        for name in (f"../../../..{victim}/.wh.file", "a/../../.wh.box", ".wh...", "a/.wh..", ".wh."):
            upper = layer()
            upper.file(name)
            assert not self.try_it(bus, upper, privileged), name

    def test_whiteouts_through_links(self, bus, victim, privileged):
        for to in (victim, "../../../../../../../.." + victim):
            middle, upper = layer(), layer()
            middle.link("way", to)
            upper.file("way/.wh.file")
            upper.file("way/.wh..wh..opq")
            if self.try_it(bus, middle, privileged, upper):
                containers.destroy("box")

    def test_files_through_links_of_lower_layers(self, bus, victim, privileged):
        for to in (victim, "../../../../../../../.." + victim):
            middle, upper = layer(), layer()
            middle.link("way", to)
            upper.file("way/evil", b"evil")
            upper.file("way/file", b"overwritten")
            upper.hard_link("mine", "way/file")
            if self.try_it(bus, middle, privileged, upper):
                containers.destroy("box")

    def test_device_nodes(self, bus, victim, privileged):
        upper = layer()
        upper.device("disk", 8, 0, block=True, mode=0o666)
        assert not self.try_it(bus, upper, privileged)


def test_a_layer_that_is_all_promises_is_not_begun_with(bus):
    info = tarfile.TarInfo("huge")
    info.size = 1 << 45
    bomb = info.tobuf(tarfile.GNU_FORMAT)
    with refused_saying("InvalidArgument", "too large"):
        make_of(bus, Image(base(), bomb))


def test_documents_that_make_no_sense_are_refused(bus):
    image = Image(base())
    for name, data in {"index.json": b"{", "index.json ": b'{"manifests": [], "layers": []}',
                       f"blobs/sha256/{image.manifest['digest'][7:]}": b"{}"}.items():
        files = image.files() | {name.strip(): data}
        broken = Image(base())
        broken.files = lambda files=files: files
        with file_of(broken.archive()) as fd, pytest.raises(gantry.Refused) as why:
            make(bus, fd)
        assert why.value.name in ("InvalidArgument", "VerificationFailed")
        assert not os.listdir(LXC_PATH)


def test_an_image_of_a_registry_becomes_a_container_and_stays_in_the_cache(bus):
    image = Image(base(), Cmd=["/bin/serve"])
    part = image.layers[0]["digest"]
    with registry(image) as site:
        box = pull(bus, site)
        assert os.path.exists(f"{ROOT}/bin/serve")
        path = f"{gantry.ROOT}/image/{gantry.escape('team+app_1.0_amd64_oci')}"
        assert bus.get(path, "Image", "Distribution") == "team/app"
        assert bus.get(path, "Image", "Size") > 100_000
        fetched = len(site.asked(part))
        pull(bus, site, "second")
        assert len(site.asked(part)) == fetched
        site.close()
        pull(bus, site, "third", cache="only")
        bus.call(path, "Image", "Delete", "(a{sv})", {})
        assert not glob.glob(f"{REGISTRIES}/*")
        assert box.state == "STOPPED"


def test_only_layers_that_changed_are_fetched_again(bus):
    first, second = Image(base()), layer()
    second.file("second", b"")
    with registry(first) as site:
        pull(bus, site)
        site.put(Image(base(), second))
        site.requests.clear()
        pull(bus, site, "new")
        assert os.path.exists(f"{LXC_PATH}/new/rootfs/second")
        assert not site.asked(first.layers[0]["digest"])


def test_a_tag_needs_trust_and_a_digest_does_not(bus):
    image = Image(base())
    with registry(image) as site:
        with refused_saying("VerificationFailed", "untrusted"):
            pull(bus, site, untrusted=False)
        pull(bus, site, untrusted=False, release=image.manifest["digest"])


def test_a_registry_that_gives_another_image_is_found_out(bus):
    image, other = Image(base()), Image(base(), Cmd=["/bin/sh"])
    with registry(image) as site:
        wanted = f"v2/team/app/manifests/{image.manifest['digest']}"
        site.files[wanted] = other.blobs[other.manifest["digest"]]
        with refused_saying("VerificationFailed", "checksum"):
            pull(bus, site, untrusted=False, release=image.manifest["digest"])
        part = image.layers[0]
        site.files[f"v2/team/app/blobs/{part['digest']}"] = b"x" * part["size"]
        with refused_saying("VerificationFailed", "checksum"):
            pull(bus, site)


def test_a_registry_wants_to_know_who_asks(bus):
    with registry(Image(base()), login="me:secret") as site:
        with refused_saying("Failed", "does not let us in"):
            pull(bus, site)
        with refused_saying("Failed", "does not let us in"):
            pull(bus, site, username="me", password="wrong")
        pull(bus, site, username="me", password="secret")
        assert os.path.exists(f"{ROOT}/bin/serve")


def test_a_broken_connection_is_gone_on_with(bus):
    filling = layer()
    filling.file("filling", os.urandom(1 << 20))
    image = Image(base(), filling)
    with registry(image) as site:
        path = f"v2/team/app/blobs/{image.layers[1]['digest']}"
        site.breaks[path] = image_server.cut_off_once
        pull(bus, site)
        ranges = [headers.get("Range") for headers in site.asked(image.layers[1]["digest"])]
        assert [asked for asked in ranges if asked], ranges


def test_the_image_for_the_architecture_is_chosen(bus):
    here, there = Image(base()), Image(base(), architecture="s390x")
    with registry(here) as site:
        site.put(there)
        platforms = {"amd64": here, "s390x": there}
        entries = [{**image.manifest, "platform": {"os": "linux", "architecture": name}}
                   for name, image in platforms.items()]
        site.files["v2/team/app/manifests/1.0"] = json.dumps({"manifests": entries}).encode()
        pull(bus, site)
        assert os.path.exists(f"{ROOT}/bin/serve")
        with refused("NotFound") as why:
            pull(bus, site, "other", architecture="riscv64")
        assert "s390x" in why[0].message


def test_what_the_registry_lacks_is_named(bus):
    with registry(Image(base()), tokens=False) as site:
        with refused_saying("NotFound", "team/app:2.0"):
            pull(bus, site, release="2.0")
        with refused_saying("InvalidArgument", "not the name of an image"):
            bus.create("box", template="oci", server=site.url, distribution="../x", untrusted=True)


def test_a_cancelled_download_leaves_no_container(bus):
    filling = layer()
    filling.file("filling", os.urandom(1 << 20))
    image = Image(base(), filling)
    with registry(image) as site:
        site.breaks[f"v2/team/app/blobs/{image.layers[1]['digest']}"] = image_server.stall
        wish = gantry.options(template="oci", server=site.url, distribution="team/app", release="1.0", untrusted=True)
        job = gantry.Job(bus, bus.manager("CreateContainer", "(sa{sv})", "box", wish))
        until(lambda: "downloading" in job.get("Stage"))
        job.cancel()
        assert job.wait() == "cancelled"
        assert not os.listdir(LXC_PATH)

