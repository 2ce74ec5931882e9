//! Monitors and sessions as transient units of systemd: started by process 1,
//! they neither inherit what the helper is locked into nor end with it.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use gantry_core::{monitor::SHUTDOWN_PATIENCE, signals::SIGPWR};
use tokio::time::{Instant, sleep};
use zbus::{
    Connection, proxy,
    zvariant::{Fd, OwnedObjectPath, Value},
};

use crate::engine::{Error, Holder, Launcher, Result};

/// What exists while systemd is process 1, see sd_booted(3).
const BOOTED: &str = "/run/systemd/system";
/// The slice of all of them.
const SLICE: &str = "gantry.slice";
/// How long what a unit of the same name still cleans up is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);
/// How long after its own last resort systemd ends a monitor.
const GRACE: Duration = Duration::from_secs(30);

/// systemd's manager; org.freedesktop.systemd1(5).
#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1",
    gen_blocking = false
)]
trait Systemd {
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Value<'_>)],
        auxiliary: &[(&str, &[(&str, Value<'_>)])],
    ) -> zbus::Result<OwnedObjectPath>;
}

/// Starts them by systemd.
#[derive(Debug)]
pub(crate) struct Units {
    systemd: SystemdProxy<'static>,
    /// gantry-monitor's path.
    monitor: String,
}

impl Units {
    /// Connects to systemd; nothing where it is not process 1.
    ///
    /// # Errors
    /// Those of the bus, and of finding gantry-monitor.
    pub(crate) async fn where_booted() -> zbus::Result<Option<Arc<dyn Launcher>>> {
        if !std::path::Path::new(BOOTED).is_dir() {
            return Ok(None);
        }
        let systemd = SystemdProxy::new(&Connection::system().await?).await?;
        let monitor = std::env::current_exe()
            .map_err(|error| zbus::Error::InputOutput(Arc::new(error)))?
            .with_file_name("gantry-monitor")
            .to_string_lossy()
            .into_owned();
        Ok(Some(Arc::new(Self { systemd, monitor })))
    }

    async fn start(&self, holder: &Holder, channel: OwnedFd) -> Result<()> {
        let name = unit_name(holder);
        let patience = match holder {
            // Its starter has LXC's lock, and tries again without it.
            Holder::Monitor(_) => Duration::ZERO,
            // systemd may be replacing one that was killed.
            Holder::Network(_) => Duration::ZERO,
            _ => PATIENCE,
        };
        let deadline = Instant::now() + patience;
        loop {
            let properties = properties(holder, &self.monitor, channel.as_fd());
            let started = self
                .systemd
                .start_transient_unit(&name, "fail", &properties, &[])
                .await;
            match started {
                Ok(_job) => return Ok(()),
                Err(zbus::Error::MethodError(error, ..))
                    if error == "org.freedesktop.systemd1.UnitExists" =>
                {
                    if Instant::now() > deadline {
                        return Err(Error::Busy(format!(
                            "the unit {name} has not ended; look at it with systemctl status {name}"
                        )));
                    }
                    sleep(PAUSE).await;
                }
                Err(error) => {
                    return Err(Error::Failed(format!(
                        "systemd does not start the unit {name}: {error}"
                    )));
                }
            }
        }
    }
}

impl Launcher for Units {
    fn launch(&self, holder: Holder, channel: OwnedFd) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.start(&holder, channel).await })
    }

    fn replaces_keepers(&self) -> bool {
        true
    }
}

/// `gantry-container-NAME.service`, `gantry-session-NUMBER.service`,
/// `gantry-destroy-NAME.service`, `gantry-finish-NAME.service` or
/// `gantry-network-NAME.service`.
fn unit_name(holder: &Holder) -> String {
    match holder {
        Holder::Monitor(layout) => {
            format!(
                "gantry-container-{}.service",
                escape(layout.name().as_str())
            )
        }
        Holder::Session(_, number) => format!("gantry-session-{number}.service"),
        Holder::Destroyer(layout) => {
            format!("gantry-destroy-{}.service", escape(layout.name().as_str()))
        }
        Holder::Finisher(layout) => {
            format!("gantry-finish-{}.service", escape(layout.name().as_str()))
        }
        Holder::Network(name) => format!("gantry-network-{}.service", escape(name.as_str())),
    }
}

