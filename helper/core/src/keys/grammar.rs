//! What values look like.

use crate::idmap::IdMap;
use crate::name::InterfaceName;
use crate::values::mount::{AutoMounts, MountEntry, MountOptions};
use crate::values::network::{
    Gateway, HardwareAddress, Ipv4Assignment, Ipv4Route, Ipv6Assignment, Ipv6Route,
    IpvlanIsolation, IpvlanMode, MacvlanMode, NativeVlan, NetworkType, VethMode, vlan,
};
use crate::values::{self, LogLevel, ShareSource, TimeOffset, Variable, VariableScope};
use crate::{arch::Personality, caps::Capability, signals};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The form of a key's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// Any text.
    Text,
    /// `0` or `1`.
    Flag,
    /// A decimal number from 0 on.
    Unsigned,
    /// A decimal number from 1 on.
    Count,
    /// A decimal number.
    Integer,
    /// A number of bytes.
    Bytes,
    /// A number of bytes, with `kB`, `MB`, `GB`, or `auto`.
    Size,
    /// As [`Grammar::Size`], at least a memory page.
    BufferSize,
    /// An architecture name.
    Architecture,
    /// A host name of fewer than 65 bytes.
    HostName,
    /// A path on the host or in the container.
    Path,
    /// A path below some root: no `..`, not absolute.
    RelativePath,
    /// A directory below /dev, with or without a slash before it.
    TtyDirectory,
    /// One part of a path.
    PathPart,
    /// A command line.
    Command,
    /// Group ids separated by commas.
    GroupIds,
    /// `NAME=VALUE` or `NAME`.
    Variable,
    /// `[type:]path`.
    RootfsPath,
    /// A known store's name.
    RootfsKind,
    /// Mount options separated by commas.
    MountOptions,
    /// A line of fstab.
    MountEntry,
    /// Tokens of `lxc.mount.auto`.
    AutoMounts,
    /// Capabilities separated by blanks.
    Capabilities,
    /// As [`Grammar::Capabilities`], or `none`.
    CapabilitiesOrNone,
    /// `u` or `g` and three numbers.
    IdMap,
    /// Namespaces separated by blanks.
    Namespaces,
    /// A container, process id or path.
    ShareSource,
    /// A number with a unit of time.
    TimeOffset,
    /// `soft[:hard]`.
    Limit,
    /// A setting below /proc/sys.
    Sysctl,
    /// A file in /proc/PID.
    ProcFile,
    /// A file of a cgroup controller.
    CgroupFile,
    /// Words separated by blanks (and by commas, as the old manuals write).
    Words,
    /// A signal's number or name.
    Signal,
    /// A log level's number or name.
    LogLevel,
    /// A syslog facility.
    Facility,
    /// `unix:/path` or `unix:@name`.
    UnixAddress,
    /// An interface's type.
    NetworkType,
    /// A name of an interface in the container; `%d` is the kernel's to fill.
    InterfaceName,
    /// A name of an interface on the host; `+` at the end matches any rest.
    Link,
    /// A MAC address, `x` for a random digit.
    HardwareAddress,
    /// `ADDRESS[/PREFIX] [BROADCAST]`.
    Ipv4Address,
    /// `ADDRESS[/PREFIX]`.
    Ipv6Address,
    /// An address, `auto` or `dev`.
    Ipv4Gateway,
    /// An address, `auto` or `dev`.
    Ipv6Gateway,
    /// `ADDRESS/PREFIX`.
    Ipv4Route,
    /// `ADDRESS/PREFIX`.
    Ipv6Route,
    /// `private`, `vepa`, `bridge` or `passthru`.
    MacvlanMode,
    /// `l3`, `l3s` or `l2`.
    IpvlanMode,
    /// `bridge`, `private` or `vepa`.
    IpvlanIsolation,
    /// `bridge` or `router`.
    VethMode,
    /// A VLAN number from 0 to 4095.
    Vlan,
    /// A VLAN number from 0 to 4094.
    TaggedVlan,
    /// `none`, or a VLAN number from 0 to 4094.
    NativeVlan,
}

