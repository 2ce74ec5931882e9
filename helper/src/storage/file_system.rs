//! File systems on devices and in image files.

use super::Wish;
use crate::error::{Error, Result};
use crate::linux::tool;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// As LXC has it.
const TYPE: &str = "ext4";
const SIZE: u64 = 1 << 30;
/// Smaller ones hold no container.
const SMALLEST: u64 = 1 << 20;

/// The size that is wished for.
pub(super) fn size(wish: &Wish) -> u64 {
    wish.fssize.unwrap_or(SIZE)
}

/// A size for files that take so many bytes, with some room.
pub(crate) fn room_for(occupied: u64) -> u64 {
    let needed = occupied / 4 * 5 + (64 << 20);
    needed.max(SIZE).next_multiple_of(1 << 20)
}

/// Refuses a size or type that cannot be made.
pub(super) fn check(wish: &Wish) -> Result<()> {
    check_size(wish)?;
    program(fstype(wish)).map(drop)
}

/// Refuses a size that holds no container.
pub(super) fn check_size(wish: &Wish) -> Result<()> {
    if size(wish) < SMALLEST {
        return Err(Error::InvalidArgument(format!(
            "'fssize' is {} bytes; give {SMALLEST} or more",
            size(wish)
        )));
    }
    Ok(())
}

fn fstype(wish: &Wish) -> &str {
    wish.fstype.as_deref().unwrap_or(TYPE)
}

fn program(fstype: &str) -> Result<PathBuf> {
    if fstype.is_empty() || !fstype.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Error::InvalidArgument(format!(
            "'fstype' is '{fstype}', which is no name of a file system; use ext4, xfs or btrfs"
        )));
    }
    let name = format!("mkfs.{fstype}");
    tool::find(&name).ok_or_else(|| {
        Error::Unsupported(format!(
            "there is no program {name}; install what brings it, or use the fstype {TYPE}"
        ))
    })
}

/// Makes the file system on a device or in a file.
pub(super) fn make(wish: &Wish, device: &Path) -> Result<()> {
    let fstype = fstype(wish);
    let program = program(fstype)?;
    let path = device
        .to_str()
        .ok_or_else(|| Error::InvalidArgument(format!("{} is not UTF-8", device.display())))?;
    // What would ask, or warn of what was there before, is told not to.
    let mut args = match fstype {
        "ext2" | "ext3" | "ext4" => vec!["-q", "-F"],
        "xfs" | "btrfs" => vec!["-q", "-f"],
        _ => Vec::new(),
    };
    args.push(path);
    let ended = tool::run(&program, &args)
        .map_err(|error| Error::io(format_args!("running {}", program.display()), &error))?;
    if ended.status == 0 {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "making a file system on {path} failed: {}",
        cause(&ended, &program)
    )))
}

/// The file system on a device or in a file, as far as it is one that can be made.
pub(super) fn kind_on(path: &Path) -> Option<String> {
    const MARKS: [(u64, &[u8], &str); 3] = [
        (0x438, &[0x53, 0xef], TYPE),
        (0, b"XFSB", "xfs"),
        (0x1_0040, b"_BHRfS_M", "btrfs"),
    ];
    let device = File::open(path).ok()?;
    let has = |(offset, mark, _): &(u64, &[u8], &str)| {
        let mut found = vec![0; mark.len()];
        device.read_exact_at(&mut found, *offset).is_ok() && found == *mark
    };
    let (.., kind) = MARKS.into_iter().find(has)?;
    Some(kind.to_owned())
}

/// What a program that failed says of it; its warnings are of something else.
pub(super) fn cause(ended: &tool::Ended, program: &Path) -> String {
    let said = ended.errors.lines().chain(ended.output.lines());
    let line = said
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("WARNING"));
    line.map_or_else(
        || format!("{} ended with status {}", program.display(), ended.status),
        |line| line.escape_debug().to_string(),
    )
}
