"""The installed app on a Wayland desktop, as a user who has logged in there."""

import os
import shutil
import subprocess

from gantry import run
from sessions import AT_THE_SCREEN, session

RULES = "/etc/polkit-1/rules.d/50-gantry.rules"
HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(os.path.dirname(HERE))
# A compositor without a screen, and drawing without a graphics card.
HEADLESS = {"WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman", "GSK_RENDERER": "cairo"}


def test_a_console_in_the_window(bus, tmp_path):
    """An operator, by the rule that is shipped as an example, opens a container's
    console and works there."""
    for file in "gui/driver.py", "vm/guest/window.py":
        shutil.copy(os.path.join(TESTS, file), tmp_path)
    tmp_path.chmod(0o777)
    run("chmod", "go+x", *map(str, list(tmp_path.parents)[:2]))
    run("groupadd", "lxc-operators")
    run("gpasswd", "-a", "alice", "lxc-operators")
    shutil.copy(os.path.join(TESTS, "../data/polkit/50-gantry.rules.example"), RULES)
    run("systemctl", "restart", "polkit")
    try:
        bus.create("lab-web", 300, template="busybox", start=True)
        # The compositor ends with its one program, and gives no status of it.
        done = subprocess.run(
            [*session(**AT_THE_SCREEN, **HEADLESS), "dbus-run-session", "cage", "--",
             "python3", str(tmp_path / "window.py"), "lab-web", str(tmp_path)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500)
        assert (tmp_path / "text").is_file(), done.stdout + done.stderr
    finally:
        os.unlink(RULES)
        run("groupdel", "lxc-operators")
        run("systemctl", "restart", "polkit")
    assert "from-42" in (tmp_path / "text").read_text()
    os.makedirs("/mnt/pictures", exist_ok=True)
    shutil.copy(tmp_path / "machine.png", "/mnt/pictures")
