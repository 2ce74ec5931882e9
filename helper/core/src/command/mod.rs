//! The wire format of the monitor's command socket, for both of its ends.
//!
//! Numbers are in the machine's own byte order and laid out as 64-bit LXC
//! lays out its C structures. Decoding takes what a stranger sent: every
//! length and value is checked.

mod payload;
#[cfg(test)]
mod tests;

pub use payload::{
    CgroupContext, CgroupDescriptor, CgroupLayout, ConsoleLog, DeviceAccess, DeviceKind,
    MAX_HIERARCHIES, StateInterest, StateMessage, StateMessageKind,
};

/// Bytes in a request's and in a response's header.
pub const HEADER_LEN: usize = 16;
/// The most bytes that may follow a request's header.
pub const MAX_REQUEST_DATA: usize = 8192;
/// The inline value that says "not yet" in reply to [`Command::AddStateClient`].
pub const NO_STATE: i32 = crate::states::STATE_COUNT as i32;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not as many bytes as the format has.
    #[error("{what} has {found} bytes instead of {expected}")]
    Length {
        /// What was read.
        what: &'static str,
        /// Bytes found.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// A length field that is negative or too large.
    #[error("a message announces {0} bytes, which is out of bounds")]
    DataLength(i64),
    /// A field holds a value that the format does not know.
    #[error("the {0} is not one that the command socket knows")]
    Value(&'static str),
    /// A text is not ended by NUL, holds one inside, or is not UTF-8.
    #[error("a text on the command socket is malformed")]
    Text,
}

macro_rules! commands {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal,)+) => {
        /// A command of LXC by its number. Gantry's own begin at
        /// [`crate::monitor::FIRST_EXTENSION`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Command {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Command {
            /// Every command, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The command of a number, if it is one of stock LXC.
            pub fn from_number(number: i32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

commands! {
    /// Inline tty number (0 console, -1 next free); reply: inline number and one fd. The connection holds the tty.
    GetTtyFd = 0,
    /// Tells the monitor that the terminal's size changed.
    TerminalWinch = 1,
    /// Kills init; no reply on success, the end of the connection is the answer.
    Stop = 2,
    /// Reply: inline state number.
    GetState = 3,
    /// Reply: inline pid of init.
    GetInitPid = 4,
    /// Reply: inline CLONE_NEW* bits. Must always be answered truly: lxc-attach trusts the value alone.
    GetCloneFlags = 5,
    /// Controller name or nothing; reply: path text.
    GetCgroup = 6,
    /// Key text; reply: value text, or -1 without data.
    GetConfigItem = 7,
    /// Reply: name text.
    GetName = 8,
    /// Reply: LXC path text.
    GetLxcPath = 9,
    /// [`StateInterest`]; reply: inline state, or [`NO_STATE`] and later one [`StateMessage`].
    AddStateClient = 10,
    /// [`ConsoleLog`]; reply: raw bytes of the ring buffer.
    ConsoleLog = 11,
    /// Inline state that the monitor is to take on and pass on.
    ServeStateClients = 12,
    /// One fd of a seccomp listener.
    SeccompNotifyAddListener = 13,
    /// [`DeviceAccess`]: change the device program.
    AddBpfDeviceCgroup = 14,
    /// Inline time-out in seconds.
    Freeze = 15,
    /// Inline time-out in seconds.
    Unfreeze = 16,
    /// Reply: one fd of the container's group in the unified hierarchy.
    GetCgroup2Fd = 17,
    /// Reply: one pidfd of init.
    GetInitPidFd = 18,
    /// As [`Command::GetCgroup`] for the group that carries the limits.
    GetLimitCgroup = 19,
    /// As [`Command::GetCgroup2Fd`] for the group that carries the limits.
    GetLimitCgroup2Fd = 20,
    /// Reply: one fd of the container's devpts mount.
    GetDevptsFd = 21,
    /// Reply: one fd of the seccomp listener.
    GetSeccompNotifyFd = 22,
    /// [`CgroupContext`] both ways, with the fds.
    GetCgroupContext = 23,
    /// [`CgroupDescriptor`] both ways, with one fd.
    GetCgroupFd = 24,
    /// As [`Command::GetCgroupFd`] for the group that carries the limits.
    GetLimitCgroupFd = 25,
    /// Reply: name text of the systemd scope.
    GetSystemdScope = 26,
}

impl Command {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// Whether the connection stays open after the reply.
    pub fn keeps_connection(self) -> bool {
        matches!(self, Self::GetTtyFd | Self::Stop | Self::AddStateClient)
    }
}

/// The head of a request. Sent by one sendmsg with SCM_CREDENTIALS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// The command's number: LXC's or an extension's.
    pub command: i32,
    /// Bytes that follow.
    pub data_len: usize,
    /// The inline value. Counts only when `data_len` is 0.
    pub inline: u64,
}

impl RequestHeader {
    /// A request that carries only an inline value. Signed values (tty -1) are
    /// passed sign-extended.
    pub fn inline(command: Command, value: u64) -> Self {
        Self {
            command: command.number(),
            data_len: 0,
            inline: value,
        }
    }

    /// A request followed by `data_len` bytes.
    pub fn with_data(command: i32, data_len: usize) -> Self {
        Self {
            command,
            data_len,
            inline: 0,
        }
    }

    /// The 16 bytes on the wire.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        encode_header(self.command, self.data_len, self.inline)
    }

    /// Reads the 16 bytes; refuses lengths outside 0..=8192.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (command, data_len, inline) = decode_header(bytes)?;
        if data_len > MAX_REQUEST_DATA {
            return Err(WireError::DataLength(data_len as i64));
        }
        Ok(Self {
            command,
            data_len,
            inline,
        })
    }

    /// The inline value as the signed 32-bit number it was sent as.
    pub fn inline_i32(&self) -> i32 {
        self.inline as u32 as i32
    }
}

