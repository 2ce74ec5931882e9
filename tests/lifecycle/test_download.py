"""The template `download`, from a server of the test's own."""

import glob
import json
import os
import time
from contextlib import contextmanager

import pytest

import archives
import containers
import gantry
import image_server
from containers import refused
from gantry import LXC_PATH, run, until
from image_server import CACHE, META, WORDS

IMAGE = f"{gantry.ROOT}/image/{gantry.escape('_'.join(WORDS))}"
CACHED = f"{CACHE}/{'/'.join(WORDS)}"


@pytest.fixture
def site():
    with image_server.site() as served:
        yield served


def wanted(site, **named):
    return dict(template="download", distribution="tiny", release="one", architecture="amd64", server=site.url, **named)


def download(bus, site, name="box", **named):
    return bus.create(name, **wanted(site, **named))


def start(bus, site, name="box", **named):
    return gantry.Job(bus, bus.manager("CreateContainer", "(sa{sv})", name, gantry.options(**wanted(site, **named))))


@contextmanager
def refused_saying(name, text):
    with refused(name) as why:
        yield
    assert text in why[0].message, why[0].message


def nothing_was_made(bus):
    assert bus.list() == {}
    assert not [name for name in os.listdir(LXC_PATH)]
    assert not os.path.exists(CACHED)


def test_24_an_image_becomes_a_container_and_stays_in_the_cache(bus, site):
    site.publish()
    job = start(bus, site)
    assert job.result()["first_login"] == "Log in as root.\nThe password is 'LXC'."
    box = bus.container("box")
    root = f"{LXC_PATH}/box/rootfs"
    with open(f"{root}/etc/hostname") as file:
        assert file.read() == "box\n"
    assert os.readlink(f"{root}/etc/escape") == "/etc/issue"
    assert not os.path.exists(f"{root}/left-out")
    config = containers.config_of("box").decode()
    assert "lxc.include = /usr/share/lxc/config/userns.conf" in config and "lxc.tty.max = 3" in config
    assert config.count("lxc.arch") == 1 and "lxc.idmap" in config
    box.start()
    assert box.execute("hostname")[1] == "box\n"
    assert run("lxc-info", "-n", "box", "-s").stdout.split() == ["State:", "RUNNING"]

    # What lies in the cache is on the bus, and makes the next one without a server.
    assert bus.get(IMAGE, "Image", "Distribution") == "tiny" and bus.get(IMAGE, "Image", "Serial") == "20260101_07:42"
    assert bus.get(IMAGE, "Image", "Size") > len(image_server.rootfs())
    assert bus.get(IMAGE, "Image", "LastUsed") > time.time() - 3600
    site.close()
    download(bus, site, "second", privileged=True)
    assert "lxc.include = /usr/share/lxc/config/userns.conf" not in containers.config_of("second").decode()
    assert os.path.exists(f"{LXC_PATH}/second/rootfs/left-out")
    bus.call(IMAGE, "Image", "Delete", "(a{sv})", {})
    assert IMAGE not in bus.objects() and not os.path.exists(f"{CACHE}/tiny")
    assert box.state == "RUNNING"
    with refused("NotFound"):
        download(bus, site, "third", cache="only")


def test_lxc_and_gantry_use_what_the_other_has_fetched(bus, site, tmp_path):
    """lxc-create finds Gantry's image in its cache, and needs no server; and the reverse."""
    site.publish()
    download(bus, site)
    (tmp_path / "wget").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "wget").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    args = ("-d", "tiny", "-r", "one", "-a", "amd64")
    run("lxc-create", "-n", "stock", "-t", "download", "--", *args, env=environment)
    with open(f"{LXC_PATH}/stock/rootfs/etc/hostname") as file:
        assert file.read() == "stock\n"
    bus.container("stock").start()

    # As LXC's template leaves it: without Gantry's note. From no known server.
    os.remove(f"{CACHED}/.gantry.json")
    own = dict(template="download", distribution="tiny", release="one", architecture="amd64", cache="only")
    with refused("NotFound"):
        bus.create("own", **own)
    bus.create("own", untrusted=True, **own).start()


