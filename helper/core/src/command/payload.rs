//! The structures that follow some commands' headers.

use super::{WireError, i32_at, u64_at};
use crate::states::{STATE_COUNT, State};

fn exactly<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| WireError::Length {
        what,
        found: bytes.len(),
        expected: N,
    })
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + value.len()) {
        place.copy_from_slice(value);
    }
}

/// A NUL-ended text of at most `field.len() - 1` bytes.
fn text_field(field: &[u8]) -> Result<&str, WireError> {
    let text = field
        .split(|byte| *byte == 0)
        .next()
        .ok_or(WireError::Text)?;
    if text.len() == field.len() {
        return Err(WireError::Text);
    }
    std::str::from_utf8(text).map_err(|_| WireError::Text)
}

/// The longest prefix of `text` that is a text again and leaves room for a NUL.
fn fitting(text: &str, field: usize) -> &[u8] {
    let mut end = text.len().min(field - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text.as_bytes()[..end]
}

/// Payload of command 10: the states a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateInterest([i32; STATE_COUNT]);

impl StateInterest {
    /// Bytes on the wire.
    pub const LEN: usize = 4 * STATE_COUNT;

    /// Interest in these states.
    pub fn of(states: &[State]) -> Self {
        let mut interest = Self::default();
        for state in states {
            interest.0[*state as usize] = 1;
        }
        interest
    }

    /// Interest in the *next* time the container gets to RUNNING, as one who
    /// asked for a reboot waits for.
    pub fn next_running() -> Self {
        let mut interest = Self::default();
        interest.0[State::Running as usize] = 2;
        interest
    }

    /// Whether the state is asked for.
    pub fn wants(&self, state: State) -> bool {
        self.0[state as usize] != 0
    }

    /// Whether being in the state now already answers the client.
    pub fn is_met_by(&self, state: State) -> bool {
        self.wants(state) && !(state == State::Running && self.0[state as usize] == 2)
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        for (index, value) in self.0.iter().enumerate() {
            put(&mut bytes, 4 * index, &value.to_ne_bytes());
        }
        bytes
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes: [u8; Self::LEN] = exactly("a list of states", bytes)?;
        Ok(Self(std::array::from_fn(|index| i32_at(&bytes, 4 * index))))
    }
}

/// Payload of command 11: what to do with the console's ring buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsoleLog {
    /// Empty it (after reading).
    pub clear: bool,
    /// Send its content.
    pub read: bool,
    /// The most bytes to send; 0 means all.
    pub read_max: u64,
    /// Also write it to the log file.
    pub write_log_file: bool,
}

impl ConsoleLog {
    /// Bytes on the wire.
    pub const LEN: usize = 24;

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = self.clear.into();
        bytes[1] = self.read.into();
        put(&mut bytes, 8, &self.read_max.to_ne_bytes());
        bytes[16] = self.write_log_file.into();
        bytes
    }

    /// Reads the bytes; every non-zero byte is true.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes: [u8; Self::LEN] = exactly("a console log request", bytes)?;
        Ok(Self {
            clear: bytes[0] != 0,
            read: bytes[1] != 0,
            read_max: u64_at(&bytes, 8),
            write_log_file: bytes[16] != 0,
        })
    }
}

/// What a rule about devices speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// `a`: both kinds.
    All,
    /// `b`.
    Block,
    /// `c`.
    Character,
}

impl DeviceKind {
    /// The letter of a kind.
    pub fn letter(self) -> char {
        match self {
            Self::All => 'a',
            Self::Block => 'b',
            Self::Character => 'c',
        }
    }

    /// The kind of a letter.
    pub fn from_letter(letter: char) -> Option<Self> {
        match letter {
            'a' => Some(Self::All),
            'b' => Some(Self::Block),
            'c' => Some(Self::Character),
            _ => None,
        }
    }
}

/// Payload of command 14: one rule for the device program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceAccess {
    /// Block, character or both.
    pub kind: DeviceKind,
    /// Major number; none is any.
    pub major: Option<u32>,
    /// Minor number; none is any.
    pub minor: Option<u32>,
    /// `r`.
    pub read: bool,
    /// `w`.
    pub write: bool,
    /// `m`.
    pub mknod: bool,
    /// Allowed or denied.
    pub allow: bool,
}

impl DeviceAccess {
    /// Bytes on the wire.
    pub const LEN: usize = 40;

