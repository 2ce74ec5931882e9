//! New processes: clone3(2).

use super::{check, exit_now, pair, receive, send};
use nix::sched::{CloneFlags, setns};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// libc has this constant in a type that is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a [`fork`] goes on.
pub(crate) enum Fork {
    /// The caller, with the new process's id and pidfd.
    Parent(i32, OwnedFd),
    /// The new process.
    Child,
}

/// clone3(2) with a pidfd and without sharing anything, as fork(2), but into
/// new namespaces (`flags`) and, if given, straight into a group of the
/// unified hierarchy.
pub(crate) fn fork(flags: u64, cgroup: Option<&OwnedFd>) -> io::Result<Fork> {
    clone(flags, libc::SIGCHLD, cgroup)
}

/// As [`fork`], from within namespaces that exist, each with its CLONE_NEW* bit:
/// a process between joins them and has a child there, which the kernel gives to
/// this process. Some namespaces cannot be left again, so that nobody joins them
/// who has more to do.
pub(crate) fn fork_within(
    joined: &[(u64, OwnedFd)],
    flags: u64,
    cgroup: Option<&OwnedFd>,
) -> io::Result<Fork> {
    if joined.is_empty() {
        return fork(flags, cgroup);
    }
    let (ours, theirs) = pair()?;
    // In the group from here on: the rights to enter it may be left behind.
    match fork(0, cgroup)? {
        Fork::Child => {
            let join = |(kind, namespace): &(u64, OwnedFd)| {
                setns(namespace, CloneFlags::from_bits_retain(*kind as i32))
            };
            let born = joined
                .iter()
                .try_for_each(join)
                .map_err(io::Error::from)
                .and_then(|()| clone(flags | libc::CLONE_PARENT as u64, 0, None));
            let told = match born {
                Ok(Fork::Child) => return Ok(Fork::Child),
                Ok(Fork::Parent(pid, pidfd)) => send(&theirs, &pid.to_ne_bytes(), &[&pidfd]),
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    send(&theirs, &(-errno).to_ne_bytes(), &[])
                }
            };
            exit_now(told.is_err().into())
        }
        Fork::Parent(_, between) => {
            drop(theirs);
            let mut answer = [0; size_of::<i32>()];
            let packet = receive(&ours, &mut answer)?;
            waitid(WaitId::PidFd(between.as_fd()), WaitIdOptions::EXITED)?;
            let pid = i32::from_ne_bytes(answer);
            match packet.fds.into_iter().next() {
                Some(pidfd) if pid > 0 => Ok(Fork::Parent(pid, pidfd)),
                _ if pid < 0 => Err(io::Error::from_raw_os_error(-pid)),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

fn clone(flags: u64, exit_signal: i32, cgroup: Option<&OwnedFd>) -> io::Result<Fork> {
    let mut pidfd: libc::c_int = -1;
    let mut arguments = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: exit_signal as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and with no stack given this is fork(2): the
    // child continues on a copy of this stack. The process has one thread, so
    // no lock of the allocator can be held by another.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            size_of::<libc::clone_args>(),
        )
    })?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: the call succeeded, so the kernel stored a new descriptor here.
    Ok(Fork::Parent(pid as i32, unsafe {
        OwnedFd::from_raw_fd(pidfd)
    }))
}
