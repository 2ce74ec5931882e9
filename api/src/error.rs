use zbus::{DBusError, names::ErrorName};

/// A result whose error has a name on the bus.
pub type Result<T> = std::result::Result<T, Error>;

/// The named errors, `io.gantry.Gantry1.Error.*`.
///
/// Each carries one sentence that names the object and the cause, and the remedy
/// where there is one.
#[derive(Clone, Debug, DBusError, PartialEq)]
#[zbus(prefix = "io.gantry.Gantry1.Error", impl_display = true)]
pub enum Error {
    /// An error of the bus or of the connection itself.
    #[zbus(error)]
    Bus(zbus::Error),
    /// There is no such object.
    NotFound(String),
    /// The name is taken.
    Exists(String),
    /// The name is not allowed.
    InvalidName(String),
    /// An argument or option is unknown or out of range.
    InvalidArgument(String),
    /// A configuration is wrong; the sentence names file, line and key.
    InvalidConfig(String),
    /// Somebody else is working on the object.
    Busy(String),
    /// The object is not in a state that allows this.
    WrongState(String),
    /// Other containers depend on this one; the sentence names them.
    HasDependents(String),
    /// The revision that the change was based on is no longer the present one.
    Conflict(String),
    /// The caller may not do this.
    NotAuthorized(String),
    /// The user closed the authentication dialog.
    AuthorizationDismissed(String),
    /// The job was cancelled.
    Cancelled(String),
    /// The time given has passed.
    TimedOut(String),
    /// The disk is full.
    NoSpace(String),
    /// A limit for this user is reached.
    QuotaExceeded(String),
    /// The host or its kernel lacks what this needs; the sentence says what to install.
    Unsupported(String),
    /// A signature or checksum does not match.
    VerificationFailed(String),
    /// A hook returned an error.
    HookFailed(String),
    /// A container did not start; the sentence names the step and ends with the log's last lines.
    StartFailed(String),
    /// Anything else.
    Failed(String),
}

impl Error {
    /// The error's full name on the bus.
    #[must_use]
    pub fn full_name(&self) -> ErrorName<'_> {
        DBusError::name(self)
    }

    /// The error of this full name, as a job keeps it.
    #[must_use]
    pub fn from_parts(name: &str, message: String) -> Self {
        let kinds: [fn(String) -> Self; 20] = [
            Self::NotFound,
            Self::Exists,
            Self::InvalidName,
            Self::InvalidArgument,
            Self::InvalidConfig,
            Self::Busy,
            Self::WrongState,
            Self::HasDependents,
            Self::Conflict,
            Self::NotAuthorized,
            Self::AuthorizationDismissed,
            Self::Cancelled,
            Self::TimedOut,
            Self::NoSpace,
            Self::QuotaExceeded,
            Self::Unsupported,
            Self::VerificationFailed,
            Self::HookFailed,
            Self::StartFailed,
            Self::Failed,
        ];
        let named = |kind: &&fn(String) -> Self| kind(String::new()).full_name().as_str() == name;
        let kind = kinds.iter().find(named).copied();
        kind.unwrap_or(Self::Failed)(message)
    }

    /// The sentence without the error's name.
    #[must_use]
    pub fn message(&self) -> String {
        DBusError::description(self).map_or_else(|| self.to_string(), str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_known_by_its_name_again() {
        let error = Error::HasDependents("“web1” needs it".into());
        let again = Error::from_parts(error.full_name().as_str(), error.message());
        assert_eq!(again, error);
        let unknown = Error::from_parts("org.example.Odd", "odd".into());
        assert_eq!(unknown, Error::Failed("odd".into()));
    }
}
