"""Images of OCI that tests make: layouts, archives of them, and a registry on loopback."""

import base64
import functools
import gzip
import hashlib
import io
import json
import os
import tarfile
from contextlib import contextmanager

import image_server
from archives import Archive

TYPES = "application/vnd.oci.image."
MANIFEST, INDEX = f"{TYPES}manifest.v1+json", f"{TYPES}index.v1+json"
NAME = "org.opencontainers.image.ref.name"
PROGRAM = b"""#!/bin/sh
trap 'exit 0' TERM
echo "$0 $*" > /tmp/argv
env > /tmp/env
pwd > /tmp/cwd
id -u > /tmp/uid
id -g > /tmp/gid
echo done > /tmp/ready
while :; do sleep 3600 & wait; done
"""


# The same bytes each time.
packed = functools.partial(gzip.compress, compresslevel=1, mtime=0)


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def base():
    """The lowest layer: busybox, a program, users."""
    archive = Archive()
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/:/bin/sh\n")
    archive.file("etc/group", b"root:x:0:\nmail:x:8:\n")
    archive.file("bin/serve", PROGRAM, mode=0o755)
    archive.folder("tmp", mode=0o1777)
    for applet in ("env", "pwd", "echo"):
        archive.link(f"bin/{applet}", "busybox")
    return archive


class Image:
    """Blobs by their digests, and the documents that lead to them."""

    def __init__(self, *layers, compress=packed, architecture="amd64", kind=f"{TYPES}layer.v1.tar+gzip",
                 diff_ids=None, **config):
        self.blobs = {}
        layers = [layer.bytes() if isinstance(layer, Archive) else layer for layer in layers]
        self.layers = [self.add(compress(layer), kind) for layer in layers]
        self.config = self.add(json.dumps({
            "architecture": architecture, "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids or [digest(layer) for layer in layers]},
        }).encode(), f"{TYPES}config.v1+json")
        self.manifest = self.add(json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": self.config,
                                             "layers": self.layers}).encode(), MANIFEST)

    def add(self, data, kind):
        self.blobs[digest(data)] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def index(self, **named):
        """An index of this image and others, by their names."""
        entries = []
        for name, image in {"one": self, **named}.items():
            self.blobs.update(image.blobs)
            entries.append({**image.manifest, "annotations": {NAME: name}})
        return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()

    def files(self, **named):
        """A layout, by path."""
        index = self.index(**named)
        files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index}
        return files | {f"blobs/sha256/{name[7:]}": data for name, data in self.blobs.items()}

    def folder(self, path, **named):
        for name, data in self.files(**named).items():
            os.makedirs(os.path.dirname(f"{path}/{name}"), exist_ok=True)
            with open(f"{path}/{name}", "wb") as file:
                file.write(data)
        return path

    def archive(self, **named):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in self.files(**named).items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()


@contextmanager
def folder_of(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


class Registry(image_server.Handler):
    """Registries want a token of whoever asks, if the site says so."""

    def do_GET(self):
        site = self.server.site
        path, _, query = self.path[1:].partition("?")
        if path == "token":
            site.requests.append((self.path, self.headers))
            login = self.headers.get("Authorization", "")
            if site.login and login != "Basic " + base64.b64encode(site.login.encode()).decode():
                return self.answer(401, b"")
            return self.answer(200, json.dumps({"token": f"for {query.partition('scope=')[2]}"}).encode())
        wanted = f"Bearer for repository:{site.repository}:pull"
        if site.tokens and self.headers.get("Authorization") != wanted:
            challenge = f'Bearer realm="{site.url}/token",service="tests",scope="repository:{site.repository}:pull"'
            return self.answer(401, b"{}", {"WWW-Authenticate": challenge})
        return super().do_GET()


@contextmanager
def registry(image=None, repository="team/app", tag="1.0", tokens=True, login=None, **where):
    """A registry with one image; `site.put` gives it another."""
    site = image_server.Site(handler=Registry, **where)
    site.repository, site.tokens, site.login = repository, tokens, login

    def put(image, tag=tag):
        image.index()
        for name, data in image.blobs.items():
            for place in ("blobs", "manifests"):
                site.files[f"v2/{repository}/{place}/{name}"] = data
        site.files[f"v2/{repository}/manifests/{tag}"] = image.blobs[image.manifest["digest"]]

    site.put = put
    if image:
        put(image)
    try:
        yield site
    finally:
        site.close()
        image_server.empty_cache()
