//! System call filters, seccomp(2).

use super::check;
use std::io;

/// One instruction of a filter: `struct sock_filter`.
pub(crate) type Instruction = libc::sock_filter;

/// Puts a filter on this process and what it will execute, in addition to
/// those that are in force. Needs CAP_SYS_ADMIN or no_new_privs.
pub(crate) fn load_filter(program: &mut [Instruction]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidData)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the structure names a list of as many instructions as it says,
    // which the kernel copies and checks.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    })
    .map(drop)
}
