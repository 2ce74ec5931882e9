"""The README's session works as it is written."""

import pathlib
import re

import image_server
import oci
from gantry import run, until

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"


def test_the_busctl_session(bus):
    (session,) = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.M | re.S)
    architecture = run("dpkg", "--print-architecture").stdout.strip()
    with image_server.site(port=8080, host="localhost") as site, oci.registry(
            oci.Image(oci.base(), Cmd=["/bin/serve"]), "library/debian", "trixie", port=5000):
        site.publish(words=("debian", "trixie", architecture, "default"))
        lines = run("bash", "-euo", "pipefail", "-c", session).stdout.splitlines()
    assert lines.count('s "done"') == session.count("Job Wait "), lines
    assert any('"first_login" s "Log in as root.' in line for line in lines), lines
    assert any('"web1" "system" "RUNNING"' in line for line in lines), lines
    assert 'as 1 "web1"' in lines
    assert 's "FROZEN"' in lines
    assert any(re.fullmatch(r"State:\s+RUNNING", line) for line in lines), lines
    assert 's "268435456"' in lines
    assert any('"memory_limit" t 268435456' in line for line in lines), lines
    assert any('"/dev/nil"' in line for line in lines), lines
    assert 's "STOPPED"' in lines
    assert any('"before the upgrade to 13"' in line and '"snap1"' in line for line in lines), lines
    assert "gantry.json" in lines
    assert any('"changes" a(ss)' in line for line in lines), lines
    assert any(line.startswith("a(sssx) 0") for line in lines), lines
    assert any('"web1-lan"' in line and '"10.77.0.9/24"' in line for line in lines), lines
    assert 'a(susu) 1 "tcp" 8080 "web1" 80' in lines
    until(lambda: bus.list() == {})


def test_the_picture_is_there():
    (name,) = re.findall(r"!\[.*?\]\((.*?)\)", README.read_text())
    assert (README.parent / name).read_bytes().startswith(b"\x89PNG")