    /// Reads a value of `devices.allow` or `devices.deny`: `a`, or `b` or `c`
    /// with `MAJOR:MINOR` (`*` for any) and some of `rwm`, all three when left
    /// out. The error is a reason.
    pub fn parse(text: &str, allow: bool) -> Result<Self, String> {
        let refuse =
            || format!("'{text}' is not a device rule; write 'a' or, for example, 'c 1:3 rwm'");
        let mut words = text.split_ascii_whitespace();
        let kind = match words.next() {
            Some("a") => DeviceKind::All,
            Some("b") => DeviceKind::Block,
            Some("c") => DeviceKind::Character,
            _ => return Err(refuse()),
        };
        let number = |text: &str| match text {
            "*" => Ok(None),
            text => crate::values::unsigned(text)
                .map(Some)
                .map_err(|_| refuse()),
        };
        let (major, minor) = match (words.next(), kind) {
            (None, DeviceKind::All) => (None, None),
            (numbers, _) => {
                let (major, minor) = numbers
                    .and_then(|text| text.split_once(':'))
                    .ok_or_else(refuse)?;
                (number(major)?, number(minor)?)
            }
        };
        let access = words.next().unwrap_or("rwm");
        if words.next().is_some() || !access.chars().all(|letter| "rwm".contains(letter)) {
            return Err(refuse());
        }
        let has = |letter| access.contains(letter);
        Ok(Self {
            kind,
            major,
            minor,
            read: has('r'),
            write: has('w'),
            mknod: has('m'),
            allow,
        })
    }

    /// The text that [`DeviceAccess::parse`] reads.
    pub fn text(&self) -> String {
        let number = |value: Option<u32>| value.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let access = [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')];
        let access: String = access
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, c)| *c)
            .collect();
        let (major, minor) = (number(self.major), number(self.minor));
        format!("{} {major}:{minor} {access}", self.kind.letter())
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let number = |value: Option<u32>| {
            value
                .and_then(|v| i32::try_from(v).ok())
                .unwrap_or(-1)
                .to_ne_bytes()
        };
        let mut bytes = [0; Self::LEN];
        bytes[0] = self.kind.letter() as u8;
        put(&mut bytes, 4, &number(self.major));
        put(&mut bytes, 8, &number(self.minor));
        let access = [(self.read, b'r'), (self.write, b'w'), (self.mknod, b'm')];
        for (index, (_, letter)) in access.into_iter().filter(|(on, _)| *on).enumerate() {
            bytes[12 + index] = letter;
        }
        put(&mut bytes, 16, &i32::from(self.allow).to_ne_bytes());
        bytes
    }

    /// Reads the bytes. The list pointers at the end are the sender's own and
    /// are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes: [u8; Self::LEN] = exactly("a device rule", bytes)?;
        let number = |offset| match i32_at(&bytes, offset) {
            -1 => Ok(None),
            value => u32::try_from(value)
                .map(Some)
                .map_err(|_| WireError::Value("device number")),
        };
        let access = text_field(&bytes[12..16])?;
        if !access.chars().all(|letter| "rwm".contains(letter)) {
            return Err(WireError::Value("device access"));
        }
        Ok(Self {
            kind: DeviceKind::from_letter(bytes[0].into())
                .ok_or(WireError::Value("device type"))?,
            major: number(4)?,
            minor: number(8)?,
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
            allow: i32_at(&bytes, 16) != 0,
        })
    }
}

/// How a host arranges its cgroup hierarchies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupLayout {
    /// Not known.
    Unknown = -1,
    /// Only version 1 hierarchies.
    Legacy = 0,
    /// Version 1 with a version 2 beside.
    Hybrid = 1,
    /// Only version 2.
    Unified = 2,
}

impl CgroupLayout {
    fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Legacy,
            1 => Self::Hybrid,
            2 => Self::Unified,
            _ => Self::Unknown,
        }
    }

    /// The bits about what version 2 does without a controller: 1 devices, 2
    /// freezing. LXC sets them where it uses nothing else.
    pub fn utilities(self) -> u32 {
        match self {
            Self::Unified => 3,
            _ => 0,
        }
    }
}

/// The most hierarchies a [`CgroupContext`] has room for.
pub const MAX_HIERARCHIES: usize = 20;

