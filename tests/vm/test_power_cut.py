"""The power fails in the midst of everything that changes the disk. Afterwards every
container is whole or not there, what was said to be done is done, and nothing is left.

Where it fails is chance; the seed that is printed with a failure repeats it, as far as
a machine can be repeated. GANTRY_SEED sets it.
"""

import os
import random
import time

import pytest

from machine import Machine
from test_boot import WORDS

WORDS += """
container() { echo "/io/gantry/Gantry1/container/system/$1 io.gantry.Gantry1.Container"; }
snapshots() { echo "/io/gantry/Gantry1/container/system/$1 io.gantry.Gantry1.Snapshots"; }
# The job of a call on an object, to its end.
long() { gantry "$(gantry "$@" | cut -d '"' -f 2)" io.gantry.Gantry1.Job Wait x 600000 | grep -q done; }
"""
# Everything at once, each over and over; what is done is noted outside of the machine.
WORK = WORDS + """
tar --create --file=/root/export.tar --directory=/var/lib/lxc kept
make() {
    for number in $(seq 1000); do
        job CreateContainer 'sa{sv}' made$number 1 template s busybox && echo made$number >>/mnt/done.make
    done
}
destroy() {
    for number in $(seq 1000); do
        job CreateContainer 'sa{sv}' gone$number 1 template s busybox || return
        echo gone$number >>/mnt/begun.destroy
        job DestroyContainer 'sa{sv}' gone$number 0 && echo gone$number >>/mnt/done.destroy
    done
}
rename() {
    for number in $(seq 1000); do
        gantry $(container name$number) Rename 'sa{sv}' name$((number + 1)) 0 && echo $((number + 1)) >>/mnt/done.rename
    done
}
import() {
    for number in $(seq 1000); do
        python3 /checkout/tests/vm/import.py imported$number /root/export.tar && echo imported$number >>/mnt/done.import
    done
}
configure() {
    for number in $(seq 1000); do
        gantry $(container kept) SetConfigItem 'sasa{sv}' lxc.environment 300 $(for i in $(seq 300); do echo N$i=$number; done) 0 &&
            echo $number >>/mnt/done.configure
    done
}
clone() {
    for number in $(seq 1000); do
        long $(container origin) Clone 'sa{sv}' clone$number 0 && echo clone$number >>/mnt/done.clone
    done
}
walk() {
    for number in $(seq 1000); do
        long $(snapshots walked) Take 'sa{sv}' then$number 0 && echo then$number >>/mnt/done.take
        long $(snapshots walked) Restore 'sa{sv}' then$number 1 safety b false
        [ $((number % 2)) = 0 ] || continue
        echo then$number >>/mnt/begun.delete
        long $(snapshots walked) Delete 'sa{sv}' then$number 0 && echo then$number >>/mnt/done.delete
    done
}
for work in make destroy rename import configure clone walk; do $work & done
touch /mnt/working
wait
"""
# Between which seconds of it the power fails.
MOMENT = (5, 25)


@pytest.fixture(scope="module")
def machine():
    with Machine(keep=True) as machine:
        machine.run(WORDS + "for name in kept name1 origin walked; do job CreateContainer 'sa{sv}' $name 1 template s busybox; done; sync", 600)
        yield machine


def done(share, what):
    try:
        with open(os.path.join(share, what)) as file:
            # The last line may be cut, too.
            return [line[:-1] for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("cut", [1, 2])
def test_a_power_cut_leaves_all_or_nothing(machine, cut):
    seed = os.environ.get("GANTRY_SEED", str(random.randrange(1 << 32)))
    print(f"GANTRY_SEED={seed}")
    machine.send(WORK)
    machine.await_file("working", 300)
    # Not a time that is measured, but a point that is chosen.
    time.sleep(random.Random(seed + str(cut)).uniform(*MOMENT))
    machine.cut()
    told = {what: done(machine.share, what) for what in
            ("done.make", "begun.destroy", "done.destroy", "done.rename", "done.import", "done.configure", "done.clone",
             "done.take", "begun.delete", "done.delete")}
    machine.boot()
    check(machine, told)
    machine.run(WORDS + """
        for path in /var/lib/lxc/*/; do
            name=$(basename "$path")
            [ "$name" = kept ] || job DestroyContainer 'sa{sv}' "$name" 1 snapshots b true
        done
        for name in name1 origin walked; do job CreateContainer 'sa{sv}' $name 1 template s busybox; done
        gantry $(container kept) SetConfigItem 'sasa{sv}' lxc.environment 0 0
        sync
    """, 600)


def check(machine, told):
    listed = machine.run(WORDS + "states").split('"')[1::2]
    names = {name for name, owner in zip(listed, listed[1:]) if owner == "system"}
    # Whole: the tree of each is that of one that was never touched.
    trees = machine.run("""
        cd /var/lib/lxc
        for name in * walked/snaps/*; do
            [ -d "$name" ] || continue
            (cd "$name/rootfs" && find . -path ./etc/hostname -o -path ./etc/hosts -o -type f -exec cksum {} + | sort -k 3 | cksum | tr '\\n' ' ')
            (cd "$name/rootfs" && find . | sort | cksum | tr '\\n' ' ')
            echo "$name"
        done; ls -A | grep '^\\.gantry' || true""")
    lines = [line.split() for line in trees.splitlines()]
    assert all(len(line) == 5 for line in lines), trees
    by_name = {line[4]: line[:4] for line in lines}
    snapshots = {name.rpartition("/")[2] for name in by_name if "/" in name}
    assert {name for name in by_name if "/" not in name} == names, "on the disk and in the list"
    assert {name: tree for name, tree in by_name.items() if tree != by_name["kept"]} == {}
    errors = machine.run(WORDS + "".join(
        f"busctl get-property io.gantry.Gantry1 /io/gantry/Gantry1/container/system/{name} io.gantry.Gantry1.Container "
        f"ConfigError\n" for name in sorted(names)))
    assert set(errors.splitlines()) == {'s ""'}, errors
    assert set(told["done.make"]) | set(told["done.import"]) | set(told["done.clone"]) <= names
    assert set(told["done.take"]) - set(told["begun.delete"]) <= snapshots
    assert not set(told["done.delete"]) & snapshots
    assert not set(told["done.destroy"]) & names
    assert set(told["begun.destroy"][:-1]) & names == set()
    # The one that went from name to name has exactly one: the last that was told, or the next.
    last = int(told["done.rename"][-1]) if told["done.rename"] else 1
    (renamed,) = [name for name in names if name.startswith("name")]
    assert renamed in (f"name{last}", f"name{last + 1}")
    assert machine.run(f"sed -n 's/^lxc.uts.name *= *//p' /var/lib/lxc/{renamed}/config").strip() == renamed
    # A config of many lines is one that was written, or the one before.
    lines = machine.run("sed -n 's/^lxc.environment *= *N[0-9]*=//p' /var/lib/lxc/kept/config").split()
    last = int(told["done.configure"][-1]) if told["done.configure"] else 0
    assert len(lines) in (0, 300) and len(set(lines)) <= 1
    assert (int(lines[0]) if lines else 0) in (last, last + 1)
