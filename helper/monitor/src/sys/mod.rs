//! System calls that no safe crate wraps. Each function is as thin as its
//! call; the manual page of the same name says what it does.
#![allow(unsafe_code)]

mod birth;
mod bpf;
mod core_scheduling;
mod filter;
mod loop_device;
mod memory;
mod notify;
mod packet;

pub(crate) use birth::{Fork, fork, fork_within};
pub(crate) use bpf::{attach_device_program, load_device_program};
pub(crate) use core_scheduling::{no_core_scheduling, share_core, take_core};
pub(crate) use filter::{Instruction, load_filter, notifies};
pub(crate) use loop_device::attach_loop_device;
pub(crate) use memory::Spare;
pub(crate) use notify::{DATA, NOTIFICATION, RESPONSE, answer_call, check_call, receive_call};
pub(crate) use packet::{pair, receive, send};

use rustix::mount::MountPropagationFlags;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The fields of `struct mount_attr`, see mount_setattr(2).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct MountAttributes {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) userns_fd: u64,
}

impl MountAttributes {
    pub(crate) const IDMAP: u64 = 0x0010_0000;

    pub(crate) fn propagate(propagation: MountPropagationFlags) -> Self {
        Self {
            propagation: propagation.bits().into(),
            ..Self::default()
        }
    }
}

/// Changes the mount that `mount` itself is, and with `recursive` all below.
pub(crate) fn mount_setattr(
    mount: impl AsFd,
    recursive: bool,
    attributes: &MountAttributes,
) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and the structure is what the
    // kernel expects, of the size that is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    })
    .map(drop)
}

/// Marks every descriptor from `first` on to be closed at exec.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: changes flags of descriptors only.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
    .map(drop)
}

/// Takes over a descriptor that this process was started with, if it is open.
pub(crate) fn inherited(number: i32) -> Option<OwnedFd> {
    // SAFETY: F_SETFD touches only the descriptor's flags; the number is one
    // that nothing else in this process owns.
    unsafe {
        if libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
            return None;
        }
        Some(OwnedFd::from_raw_fd(number))
    }
}

/// A new anonymous session keyring in place of the inherited one, keyctl(2).
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
            0,
            0,
            0,
        )
    })
    .map(drop)
}

/// prlimit(2) on another process, resource and values by number.
pub(crate) fn prlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: reads one structure of the right type and writes nothing back.
    check(
        unsafe { libc::prlimit(pid, resource as _, &raw const limit, std::ptr::null_mut()) }.into(),
    )
    .map(drop)
}

/// Random bytes from the kernel.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the buffer is as long as is said; below 256 bytes the kernel
    // fills it in one go.
    check(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) } as libc::c_long)?;
    Ok(bytes)
}

/// Gives every signal its default action and unblocks all, as a program
/// expects that is about to be executed.
pub(crate) fn default_signals() {
    // SAFETY: SIG_DFL runs no code of ours; failures (SIGKILL, SIGSTOP) change
    // nothing.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// A program of the host to run: at `/`, with next to no environment, and with every
/// signal as a program expects, which would inherit what is blocked here.
pub(crate) fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null());
    // SAFETY: what runs between fork and exec makes system calls only, and allocates
    // nothing.
    unsafe {
        command.pre_exec(|| {
            default_signals();
            Ok(())
        });
    }
    command
}

/// Sends a signal, also one without a name, to the process of a pidfd.
pub(crate) fn signal_process(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    // SAFETY: no further information is passed with the signal.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// PR_SET_PDEATHSIG by number; 0 is none.
pub(crate) fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    // SAFETY: sets a number of this process.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) }.into()).map(drop)
}

/// execveat(2) of an open file.
pub(crate) fn execute_file(file: impl AsFd, argv: &[&CStr], env: &[&CStr]) -> io::Error {
    match nix::unistd::execveat(file, c"", argv, env, nix::fcntl::AtFlags::AT_EMPTY_PATH) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

/// Ends the process at once, without unwinding or flushing: for the child of
/// a fork.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(status) }
}

/// The number of a pseudoterminal in its devpts, from its master (TIOCGPTN).
pub(crate) fn terminal_number(master: impl AsFd) -> io::Result<u32> {
    let mut number: libc::c_uint = 0;
    let fd = master.as_fd().as_raw_fd();
    // SAFETY: the kernel stores one unsigned number.
    check(unsafe { libc::ioctl(fd, libc::TIOCGPTN, &raw mut number) }.into())?;
    Ok(number)
}

/// Takes a capability out of the bounding set; gives back false when the
/// kernel knows no capability of that number.
pub(crate) fn drop_from_bounding_set(number: u8) -> io::Result<bool> {
    // SAFETY: both calls pass numbers only.
    unsafe {
        if libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number), 0, 0, 0) < 0 {
            return Ok(false);
        }
        check(libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0).into())?;
    }
    Ok(true)
}

/// Puts a capability, which must be inheritable and permitted, into the
/// ambient set.
pub(crate) fn raise_ambient(number: u8) -> io::Result<()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
    // SAFETY: passes numbers only.
    check(
        unsafe {
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                raise,
                libc::c_ulong::from(number),
                0,
                0,
            )
        }
        .into(),
    )
    .map(drop)
}

/// Sets the execution domain, personality(2).
pub(crate) fn set_personality(persona: u32) -> io::Result<()> {
    // SAFETY: passes a number only.
    check(unsafe { libc::personality(persona.into()) }.into()).map(drop)
}

/// Becomes another user with these groups, for good. Needs the rights to.
pub(crate) fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> io::Result<()> {
    // SAFETY: the list is as long as is said; the other calls pass numbers.
    unsafe {
        if let Some(groups) = groups {
            check(libc::setgroups(groups.len(), groups.as_ptr()).into())?;
        }
        check(libc::setresgid(gid, gid, gid).into())?;
        check(libc::setresuid(uid, uid, uid).into())?;
    }
    Ok(())
}

/// Accepts a connection, which does not block.
pub(crate) fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    use nix::sys::socket::{SockFlag, accept4};
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = accept4(listener.as_fd().as_raw_fd(), flags)?;
    // SAFETY: accept4 has just installed it; nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
