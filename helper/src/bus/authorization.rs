//! Who may do what: every method has its action, and polkit decides.
//!
//! Root passes. Everybody else is judged by polkit, with the sender's bus name as
//! the subject; where polkit does not answer, nobody but root may do anything.

use std::{collections::HashMap, time::Duration};

use gantry_api::{Error, action};
use tokio::time::timeout;
use tracing::{info, warn};
use zbus::{Connection, message::Header, proxy::CacheProperties};
use zbus_polkit::policykit1::{
    AuthorityProxy, AuthorizationResult, CheckAuthorizationFlags, Subject,
};

use super::{
    callers::Caller,
    error::{Refusal, Result},
    limits::{Kind, Limits},
};

/// How long polkit may take where nobody is asked for a password.
const PATIENCE: Duration = Duration::from_secs(25);

/// In the audit log, the word for what is the caller's own and needs no action.
const OWN_OBJECT: &str = "own object";

/// The action of every method, by the last word of its interface and its name.
/// A method that is not here is refused.
pub(super) const ACTIONS: &[(&str, &str, &str)] = &[
    ("Manager", "ListContainers", action::INSPECT),
    ("Manager", "GetContainer", action::INSPECT),
    ("Manager", "CreateContainer", action::MANAGE),
    ("Manager", "ImportContainer", action::MANAGE),
    ("Manager", "StartContainer", action::OPERATE),
    ("Manager", "StopContainer", action::OPERATE),
    ("Manager", "KillContainer", action::OPERATE),
    ("Manager", "RebootContainer", action::OPERATE),
    ("Manager", "FreezeContainer", action::OPERATE),
    ("Manager", "UnfreezeContainer", action::OPERATE),
    ("Manager", "DestroyContainer", action::MANAGE),
    ("Manager", "StartGroup", action::OPERATE),
    ("Manager", "StopGroup", action::OPERATE),
    ("Manager", "RebootGroup", action::OPERATE),
    ("Manager", "KillGroup", action::OPERATE),
    ("Manager", "Autostart", action::OPERATE),
    ("Manager", "RunSchedules", action::MANAGE),
    ("Manager", "WatchUsage", action::INSPECT),
    ("Manager", "CheckHost", action::INSPECT),
    ("Manager", "GetDefaults", action::INSPECT),
    ("Manager", "SetDefaults", action::MANAGE),
    ("Manager", "ListHostInterfaces", action::INSPECT),
    ("Manager", "CreateNetwork", action::NETWORK),
    ("Manager", "ConfirmInterface", action::NETWORK),
    // An administrator's own servers: action::INSPECT.
    ("Manager", "ListRemoteImages", action::IMAGE),
    ("Image", "Delete", action::IMAGE),
    ("Container", "Start", action::OPERATE),
    ("Container", "Stop", action::OPERATE),
    ("Container", "Reboot", action::OPERATE),
    ("Container", "Kill", action::OPERATE),
    ("Container", "Freeze", action::OPERATE),
    ("Container", "Unfreeze", action::OPERATE),
    ("Container", "Wait", action::INSPECT),
    ("Container", "Destroy", action::MANAGE),
    ("Container", "Rename", action::MANAGE),
    ("Container", "Clone", action::MANAGE),
    ("Container", "Export", action::MANAGE),
    ("Container", "GetConfig", action::INSPECT),
    ("Container", "SetConfig", action::MANAGE),
    ("Container", "GetConfigItem", action::INSPECT),
    ("Container", "SetConfigItem", action::MANAGE),
    ("Container", "ConvertConfig", action::MANAGE),
    ("Container", "OpenConsole", action::CONSOLE),
    ("Container", "OpenShell", action::CONSOLE),
    ("Container", "Execute", action::CONSOLE),
    ("Container", "ReadLog", action::INSPECT),
    ("Resources", "SetLimit", action::MANAGE),
    ("Resources", "GetLimit", action::INSPECT),
    ("Resources", "GetUsage", action::INSPECT),
    ("Resources", "GetRoom", action::INSPECT),
    ("Resources", "Grow", action::MANAGE),
    ("Snapshots", "Take", action::MANAGE),
    ("Snapshots", "List", action::INSPECT),
    ("Snapshots", "Restore", action::MANAGE),
    ("Snapshots", "Delete", action::MANAGE),
    ("Snapshots", "SetComment", action::MANAGE),
    ("Snapshots", "Diff", action::MANAGE),
    ("Snapshots", "Estimate", action::MANAGE),
    ("Snapshots", "RestorePaths", action::MANAGE),
    ("Snapshots", "GetSchedule", action::INSPECT),
    ("Snapshots", "SetSchedule", action::MANAGE),
    ("Devices", "List", action::INSPECT),
    ("Devices", "AddNode", action::MANAGE),
    ("Devices", "RemoveNode", action::MANAGE),
    ("Devices", "AddInterface", action::MANAGE),
    ("Devices", "RemoveInterface", action::MANAGE),
    ("Interfaces", "List", action::INSPECT),
    ("Interfaces", "Add", action::NETWORK),
    ("Interfaces", "Remove", action::NETWORK),
    ("Interfaces", "Connect", action::NETWORK),
    ("Interfaces", "Disconnect", action::NETWORK),
    ("Interfaces", "Configure", action::NETWORK),
    ("Interfaces", "Confirm", action::NETWORK),
    ("Interfaces", "Revert", action::NETWORK),
    ("Network", "Up", action::NETWORK),
    ("Network", "Down", action::NETWORK),
    ("Network", "Configure", action::NETWORK),
    ("Network", "Delete", action::NETWORK),
    ("Network", "Leases", action::INSPECT),
    ("Network", "AddReservation", action::NETWORK),
    ("Network", "Reservations", action::INSPECT),
    ("Network", "RemoveReservation", action::NETWORK),
    ("Network", "AddForward", action::NETWORK),
    ("Network", "RemoveForward", action::NETWORK),
    ("Network", "Forwards", action::INSPECT),
    ("Network", "SetPort", action::NETWORK),
    // These two and the session's are for those whom the object is not for.
    ("Job", "Cancel", action::CANCEL_OTHER),
    ("Job", "Wait", action::INSPECT),
    ("Session", "Resize", action::CANCEL_OTHER),
    ("Session", "Signal", action::CANCEL_OTHER),
    ("Session", "Close", action::CANCEL_OTHER),
];

