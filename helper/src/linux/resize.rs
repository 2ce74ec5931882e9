//! File systems that grow with what they are in, mounted as they are: ext4
//! (EXT4_IOC_RESIZE_FS), XFS (ioctl_xfs_fsgrowfs(2)) and btrfs (BTRFS_IOC_RESIZE).

use rustix::fs::{FsWord, Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

const EXT4: FsWord = 0xef53;
const XFS: FsWord = 0x5846_5342;
const BTRFS: FsWord = 0x9123_683e;
const ZFS: FsWord = 0x2fc1_2fc1;

const EXT4_IOC_RESIZE_FS: libc::Ioctl = 0x4008_6610;
const XFS_IOC_FSGEOMETRY_V1: libc::Ioctl = 0x8070_5864;
const XFS_IOC_FSGROWFSDATA: libc::Ioctl = 0x4010_586e;
const BTRFS_IOC_RESIZE: libc::Ioctl = 0x5000_9403;

/// `struct xfs_fsop_geom_v1`, of which the eighth number is the share of inodes.
#[repr(C)]
struct Geometry {
    numbers: [u32; 8],
    rest: [u64; 10],
}

/// `struct xfs_growfs_data`
#[repr(C)]
struct Growth {
    blocks: u64,
    inode_percent: u32,
    padding: u32,
}

/// `struct btrfs_ioctl_vol_args`
#[repr(C)]
struct NameArgs {
    fd: i64,
    name: [u8; 4088],
}

/// Grows the file system of an open directory to `size` bytes, which its device has.
pub(crate) fn grow(directory: impl AsFd, size: u64) -> io::Result<()> {
    // A mount's descriptor is only a path.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    let status = rustix::fs::fstatfs(&top)?;
    let block = u64::try_from(status.f_bsize).map_err(io::Error::other)?;
    let blocks = size / block.max(1);
    let fd = top.as_raw_fd();
    match status.f_type {
        EXT4 => {
            // SAFETY: the kernel reads one number of the size that it expects.
            check(unsafe { libc::ioctl(fd, EXT4_IOC_RESIZE_FS, &raw const blocks) })
        }
        XFS => {
            let mut geometry = Geometry {
                numbers: [0; 8],
                rest: [0; 10],
            };
            // SAFETY: the kernel writes one structure of the type that it expects.
            check(unsafe { libc::ioctl(fd, XFS_IOC_FSGEOMETRY_V1, &raw mut geometry) })?;
            let [.., inode_percent] = geometry.numbers;
            let growth = Growth {
                blocks,
                inode_percent,
                padding: 0,
            };
            // SAFETY: the kernel reads one structure of the type that it expects.
            check(unsafe { libc::ioctl(fd, XFS_IOC_FSGROWFSDATA, &raw const growth) })
        }
        BTRFS => {
            let mut args = NameArgs {
                fd: 0,
                name: [0; 4088],
            };
            for (to, byte) in args.name.iter_mut().zip(b"max") {
                *to = *byte;
            }
            // SAFETY: the kernel reads one structure of the type that it expects.
            check(unsafe { libc::ioctl(fd, BTRFS_IOC_RESIZE, &raw const args) })
        }
        // Its quota is all that bounds it.
        ZFS => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "it is none of ext4, xfs and btrfs",
        )),
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
