#!/usr/bin/env python3
"""window.py CONTAINER FOLDER: the app under a Wayland compositor; goes to the console
of a running container, logs in as root, and leaves in FOLDER the console's text and a
picture of the screen."""

import subprocess
import sys

import driver

SECONDS = 200


def enter(text):
    subprocess.run(["wtype", text, "-k", "Return"], check=True)


def main(container, folder):
    # Without a screen there is no keyboard either, and without one no focus: a program
    # that types is the keyboard, as long as it runs.
    keyboard = subprocess.Popen(["wtype", "-s", "3600000"])
    app = driver.App("/usr/bin/gantry")
    try:
        app.wait_for_window(SECONDS)
        app.find("list item", f"{container}, Running", SECONDS)
        app.select(container)
        app.press("button", "Console", SECONDS)
        terminal = app.find("terminal", None, SECONDS)
        driver.wait_until(lambda: driver.is_focused(terminal), "the terminal does not take the focus", SECONDS)
        enter("")
        app.wait_for_text("login:", timeout=SECONDS)
        enter("root")
        app.wait_for_text("#", timeout=SECONDS)
        enter("uname -a; ip addr; echo from-$((6*7))")
        app.wait_for_text("from-42", timeout=SECONDS)
        app.wait_for_quiet(seconds=3)
        subprocess.run(["grim", f"{folder}/machine.png"], check=True)
        with open(f"{folder}/text", "w") as file:
            file.write(app.text())
    finally:
        app.close()
        keyboard.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