/// What polkit's rules may look at, and what decides on the action.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Details {
    /// Pairs as polkit passes them on.
    pairs: Vec<(&'static str, String)>,
    /// What makes the request one that equals root on the host.
    flags: Vec<String>,
    /// The object is the caller's own.
    own: bool,
    /// The action that takes the place of the method's.
    instead: Option<&'static str>,
}

impl Details {
    /// Adds a detail: `container`, `owner`, `privileged`, `network` or `backend`.
    pub(super) fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.pairs.push((key, value.to_string()));
        self
    }

    /// Adds what is unsafe in the request, if anything is.
    pub(super) fn flagged(mut self, flags: impl IntoIterator<Item = String>) -> Self {
        self.flags.extend(flags);
        self
    }

    /// The object belongs to the caller, who needs no action for it.
    pub(super) fn own(own: bool) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// The same without what is unsafe, which has been judged.
    pub(super) fn unflagged(mut self) -> Self {
        self.flags.clear();
        self
    }

    /// Another action than the method's decides, where nothing is flagged.
    pub(super) fn instead(mut self, action: &'static str) -> Self {
        self.instead = Some(action);
        self
    }

    fn value(&self, key: &str) -> &str {
        self.pairs
            .iter()
            .find(|(name, _)| *name == key)
            .map_or("", |(_, value)| value)
    }
}

/// The judge over every call.
pub(super) struct Authority {
    connection: Connection,
    limits: Limits,
}

impl Authority {
    pub(super) fn new(connection: Connection, limits: Limits) -> Self {
        Self { connection, limits }
    }

