//! What Gantry knows about LXC, without touching anything: names, the
//! configuration language and its table of keys, id maps, on-disk layout and
//! the formats spoken on the monitor's sockets.
//!
//! Nothing here opens a file or makes a system call: callers hand in bytes and
//! act on what comes back. Every parser takes hostile input.
#![forbid(unsafe_code)]

pub mod apparmor;
pub mod arch;
pub mod caps;
pub mod cgroup;
pub mod command;
pub mod config;
pub mod dependents;
pub mod idmap;
pub mod keys;
pub mod layout;
pub mod monitor;
pub mod name;
pub mod namespaces;
pub mod netlink;
pub mod networks;
pub mod ports;
pub mod retention;
pub mod seccomp;
pub mod settings;
pub mod signals;
pub mod states;
pub mod values;
