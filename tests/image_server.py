"""An image server of the test's own, on loopback: good, or as bad as a test wants it."""

import base64
import functools
import hashlib
import http.server
import io
import json
import lzma
import os
import shutil
import struct
import subprocess
import tarfile
import tempfile
import threading
import time
from contextlib import contextmanager

import gantry
from archives import Archive

KEYS = "/etc/gantry/image-keys"
CACHE = "/var/cache/lxc/download"
REGISTRIES = "/var/cache/lxc/oci"
WORDS = ("tiny", "one", "amd64", "default")
CONFIG = """# a comment
lxc.include = LXC_TEMPLATE_CONFIG/common.conf
lxc.arch = x86_64
lxc.tty.max = 3
"""
META = {
    "config": CONFIG,
    "config-user": CONFIG + "lxc.include = LXC_TEMPLATE_CONFIG/userns.conf\n",
    "templates": "/etc/hostname\n/etc/escape\n",
    "create-message": "Log in as root.\nThe password is 'LXC'.\n",
    "excludes-user": "./left-out\n",
}
# As image servers have it for Incus.
METADATA = """architecture: x86_64
creation_date: 1767253320
properties:
  architecture: {2}
  description: Tiny one {2} ({build})
  os: {0}
  release: {1}
  serial: "{build}"
  variant: {3}
templates:
  /etc/hostname:
    when:
    - create
    template: hostname.tpl
"""


class Signer:
    """A key of OpenPGP (RFC 4880), and signatures by it: gpg needs an agent for that."""

    def __init__(self):
        self.created = int(time.time()) - 3600
        self.pem = openssl("genrsa", "2048")
        modulus = openssl("rsa", "-noout", "-modulus", data=self.pem).decode()
        self.body = b"\x04" + struct.pack(">I", self.created) + b"\x01" \
            + self.number(bytes.fromhex(modulus.strip().partition("=")[2])) + self.number(b"\x01\x00\x01")
        self.hashed_key = b"\x99" + struct.pack(">H", len(self.body)) + self.body
        self.fingerprint = hashlib.sha1(self.hashed_key).digest()
        name = b"Tests"
        identity = self.hashed_key + b"\xb4" + struct.pack(">I", len(name)) + name
        self.public = self.packet(6, self.body) + self.packet(13, name) \
            + self.signature(0x13, identity, b"\x02\x1b\x03")

    @staticmethod
    def number(value):
        value = value.lstrip(b"\0")
        return struct.pack(">H", int.from_bytes(value, "big").bit_length()) + value

    @staticmethod
    def packet(tag, body):
        return bytes([0xC0 | tag, 0xFF]) + struct.pack(">I", len(body)) + body

    def signature(self, kind, data, more=b""):
        created = b"\x05\x02" + struct.pack(">I", self.created + 1)
        parts = created + b"\x16\x21\x04" + self.fingerprint + more
        head = bytes([4, kind, 1, 8]) + struct.pack(">H", len(parts)) + parts
        signed = data + head + b"\x04\xff" + struct.pack(">I", len(head))
        issuer = b"\x09\x10" + self.fingerprint[-8:]
        with tempfile.NamedTemporaryFile() as key:
            key.write(self.pem)
            key.flush()
            value = openssl("dgst", "-sha256", "-sign", key.name, data=signed)
        return self.packet(2, head + struct.pack(">H", len(issuer)) + issuer
                           + hashlib.sha256(signed).digest()[:2] + self.number(value))

    def sign(self, data):
        return armoured("SIGNATURE", self.signature(0, data))


def openssl(*argv, data=b""):
    return subprocess.run(["openssl", *argv], input=data, capture_output=True, check=True).stdout


