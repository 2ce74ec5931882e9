//! What the kernel was built with: network interfaces, file systems, filters.

use super::kernel::{Kernel, Presence};
use super::{Report, Verdict, topic};

/// A part of the kernel that may be left out.
struct Feature {
    item: &'static str,
    /// The option of its configuration, without `CONFIG_`.
    option: &'static str,
    /// The module it may be in.
    module: &'static str,
    /// What does not work without it.
    loss: &'static str,
}

const fn feature(
    item: &'static str,
    option: &'static str,
    module: &'static str,
    loss: &'static str,
) -> Feature {
    Feature {
        item,
        option,
        module,
        loss,
    }
}

/// What nearly every container needs.
const USUAL: [Feature; 5] = [
    feature(
        "veth",
        "VETH",
        "veth",
        "containers cannot be wired to a bridge",
    ),
    feature(
        "bridge",
        "BRIDGE",
        "bridge",
        "containers cannot be wired together",
    ),
    feature(
        "nftables",
        "NF_TABLES",
        "nf_tables",
        "containers reach only this computer",
    ),
    feature(
        "masquerading",
        "NF_NAT_MASQUERADE",
        "nf_nat",
        "containers reach only this computer",
    ),
    feature(
        "overlay",
        "OVERLAY_FS",
        "overlay",
        "there are no copy-on-write clones in folders",
    ),
];

/// What some containers need.
const RARE: [Feature; 10] = [
    feature(
        "macvlan",
        "MACVLAN",
        "macvlan",
        "lxc.net.N.type = macvlan does not work",
    ),
    feature(
        "ipvlan",
        "IPVLAN",
        "ipvlan",
        "lxc.net.N.type = ipvlan does not work",
    ),
    feature(
        "vlan",
        "VLAN_8021Q",
        "8021q",
        "lxc.net.N.type = vlan does not work",
    ),
    feature("tun", "TUN", "tun", "VPNs do not work in containers"),
    feature(
        "fuse",
        "FUSE_FS",
        "fuse",
        "lxcfs and FUSE in containers do not work",
    ),
    feature(
        "btrfs file system",
        "BTRFS_FS",
        "btrfs",
        "containers cannot be kept in btrfs subvolumes",
    ),
    feature(
        "device mapper",
        "BLK_DEV_DM",
        "dm_mod",
        "containers cannot be kept on LVM volumes",
    ),
    feature(
        "loop devices",
        "BLK_DEV_LOOP",
        "loop",
        "containers cannot be kept in image files",
    ),
    feature(
        "iptables CHECKSUM",
        "NETFILTER_XT_TARGET_CHECKSUM",
        "xt_CHECKSUM",
        "old DHCP clients get no address from an lxc-net that uses iptables",
    ),
    feature(
        "iptables comment",
        "NETFILTER_XT_MATCH_COMMENT",
        "xt_comment",
        "an lxc-net that uses iptables cannot mark its rules",
    ),
];

pub(super) fn check(report: &mut Report, kernel: &Kernel) {
    for (topic, features) in [(topic::KERNEL, &USUAL[..]), (topic::EXTRAS, &RARE[..])] {
        for feature in features {
            report.add(topic, feature.item, judge(kernel, feature));
        }
    }
}

fn judge(kernel: &Kernel, feature: &Feature) -> Verdict {
    let Feature {
        option,
        module,
        loss,
        ..
    } = feature;
    match kernel.presence(option, module) {
        Presence::Ready => Ok("Available.".to_owned()),
        Presence::Module => Ok(format!(
            "Available: the module {module} is loaded when needed."
        )),
        Presence::Uninstalled => Err(format!(
            "The module {module} of the running kernel {} is not installed: {loss}. Reboot into the kernel that is installed, or install this one again.",
            kernel.release
        )),
        Presence::Missing => Err(format!(
            "Missing: {loss}. Boot a kernel with CONFIG_{option}."
        )),
        Presence::Unknown => Err(format!(
            "It cannot be told whether it is there: if it is not, {loss}. Run “modprobe configs”, or install the kernel's configuration as /boot/config-{}.",
            kernel.release
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_item_is_named_twice() {
        let mut items: Vec<&str> = USUAL.iter().chain(&RARE).map(|one| one.item).collect();
        let count = items.len();
        items.sort_unstable();
        items.dedup();
        assert_eq!(items.len(), count);
    }
}
