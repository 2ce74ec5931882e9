use crate::text::tr;

/// Why there is no helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The system bus cannot be reached; what the attempt said.
    NoBus(String),
    /// The bus knows no such service.
    NotInstalled,
    /// The bus could not start it; what the bus said.
    CannotStart(String),
    /// It ended, and ended again when it was started once more.
    Ended,
    /// It, or the bus, refuses to talk to this user; what was said.
    Refused(String),
}

impl Absence {
    pub(super) fn from_call(error: &zbus::Error) -> Self {
        let zbus::Error::MethodError(name, text, _) = error else {
            return Self::NoBus(error.to_string());
        };
        let text = text.clone().unwrap_or_default();
        match name.as_str() {
            "org.freedesktop.DBus.Error.ServiceUnknown"
            | "org.freedesktop.DBus.Error.NameHasNoOwner"
            | "org.freedesktop.DBus.Error.Spawn.ServiceNotFound"
            | "org.freedesktop.systemd1.NoSuchUnit" => Self::NotInstalled,
            "org.freedesktop.DBus.Error.AccessDenied" => Self::Refused(text),
            "org.freedesktop.DBus.Error.NoReply" => Self::Ended,
            _ => Self::CannotStart(text),
        }
    }

    /// A few words.
    #[must_use]
    pub fn heading(&self) -> String {
        match self {
            Self::NoBus(_) => tr("The System Bus Cannot Be Reached"),
            Self::NotInstalled => tr("The Helper Is Not Installed"),
            Self::CannotStart(_) => tr("The Helper Does Not Start"),
            Self::Ended => tr("The Helper Has Ended"),
            Self::Refused(_) => tr("The Helper Refuses to Talk to You"),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NoBus(_) => tr(
                "Gantry talks to its helper over the D-Bus system bus. Start the service “dbus”, then try again.",
            ),
            Self::NotInstalled => tr(
                "Containers are run by a system service, gantry-helper. Install the package “gantry” of your distribution on this computer, then try again.",
            ),
            Self::CannotStart(_) => tr(
                "Its log says why: “journalctl --unit gantry-helper”. Running containers are not affected.",
            ),
            Self::Ended => tr(
                "It ended twice within a few seconds. Its log says why: “journalctl --unit gantry-helper”. Running containers are not affected.",
            ),
            Self::Refused(_) => tr(
                "The bus policy for io.gantry.Gantry1 does not allow it. Ask the administrator of this computer.",
            ),
        }
    }

    /// What the bus said, word for word.
    #[must_use]
    pub fn details(&self) -> &str {
        match self {
            Self::NoBus(text) | Self::CannotStart(text) | Self::Refused(text) => text,
            Self::NotInstalled | Self::Ended => "",
        }
    }
}