def armoured(kind, data):
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[at:at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN PGP {kind}-----\n\n{lines}\n-----END PGP {kind}-----\n".encode()


@functools.cache
def signer():
    return Signer()


def tar_xz(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz", preset=0) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/shadow"
                tar.addfile(info)
            else:
                data = content.encode() if isinstance(content, str) else content
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@functools.cache
def rootfs(filling=0):
    archive = Archive()
    archive.file("etc/hostname", b"LXC_NAME\n")
    archive.link("etc/escape", "/etc/issue")
    archive.file("left-out", b"")
    if filling:
        archive.file("filling", os.urandom(filling))
    return lzma.compress(archive.bytes(), preset=0)


def squashed(tar):
    """A root file system as an image of squashfs."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/image"
        subprocess.run(["mksquashfs", "-", path, "-tar", "-quiet", "-no-progress", "-comp", "gzip"],
                       input=tar, check=True, stdout=subprocess.DEVNULL)
        with open(path, "rb") as image:
            return image.read()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server.site
        path = self.path[1:]
        site.requests.append((path, self.headers))
        data = site.files.get(path)
        if data is None:
            return self.answer(404, b"")
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        if self.headers.get("If-None-Match") == tag:
            return self.answer(304, b"", {"ETag": tag})
        more, status, total = {"ETag": tag}, 200, len(data)
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range", tag) == tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            data, status = data[start:], 206
            more["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        self.answer(status, data, more, site.breaks.get(path))

    def do_CONNECT(self):
        """As a proxy, whose other end is this server, too."""
        self.server.site.requests.append((self.path, self.headers))
        self.send_response(200)
        self.end_headers()

    def answer(self, status, data, more={}, breaks=None):
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if breaks:
            return breaks(self, data)
        self.wfile.write(data)

    def log_message(self, *_args):
        pass


def cut_off(handler, data):
    """Half of it, and no more of this connection."""
    handler.wfile.write(data[:len(data) // 2])
    handler.close_connection = True


def cut_off_once(handler, data):
    handler.server.site.breaks.clear()
    cut_off(handler, data)


def stall(handler, data):
    """A quarter of it; the rest when the test is over."""
    handler.wfile.write(data[:len(data) // 4])
    handler.wfile.flush()
    handler.server.site.over.wait(60)
    handler.close_connection = True


class Site:
    """What it serves, by path; what it was asked for; what breaks."""

    def __init__(self, port=0, host="127.0.0.1", handler=Handler):
        self.files, self.requests, self.breaks, self.over = {}, [], {}, threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.server.site, self.server.daemon_threads = self, True
        self.authority = f"{host}:{self.server.server_port}"
        self.url = f"http://{self.authority}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        if self.thread:
            self.over.set()
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.thread = None

    def asked(self, end):
        """The headers of the requests for what ends so."""
        return [headers for path, headers in self.requests if path.endswith(end)]

    def publish(self, build="20260101_07:42", words=WORDS, meta=META, root=None, signed=True, expiry=4102444800,
                layout="index", twin=True, squash=None):
        """A build of an image, in place of the one before, with its root as squashfs only if that is
        given. Gives its folder."""
        folder = f"images/{'/'.join(words)}/{build}"
        content = {"rootfs.squashfs": squash} if squash else {"rootfs.tar.xz": root or rootfs()}
        if meta is not None:
            content["meta.tar.xz"] = tar_xz({**meta, "expiry": f"{expiry}\n"})
        if twin:
            content["incus.tar.xz"] = tar_xz({"metadata.yaml": METADATA.format(*words, build=build)})
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
        for name, data in content.items():
            self.files[f"{folder}/{name}"] = data
        if layout == "index":
            self.files["meta/1.0/index-system"] = f"{';'.join(words)};{build};/{folder}/\n".encode()
            text = "".join(f"{value}  {name}\n" for name, value in sums.items()).encode()
            self.files[f"{folder}/SHA256SUMS"] = text
            if signed:
                self.files[f"{folder}/SHA256SUMS.asc"] = signer().sign(text)
            return folder
        if layout == "cloud":
            # As Ubuntu calls its files.
            content = {f"{words[1]}-{words[2]}-{name.replace('rootfs', 'root')}": data for name, data in content.items()}
            sums = {f"{words[1]}-{words[2]}-{name.replace('rootfs', 'root')}": value for name, value in sums.items()}
            self.files.update((f"{folder}/{name}", data) for name, data in content.items())
            for name in ("rootfs.tar.xz", "meta.tar.xz"):
                self.files.pop(f"{folder}/{name}", None)
        items = {name.rpartition("-")[2].replace("rootfs", "root"): {"path": f"{folder}/{name}", "sha256": sums[name], "size": len(data),
                                                  "ftype": name} for name, data in content.items()}
        products = {":".join(words): {"os": words[0].title(), "release": words[1], "arch": words[2],
                                      "variant": words[3], "release_title": "One", "versions": {build: {"items": items}}}}
        text = json.dumps({"format": "products:1.0", "products": products}).encode()
        name = "streams/v1/images.json"
        if layout == "cloud":
            name = "streams/v1/com.example:released:download.json"
            streams = {"com.example:released:download": {"datatype": "image-downloads", "path": name},
                       "com.example:released:ids": {"datatype": "image-ids", "path": "streams/v1/ids.json"}}
            self.files["streams/v1/index.json"] = json.dumps({"index": streams}).encode()
        self.files[name] = text
        if signed:
            self.files[f"{name}.gpg"] = signer().sign(text)
        return folder


def empty_cache():
    for folder in (CACHE, REGISTRIES):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def cached(bus):
    """An image in the cache, as LXC's template leaves it, on the bus."""
    folder = os.path.join(CACHE, *WORDS)
    os.makedirs(folder)
    try:
        for name, data in {"rootfs.tar.xz": rootfs(), "config": CONFIG.encode(), "build_id": b"1\n"}.items():
            with open(f"{folder}/{name}", "wb") as file:
                file.write(data)
        # The helper looks when somebody wants an image, even if not this one.
        wish = gantry.options(template="download", distribution="no", release="no", cache="only")
        gantry.Job(bus, bus.manager("CreateContainer", "(sa{sv})", "no", wish)).wait()
        yield f"{gantry.ROOT}/image/{gantry.escape('_'.join(WORDS))}"
    finally:
        shutil.rmtree(CACHE)


@contextmanager
def site(key=True, **where):
    """A server, and its key in place."""
    served = Site(**where)
    path = f"{KEYS}/{served.authority}.asc"
    try:
        if key:
            os.makedirs(KEYS, exist_ok=True)
            with open(path, "wb") as file:
                file.write(armoured("PUBLIC KEY BLOCK", signer().public))
        yield served
    finally:
        served.close()
        if key:
            os.remove(path)
        empty_cache()
