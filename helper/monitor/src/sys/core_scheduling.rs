//! Which processes may run beside each other on one core, prctl(2) and the
//! kernel's core-scheduling.rst.

use super::check;
use std::io;

const PR_SCHED_CORE: libc::c_int = 62;
const CREATE: libc::c_ulong = 1;
const SHARE_FROM: libc::c_ulong = 3;
const THREAD: libc::c_ulong = 0;
const THREAD_GROUP: libc::c_ulong = 1;

/// Gives a process a cookie of its own: only what inherits it shares its core.
pub(crate) fn take_core(pid: i32) -> io::Result<()> {
    core_scheduling(CREATE, pid, THREAD_GROUP)
}

/// Takes over the cookie of a process.
pub(crate) fn share_core(pid: i32) -> io::Result<()> {
    core_scheduling(SHARE_FROM, pid, THREAD)
}

/// Whether an error says that the kernel or the processor has nothing to
/// schedule by cores.
pub(crate) fn no_core_scheduling(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENODEV))
}

fn core_scheduling(command: libc::c_ulong, pid: i32, scope: libc::c_ulong) -> io::Result<()> {
    let pid = libc::c_ulong::from(pid.unsigned_abs());
    // SAFETY: passes numbers only; no cookie is asked for.
    check(unsafe { libc::prctl(PR_SCHED_CORE, command, pid, scope, 0) }.into()).map(drop)
}
