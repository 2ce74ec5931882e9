use std::{fmt, str::FromStr};

/// The states of a container, in LXC's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContainerState {
    /// Not running.
    Stopped,
    /// Being set up; init does not run yet.
    Starting,
    /// Init runs.
    Running,
    /// Init has ended; the rest is being cleaned up.
    Stopping,
    /// The start failed and is being undone.
    Aborting,
    /// Processes are being frozen.
    Freezing,
    /// Every process is frozen.
    Frozen,
    /// Processes go on again.
    Thawed,
}

impl ContainerState {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Stopped, "STOPPED"),
        (Self::Starting, "STARTING"),
        (Self::Running, "RUNNING"),
        (Self::Stopping, "STOPPING"),
        (Self::Aborting, "ABORTING"),
        (Self::Freezing, "FREEZING"),
        (Self::Frozen, "FROZEN"),
        (Self::Thawed, "THAWED"),
    ];
}

impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::ALL
            .iter()
            .find(|(state, _)| state == self)
            .map_or("", |(_, word)| word);
        f.write_str(word)
    }
}

impl FromStr for ContainerState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .find(|(_, word)| *word == text)
            .map(|(state, _)| *state)
            .ok_or(())
    }
}

/// Whose a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// In the system's LXC path.
    System,
    /// In that user's `~/.local/share/lxc`.
    User(u32),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::User(uid) => write!(f, "u{uid}"),
        }
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "system" => Ok(Self::System),
            _ => text
                .strip_prefix('u')
                .filter(|uid| uid.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|uid| uid.parse().ok())
                .map(Self::User)
                .ok_or(()),
        }
    }
}

/// The states of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Work is going on.
    Running,
    /// Finished; the result is there.
    Done,
    /// Ended with an error; its name and sentence are there.
    Failed,
    /// Ended because somebody asked for it; nothing is left behind.
    Cancelled,
}

impl JobState {
    /// The word on the bus.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for JobState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Running, Self::Done, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}