    /// Lets a call pass or refuses it. `request` is what was read from the message,
    /// captured before anybody is asked; one that could not be read is answered
    /// with its error, without a dialog, and only to those who might send it.
    ///
    /// # Errors
    /// The request's own error, `NotAuthorized`, `AuthorizationDismissed`,
    /// `InteractiveAuthorizationRequired`, or `QuotaExceeded` for too many dialogs.
    pub(super) async fn permit<T>(
        &self,
        caller: &Caller,
        header: &Header<'_>,
        request: gantry_api::Result<T>,
        details: &Details,
    ) -> Result<T> {
        let action = action_of(header, details)?;
        if caller.uid != 0 && !details.own {
            let dialog = caller.interactive && request.is_ok();
            match self.judge(caller, header, action, details, dialog).await? {
                Verdict::Yes => {}
                // Had the request been good, a dialog would decide: tell what is wrong.
                Verdict::Ask if caller.interactive && request.is_err() => {}
                refused => {
                    audit(caller, header, action, details, "refused");
                    return Err(refused.into_refusal(action));
                }
            }
        }
        let request = request?;
        audit(caller, header, action, details, "authorised");
        Ok(request)
    }

    async fn judge(
        &self,
        caller: &Caller,
        header: &Header<'_>,
        action: &str,
        details: &Details,
        dialog: bool,
    ) -> Result<Verdict> {
        let subject = Subject::new_for_message_header(header)
            .map_err(|_| Error::NotAuthorized("the bus does not say who is calling".into()))?;
        let flags = details.flags.join(",");
        let mut pairs: HashMap<&str, &str> = details
            .pairs
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        if !flags.is_empty() {
            pairs.insert("unsafe", &flags);
        }
        // Those who need no password must not be held up by dialogs, nor open one.
        let verdict = self.check(&subject, action, &pairs, false, "").await;
        if !dialog || verdict != Verdict::Ask {
            return Ok(verdict);
        }
        let _dialog = self.limits.hold(caller.uid, Kind::Dialog)?;
        let id = format!("{}-{}", caller.sender, header.primary().serial_num());
        tokio::select! {
            verdict = self.check(&subject, action, &pairs, true, &id) => {
                Ok(if verdict == Verdict::Ask { Verdict::NoAgent } else { verdict })
            }
            () = caller.presence.left() => {
                self.withdraw(&id).await;
                Ok(Verdict::Dismissed)
            }
        }
    }

    async fn check(
        &self,
        subject: &Subject,
        action: &str,
        details: &HashMap<&str, &str>,
        dialog: bool,
        id: &str,
    ) -> Verdict {
        let flags = if dialog {
            CheckAuthorizationFlags::AllowUserInteraction.into()
        } else {
            Default::default()
        };
        let answer = async {
            let polkit = self.polkit().await?;
            polkit
                .check_authorization(subject, action, details, flags, id)
                .await
        };
        let answer = if dialog {
            Ok(answer.await)
        } else {
            timeout(PATIENCE, answer).await
        };
        match answer {
            Ok(Ok(result)) => Verdict::from(&result),
            Ok(Err(error)) => {
                warn!(%error, "polkit did not answer");
                Verdict::NoPolkit
            }
            Err(_) => {
                warn!("polkit did not answer within {} s", PATIENCE.as_secs());
                Verdict::NoPolkit
            }
        }
    }

    /// Takes a dialog away that nobody waits for any more.
    async fn withdraw(&self, id: &str) {
        let withdrawn = async { self.polkit().await?.cancel_check_authorization(id).await };
        if let Err(error) = withdrawn.await {
            warn!(%error, "could not withdraw a question to polkit");
        }
    }

