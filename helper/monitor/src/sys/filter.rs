//! System call filters, seccomp(2).

use super::check;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// One instruction of a filter: `struct sock_filter`.
pub(crate) type Instruction = libc::sock_filter;

/// Whether some calls are decided about by whoever listens.
pub(crate) fn notifies(program: &[Instruction]) -> bool {
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    program
        .iter()
        .any(|step| step.code == code && step.k == libc::SECCOMP_RET_USER_NOTIF)
}

/// Puts a filter on this process and what it will execute, in addition to
/// those that are in force, and gives what listens if it notifies. Needs CAP_SYS_ADMIN
/// or no_new_privs.
pub(crate) fn load_filter(program: &mut [Instruction]) -> io::Result<Option<OwnedFd>> {
    let listens = notifies(program);
    let flags = if listens {
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
    } else {
        0
    };
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidData)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the structure names a list of as many instructions as it says,
    // which the kernel copies and checks.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })?;
    // SAFETY: with the flag the result is a descriptor that nothing else knows.
    Ok(listens.then(|| unsafe { OwnedFd::from_raw_fd(result as RawFd) }))
}