/// What syslog facilities are called.
const FACILITIES: [&str; 9] = [
    "daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

impl Grammar {
    /// The values that one line gives: each part of a list, or the line whole.
    pub fn parts(self, value: &str) -> Vec<&str> {
        match self {
            Self::Capabilities | Self::CapabilitiesOrNone | Self::Namespaces => {
                values::words(value).collect()
            }
            Self::Words => values::words(value)
                .flat_map(|word| word.split(','))
                .filter(|part| !part.is_empty())
                .collect(),
            _ => vec![value],
        }
    }

    /// Checks a value that is not empty (an empty one clears the key). The
    /// error is a reason without a full stop.
    pub fn validate(self, value: &str) -> Result<(), String> {
        if let Some(bad) = value.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(format!("the value holds the control character {bad:?}"));
        }
        match self {
            Self::Text
            | Self::Command
            | Self::RootfsPath
            | Self::CgroupFile
            | Self::ProcFile
            | Self::Sysctl => Ok(()),
            Self::Words => Ok(()),
            Self::Flag => values::flag(value).map(drop),
            Self::Unsigned => values::unsigned(value).map(drop),
            Self::Count if value == "0" => Err("0 is not possible; use at least 1".to_owned()),
            Self::Count => values::unsigned(value).map(drop),
            Self::Integer => values::integer(value).map(drop),
            Self::Bytes => values::bytes(value).map(drop),
            Self::Size => values::size(value).map(drop),
            Self::BufferSize => values::size(value).and_then(values::buffer_size).map(drop),
            Self::Architecture => match Personality::from_name(value) {
                Some(_) => Ok(()),
                None => Err(format!(
                    "'{value}' is not an architecture such as x86_64, i686 or arm64"
                )),
            },
            Self::HostName if value.len() > 64 => Err(format!(
                "the host name has {} bytes; at most 64 fit",
                value.len()
            )),
            Self::HostName => Ok(()),
            Self::Path if value.len() > 4095 => Err(format!(
                "the path has {} bytes; at most 4095 fit",
                value.len()
            )),
            Self::Path => Ok(()),
            Self::RelativePath => relative(value),
            Self::TtyDirectory => relative(value.trim_start_matches('/')),
            Self::PathPart if value.contains('/') => {
                Err(format!("'{value}' has more than one part"))
            }
            Self::PathPart => relative(value),
            Self::GroupIds => group_ids(value).map(drop),
            Self::Variable => Variable::parse(value, VariableScope::Everyone).map(drop),
            Self::RootfsKind => match values::rootfs::RootfsKind::from_prefix(value) {
                values::rootfs::RootfsKind::Other(_) => {
                    Err(format!("'{value}' is not a store that LXC knows"))
                }
                _ => Ok(()),
            },
            Self::MountOptions => MountOptions::parse(value).map(drop),
            Self::MountEntry => MountEntry::parse(value).map(drop),
            Self::AutoMounts => AutoMounts::default().apply(value),
            Self::CapabilitiesOrNone if value == "none" => Ok(()),
            Self::Capabilities | Self::CapabilitiesOrNone => capabilities(value).map(drop),
            Self::IdMap => IdMap::parse(value).map(drop),
            Self::Namespaces => values::namespaces(value).map(drop),
            Self::ShareSource => ShareSource::parse(value).map(drop),
            Self::TimeOffset => TimeOffset::parse(value).map(drop),
            Self::Limit => values::Limit::parse(value).map(drop),
            Self::Signal => match signals::parse(value) {
                Some(_)
                    if ["sigrtmin", "sigrtmax"].contains(&value.to_ascii_lowercase().as_str()) =>
                {
                    Err(format!(
                        "LXC takes '{value}' only with a number; write SIGRTMIN+0 or SIGRTMAX-0"
                    ))
                }
                Some(_) => Ok(()),
                None => Err(format!(
                    "'{value}' is not a signal; use a number or a name such as SIGPWR or SIGRTMIN+3"
                )),
            },
            Self::LogLevel => LogLevel::parse(value).map(drop),
            Self::Facility if is_facility(value) => Ok(()),
            Self::Facility => Err(format!("'{value}' is not one of {}", FACILITIES.join(", "))),
            Self::UnixAddress if value.starts_with("unix:/") || value.starts_with("unix:@") => {
                Ok(())
            }
            Self::UnixAddress => Err(format!(
                "'{value}' is not a socket; write unix:/PATH or unix:@NAME"
            )),
            Self::NetworkType => NetworkType::parse(value).map(drop),
            Self::InterfaceName => interface(value),
            Self::Link => interface(value),
            Self::HardwareAddress => HardwareAddress::parse(value).map(drop),
            Self::Ipv4Address => Ipv4Assignment::parse(value).map(drop),
            Self::Ipv6Address => Ipv6Assignment::parse(value).map(drop),
            Self::Ipv4Gateway => Gateway::<Ipv4Addr>::parse(value).map(drop),
            Self::Ipv6Gateway => Gateway::<Ipv6Addr>::parse(value).map(drop),
            Self::Ipv4Route => Ipv4Route::parse(value).map(drop),
            Self::Ipv6Route => Ipv6Route::parse(value).map(drop),
            Self::MacvlanMode => MacvlanMode::parse(value).map(drop),
            Self::IpvlanMode => IpvlanMode::parse(value).map(drop),
            Self::IpvlanIsolation => IpvlanIsolation::parse(value).map(drop),
            Self::VethMode => VethMode::parse(value).map(drop),
            Self::Vlan => vlan(value, 4095).map(drop),
            Self::TaggedVlan => vlan(value, 4094).map(drop),
            Self::NativeVlan => NativeVlan::parse(value).map(drop),
        }
    }

    /// Whether a text may stand for the part in capitals of a key with this
    /// grammar. Such texts become file names.
    pub(super) fn allows_suffix(self, suffix: &str) -> bool {
        let plain = !suffix.is_empty()
            && suffix
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':'));
        let no_dots = suffix.split('.').all(|part| !part.is_empty());
        match self {
            Self::Limit => values::RESOURCES.contains(&suffix),
            Self::ShareSource => crate::namespaces::Namespace::from_name(suffix).is_some(),
            // A dot in an interface's name is written as a slash.
            Self::Sysctl => {
                let part = |part: &str| {
                    !part.is_empty()
                        && part
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b"_-:/@".contains(&b))
                };
                suffix.split('.').all(part) && !suffix.split('/').any(str::is_empty)
            }
            _ => plain && no_dots,
        }
    }
}

fn is_facility(value: &str) -> bool {
    FACILITIES
        .iter()
        .any(|facility| facility.eq_ignore_ascii_case(value))
}

fn relative(value: &str) -> Result<(), String> {
    if value.starts_with('/') {
        return Err(format!("'{value}' is absolute; write a relative path"));
    }
    if value.split('/').any(|part| part == "..") {
        return Err(format!("'{value}' leads upwards with '..'"));
    }
    Ok(())
}

fn interface(value: &str) -> Result<(), String> {
    InterfaceName::new(value)
        .map(drop)
        .map_err(|error| format!("'{value}' is not an interface: {error}"))
}

/// Reads `lxc.init.groups`.
pub(crate) fn group_ids(text: &str) -> Result<Vec<u32>, String> {
    text.split(',')
        .map(|id| values::unsigned(id.trim()))
        .collect()
}

/// Reads `lxc.cap.drop` and `.keep`.
pub(crate) fn capabilities(text: &str) -> Result<Vec<Capability>, String> {
    let one = |word| {
        Capability::parse(word)
            .ok_or_else(|| format!("'{word}' is not a capability such as sys_admin"))
    };
    values::words(text).map(one).collect()
}