/// Payload of command 23, both ways: of what is asked only the length counts,
/// as a client of another version knows less or more of it. The descriptors
/// themselves travel by SCM_RIGHTS; the numbers in the structure mean nothing
/// to the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupContext {
    /// The host's arrangement.
    pub layout: CgroupLayout,
    /// Bits about what the kernel offers; 0 is tolerated.
    pub utilities: u32,
    /// How many descriptors come along.
    pub fd_count: u32,
}

impl CgroupContext {
    /// Bytes on the wire.
    pub const LEN: usize = 96;

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        put(&mut bytes, 0, &(self.layout as i32).to_ne_bytes());
        put(&mut bytes, 4, &self.utilities.to_ne_bytes());
        put(&mut bytes, 8, &self.fd_count.to_ne_bytes());
        for index in 0..MAX_HIERARCHIES {
            put(&mut bytes, 12 + 4 * index, &(-1_i32).to_ne_bytes());
        }
        bytes
    }
}

/// Payload of commands 24 and 25, both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupDescriptor {
    /// The host's arrangement.
    pub layout: CgroupLayout,
    /// Bits about what the kernel offers; 0 is tolerated.
    pub utilities: u32,
    /// 0, or the magic number of the file system that is wanted or sent.
    pub filesystem: i32,
    /// The controller whose hierarchy is meant; empty for the unified one.
    pub controller: String,
}

impl CgroupDescriptor {
    /// Bytes on the wire.
    pub const LEN: usize = 80;
    /// The unified hierarchy's file system (`CGROUP2_SUPER_MAGIC`).
    pub const CGROUP2: i32 = 0x6367_7270;
    /// A version 1 hierarchy's file system (`CGROUP_SUPER_MAGIC`).
    pub const CGROUP1: i32 = 0x0027_e0eb;

    /// The bytes on the wire; a controller of more than 63 bytes is cut.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        put(&mut bytes, 0, &(self.layout as i32).to_ne_bytes());
        put(&mut bytes, 4, &self.utilities.to_ne_bytes());
        put(&mut bytes, 8, &self.filesystem.to_ne_bytes());
        put(&mut bytes, 12, &(-1_i32).to_ne_bytes());
        put(&mut bytes, 16, fitting(&self.controller, 64));
        bytes
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes: [u8; Self::LEN] = exactly("a cgroup request", bytes)?;
        Ok(Self {
            layout: CgroupLayout::from_number(i32_at(&bytes, 0)),
            utilities: i32_at(&bytes, 4) as u32,
            filesystem: i32_at(&bytes, 8),
            controller: text_field(&bytes[16..])?.to_owned(),
        })
    }
}

/// What a [`StateMessage`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateMessageKind {
    /// A state was reached; the value is its number.
    State = 0,
    /// A priority.
    Priority = 1,
    /// Init ended; the value is its wait status.
    ExitCode = 2,
}

/// The message to state clients and to lxc-monitord's FIFO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMessage {
    /// What is told.
    pub kind: StateMessageKind,
    /// The container.
    pub name: String,
    /// State number or wait status.
    pub value: i32,
}

impl StateMessage {
    /// Bytes on the wire.
    pub const LEN: usize = 264;

    /// The message that a container got to a state.
    pub fn state(name: &str, state: State) -> Self {
        Self {
            kind: StateMessageKind::State,
            name: name.to_owned(),
            value: state.number(),
        }
    }

    /// The message that a container's init ended with a wait status.
    pub fn exit_code(name: &str, status: i32) -> Self {
        Self {
            kind: StateMessageKind::ExitCode,
            name: name.to_owned(),
            value: status,
        }
    }

    /// The bytes on the wire; a name of more than 255 bytes is cut.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        put(&mut bytes, 0, &(self.kind as i32).to_ne_bytes());
        put(&mut bytes, 4, fitting(&self.name, 256));
        put(&mut bytes, 260, &self.value.to_ne_bytes());
        bytes
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes: [u8; Self::LEN] = exactly("a state message", bytes)?;
        let kind = match i32_at(&bytes, 0) {
            0 => StateMessageKind::State,
            1 => StateMessageKind::Priority,
            2 => StateMessageKind::ExitCode,
            _ => return Err(WireError::Value("message type")),
        };
        Ok(Self {
            kind,
            name: text_field(&bytes[4..260])?.to_owned(),
            value: i32_at(&bytes, 260),
        })
    }
}
