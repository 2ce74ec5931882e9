//! What methods answer when they refuse.

use crate::engine;
use gantry_api::Error;
use zbus::{DBusError, Message, fdo, message::Header, names::ErrorName};

/// A method's result.
pub(super) type Result<T> = std::result::Result<T, Refusal>;

/// An error of the contract, or the bus's own word for 'ask again, and let us ask
/// for a password'.
#[derive(Debug)]
pub(super) enum Refusal {
    Contract(Error),
    InteractiveAuthorizationRequired(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Contract(error)
    }
}

impl DBusError for Refusal {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        match self {
            Self::Contract(error) => error.create_reply(call),
            Self::InteractiveAuthorizationRequired(sentence) => {
                fdo::Error::InteractiveAuthorizationRequired(sentence.clone()).create_reply(call)
            }
        }
    }

    fn name(&self) -> ErrorName<'_> {
        match self {
            Self::Contract(error) => error.name(),
            Self::InteractiveAuthorizationRequired(_) => ErrorName::from_static_str_unchecked(
                "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
            ),
        }
    }

    fn description(&self) -> Option<&str> {
        match self {
            Self::Contract(error) => error.description(),
            Self::InteractiveAuthorizationRequired(sentence) => Some(sentence),
        }
    }
}

/// The contract's word for an error of the engine.
pub(super) fn from_engine(error: engine::Error) -> Error {
    use engine::Error as Engine;
    let sentence = error.to_string();
    match error {
        Engine::NotFound(_) => Error::NotFound(sentence),
        Engine::Exists(_) => Error::Exists(sentence),
        Engine::InvalidName(_) => Error::InvalidName(sentence),
        Engine::InvalidArgument(_) => Error::InvalidArgument(sentence),
        Engine::InvalidConfig(_) => Error::InvalidConfig(sentence),
        Engine::Busy(_) => Error::Busy(sentence),
        Engine::WrongState(_) => Error::WrongState(sentence),
        Engine::HasDependents(_) => Error::HasDependents(sentence),
        Engine::Conflict(_) => Error::Conflict(sentence),
        Engine::NotAuthorized(_) => Error::NotAuthorized(sentence),
        Engine::Cancelled(_) => Error::Cancelled(sentence),
        Engine::TimedOut(_) => Error::TimedOut(sentence),
        Engine::NoSpace(_) => Error::NoSpace(sentence),
        Engine::Unsupported(_) => Error::Unsupported(sentence),
        Engine::VerificationFailed(_) => Error::VerificationFailed(sentence),
        Engine::HookFailed(_) => Error::HookFailed(sentence),
        Engine::StartFailed { .. } => Error::StartFailed(sentence),
        Engine::Failed(_) => Error::Failed(sentence),
    }
}

impl From<engine::Error> for Refusal {
    fn from(error: engine::Error) -> Self {
        Self::Contract(from_engine(error))
    }
}
