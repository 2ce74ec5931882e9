use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, StreamExt as _, select_biased};
use gantry_api::{BUS_NAME, ROOT_PATH};
use zbus::{
    Connection, MatchRule, Message, MessageStream,
    fdo::{self, NameOwnerChanged},
    message::Type,
    names::OwnedUniqueName,
    zvariant::OwnedObjectPath,
};

use super::{
    Absence, Backend, Event,
    properties::Properties,
    trials::trials,
    view::{Change, Interfaces, Objects, View},
};

const MANAGER: &str = "io.gantry.Gantry1.Manager";

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";

/// Signals may pile up while the answer to GetManagedObjects is on its way; a
/// full queue would hold that answer up for ever.
const QUEUE: usize = 16_384;

/// Two helpers in a row that lasted less than this, and no third is started
/// without being asked.
const SHORT_LIFE: Duration = Duration::from_secs(5);

/// Why a helper is no longer followed.
enum End {
    Helper,
    Bus,
}

impl Backend {
    /// Reports to `out` all that the helper has and everything that changes,
    /// for ever; starts the helper through the bus.
    pub async fn follow(&self, out: impl Fn(Event)) {
        loop {
            out(Event::Connecting);
            let error = match Connection::system().await {
                Ok(bus) => {
                    self.set_bus(Some(bus.clone()));
                    let error = self.follow_bus(&bus, &out).await;
                    self.set_bus(None);
                    error
                }
                Err(error) => error,
            };
            out(Event::Absent(Absence::NoBus(error.to_string())));
            self.0.retry.notified().await;
        }
    }

    /// Follows one helper after the other, until the bus itself is lost.
    async fn follow_bus(&self, bus: &Connection, out: &impl Fn(Event)) -> zbus::Error {
        let (mut owners, mut signals) = match subscribe(bus).await {
            Ok(streams) => streams,
            Err(error) => return error,
        };
        let mut short_before = false;
        loop {
            out(Event::Connecting);
            let began = Instant::now();
            let absence = match managed_objects(bus).await {
                Ok((helper, objects)) => {
                    self.set_helper(Some(helper));
                    let end = relay(bus, View::new(objects), &mut owners, &mut signals, out).await;
                    if matches!(end, End::Bus) {
                        return zbus::Error::Failure("The bus has gone".into());
                    }
                    let short = began.elapsed() < SHORT_LIFE;
                    let twice = short && short_before;
                    short_before = short;
                    if !twice {
                        // It ended, or was replaced: ask at once, which starts it again.
                        continue;
                    }
                    Absence::Ended
                }
                Err(error) => Absence::from_call(&error),
            };
            out(Event::Absent(absence));
            select_biased! {
                owner = owners.next().fuse() => if owner.is_none() {
                    return zbus::Error::Failure("The bus has gone".into());
                },
                () = self.0.retry.notified().fuse() => (),
            }
        }
    }

    /// Whether the helper sent `message`. Anybody on the system bus can send us
    /// signals, so the sender is what counts.
    pub(super) async fn sent(&self, bus: &Connection, message: &Message) -> bool {
        let header = message.header();
        let Some(sender) = header.sender() else {
            return false;
        };
        if self.helper().is_some_and(|helper| helper == *sender) {
            return true;
        }
        // A new helper may speak before the follower has heard of it.
        let Ok(name) = BUS_NAME.try_into() else {
            return false;
        };
        match fdo::DBusProxy::new(bus).await {
            Ok(proxy) => proxy
                .get_name_owner(name)
                .await
                .is_ok_and(|owner| owner == *sender),
            Err(_) => false,
        }
    }
}

/// The helper's comings and goings, and its signals.
async fn subscribe(bus: &Connection) -> zbus::Result<(fdo::NameOwnerChangedStream, MessageStream)> {
    let owners = fdo::DBusProxy::new(bus)
        .await?
        .receive_name_owner_changed_with_args(&[(0, BUS_NAME)])
        .await?;
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(BUS_NAME)?
        .path_namespace(ROOT_PATH)?
        .build();
    let signals = MessageStream::for_match_rule(rule, bus, Some(QUEUE)).await?;
    Ok((owners, signals))
}

