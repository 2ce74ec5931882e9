"""CheckHost shows each user their own id ranges."""

import ast
import contextlib

import pytest

from gantry import run
from people import Person, rule


@pytest.fixture
def alice():
    with rule("return polkit.Result.YES;"), Person("alice") as person:
        yield person


@contextlib.contextmanager
def subordinate(file, *lines):
    """Other lines in /etc/subuid or /etc/subgid while the block lasts."""
    with open(file) as original:
        before = original.read()
    with open(file, "w") as changed:
        changed.writelines(line + "\n" for line in lines)
    try:
        yield
    finally:
        with open(file, "w") as restored:
            restored.write(before)


def check(person):
    """Item to (finding, whether all is well)."""
    error, answer = person.manager("CheckHost")
    assert error == "", answer
    return {item: (finding, ok) for _topic, item, finding, ok in ast.literal_eval(answer)}


def test_a_user_sees_the_own_ranges_and_root_those_of_root(bus, alice):
    findings = check(alice)
    assert findings["/etc/subuid, alice"][1] and findings["/etc/subgid, alice"][1]
    assert not [item for item in findings if "bob" in item]
    assert not [item for _topic, item, *_ in bus.manager("CheckHost") if "alice" in item]


@pytest.mark.parametrize("file, option", [("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")])
def test_a_user_without_a_range_is_told_a_command_that_gives_one(alice, file, option):
    with subordinate(file, "root:1000000:655360", "bob:100000:65536"):
        finding, ok = check(alice)[f"{file}, alice"]
        assert not ok and option in finding
        # The command is taken at its word.
        run(*finding.split("“")[1].split("”")[0].split())
        assert check(alice)[f"{file}, alice"][1]
        assert check(alice)[f"{file}, overlaps"][1]


def test_overlapping_ranges_are_found(alice):
    with subordinate("/etc/subuid", "alice:500000:65536", "root:500001:65536"):
        finding, ok = check(alice)["/etc/subuid, overlaps"]
        assert not ok and "alice" in finding and "root" in finding
