"""AppArmor confines containers: shown by trying what it must stop, in containers
whose root is the host's, so that nothing else does; and what unpacks archives.
"""

import os
import signal
import threading

import pytest

import containers
import gantry
from archives import Archive, start_create, write_all
from containers import append_config, refused
from gantry import run, until

LABEL = "lxc-{0}_</var/lib/lxc>//&:lxc-{0}_<-var-lib-lxc>:unconfined (enforce)"
OURS = "/run/gantry/apparmor"


def label(pid):
    with open(f"/proc/{pid}/attr/apparmor/current") as file:
        return file.read().strip("\0\n")


def loaded(name):
    with open("/sys/kernel/security/apparmor/profiles") as file:
        return any(line.startswith(f"lxc-{name}_<") for line in file)


def make(bus, name, *config, **options):
    return bus.create(name, wait=300, template="busybox", privileged=True, config=list(config), **options)


@pytest.fixture(scope="module")
def held():
    """A container with a generated profile, as its label says."""
    bus = gantry.Bus()
    containers.SHARED.add("held")
    try:
        # Nothing but AppArmor holds it: no place is mounted read-only.
        container = make(bus, "held", "lxc.apparmor.allow_nesting = 0", "lxc.apparmor.raw = deny /etc/secret r,",
                         "lxc.mount.auto =", "lxc.mount.auto = proc:rw sys:rw cgroup:rw")
        container.start()
        yield container
    finally:
        containers.SHARED.discard("held")
        bus.container("held").destroy(300, force=True)
        bus.close()


def shell(container, script):
    return container.execute("sh", "-c", script, seconds=120)


def test_init_and_whoever_enters_are_confined(held):
    assert label(held.get("InitPid")) == LABEL.format("held")
    # Inside, only the container's own namespace of profiles is seen.
    shell(held, "sleep 4321 >/dev/null 2>&1 &")
    (entered,) = run("pgrep", "-f", "^sleep 4321").stdout.split()
    assert label(entered) == LABEL.format("held")


@pytest.mark.parametrize("script", [
    "echo h > /proc/sysrq-trigger",
    "echo /x > /proc/sys/kernel/core_pattern",
    "echo 1 > /proc/sys/vm/drop_caches",
    "head -c 1 /proc/kcore",
    "ls /sys/kernel/debug",
    "mkdir -p /other && mount -t proc proc /other",
    "mkdir -p /other && mount -t sysfs sysfs /other",
    "mkdir -p /other && mount -o bind /proc /other",
    "echo data > /etc/secret; cat /etc/secret",
], ids=str)
def test_what_would_reach_the_host_is_stopped(held, script):
    status, output, errors = shell(held, script)
    assert status != 0, output
    assert "ermission denied" in errors or "not permitted" in errors, errors


@pytest.mark.parametrize("script", [
    "mkdir -p /a /b && mount -t tmpfs tmpfs /a && mount -o bind /a /b && umount /b /a",
    "hostname other && test $(hostname) = other",
    "echo 1 > /proc/sys/net/ipv4/ip_forward",
    "mkdir /sys/fs/cgroup/own && rmdir /sys/fs/cgroup/own",
    "kill -0 1",
], ids=str)
def test_what_a_system_does_goes_on(held, script):
    status, output, errors = shell(held, script)
    assert status == 0, output + errors


def test_nothing_outside_can_be_signalled_or_traced(held):
    # The host's processes are seen through the host's /proc, which only root here mounts.
    with containers.background("sleep", "300") as outside:
        status = run("aa-exec", "-p", "lxc-held_</var/lib/lxc>", "--", "kill", "-TERM", str(outside.pid), check=False)
        assert status.returncode != 0 and outside.poll() is None


def test_the_profile_comes_and_goes_with_the_container(bus):
    container = make(bus, "passing")
    assert not loaded("passing")

    def kill_both():
        os.kill(containers.monitor_pid(container), signal.SIGKILL)
        # The next helper removes it, which the next call starts.
        containers.kill_helper(bus)

    for end in (container.kill, lambda: os.kill(containers.monitor_pid(container), signal.SIGKILL), kill_both):
        container.start()
        assert loaded("passing")
        end()
        container.wait("STOPPED", seconds=120)
        until(lambda: not loaded("passing"), 120)
        until(lambda: not [name for name in os.listdir(OURS) if name.startswith("lxc-passing")], 120)


