//! Programs that containers are made and run with, each by its absolute path.

use super::{Report, Verdict, install, topic};
use crate::image::busybox::Busybox;
pub(super) use crate::linux::tool::find;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A program, the Debian package that brings it, and what does not work
/// without it.
type Tool = (&'static str, &'static str, &'static str);

const USUAL: [Tool; 9] = [
    ("tar", "tar", "no root file system can be unpacked"),
    (
        "gzip",
        "gzip",
        "archives that end in .gz cannot be unpacked",
    ),
    (
        "xz",
        "xz-utils",
        "archives that end in .xz cannot be unpacked",
    ),
    (
        "zstd",
        "zstd",
        "archives that end in .zst cannot be unpacked",
    ),
    (
        "bzip2",
        "bzip2",
        "archives that end in .bz2 cannot be unpacked",
    ),
    (
        "sqv",
        "sqv",
        "signatures of images cannot be checked, so that none with a key is used",
    ),
    (
        "dnsmasq",
        "dnsmasq-base",
        "containers get no addresses and names from their bridge",
    ),
    ("nft", "nftables", "containers reach only this computer"),
    (
        "usermod",
        "passwd",
        "root gets no ids for containers, and LXC's own tools do not start them",
    ),
];

/// Debian's uidmap: LXC's own tools map ids with these, Gantry does not.
const MAPPERS: [&str; 2] = ["newuidmap", "newgidmap"];

const RARE: [Tool; 5] = [
    (
        "mmdebstrap",
        "mmdebstrap",
        "Debian and Ubuntu cannot be made of their packages, unless debootstrap is there",
    ),
    (
        "unsquashfs",
        "squashfs-tools",
        "images that a server has as squashfs only cannot be used",
    ),
    (
        "mkfs.ext4",
        "e2fsprogs",
        "containers cannot be kept in image files",
    ),
    (
        "btrfs",
        "btrfs-progs",
        "containers cannot be kept in btrfs subvolumes",
    ),
    (
        "lvcreate",
        "lvm2",
        "containers cannot be kept on LVM volumes",
    ),
];

pub(super) fn check(report: &mut Report) {
    for (topic, tools) in [(topic::TOOLS, &USUAL[..]), (topic::EXTRAS, &RARE[..])] {
        for (tool, package, loss) in tools {
            report.add(topic, tool, judge(tool, package, loss));
        }
    }
    let busybox = match Busybox::find() {
        Ok(_) => Ok("Static, with init.".to_owned()),
        Err(error) => Err(format!(
            "Small containers cannot be made without a download: {error}. {}",
            install("busybox-static")
        )),
    };
    report.add(topic::TOOLS, "busybox", busybox);
    for tool in MAPPERS {
        report.add(topic::EXTRAS, tool, mapper(tool));
    }
}

fn judge(tool: &str, package: &str, loss: &str) -> Verdict {
    match find(tool) {
        Some(path) => Ok(format!("{}.", path.display())),
        None => Err(format!("Missing: {loss}. {}", install(package))),
    }
}

/// As lxc-checkconfig(1) has it: it writes maps for users, with root's rights.
fn mapper(tool: &str) -> Verdict {
    let loss = "LXC's own tools cannot start users' containers";
    let Some(path) = find(tool) else {
        return judge(tool, "uidmap", loss);
    };
    let mode = std::fs::metadata(&path)
        .map(|found| found.permissions().mode())
        .unwrap_or_default();
    if mode & 0o4000 != 0 || has_capabilities(&path) {
        return Ok(format!("{}, with root's rights.", path.display()));
    }
    Err(format!(
        "It has no rights of root's: {loss}. Run “chmod u+s {}”.",
        path.display()
    ))
}

/// Some distributions give it file capabilities in place of the mode's bit.
fn has_capabilities(path: &Path) -> bool {
    rustix::fs::getxattr(path, "security.capability", &mut [0_u8; 64]).is_ok()
}
