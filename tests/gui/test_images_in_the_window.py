"""Containers of images: of a server, chosen from its list, and of a registry."""


def new_container(app, kind, name=None):
    app.press("button", "New Container")
    if name:
        app.write("Name", name)
    app.choose("combo box", "Made From", kind)


def test_an_image_is_chosen_and_who_can_log_in_is_told(pretend, driver):
    app = pretend("web1")
    new_container(app, "Image of a server", "web2")
    assert not driver.is_sensitive(app.find("button", "Create"))
    app.press("button", "Image")
    app.find("list item", "alpine 3.22 default")
    driver.screenshot("images")
    app.write("Search the Images", "debian default")
    app.gone("list item", "alpine")
    app.gone("list item", "debian trixie cloud")
    app.tab_to(app.find("list item", "debian trixie default"))
    driver.key("Return")
    app.find("label", "debian trixie default · amd64")
    driver.screenshot("create-image")
    app.press("button", "Create")
    asked = app.helper.stdout.readline()
    assert "'template': 'download'" in asked and "'variant': 'default'" in asked and "untrusted" not in asked
    app.find("alert", "How to Log In to “web2”")
    app.find("label", "Log in as root; set its password")
    driver.screenshot("first-login")
    app.answer("How to Log In to “web2”", "Close")
    app.find("list item", "web2, Running")


def test_escape_ends_the_search_of_images_and_then_closes_them(pretend, driver):
    """The first press brings all rows back, the second one leads back to the new container."""
    app = pretend("web1")
    new_container(app, "Image of a server")
    app.press("button", "Image")
    app.find("list item", "alpine 3.22 default")
    app.write("Search the Images", "debian default")
    app.gone("list item", "alpine")
    driver.focus()
    driver.key("Escape")
    app.find("list item", "alpine 3.22 default")
    driver.key("Escape")
    app.gone("dialog", "Choose an Image")
    app.find("dialog", "New Container")


def test_a_server_that_cannot_be_reached_says_so_and_is_asked_again(pretend, driver):
    app = pretend("web1")
    new_container(app, "Image of a server")
    app.press("button", "Image")
    app.find("list item", "alpine")
    app.enter("Server, if Not the Usual Ones", "https://nowhere")
    app.find("label", "The server https://nowhere cannot be reached: no such name.")
    driver.screenshot("images-failed")
    app.press("button", "Try Again")
    app.find("label", "The server https://nowhere cannot be reached: no such name.")


def test_a_container_is_made_of_an_image_of_a_registry(pretend, driver):
    app = pretend("web1")
    new_container(app, "OCI registry", "app1")
    assert not driver.is_sensitive(app.find("button", "Create"))
    app.write("Image, Such as library/debian", "library/redis")
    app.write("Tag or Digest, if Not latest", "7")
    app.write("User There, if Any", "me")
    app.write("Password", "secret")
    driver.screenshot("create-registry")
    app.press("button", "Create")
    asked = app.helper.stdout.readline()
    assert "'template': 'oci'" in asked and "'distribution': 'library/redis'" in asked and "'release': '7'" in asked
    assert "'username': 'me'" in asked and "'password': 'secret'" in asked
    # Nothing vouches for a tag.
    assert "'untrusted': True" in asked
    app.find("list item", "app1, Running")
