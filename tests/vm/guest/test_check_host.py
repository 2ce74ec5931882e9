"""CheckHost on the system that the package is for: what it says is amiss there is, and
has a remedy."""

# What a clean Debian has not, and why that is right.
KNOWN = {
    "zfs": "its module is not part of Debian's kernel",
    "lxcfs": "it is not installed",
    "mmdebstrap": "images of servers need none of it",
    "unsquashfs": "image servers have tars beside their squashed images",
    "reflinks": "ext4 has none",
    "IPv4 forwarding": "nothing here has anything to forward yet",
    "IPv6 forwarding": "the same",
}


def test_an_installed_debian_is_well(bus):
    bus.list()
    amiss = {item: finding for _topic, item, finding, ok in bus.manager("CheckHost") if not ok}
    assert {item: finding for item, finding in amiss.items() if item not in KNOWN} == {}
    items = [item for _topic, item, _finding, _ok in bus.manager("CheckHost")]
    assert {"AppArmor", "AppArmor, workers", "autostart", "polkit", "devices"} <= set(items)