def test_nesting_allows_mounts_and_brings_its_own_proc(bus):
    container = make(bus, "nesting", start=True)
    status, output, errors = shell(container, "mkdir -p /other && mount -t proc proc /other && ls /other/1")
    assert status == 0, output + errors
    # Those that are there so that the kernel lets it mount others are for nobody.
    for path in ("/proc/sysrq-trigger", "/dev/.lxc/proc/sysrq-trigger", "/dev/.lxc/proc/sys/kernel/core_pattern"):
        assert shell(container, f"echo h > {path}")[0] != 0, path
    assert shell(container, "ls /dev/.lxc/proc/1")[0] != 0


def test_a_named_profile_unconfined_and_one_that_is_missing(bus, tmp_path):
    profile = tmp_path / "profile"
    profile.write_text("profile gantry-mine flags=(attach_disconnected) "
                       "{ capability, file, mount, umount, network, signal, ptrace, unix, deny /etc/secret r, }")
    run("apparmor_parser", "--replace", "--skip-cache", str(profile))
    try:
        container = make(bus, "named", "lxc.aa_profile = gantry-mine", start=True)
        assert label(container.get("InitPid")) == "gantry-mine (enforce)"
        assert shell(container, "echo data > /etc/secret; cat /etc/secret")[0] != 0
        container.kill()
    finally:
        run("apparmor_parser", "--remove", str(profile))
    with refused("StartFailed") as caught:
        container.start()
    assert "gantry-mine is not loaded" in caught[0].message
    append_config("named", "lxc.apparmor.profile = unconfined")
    container.start()
    assert label(container.get("InitPid")) == "unconfined"
    container.kill()
    append_config("named", "lxc.apparmor.profile = generated", "lxc.apparmor.raw = no such rule")
    with refused("Failed") as caught:
        container.start()
    assert "lxc.apparmor.raw" in caught[0].message
    assert container.state == "STOPPED"


def test_an_unset_profile_confines_where_lxc_is_not_installed(bus):
    container = make(bus, "unset", "lxc.apparmor.profile =", start=True)
    assert label(container.get("InitPid")) == LABEL.format("unset")


# --- the helper's workers

AS_WORKER = ("aa-exec", "--profile=gantry-worker", "--")


def test_what_unpacks_archives_is_confined(bus):
    archive = Archive().bytes()
    out, into = os.pipe()
    try:
        # Some of it, so that tar waits for more.
        os.write(into, archive[:4096])
        job = start_create(bus, "slow", out)
        found = until(lambda: run("pgrep", "--exact", "tar", check=False).stdout.split(), 120)
        assert [label(pid) for pid in found] == ["gantry-worker (enforce)"]
        threading.Thread(target=lambda: write_and_close(into, archive[4096:])).start()
        job.result(300)
    finally:
        os.close(out)
    bus.container("slow").start()
    assert bus.container("slow").execute("cat", "/etc/passwd", seconds=120)[0] == 0


def write_and_close(fd, data):
    write_all(fd, data)
    os.close(fd)


@pytest.mark.parametrize("script", [
    "tar --create --file=- /etc/shadow",
    "tar --create --file=- /root",
    "echo x > /var/lib/lxc/mine",
    "echo x > /usr/bin/mine",
    "tar --create --file=/tmp/mine /usr/share/locale",
    "/usr/bin/python3 --version",
    "kill -0 1",
], ids=str)
def test_a_worker_reaches_nothing_else(script):
    """As root of the host, so that nothing but the profile is in the way."""
    done = run(*AS_WORKER, "sh", "-c", script, check=False)
    assert done.returncode != 0 and "ermission denied" in done.stderr, done


def test_a_worker_has_no_network():
    done = run(*AS_WORKER, "bash", "-c", "echo > /dev/tcp/127.0.0.1/22", check=False)
    assert done.returncode != 0 and "ermission denied" in done.stderr, done


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz", "zstd"])
def test_a_worker_unpacks_into_its_target(packer):
    """What lies at /target for it, here too."""
    os.makedirs("/target/tree")
    run("sh", "-ec", f"""cd /target/tree; echo x >one; ln one two; chown 5:6 one; chmod 4755 one
        tar --create --use-compress-program={packer} --file=../all --directory=/target tree; rm -r /target/tree""")
    try:
        done = run(*AS_WORKER, "tar", "--extract", f"--use-compress-program={packer}", "--same-owner",
                   "--file=/target/all", "--directory=/target", check=False)
        made = containers.tree("/target/tree") if os.path.exists("/target/tree") else {}
    finally:
        run("rm", "-r", "/target")
    assert done.returncode == 0, done.stderr
    assert made["two"][1:3] == (5, 6) and made["two"][0] & 0o7777 == 0o4755
