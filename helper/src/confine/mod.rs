//! What holds containers besides namespaces: filters of system calls.

mod seccomp;

pub(crate) use seccomp::Filters;