    async fn polkit(&self) -> zbus::Result<AuthorityProxy<'_>> {
        AuthorityProxy::builder(&self.connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Yes,
    No,
    /// Somebody has to give a password first.
    Ask,
    /// As `Ask`, but there is no program that could ask for it.
    NoAgent,
    Dismissed,
    NoPolkit,
}

impl From<&AuthorizationResult> for Verdict {
    fn from(result: &AuthorizationResult) -> Self {
        if result.is_authorized {
            Self::Yes
        } else if result
            .details
            .get("polkit.dismissed")
            .is_some_and(|text| !text.is_empty())
        {
            Self::Dismissed
        } else if result.is_challenge {
            Self::Ask
        } else {
            Self::No
        }
    }
}

impl Verdict {
    fn into_refusal(self, action: &str) -> Refusal {
        match self {
            Self::Ask => Refusal::InteractiveAuthorizationRequired(format!(
                "'{action}' needs authentication; allow interactive authorization in the call, or ask an administrator for a polkit rule"
            )),
            Self::NoAgent => Error::NotAuthorized(format!(
                "'{action}' needs authentication, and no authentication agent is running in your session; start one, or run this as root"
            ))
            .into(),
            Self::Dismissed => {
                Error::AuthorizationDismissed(format!("the authentication for '{action}' was dismissed")).into()
            }
            Self::NoPolkit => Error::NotAuthorized(
                "polkit does not answer, so that only root may do this; start polkit".into(),
            )
            .into(),
            Self::Yes | Self::No => Error::NotAuthorized(format!(
                "you may not do this: polkit refuses '{action}'; an administrator can allow it by a rule"
            ))
            .into(),
        }
    }
}

/// One line for every call that was let through or refused.
fn audit(caller: &Caller, header: &Header<'_>, action: &str, details: &Details, outcome: &str) {
    info!(
        action,
        uid = caller.uid,
        sender = %caller.sender,
        path = header.path().map_or("", |path| path.as_str()),
        member = member(header),
        container = details.value("container"),
        network = details.value("network"),
        flags = details.flags.join(","),
        "{outcome}"
    );
}

fn member<'a>(header: &'a Header<'_>) -> &'a str {
    header.member().map_or("", |member| member.as_str())
}

fn action_of(header: &Header<'_>, details: &Details) -> gantry_api::Result<&'static str> {
    let interface = header
        .interface()
        .map_or("", |interface| interface.as_str());
    let word = interface
        .strip_prefix("io.gantry.Gantry1.")
        .unwrap_or_default();
    let member = member(header);
    let (_, _, action) = ACTIONS
        .iter()
        .find(|(of, name, _)| (*of, *name) == (word, member))
        .ok_or_else(|| Error::NotAuthorized(format!("nobody may call {interface}.{member}")))?;
    Ok(match details {
        Details { own: true, .. } => OWN_OBJECT,
        Details { flags, instead, .. } if flags.is_empty() => instead.unwrap_or(action),
        _ => action::MANAGE_UNSAFE,
    })
}

#[cfg(test)]
mod tests {
    use super::ACTIONS;
    use std::collections::BTreeSet;

    const SERVED: &[(&str, &str)] = &[
        (
            "Manager",
            include_str!("../../../data/dbus/io.gantry.Gantry1.Manager.xml"),
        ),
        (
            "Container",
            include_str!("../../../data/dbus/io.gantry.Gantry1.Container.xml"),
        ),
        (
            "Resources",
            include_str!("../../../data/dbus/io.gantry.Gantry1.Resources.xml"),
        ),
        (
            "Devices",
            include_str!("../../../data/dbus/io.gantry.Gantry1.Devices.xml"),
        ),
        (
            "Interfaces",
            include_str!("../../../data/dbus/io.gantry.Gantry1.Interfaces.xml"),
        ),
        (
            "Snapshots",
            include_str!("../../../data/dbus/io.gantry.Gantry1.Snapshots.xml"),
        ),
        (
            "Network",
            include_str!("../../../data/dbus/io.gantry.Gantry1.Network.xml"),
        ),
        (
            "Image",
            include_str!("../../../data/dbus/io.gantry.Gantry1.Image.xml"),
        ),
        (
            "Job",
            include_str!("../../../data/dbus/io.gantry.Gantry1.Job.xml"),
        ),
        (
            "Session",
            include_str!("../../../data/dbus/io.gantry.Gantry1.Session.xml"),
        ),
    ];
    const POLICY: &str = include_str!("../../../data/polkit/io.gantry.policy");

    #[test]
    fn every_method_has_its_action_and_every_action_is_declared() {
        let served: BTreeSet<(&str, &str)> = SERVED
            .iter()
            .flat_map(|(interface, xml)| {
                let names = xml
                    .split("<method name=\"")
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next());
                names.map(|name| (*interface, name))
            })
            .collect();
        let listed: BTreeSet<(&str, &str)> = ACTIONS
            .iter()
            .map(|(interface, method, _)| (*interface, *method))
            .collect();
        assert_eq!(served, listed);
        for (_, method, action) in ACTIONS {
            assert!(
                POLICY.contains(&format!("<action id=\"{action}\">")),
                "{method}: {action}"
            );
        }
    }
}
