"""The page of this computer, before a helper that pretends and before the real one."""

import desktop
import pytest

PROBLEMS = "2 Things on This Computer Need Attention"


@pytest.mark.parametrize("width", [1000, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_missing_has_a_word_and_a_remedy(pretend, driver, width, scheme):
    app = pretend("web1", ADW_DEBUG_COLOR_SCHEME=f"prefer-{scheme}")
    app.find("list item", "web1,")
    driver.resize(width, 680)
    # In sight without being asked for.
    app.find("button", PROBLEMS)
    driver.screenshot(f"computer-row-{scheme}-{width}")
    app.press("button", PROBLEMS)
    app.find("label", "2 Things Need Attention")
    app.find("label", "Not Well")
    app.find("label", "Missing: archives that end in .xz cannot be unpacked.")
    driver.screenshot(f"computer-{scheme}-{width}")
    if width == 360:
        app.press("button", "Back")
        app.find("list item", "web1,")


def test_copying_a_remedy_is_confirmed(pretend):
    app = pretend("web1")
    app.press("button", PROBLEMS)
    app.press("button", "Copy the Remedy for xz")
    app.find("button", "Copied")


def test_what_is_well_is_folded_and_the_menu_leads_there(pretend, driver):
    app = pretend("well")
    app.find("list item", "well,")
    assert not app.all("button", PROBLEMS)
    app.menu("Main Menu", "t")
    app.find("label", "All Is Well")
    assert not app.all("label", "/usr/bin/tar.")
    app.tab_to(app.find("list item", "1 Is Well"))
    driver.key("Return")
    app.find("label", "/usr/bin/tar.")
    driver.screenshot("computer-well")
    # A container takes the page's place, and the page the container's.
    app.select("well")
    app.gone("label", "All Is Well")
    app.menu("Main Menu", "t")
    app.find("label", "All Is Well")


def test_a_refusal_says_why_and_can_be_tried_again(pretend, driver):
    app = pretend("closed")
    app.find("list item", "closed,")
    app.menu("Main Menu", "t")
    app.find("label", "This Computer Could Not Be Checked")
    app.find("label", "Nobody may look at this computer.")
    driver.screenshot("computer-refused")
    app.press("button", "Try Again")
    app.find("label", "Nobody may look at this computer.")


def test_the_real_helper_is_asked_and_asked_again(driver, bus):
    with driver.running(desktop.GANTRY) as app:
        app.menu("Main Menu", "t")
        # No init system is in the sandbox.
        app.find("label", "autostart")
        app.find("label", "Nothing starts containers at boot.")
        driver.screenshot("computer-real")
        app.press("button", "Check Again")
        app.find("label", "Nothing starts containers at boot.")
