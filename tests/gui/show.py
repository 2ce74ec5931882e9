#!/usr/bin/env python3
"""show.py APP CONTAINER PICTURE: opens the window, goes to the console of a running
container, logs in as root, has it say who it is, and saves a picture of that."""

import sys

import driver


def main(program, container, picture):
    with driver.running(program) as app:
        app.find("list item", f"{container}, Running", 60)
        app.select(container)
        app.press("button", "Console")
        log_in(app)
        app.type("uname -a; ip addr\n")
        # The loopback's address ends the answer of every system that has one.
        app.wait_for_text("127.0.0.1")
        app.wait_for_quiet()
        driver.screenshot(picture)


def log_in(app):
    """Gets to root's prompt, whether the console asks for a name or for Enter alone."""
    # Something may have been said before we came, and nothing since.
    text = app.wait_for_text("")
    if not text.strip():
        app.type("\n")
    driver.wait_until(lambda: at_prompt(app) or "login:" in app.text() or "activate" in app.text(),
                      lambda: f"nobody asks for a login:\n{app.text()}", 60)
    if at_prompt(app):
        return
    app.type("root\n" if "login:" in app.text() else "\n")
    driver.wait_until(lambda: at_prompt(app), lambda: f"there is no prompt after login:\n{app.text()}")


def at_prompt(app):
    return app.text().rstrip().endswith("#")


if __name__ == "__main__":
    main(*sys.argv[1:])