def test_what_is_not_as_signed_is_refused(bus, site):
    folder = site.publish()
    good = dict(site.files)

    def verdict(message, **named):
        with refused_saying("VerificationFailed", message):
            download(bus, site, **named)
        nothing_was_made(bus)

    site.files[f"{folder}/rootfs.tar.xz"] = good[f"{folder}/rootfs.tar.xz"][:-1] + b"!"
    verdict("checksum")
    verdict("checksum", untrusted=True)
    site.files = dict(good)
    site.files[f"{folder}/SHA256SUMS"] = good[f"{folder}/SHA256SUMS"].replace(b"0", b"1", 1)
    verdict("signature")
    verdict("signature", untrusted=True)
    site.files = dict(good)
    del site.files[f"{folder}/SHA256SUMS.asc"]
    verdict("untrusted")
    # One that is allowed without a signature needs the permission again.
    download(bus, site, untrusted=True)
    site.close()
    with refused("NotFound"):
        download(bus, site, "second", cache="only")
    download(bus, site, "second", cache="only", untrusted=True)


def test_26_what_is_signed_for_another_image_is_refused(bus, site):
    names = ("rootfs.tar.xz", "meta.tar.xz", "incus.tar.xz", "SHA256SUMS", "SHA256SUMS.asc")
    other = site.publish(words=("tiny", "two", "amd64", "default"))
    old = site.publish("20250101_07:42")
    folder = site.publish()
    good = dict(site.files)
    for source, what in ((other, "release is two"), (old, "serial is 20250101_07:42")):
        site.files = good | {f"{folder}/{name}": good[f"{source}/{name}"] for name in names}
        for untrusted in (False, True):
            with refused_saying("VerificationFailed", what):
                download(bus, site, untrusted=untrusted)
            nothing_was_made(bus)
    site.files = dict(good)
    site.publish(twin=False)
    with refused_saying("VerificationFailed", "untrusted"):
        download(bus, site)
    nothing_was_made(bus)


def test_an_older_build_than_the_cache_has_is_not_taken(bus, site):
    site.publish("20260202_07:42")
    download(bus, site)
    site.publish("20260101_07:42")
    download(bus, site, "second", cache="refresh")
    assert bus.get(IMAGE, "Image", "Serial") == "20260202_07:42"


def test_a_server_without_a_key_is_not_trusted(bus):
    with image_server.site(key=False) as site:
        site.publish()
        with refused_saying("VerificationFailed", "image-keys"):
            download(bus, site)
        nothing_was_made(bus)
        with refused_saying("NotFound", "it has one"):
            bus.create("box", **{**wanted(site), "release": "two"})
        with refused("InvalidArgument"):
            bus.create("box", **{**wanted(site), "release": "../one"})
        with refused("InvalidArgument"):
            bus.create("box", **{**wanted(site), "server": "file:///etc"})
        assert not os.path.exists(CACHED)


def test_only_what_has_changed_is_downloaded_again(bus, site):
    site.publish(expiry=1)
    download(bus, site)
    assert len(site.asked("rootfs.tar.xz")) == 1
    # It has expired, and the server has the same: its list is not even sent.
    download(bus, site, "same")
    assert len(site.asked("rootfs.tar.xz")) == 1 and len(site.asked("meta.tar.xz")) == 1
    assert "If-None-Match" in site.asked("index-system")[-1]
    # A newer build, of which only the texts are new.
    site.publish("20260202_07:42", meta={**META, "create-message": "Newer.\n"})
    job = start(bus, site, "newer")
    assert job.result()["first_login"] == "Newer."
    assert len(site.asked("rootfs.tar.xz")) == 1 and len(site.asked("meta.tar.xz")) == 2
    assert bus.get(IMAGE, "Image", "Serial") == "20260202_07:42"
    # That one does not expire, but it can be asked for what is new.
    before = len(site.requests)
    download(bus, site, "kept")
    assert len(site.requests) == before
    download(bus, site, "asked", cache="refresh")
    assert len(site.asked("index-system")) > 3
    # A damaged copy is noticed.
    with open(f"{CACHED}/rootfs.tar.xz", "r+b") as file:
        file.write(b"damaged")
    download(bus, site, "whole")
    assert len(site.asked("rootfs.tar.xz")) == 2


