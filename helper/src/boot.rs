//! What an administrator has set for LXC's own service in /etc/default/lxc, which
//! gantry-autostart.service hands over as environment variables: both services are to
//! do the same. (`OPTIONS` and `STOPOPTS` are options of lxc-autostart(1), not Gantry's.)

use std::time::Duration;

/// How long each container may take to shut down where nothing is said.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// What happens to containers when the host starts and stops.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Boot {
    /// The groups that start, in their order, an empty name for the containers without
    /// one; none at all where nothing is to start.
    pub(crate) groups: Option<Vec<String>>,
    /// How long each container may take to shut down before it is killed.
    pub(crate) shutdown: Duration,
}

impl Boot {
    /// From the environment's variables: `LXC_AUTO`, `BOOTGROUPS`, `SHUTDOWNDELAY`.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let starts = variable("LXC_AUTO").is_none_or(|value| value == "true");
        let groups = variable("BOOTGROUPS").unwrap_or_else(|| "onboot,".to_owned());
        let shutdown = variable("SHUTDOWNDELAY").and_then(|value| value.parse().ok());
        Self {
            groups: starts.then(|| groups.split(',').map(str::to_owned).collect()),
            shutdown: shutdown.map_or(SHUTDOWN, Duration::from_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(variables: &[(&str, &str)]) -> Boot {
        Boot::read(|name| {
            let mut found = variables.iter().filter(|(key, _)| *key == name);
            found.next().map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_lxc_the_groups_are_those_of_lxc() {
        let groups = Some(vec!["onboot".to_owned(), String::new()]);
        let shutdown = SHUTDOWN;
        assert_eq!(boot(&[]), Boot { groups, shutdown });
    }

    #[test]
    fn what_lxc_is_told_counts() {
        let read = boot(&[("BOOTGROUPS", "db,web"), ("SHUTDOWNDELAY", "7")]);
        assert_eq!(read.groups.unwrap(), ["db", "web"]);
        assert_eq!(read.shutdown, Duration::from_secs(7));
        assert_eq!(boot(&[("BOOTGROUPS", "")]).groups.unwrap(), [""]);
        assert_eq!(boot(&[("LXC_AUTO", "false")]).groups, None);
        assert_eq!(boot(&[("SHUTDOWNDELAY", "")]).shutdown, SHUTDOWN);
    }
}