/// Everything the helper has, and who it is on the bus.
async fn managed_objects(bus: &Connection) -> zbus::Result<(OwnedUniqueName, Objects)> {
    let member = "GetManagedObjects";
    let reply = bus
        .call_method(Some(BUS_NAME), ROOT_PATH, Some(OBJECT_MANAGER), member, &())
        .await?;
    let header = reply.header();
    let sender = header.sender().ok_or(zbus::Error::MissingField)?;
    let objects = reply.body().deserialize()?;
    Ok((sender.to_owned().into(), objects))
}

/// Turns signals into events until this helper, or the bus, is gone.
async fn relay(
    bus: &Connection,
    mut view: View,
    owners: &mut fdo::NameOwnerChangedStream,
    signals: &mut MessageStream,
    out: &impl Fn(Event),
) -> End {
    out(Event::Ready(view.everything()));
    // The root object is none of those that it manages.
    match all_properties(bus, ROOT_PATH, MANAGER).await {
        Ok(properties) => out(Event::Trials(trials(&properties).unwrap_or_default())),
        Err(error) => tracing::warn!("the helper does not tell of itself: {error}"),
    }
    loop {
        select_biased! {
            owner = owners.next().fuse() => match owner {
                Some(change) if starts(&change) => (),
                Some(_) => return End::Helper,
                None => return End::Bus,
            },
            signal = signals.next().fuse() => match signal {
                Some(Ok(signal)) => {
                    if let Err(error) = take_in(bus, &mut view, &signal, out).await {
                        tracing::warn!("a signal of the helper was not understood: {error}");
                    }
                }
                Some(Err(_)) | None => return End::Bus,
            },
        }
    }
}

/// Whether the helper has just come: the one that answered, seen late.
fn starts(change: &NameOwnerChanged) -> bool {
    change
        .args()
        .is_ok_and(|args| args.old_owner().is_none() && args.new_owner().is_some())
}

async fn take_in(
    bus: &Connection,
    view: &mut View,
    signal: &Message,
    out: &impl Fn(Event),
) -> zbus::Result<()> {
    let header = signal.header();
    let (Some(interface), Some(member), Some(path)) =
        (header.interface(), header.member(), header.path())
    else {
        return Ok(());
    };
    match (interface.as_str(), member.as_str()) {
        (OBJECT_MANAGER, "InterfacesAdded") => {
            let body = signal.body();
            let (path, interfaces): (OwnedObjectPath, Interfaces) = body.deserialize()?;
            for (interface, properties) in interfaces {
                tell(view.read(path.as_str(), &interface, &properties), out);
            }
        }
        (OBJECT_MANAGER, "InterfacesRemoved") => {
            let body = signal.body();
            let (path, interfaces): (OwnedObjectPath, Vec<String>) = body.deserialize()?;
            for interface in interfaces {
                if view.forget(path.as_str(), &interface) {
                    out(match interface.as_str() {
                        super::view::JOB => Event::JobGone(path.to_string()),
                        super::view::NETWORK => Event::NetworkGone(path.to_string()),
                        _ => Event::ContainerGone(path.to_string()),
                    });
                }
            }
        }
        ("io.gantry.Gantry1.Interfaces", "Changed") => out(Event::Interfaces(path.to_string())),
        (PROPERTIES, "PropertiesChanged") => {
            let body = signal.body();
            let (interface, mut changed, invalid): (String, Properties, Vec<String>) =
                body.deserialize()?;
            if interface == MANAGER {
                if let Some(trials) = trials(&changed) {
                    out(Event::Trials(trials));
                }
                return Ok(());
            }
            // Signals of an object overtaken by its removal.
            if !view.knows(path.as_str(), &interface) {
                return Ok(());
            }
            if !invalid.is_empty() {
                changed = all_properties(bus, path.as_str(), &interface).await?;
            }
            tell(view.read(path.as_str(), &interface, &changed), out);
        }
        _ => (),
    }
    Ok(())
}

fn tell(change: Option<Change>, out: &impl Fn(Event)) {
    match change {
        Some(Change::Container(container)) => out(Event::Container(container)),
        Some(Change::Job(job)) => out(Event::Job(job)),
        Some(Change::Network(network)) => out(Event::Network(network)),
        None => (),
    }
}

async fn all_properties(bus: &Connection, path: &str, interface: &str) -> zbus::Result<Properties> {
    let reply = bus
        .call_method(
            Some(BUS_NAME),
            path,
            Some(PROPERTIES),
            "GetAll",
            &(interface,),
        )
        .await?;
    let properties: HashMap<_, _> = reply.body().deserialize()?;
    Ok(properties)
}
