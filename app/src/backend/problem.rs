use gantry_api::Error;

use crate::text::tr;

/// Something that was asked for and did not happen, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What did not happen.
    pub heading: String,
    /// Why, in one sentence.
    pub cause: String,
    /// The error's name on the bus; empty when it never got there.
    pub name: String,
    /// Everything that was said.
    pub details: String,
}

impl Problem {
    /// The problem that `error` stands for; `None` when the user knows already,
    /// having closed the authentication dialog or cancelled.
    #[must_use]
    pub fn from_error(heading: &str, error: &Error) -> Option<Self> {
        match error {
            Error::AuthorizationDismissed(_) | Error::Cancelled(_) => None,
            Error::Bus(zbus::Error::MethodError(name, text, _)) => {
                Self::from_parts(heading, name.as_str(), text.as_deref().unwrap_or_default())
            }
            Error::Bus(other) => Self::from_parts(heading, "", &other.to_string()),
            named => Self::from_parts(heading, named.full_name().as_str(), &named.message()),
        }
    }

    /// The same from an error's name and message, as a job holds them.
    #[must_use]
    pub fn from_parts(heading: &str, name: &str, message: &str) -> Option<Self> {
        let first = message.lines().next().unwrap_or_default();
        let cause = match name.rsplit('.').next().unwrap_or_default() {
            "AuthorizationDismissed" | "Cancelled" => return None,
            "InteractiveAuthorizationRequired" => tr(
                "This needs a password, and no program that could ask for it is running. Start an authentication agent, or ask as an administrator.",
            ),
            "NoReply" | "ServiceUnknown" | "NameHasNoOwner" => tr(
                "The helper ended before it answered. Look at the container's state before you try again.",
            ),
            _ if first.is_empty() => tr("The helper gave no reason."),
            _ => first.to_owned(),
        };
        Some(Self {
            heading: heading.to_owned(),
            cause,
            name: name.to_owned(),
            details: message.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dismissed_password_dialog_is_silent() {
        let dismissed = Error::AuthorizationDismissed("closed".into());
        assert_eq!(Problem::from_error("x", &dismissed), None);
        let name = "io.gantry.Gantry1.Error.AuthorizationDismissed";
        assert_eq!(Problem::from_parts("x", name, "closed"), None);
    }

    #[test]
    fn the_cause_is_the_first_line_and_the_log_is_detail() {
        let failed = Error::StartFailed("Step “network” failed.\nlxcbr0: no such device".into());
        let problem = Problem::from_error("“web1” could not be started", &failed).unwrap();
        assert_eq!(problem.cause, "Step “network” failed.");
        assert_eq!(problem.name, "io.gantry.Gantry1.Error.StartFailed");
        assert!(problem.details.ends_with("no such device"));
    }
}
