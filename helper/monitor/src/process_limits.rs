//! `lxc.prlimit.NAME`, setrlimit(2).

use crate::failure::{At, Step};
use crate::sys;
use gantry_core::values::{Limit, RESOURCES};

/// Limits a process and what it starts from now on.
pub(crate) fn apply(pid: i32, name: &str, limit: Limit) -> Step<()> {
    let value = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
    sys::prlimit(
        pid,
        resource_number(name),
        value(limit.soft),
        value(limit.hard),
    )
    .at("setting limits", || {
        format!("cannot set lxc.prlimit.{name}")
    })
}

/// RLIMIT_* of a name of [`RESOURCES`].
fn resource_number(name: &str) -> u32 {
    let numbers = [
        libc::RLIMIT_AS,
        libc::RLIMIT_CORE,
        libc::RLIMIT_CPU,
        libc::RLIMIT_DATA,
        libc::RLIMIT_FSIZE,
        libc::RLIMIT_LOCKS,
        libc::RLIMIT_MEMLOCK,
        libc::RLIMIT_MSGQUEUE,
        libc::RLIMIT_NICE,
        libc::RLIMIT_NOFILE,
        libc::RLIMIT_NPROC,
        libc::RLIMIT_RSS,
        libc::RLIMIT_RTPRIO,
        libc::RLIMIT_RTTIME,
        libc::RLIMIT_SIGPENDING,
        libc::RLIMIT_STACK,
    ];
    let found = RESOURCES
        .iter()
        .zip(numbers)
        .find(|(known, _)| **known == name);
    // A name that the config does not allow: a number the kernel refuses.
    found.map_or(u32::MAX, |(_, number)| number)
}