def test_a_broken_download_is_gone_on_with(bus, site):
    folder = site.publish(root=image_server.rootfs(1 << 20))
    path = f"{folder}/rootfs.tar.xz"
    site.breaks[path] = image_server.cut_off_once
    download(bus, site)
    ranges = [headers.get("Range") for headers in site.asked(path)]
    assert ranges[0] is None and int(ranges[1].removeprefix("bytes=").rstrip("-")) > 0 and len(ranges) == 2
    bus.container("box").destroy()
    bus.call(IMAGE, "Image", "Delete", "(a{sv})", {})

    # The connection stalls; whoever does not want to wait cancels, and what came is kept.
    site.requests.clear()
    site.breaks[path] = image_server.stall
    job = start(bus, site)
    until(lambda: job.get("Bytes") > 0)
    assert job.get("Total") == len(site.files[path]) and "rootfs.tar.xz" in job.get("Stage")
    workers = [pid for pid in children(containers.helper_pid(bus)) if b"image-worker" in command(pid)]
    assert len(workers) == 1, "one fetches"
    status = {field: containers.status_of(workers[0], field) for field in ("Uid", "CapEff", "CapBnd", "NoNewPrivs", "Groups")}
    assert set(status["Uid"].split()) == {"65534"} and int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Groups"] == ""
    assert sorted(os.listdir(f"/proc/{workers[0]}/root")) == sorted(
        {"usr", "dev", "etc"} | {name for name in ("bin", "lib", "lib32", "lib64", "libx32") if os.path.lexists(f"/{name}")})
    job.cancel()
    assert job.wait(20) == "cancelled"
    until(lambda: not os.path.exists(f"/proc/{workers[0]}"))
    nothing_was_made(bus)
    site.breaks.clear()
    download(bus, site)
    (_first, second) = site.asked(path)
    assert second["Range"].startswith("bytes=")


def children(pid):
    tasks = glob.glob(f"/proc/{pid}/task/*/children")
    found = []
    for task in tasks:
        with open(task) as file:
            found += map(int, file.read().split())
    return found


def command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def test_a_server_that_vanishes_is_named(bus, site):
    folder = site.publish(root=image_server.rootfs(1 << 20))
    path = f"{folder}/rootfs.tar.xz"

    def vanish(handler, data):
        image_server.cut_off(handler, data)
        handler.server.socket.close()

    site.breaks[path] = vanish
    with refused_saying("Failed", path):
        download(bus, site)
    nothing_was_made(bus)


def test_simplestreams_and_a_proxy(bus, site):
    """A server of Incus has no texts for LXC; its list is signed. Through a proxy, which is
    the same server here: the address has no server of its own."""
    site.publish(layout="streams", meta=None)
    os.rename(f"{image_server.KEYS}/{site.authority}.asc", f"{image_server.KEYS}/images.invalid.asc")
    try:
        options = {**wanted(site), "server": "http://images.invalid", "proxy": site.url}
        job = gantry.Job(bus, bus.manager("ListRemoteImages", "(sa{sv})", "http://images.invalid",
                                          gantry.options(proxy=site.url, all_architectures=True)))
        (image,) = job.result()["images"]
        assert image["distribution"] == "tiny" and image["title"] == "One" and image["cached"] is False
        box = bus.create("box", start=True, **options)
        assert box.execute("true")[0] == 0
        assert site.asked("images.invalid:80")
        assert "lxc.cap.drop" in containers.config_of("box").decode()
        # A list that somebody has changed.
        site.files["streams/v1/images.json"] += b" "
        with refused("VerificationFailed"):
            bus.create("second", cache="refresh", **options)
    finally:
        os.rename(f"{image_server.KEYS}/images.invalid.asc", f"{image_server.KEYS}/{site.authority}.asc")


def test_lists_and_files_may_be_called_otherwise(bus, site):
    """As on Ubuntu's servers: an index says where the list is, and that how its files are called."""
    site.publish(layout="cloud", meta=None, twin=False)
    download(bus, site)
    assert os.path.exists(f"{LXC_PATH}/box/rootfs/bin/busybox")
    assert site.asked("/one-amd64-root.tar.xz")
    with open(f"{CACHED}/.gantry.json") as file:
        assert json.load(file)["signed"]


def test_an_image_is_read_whole_again_only_after_a_change(bus, site):
    """The next container of an image waits for no checksum, and an image that somebody has written to is noticed."""
    site.publish()
    download(bus, site)
    note = f"{CACHED}/.gantry.json"
    with open(note) as file:
        record = json.load(file)
    # Whether it is read shows by a checksum that cannot be right.
    with open(note, "w") as file:
        json.dump({**record, "sha256": "0" * 64}, file)
    download(bus, site, "second", cache="only")
    os.utime(f"{CACHED}/rootfs.tar.xz")
    with refused("NotFound"):
        download(bus, site, "third", cache="only")
    with open(note, "w") as file:
        json.dump(record, file)
    download(bus, site, "third", cache="only")
    with open(note) as file:
        assert json.load(file)["stamp"] != record["stamp"]
    download(bus, site, "fourth", cache="only")


