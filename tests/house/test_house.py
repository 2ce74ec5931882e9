"""The house keeps its order: which module may know what."""

import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
HELPER = TOP / "helper" / "src"

# Arrows run one way; a room may use those named here, and gantry-core.
ROOMS = {
    "bus": {"engine"},
    "engine": {"network", "storage", "image", "cgroup", "linux"},
    "network": {"linux"},
    "storage": {"linux"},
    "image": {"linux"},
    "cgroup": {"linux"},
    "linux": set(),
}


def sources():
    # Not `git ls-files`: the order holds for what is about to be committed too.
    return [path for folder in ("api", "app", "helper") for path in (TOP / folder).rglob("*.rs")
            if "target" not in path.parts]


def code(path):
    """A file's text without comments, so that prose may name what code may not."""
    return re.sub(r"//.*", "", path.read_text())


def crate(path):
    for name in ("helper/core", "helper/monitor", "helper", "api", "app"):
        if path.is_relative_to(TOP / name):
            return name
    raise AssertionError(path)


def test_only_bus_and_api_know_zbus():
    allowed = [HELPER / "bus", HELPER / "main.rs", TOP / "api", TOP / "app" / "src" / "backend"]
    guilty = [path for path in sources() if re.search(r"\bz(bus|variant)\b", code(path))
              and not any(path.is_relative_to(place) for place in allowed)]
    assert not guilty


def test_unsafe_only_in_linux_and_the_monitor():
    guilty = [path for path in sources() if re.search(r"\bunsafe\s*(\{|fn\b|impl\b|extern\b|trait\b)", code(path))
              and not path.is_relative_to(HELPER / "linux") and crate(path) != "helper/monitor"]
    assert not guilty


def test_every_unsafe_block_says_why():
    for path in sources():
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if re.search(r"\bunsafe \{|\bunsafe impl", re.sub(r"//.*", "", line)):
                near = "\n".join(lines[max(0, number - 8):number + 1])
                assert "SAFETY:" in near, f"{path}:{number + 1}"


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_run_one_way(room):
    for path in (HELPER / room).rglob("*.rs"):
        text = code(path)
        used = set(re.findall(r"\bcrate::(\w+)", text))
        for group in re.findall(r"\bcrate::\{([^;]*)\};", text):
            used |= set(re.findall(r"(?:^|,|\{)\s*(\w+)\s*(?=::|,|\}|$)", group)) & set(ROOMS)
        wrong = (used & set(ROOMS)) - ROOMS[room] - {room}
        assert not wrong, f"{path} uses {wrong}"


def test_crates_depend_one_way():
    allowed = {
        "api": set(),
        "app": {"gantry-api", "gantry-core"},
        "helper/core": set(),
        "helper/monitor": {"gantry-core"},
        "helper": {"gantry-api", "gantry-core"},
    }
    for name, may in allowed.items():
        manifest = (TOP / name / "Cargo.toml").read_text()
        assert set(re.findall(r"^(gantry-\w+)", manifest, re.M)) == may, name


def test_core_does_no_io():
    for path in (TOP / "helper" / "core" / "src").rglob("*.rs"):
        # Of std::net the types of addresses, which open nothing.
        assert not re.search(r"\bstd::(fs|process|env|os)\b|\blibc::|Tcp|Udp|ToSocketAddrs", code(path)), path


def test_monitor_stays_small():
    manifest = (TOP / "helper" / "monitor" / "Cargo.toml").read_text()
    assert not re.search(r"^(tokio|zbus)", manifest, re.M)


def test_files_are_short_or_say_why():
    for path in sources():
        lines = path.read_text().splitlines()
        assert len(lines) <= 500 or any("Longer than 500 lines:" in line for line in lines[:20]), \
            f"{path} has {len(lines)} lines and gives no reason"


def test_one_zbus():
    lock = (TOP / "Cargo.lock").read_text()
    assert re.findall(r'name = "zbus"\nversion = "(\d+)', lock) == ["5"]


def test_nothing_unfinished():
    for path in sources():
        assert not re.search(r"\b(TODO|FIXME|XXX|todo!|unimplemented!)", path.read_text()), path


def test_no_path_of_one_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=TOP, text=True, capture_output=True, check=True).stdout.split()
    for name in tracked:
        path = TOP / name
        if path.suffix in (".png", ".lock") or not path.is_file() or path == pathlib.Path(__file__):
            continue
        text = path.read_text(errors="replace")
        assert not re.search(r"/root/\.(cargo|cache|rustup)|/work/", text), name
