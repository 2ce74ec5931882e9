//! What can go wrong, one variant a named error of the contract.

use gantry_core::monitor::{Failure, FailureKind};
use gantry_core::name::NameError;
use std::io;
use std::path::{Path, PathBuf};

/// A result of the engine.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why an operation was refused or failed. Its text is one sentence that names
/// the object and the cause, and the remedy where there is one.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such container, file or device.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken.
    #[error("{0}")]
    Exists(String),
    /// A name that is not allowed.
    #[error("{0}")]
    InvalidName(String),
    /// An argument that is unknown or out of range.
    #[error("{0}")]
    InvalidArgument(String),
    /// A configuration that cannot be used.
    #[error("{0}")]
    InvalidConfig(ConfigFault),
    /// Somebody else is working on the object.
    #[error("{0}")]
    Busy(String),
    /// The container is not in a state that allows this.
    #[error("{0}")]
    WrongState(String),
    /// Other containers or snapshots depend on it.
    #[error("{0}")]
    HasDependents(String),
    /// The revision that a change was based on is not the present one.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for equals root on the host, and that was not granted.
    #[error("{0}")]
    NotAuthorized(String),
    /// The caller cancelled.
    #[error("{0}")]
    Cancelled(String),
    /// The time given has passed.
    #[error("{0}")]
    TimedOut(String),
    /// The disk is full.
    #[error("{0}")]
    NoSpace(String),
    /// The host lacks something; the sentence says what to install.
    #[error("{0}")]
    Unsupported(String),
    /// What came is not what it should be.
    #[error("{0}")]
    VerificationFailed(String),
    /// A hook or script returned an error.
    #[error("{0}")]
    HookFailed(String),
    /// A container did not start.
    #[error("{}", start_sentence(message, log))]
    StartFailed {
        /// The step that failed, in a few words.
        step: String,
        /// The cause.
        message: String,
        /// The last lines of the container's log.
        log: Vec<String>,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// A fault in a configuration, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", fault_sentence(self))]
pub(crate) struct ConfigFault {
    /// The file; an included one if the fault is there.
    pub(crate) file: PathBuf,
    /// The line, from 1; 0 if the fault is of the whole file.
    pub(crate) line: u32,
    /// The key; empty if there is none.
    pub(crate) key: String,
    /// What is wrong.
    pub(crate) message: String,
}

fn fault_sentence(fault: &ConfigFault) -> String {
    let file = fault.file.display();
    match (fault.line, fault.key.as_str()) {
        (0, "") => format!("{file}: {}", fault.message),
        (0, key) => format!("{file}: {key}: {}", fault.message),
        (line, "") => format!("{file}, line {line}: {}", fault.message),
        (line, key) => format!("{file}, line {line}, {key}: {}", fault.message),
    }
}

fn start_sentence(message: &str, log: &[String]) -> String {
    if log.is_empty() {
        message.to_owned()
    } else {
        format!("{message}\n{}", log.join("\n"))
    }
}

impl Error {
    /// The error for a failed system call: `doing` completes "… failed", such
    /// as `writing /etc/x`.
    pub(crate) fn io(doing: impl std::fmt::Display, error: &io::Error) -> Self {
        let text = format!("{doing} failed: {error}");
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => {
                Self::NoSpace(format!("{text}; free some space and try again"))
            }
            Some(libc::ENOENT | libc::ENOTDIR) => Self::NotFound(text),
            Some(libc::EBUSY) => Self::Busy(text),
            Some(libc::EROFS) => Self::Failed(format!("{text}; remount it to be written to")),
            _ => Self::Failed(text),
        }
    }

    /// As [`Error::io`], for something done to a path.
    pub(crate) fn path(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::io(format_args!("{doing} {}", path.display()), error)
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::InvalidName(error.to_string())
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure {
            kind,
            step,
            message,
            log,
        } = failure;
        match kind {
            FailureKind::NotFound => Self::NotFound(message),
            FailureKind::InvalidConfig => Self::InvalidConfig(ConfigFault {
                file: PathBuf::from("config"),
                line: 0,
                key: String::new(),
                message,
            }),
            FailureKind::InvalidArgument => Self::InvalidArgument(message),
            FailureKind::WrongState => Self::WrongState(message),
            FailureKind::Exists => Self::Exists(message),
            FailureKind::Busy => Self::Busy(message),
            FailureKind::HookFailed => Self::HookFailed(message),
            FailureKind::Unsupported => Self::Unsupported(message),
            FailureKind::NoSpace => Self::NoSpace(message),
            FailureKind::Cancelled => Self::Cancelled(message),
            FailureKind::NotPermitted | FailureKind::StartFailed => {
                Self::StartFailed { step, message, log }
            }
        }
    }
}
