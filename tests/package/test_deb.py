"""The Debian package: what is in it, what it needs, and that its words are complete."""

import pathlib
import re
import subprocess
import xml.etree.ElementTree as ET

import pytest

from gantry import run

TOP = pathlib.Path(__file__).resolve().parents[2]
DATA = TOP / "data"

# What a user, an administrator or the system looks for, each in its place.
EXPECTED = {
    "etc/apparmor.d/gantry-worker",
    "usr/bin/gantry",
    "usr/libexec/gantry/gantry-helper",
    "usr/libexec/gantry/gantry-monitor",
    "usr/lib/firewalld/policies/gantry-in.xml",
    "usr/lib/firewalld/zones/gantry.xml",
    "usr/lib/systemd/system/firewalld.service.d/gantry.conf",
    "usr/lib/systemd/system/gantry-autostart.service",
    "usr/lib/systemd/system/gantry-helper.service",
    "usr/lib/systemd/system/gantry-snapshots.service",
    "usr/lib/systemd/system/gantry-snapshots.timer",
    "usr/lib/systemd/system/gantry.slice",
    "usr/share/applications/io.gantry.Gantry.desktop",
    "usr/share/bash-completion/completions/gantry",
    "usr/share/dbus-1/interfaces/io.gantry.Gantry1.Manager.xml",
    "usr/share/dbus-1/system-services/io.gantry.Gantry1.service",
    "usr/share/dbus-1/system.d/io.gantry.Gantry1.conf",
    "usr/share/doc/gantry/README.md",
    "usr/share/doc/gantry/SECURITY.md",
    "usr/share/doc/gantry/changelog.gz",
    "usr/share/doc/gantry/copyright",
    "usr/share/doc/gantry/examples/50-gantry.rules",
    "usr/share/icons/hicolor/scalable/apps/io.gantry.Gantry.svg",
    "usr/share/icons/hicolor/symbolic/apps/io.gantry.Gantry-symbolic.svg",
    "usr/share/man/man1/gantry.1.gz",
    "usr/share/man/man7/gantry-dbus.7.gz",
    "usr/share/man/man7/gantry-lxc.7.gz",
    "usr/share/man/man8/gantry-helper.8.gz",
    "usr/share/metainfo/io.gantry.Gantry.metainfo.xml",
    "usr/share/polkit-1/actions/io.gantry.policy",
}


def make(folder):
    """The path of the package, made in a folder; not compressed, which takes longest."""
    run("env", "DPKG_DEB_COMPRESSOR_TYPE=none", DATA / "debian/build", TOP / "target/bin", folder)
    (path,) = folder.glob("*.deb")
    return path


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    run("dpkg-deb", "-R", package, folder)
    return folder


def field(package, name):
    return run("dpkg-deb", "-f", package, name).stdout.strip()


def manual(path):
    """A manual page as it is read, in one long line."""
    page = run("mandoc", "-Tutf8", "-Owidth=1000", path).stdout
    return " ".join(re.sub(".\b", "", page).split())


def test_everything_is_in_its_place(package):
    listed = run("dpkg-deb", "-c", package).stdout.splitlines()
    files = {}
    for line in listed:
        mode, owner, *_, path = line.split()
        assert owner == "root/root" and mode[1:4] in ("rwx", "rw-") and mode[5] == mode[8] == "-", line
        if not mode.startswith("d"):
            name = path.removeprefix("./")
            assert name not in files, f"{name} is there twice"
            files[name] = mode
    assert EXPECTED <= set(files), EXPECTED - set(files)
    programs = {name for name, mode in files.items() if "x" in mode}
    assert programs == {name for name in EXPECTED if re.match("usr/(bin|libexec)/", name)}
    assert {f"usr/lib/systemd/system/{unit.name}" for unit in (DATA / "systemd").iterdir()} <= set(files)


def test_the_same_input_makes_the_same_package(package, tmp_path):
    assert make(tmp_path).read_bytes() == package.read_bytes()


def test_it_depends_on_what_it_uses(package):
    depends = field(package, "Depends")
    for needed in ("libc6", "libgtk-4-1", "libadwaita-1-0 (>= 1.7)", "libvte-2.91-gtk4-0", "dbus", "polkitd", "passwd"):
        assert re.search(rf"(^|, ){re.escape(needed)}", depends), depends
    # LXC's tools are companions, never needed.
    assert not re.search(r"\blxc\b|liblxc", depends + field(package, "Recommends"))
    version = re.search(r'^version = "(.*)"', (TOP / "Cargo.toml").read_text(), re.M).group(1)
    assert field(package, "Version") == version