/// The head of a response. File descriptors come with its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader {
    /// 0 (some commands: a positive value) or a negative errno.
    pub ret: i32,
    /// Bytes that follow.
    pub data_len: usize,
    /// The inline value. Counts only when `data_len` is 0.
    pub inline: u64,
}

impl ResponseHeader {
    /// A success with an inline value.
    pub fn inline(value: u64) -> Self {
        Self {
            ret: 0,
            data_len: 0,
            inline: value,
        }
    }

    /// A success followed by `data_len` bytes.
    pub fn with_data(data_len: usize) -> Self {
        Self {
            ret: 0,
            data_len,
            inline: 0,
        }
    }

    /// A failure; `errno` is positive.
    pub fn failure(errno: i32) -> Self {
        Self {
            ret: -errno,
            data_len: 0,
            inline: 0,
        }
    }

    /// The 16 bytes on the wire.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        encode_header(self.ret, self.data_len, self.inline)
    }

    /// Reads the 16 bytes. How much data is sensible depends on the command
    /// (console logs are large), so only negative lengths are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (ret, data_len, inline) = decode_header(bytes)?;
        Ok(Self {
            ret,
            data_len,
            inline,
        })
    }
}

fn encode_header(first: i32, data_len: usize, inline: u64) -> [u8; HEADER_LEN] {
    // More than i32::MAX cannot be announced; the peer then sees a bad length.
    let length = i32::try_from(data_len).unwrap_or(-1);
    let mut bytes = [0; HEADER_LEN];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..8].copy_from_slice(&length.to_ne_bytes());
    bytes[8..].copy_from_slice(&inline.to_ne_bytes());
    bytes
}

fn decode_header(bytes: &[u8]) -> Result<(i32, usize, u64), WireError> {
    let bytes: &[u8; HEADER_LEN] = bytes.try_into().map_err(|_| WireError::Length {
        what: "a header",
        found: bytes.len(),
        expected: HEADER_LEN,
    })?;
    let length = i32_at(bytes, 4);
    let data_len = usize::try_from(length).map_err(|_| WireError::DataLength(length.into()))?;
    Ok((i32_at(bytes, 0), data_len, u64_at(bytes, 8)))
}

/// The 32-bit number at `offset`; 0 beyond the end.
fn i32_at(bytes: &[u8], offset: usize) -> i32 {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |chunk| i32::from_ne_bytes(*chunk))
}

/// The 64-bit number at `offset`; 0 beyond the end.
fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |chunk| u64::from_ne_bytes(*chunk))
}

/// A text as it travels: its bytes and a NUL.
pub fn encode_text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// Reads a text that must end in its only NUL.
pub fn decode_text(bytes: &[u8]) -> Result<&str, WireError> {
    let text = bytes.strip_suffix(&[0]).ok_or(WireError::Text)?;
    if text.contains(&0) {
        return Err(WireError::Text);
    }
    std::str::from_utf8(text).map_err(|_| WireError::Text)
}