/// As systemd-escape(1): what is not a letter, a digit, `:`, `_` or `.` is
/// written as `\xNN`, and so is a leading dot.
fn escape(name: &str) -> String {
    name.bytes()
        .enumerate()
        .map(|(at, byte)| match byte {
            b'.' if at == 0 => "\\x2e".to_owned(),
            b':' | b'_' | b'.' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect()
}

/// What the unit is told, see systemd.exec(5), systemd.kill(5) and
/// systemd.resource-control(5).
fn properties<'a>(
    holder: &Holder,
    monitor: &'a str,
    channel: BorrowedFd<'a>,
) -> Vec<(&'static str, Value<'a>)> {
    let mut command = vec![monitor.to_owned(), "unit".to_owned()];
    command.extend(holder.arguments().into_iter().map(str::to_owned));
    let mut properties: Vec<(&'static str, Value<'a>)> = vec![
        ("Slice", SLICE.into()),
        ("Type", "exec".into()),
        ("CollectMode", "inactive-or-failed".into()),
        // `a(sasb)`: path, argv, whether a failure is ignored.
        (
            "ExecStart",
            vec![(monitor.to_owned(), command, false)].into(),
        ),
        // Becomes the process's descriptor 3.
        (
            "ExtraFileDescriptors",
            vec![(Fd::from(channel), "starter")].into(),
        ),
        ("UMask", 0o077_u32.into()),
        ("SyslogIdentifier", "gantry-monitor".into()),
    ];
    if let Some(layout) = holder.layout() {
        // Every line the monitor writes carries the container's name.
        let field = format!("CONTAINER={}", layout.name()).into_bytes();
        properties.push(("LogExtraFields", vec![field].into()));
    }
    match holder {
        Holder::Monitor(layout) => properties.extend([
            ("Description", format!("Container {}", layout.name()).into()),
            // The monitor's and the payload's groups lie below the unit's.
            ("Delegate", true.into()),
            ("TasksMax", u64::MAX.into()),
            // To the monitor alone, which shuts the container down; its last
            // resort comes before systemd's.
            ("KillMode", "mixed".into()),
            ("KillSignal", SIGPWR.into()),
            ("TimeoutStopUSec", micros(SHUTDOWN_PATIENCE + GRACE).into()),
            (
                "RequiresMountsFor",
                vec![layout.lxc_path().to_owned()].into(),
            ),
            // In the opposite order at power-off: first gantry-autostart shuts
            // containers down in theirs, then the rest goes, then the network.
            ("Before", vec!["gantry-autostart.service".to_owned()].into()),
            // LXC's bridge goes when nobody is on it.
            (
                "After",
                ["network.target", "lxc-net.service"]
                    .map(str::to_owned)
                    .to_vec()
                    .into(),
            ),
        ]),
        Holder::Session(layout, number) => properties.push((
            "Description",
            format!("Session {number} in container {}", layout.name()).into(),
        )),
        Holder::Destroyer(layout) => properties.push((
            "Description",
            format!("Hooks before the end of container {}", layout.name()).into(),
        )),
        Holder::Finisher(layout) => properties.push((
            "Description",
            format!("Hooks of the new container {}", layout.name()).into(),
        )),
        Holder::Network(name) => properties.extend([
            (
                "Description",
                format!("Network {} of containers", name.as_str()).into(),
            ),
            // To who keeps it alone, which ends its dnsmasq.
            ("KillMode", "mixed".into()),
            // One that was killed, which ends dnsmasq, too, is replaced.
            ("Restart", "on-failure".into()),
            // At power-off containers go first.
            ("Before", vec!["gantry-autostart.service".to_owned()].into()),
            ("After", vec!["network.target".to_owned()].into()),
        ]),
    }
    properties
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::{layout::ContainerLayout, name::ContainerName};
    use std::collections::HashMap;

    fn layout(name: &str) -> ContainerLayout {
        ContainerLayout::new("/srv/lxc", ContainerName::new(name).unwrap())
    }

    #[test]
    fn names_are_escaped_as_systemd_does() {
        for (name, escaped) in [
            ("web", "web"),
            ("web-1.example_x", "web\\x2d1.example_x"),
            (".hidden", "\\x2ehidden"),
            ("a b@c%", "a\\x20b\\x40c\\x25"),
            ("ä", "\\xc3\\xa4"),
        ] {
            assert_eq!(escape(name), escaped);
        }
        let unit = unit_name(&Holder::Monitor(layout("web-1")));
        assert_eq!(unit, "gantry-container-web\\x2d1.service");
        assert_eq!(
            unit_name(&Holder::Session(layout("web"), 7)),
            "gantry-session-7.service"
        );
    }

    #[test]
    fn properties_have_the_types_that_systemd_takes() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let types: HashMap<&str, String> =
            properties(&Holder::Monitor(layout("web")), "/m", null.as_fd())
                .into_iter()
                .map(|(name, value)| (name, value.value_signature().to_string()))
                .collect();
        for (name, signature) in [
            ("Slice", "s"),
            ("ExecStart", "a(sasb)"),
            ("ExtraFileDescriptors", "a(hs)"),
            ("UMask", "u"),
            ("LogExtraFields", "aay"),
            ("Delegate", "b"),
            ("TasksMax", "t"),
            ("KillSignal", "i"),
            ("TimeoutStopUSec", "t"),
            ("RequiresMountsFor", "as"),
            ("After", "as"),
        ] {
            assert_eq!(
                types.get(name).map(String::as_str),
                Some(signature),
                "{name}"
            );
        }
    }
}
