"""`./dev vm shell`: a person at the machine's console."""

import os

from machine import BOOT_SECONDS, TOP
from terminals import on_terminal

SCRATCH = "/var/tmp"


def machines():
    return {name for name in os.listdir(SCRATCH) if name.startswith("gantry-machine.")}


def test_root_is_logged_in_and_the_machine_goes_away_with_the_power():
    before = machines()
    with on_terminal(f"{TOP}/tests/vm/machine.py", "shell") as terminal:
        terminal.expect("root@machine:", BOOT_SECONDS)
        terminal.send("cat /checkout/tests/vm/agent | head -n 1; echo user-$(id -u)\n")
        terminal.expect("user-0", 120)
        terminal.send("systemctl poweroff\n")
        terminal.closed(BOOT_SECONDS)
    assert machines() == before
