use std::{collections::HashMap, time::Duration};

use gantry_api::{Error, ManagerProxy, Result};
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};

use super::{
    Backend, Container,
    properties::{Properties, read},
    session::{SessionWatch, member},
};
use crate::text::tr;

/// How often the helper tells.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a container uses. What the computer does not count is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Percent of one processor.
    pub processors: Option<f64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory that it may have at most; none when there is no limit.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Bytes a second read from disks.
    pub read: Option<f64>,
    /// Bytes a second written to disks.
    pub written: Option<f64>,
    /// Bytes a second that came over the network.
    pub received: Option<f64>,
    /// Bytes a second that went over the network.
    pub sent: Option<f64>,
}

/// The helper's counters at one moment.
#[derive(Debug)]
struct Sample {
    /// On the monotonic clock, in microseconds.
    at: u64,
    counters: Properties,
}

impl Sample {
    fn counter(&self, key: &str) -> Option<u64> {
        let mut value = None;
        if self.counters.contains_key(key) {
            let mut number = 0u64;
            read(&self.counters, key, &mut number);
            value = Some(number);
        }
        value
    }

    /// How much a counter has grown a second; 0 when it began anew meanwhile.
    fn rate(&self, before: &Self, key: &str) -> Option<f64> {
        let grown = self.counter(key)?.saturating_sub(before.counter(key)?);
        let passed = Duration::from_micros(self.at.checked_sub(before.at)?);
        // Counters are far from where a float becomes coarse.
        #[allow(clippy::cast_precision_loss)]
        let grown = grown as f64;
        (!passed.is_zero()).then(|| grown / passed.as_secs_f64())
    }

    fn since(&self, before: &Self) -> Usage {
        let rate = |key| self.rate(before, key);
        Usage {
            // Nanoseconds a second, of 10^9.
            processors: rate("cpu_ns").map(|nanoseconds| nanoseconds / 1e7),
            memory: self.counter("memory"),
            memory_limit: self.counter("memory_limit"),
            processes: self.counter("pids"),
            read: rate("io_read"),
            written: rate("io_write"),
            received: rate("rx"),
            sent: rate("tx"),
        }
    }
}

/// The end of the bus's name of the error for who could be asked and was not.
const NEEDS_PASSWORD: &str = ".InteractiveAuthorizationRequired";

/// A watch on what one container uses; [`UsageWatch::close`] ends it.
#[derive(Debug)]
pub struct UsageWatch {
    session: SessionWatch,
    before: Option<Sample>,
}

impl Backend {
    /// Watches what a container uses, for as long as it is wanted, whether it runs or
    /// not. Only with `ask` may it bring up a password dialog.
    ///
    /// # Errors
    /// Those of `Manager.WatchUsage` in the contract.
    pub async fn watch_usage(&self, container: &Container, ask: bool) -> Result<UsageWatch> {
        let name = format!("{}/{}", container.owner, container.name);
        let options = HashMap::from([("containers", Value::from(vec![name]))]);
        let milliseconds = u32::try_from(INTERVAL.as_millis()).unwrap_or(u32::MAX);
        let (bus, signals) = self.session_signals().await?;
        let path: OwnedObjectPath = if ask {
            let manager = ManagerProxy::new(&bus).await?;
            manager.watch_usage(milliseconds, options).await?
        } else {
            let manager = self.quiet_manager().await?;
            let arguments = (milliseconds, options);
            let answer = manager.call("WatchUsage", &arguments).await;
            answer.map_err(|error| match &error {
                zbus::Error::MethodError(name, ..) if name.ends_with(NEEDS_PASSWORD) => {
                    Error::NotAuthorized(tr("This needs a password."))
                }
                _ => error.into(),
            })?
        };
        Ok(UsageWatch {
            session: self.watch(&path, bus, signals),
            before: None,
        })
    }
}

impl UsageWatch {
    /// What the container uses at the next moment; none when the watch has ended.
    pub async fn next(&mut self) -> Option<Usage> {
        while let Some(signal) = self.session.next().await {
            match member(&signal).as_str() {
                "Sample" => (),
                "Detached" => return None,
                _ => continue,
            }
            let body = signal.body();
            let (at, containers): (u64, Vec<HashMap<String, OwnedValue>>) = match body.deserialize()
            {
                Ok(sample) => sample,
                Err(error) => {
                    tracing::warn!("a sample of usage was not understood: {error}");
                    continue;
                }
            };
            // One that has stopped is not in it.
            let Some(counters) = containers.into_iter().next() else {
                self.before = None;
                continue;
            };
            let now = Sample { at, counters };
            let before = self.before.replace(now);
            if let (Some(now), Some(before)) = (&self.before, before) {
                return Some(now.since(&before));
            }
        }
        None
    }

    /// Has the helper take no more samples.
    pub async fn close(self, backend: &Backend) {
        let path = self.session.path();
        if let Err(error) = backend.close(path).await {
            tracing::info!("{path} was not closed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, counters: &[(&str, u64)]) -> Sample {
        let counters = counters.iter().map(|(key, value)| {
            let value = Value::from(*value).try_to_owned().unwrap();
            ((*key).to_owned(), value)
        });
        Sample {
            at,
            counters: counters.collect(),
        }
    }

    #[test]
    fn two_samples_make_rates() {
        let before = sample(1_000_000, &[("cpu_ns", 0), ("io_read", 500), ("memory", 1)]);
        let now = [("cpu_ns", 1_000_000_000), ("io_read", 100), ("memory", 7)];
        let usage = sample(3_000_000, &now).since(&before);
        assert_eq!(usage.processors, Some(50.0));
        assert_eq!(usage.read, Some(0.0), "a restart begins its counters anew");
        assert_eq!((usage.memory, usage.memory_limit), (Some(7), None));
        assert_eq!(usage.sent, None);
    }
}
