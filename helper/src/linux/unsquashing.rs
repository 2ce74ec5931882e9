//! The worker that unpacks an image of a root file system by unsquashfs(1). What comes out
//! goes through the unpacking of every archive before it is a container's.

use super::unpacking::{code, enter_target};
use super::worker::{ENVIRONMENT, Helper};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the worker sees the image.
const IMAGE: &str = "image";

/// `unsquash-worker directory TARGET UNSQUASHFS IMAGE PATTERN…`: unpacks the file IMAGE but
/// what the patterns match. Gives the exit status of unsquashfs.
pub(super) fn run(args: &[String]) -> io::Result<i32> {
    let image = args.get(3).ok_or(ErrorKind::InvalidInput)?;
    // It is a path: the program wants to seek in a file with a name.
    let lend = |root: &Path| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, image, flags)?;
        let place = root.join(IMAGE);
        File::create_new(&place)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        Ok(move_mount(&tree, "", CWD, &place, flags)?)
    };
    enter_target(args, lend, |helper, program, _, patterns| {
        unsquash(helper, program, patterns)
    })
}

fn unsquash(mut helper: Helper, program: &str, patterns: &[String]) -> io::Result<i32> {
    helper.become_root(None)?;
    let status = Command::new(program)
        .args(["-no-progress", "-force", "-dest", ".", "-excludes"])
        .arg(format!("/{IMAGE}"))
        .args(patterns)
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    Ok(code(status))
}