def test_the_programs_say_their_version(package, unpacked):
    gantry = unpacked / "usr/bin/gantry"
    assert run("env", "-u", "DISPLAY", gantry, "--version").stdout == f"gantry {field(package, 'Version')}\n"
    assert "--version" in run("env", "-u", "DISPLAY", gantry, "--help").stdout
    wrong = subprocess.run([gantry, "--nonsense"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 1 and "--nonsense" in wrong.stderr


def test_options_are_completed_and_described(unpacked):
    completion = unpacked / "usr/share/bash-completion/completions/gantry"
    script = f"source {completion}; complete -p gantry"
    words = re.search(r"-W '([^']*)'", run("bash", "-c", script).stdout).group(1).split()
    said = run(unpacked / "usr/bin/gantry", "--help").stdout
    page = manual(unpacked / "usr/share/man/man1/gantry.1.gz")
    for option in words:
        assert option in said and option in page, option


def test_the_manual_describes_every_member_and_error(unpacked):
    page = manual(unpacked / "usr/share/man/man7/gantry-dbus.7.gz")
    for path in (DATA / "dbus").glob("*.xml"):
        (interface,) = ET.parse(path).getroot()
        assert f"INTERFACE {path.stem.rpartition('.')[2].upper()}" in page
        for member in interface:
            if member.tag == "property":
                assert f" {member.get('name')} {member.get('type')} " in page, (path.stem, member.get("name"))
            else:
                inward = [arg for arg in member.iter("arg") if arg.get("direction") != "out"]
                arguments = ", ".join(f"{arg.get('name')} {arg.get('type')}" for arg in inward)
                assert f" {member.get('name')} ({arguments}) " in page, (path.stem, member.get("name"))
    for name in re.findall(r"^    (\w+)\(String\),", (TOP / "api/src/error.rs").read_text(), re.M):
        assert f" {name} " in page, name


def test_every_word_of_the_window_can_be_translated():
    template = (DATA / "po/gantry.pot").read_text()
    known = {re.sub(r'"\n"', "", words) for words in re.findall(r'^msgid ("(?:.*"\n")*.*")$', template, re.M)}
    for path in (TOP / "app/src").rglob("*.rs"):
        code = re.sub(r"^ *//.*", "", path.read_text(), flags=re.M)
        for words in re.findall(r'\b(?:tr|tr_name|mark)\(\s*("(?:[^"\\]|\\.)*")', code):
            assert words in known, f"{path}: {words}: run ./dev po"
    for path in (DATA / "ui").glob("*.ui"):
        for element in ET.parse(path).getroot().iter():
            if element.get("translatable") == "yes":
                words = '"' + element.text.replace('"', '\\"') + '"'
                assert words in known, f"{path}: {words}: run ./dev po"


# On a copy of the system that nothing else sees; prints what there is by our name before,
# after installing, after removing and after purging, with a line between.
COME_AND_GO = """
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /mnt
for folder in usr var etc; do
    mkdir -p /mnt/$folder/{upper,work}
    mount -t overlay -o lowerdir=/$folder,upperdir=/mnt/$folder/upper,workdir=/mnt/$folder/work overlay /$folder
done
mkdir -p /var/lib/lxc/web/rootfs
touch /var/lib/lxc/web/config
ours() { find /usr /etc /run /var/lib -iname '*gantry*'; echo --; }
ours
mkdir -p /run/gantry/rootfs
for step in "-i $1" "-r gantry" "-P gantry"; do
    dpkg --force-unsafe-io $step >&2
    ours
done
ls /var/lib/lxc/web
"""


def test_installed_removed_and_purged_it_leaves_only_containers(package):
    done = run("unshare", "--mount", "bash", "-euc", COME_AND_GO, "-", package)
    before, installed, removed, purged, kept = done.stdout.split("--\n")
    assert "/usr/bin/gantry\n" in installed
    assert "/etc/systemd/system/multi-user.target.wants/gantry-autostart.service\n" in installed
    assert "/etc/systemd/system/timers.target.wants/gantry-snapshots.timer\n" in installed
    assert "/usr/" not in removed and "/run/" not in removed
    assert purged == before
    assert kept.split() == ["config", "rootfs"]
