//! Watching what containers use.

use std::{collections::HashMap, sync::Arc, time::Duration};

use gantry_api::Error;
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use zbus::zvariant::{OwnedObjectPath, Value};

use super::{
    Bus,
    containers::path_of,
    error::Result,
    session::SessionObject,
    sessions::{Place, What, told},
};
use crate::engine::{ContainerId, Facts, Usage};

/// The shortest and the longest interval, in milliseconds.
const INTERVALS: std::ops::RangeInclusive<u32> = 100..=3_600_000;

/// How often to take samples.
///
/// # Errors
/// `InvalidArgument` outside of 100 ms to an hour.
pub(super) fn read_interval(milliseconds: u32) -> gantry_api::Result<Duration> {
    if INTERVALS.contains(&milliseconds) {
        Ok(Duration::from_millis(milliseconds.into()))
    } else {
        Err(Error::InvalidArgument(format!(
            "an interval of {milliseconds} ms cannot be; give {} to {}",
            INTERVALS.start(),
            INTERVALS.end()
        )))
    }
}

impl Bus {
    /// Opens a session that tells its client at intervals what the running containers
    /// use: those of `only`, or all.
    pub(super) async fn watch_usage(
        self: &Arc<Self>,
        pace: Duration,
        only: Option<Vec<ContainerId>>,
        place: Place,
    ) -> Result<OwnedObjectPath> {
        let end = Arc::new(Notify::new());
        let number = self.engine.next_session_number();
        let open = self
            .put_session(number, What::Usage(end.clone()), place)
            .await?;
        let (bus, path) = (self.clone(), open.path.clone());
        tokio::spawn(async move {
            let mut ticks = interval(pace);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let emitter = open.emitter(&bus);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = open.left() => break,
                    () = end.notified() => {
                        told(SessionObject::detached(&emitter, "the watch was closed").await);
                        break;
                    }
                }
                let samples = bus.take_samples(only.as_deref()).await;
                told(SessionObject::sample(&emitter, monotonic_us(), samples).await);
            }
            bus.drop_session(&open).await;
        });
        Ok(path)
    }

    async fn take_samples(
        &self,
        only: Option<&[ContainerId]>,
    ) -> Vec<HashMap<&'static str, Value<'static>>> {
        let mut samples = Vec::new();
        // Kept fresh by the engine while somebody follows it, as the bus does.
        for facts in self.engine.known() {
            if facts.init_pid == 0 || only.is_some_and(|only| !only.contains(&facts.id)) {
                continue;
            }
            // One that has stopped meanwhile uses nothing.
            if let Ok(usage) = self.engine.usage(&facts.id).await {
                samples.push(sample(&facts, &usage));
            }
        }
        samples
    }
}

fn sample(facts: &Facts, usage: &Usage) -> HashMap<&'static str, Value<'static>> {
    let mut sample = fields(usage);
    sample.extend([
        ("container", Value::from(path_of(&facts.id).into_inner())),
        ("name", facts.id.name.to_string().into()),
        ("owner", facts.id.owner.to_string().into()),
    ]);
    sample
}

/// What the host counts of a container's usage.
pub(super) fn fields(usage: &Usage) -> HashMap<&'static str, Value<'static>> {
    let group = &usage.group;
    let counters = [
        ("cpu_ns", group.cpu_ns),
        ("memory", group.memory),
        ("memory_peak", group.memory_peak),
        ("memory_limit", group.memory_limit),
        ("swap", group.swap),
        ("pids", group.pids),
        ("io_read", group.io_read),
        ("io_write", group.io_write),
        ("rx", usage.rx),
        ("tx", usage.tx),
    ]
    .map(|(key, value)| Some((key, Value::from(value?))));
    let pressures = [
        ("pressure_cpu", group.pressure_cpu),
        ("pressure_memory", group.pressure_memory),
        ("pressure_io", group.pressure_io),
    ]
    .map(|(key, value)| Some((key, Value::from(value?))));
    let links: Vec<(String, u64, u64)> = usage
        .links
        .iter()
        .map(|link| (link.name.clone(), link.rx, link.tx))
        .collect();
    let links = Some(("links", Value::from(links)));
    let all = counters.into_iter().chain(pressures).chain([links]);
    all.flatten().collect()
}

fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or_default() * 1_000_000
        + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000
}