@pytest.mark.parametrize("layout", ["index", "simplestreams"])
def test_an_image_that_is_squashed_only_becomes_what_every_image_is(bus, site, layout, tmp_path):
    """With its files' owners, links and capabilities; stock LXC makes its own of the same cache."""
    archive = archives.Archive()
    archive.file("etc/hostname", b"LXC_NAME\n")
    archive.file("note", b"words", uid=7, gid=8, mode=0o4751)
    archive.hard_link("same", "./note")
    archive.device("dev/null", 1, 3)
    site.publish(squash=image_server.squashed(archive.bytes()), layout=layout)
    box = download(bus, site)
    box.start()
    assert box.execute("stat", "-c", "%u %g %a %h", "/note")[1] == "7 8 4751 2\n"
    assert box.execute("cat", "/etc/hostname")[1] == "box\n"
    assert sorted(name for name in os.listdir(CACHED) if name.startswith("rootfs")) == ["rootfs.tar.xz"]
    site.close()
    download(bus, site, "second").start()
    args = ("-d", "tiny", "-r", "one", "-a", "amd64")
    if layout == "index":
        (tmp_path / "wget").write_text("#!/bin/sh\nexit 9\n")
        (tmp_path / "wget").chmod(0o755)
        run("lxc-create", "-n", "stock", "-t", "download", "--", *args,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
        assert os.stat(f"{LXC_PATH}/stock/rootfs/note").st_mode & 0o7777 == 0o4751


def squash_with(change):
    archive = archives.Archive()
    change(archive)
    return image_server.squashed(archive.bytes())


@pytest.mark.parametrize("what, squash", [
    ("no image", lambda: b"hsqs" + os.urandom(1 << 16)),
    ("cut short", lambda: squash_with(lambda archive: archive.file("big", os.urandom(1 << 20)))[:1 << 19]),
    ("a device", lambda: squash_with(lambda archive: archive.device("sda", 8, 0, block=True))),
    ("strange owners", lambda: squash_with(lambda archive: archive.file("note", uid=1 << 20))),
])
def test_23_a_squashed_image_is_not_believed(bus, site, what, squash):
    site.publish(squash=squash())
    with refused("InvalidArgument"):
        download(bus, site)
    nothing_was_made(bus)


def test_a_squashed_image_that_was_changed_is_refused(bus, site):
    folder = site.publish(squash=squash_with(lambda archive: archive.file("note", b"words")))
    site.files[f"{folder}/rootfs.squashfs"] += b"more"
    with refused("VerificationFailed"):
        download(bus, site)
    nothing_was_made(bus)


def test_the_list_of_a_server(bus, site):
    site.publish()
    site.files["meta/1.0/index-system"] += b"../../etc;x;amd64;default;1;/x/\nother;two;arm64;default;2;/y/\nrubbish\n\xff\xfe\n"

    def images(**named):
        return gantry.Job(bus, bus.manager("ListRemoteImages", "(sa{sv})", site.url, gantry.options(**named))).result()["images"]

    every = images(all_architectures=True)
    assert [(image["distribution"], image["architecture"]) for image in every] == [("tiny", "amd64"), ("other", "arm64")]
    assert every[0]["server"] == site.url and every[0]["serial"] == "20260101_07:42"
    own = run("dpkg", "--print-architecture").stdout.strip()
    assert {image["architecture"] for image in images()} <= {own}
    download(bus, site)
    assert images(all_architectures=True)[0]["cached"] is True
    site.files.clear()
    with refused_saying("NotFound", "is no image server"):
        images()


def test_texts_of_an_image_are_not_believed(bus, site):
    hooks = "lxc.hook.start-host = /bin/sh\nlxc.mount.entry = /etc mnt none bind 0 0\nlxc.include = /etc/lxc/x.conf\n"
    site.publish(meta={**META, "config-user": META["config-user"] + hooks, "fstab": "/ mnt none bind 0 0\n"})
    with bus.signals("Job", "Log") as lines:
        job = start(bus, site)
        job.result()
        until(lambda: len([1 for *_x, (line,) in lines if "left out" in line]) == 4, pump=True)
    config = containers.config_of("box").decode()
    assert "/bin/sh" not in config and "/etc/lxc/x.conf" not in config and "mnt" not in config
    bus.container("box").destroy()
    # A link for the config: what it leads to is not read.
    site.publish("20260303_07:42", meta={**META, "config-user": None})
    with refused("Failed"):
        download(bus, site, cache="refresh")
    assert bus.list() == {}
