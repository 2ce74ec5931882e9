//! Capabilities by name and number, see capabilities(7).

use std::fmt;

/// Names in the order of their numbers (linux/capability.h), without `CAP_`.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// One capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

impl Capability {
    /// `CAP_NET_ADMIN`, which decides how /proc/sys/net is mounted.
    pub const NET_ADMIN: Self = Self(12);
    /// `CAP_SYS_ADMIN`, which decides how cgroups are mounted.
    pub const SYS_ADMIN: Self = Self(21);
    /// `CAP_SYS_BOOT`: without it a container cannot ask for its reboot.
    pub const SYS_BOOT: Self = Self(22);
    /// `CAP_MKNOD`.
    pub const MKNOD: Self = Self(27);

    /// Reads a lower-case name without `cap_`, or a number. Kernels newer than
    /// the table may know numbers without a name here, so any below 64 passes.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(number) = NAMES.iter().position(|name| *name == text) {
            return u8::try_from(number).ok().map(Self);
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|number| digits && *number < 64)
            .map(Self)
    }

    /// Its number for prctl(2) and capset(2).
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A set of capabilities, as the kernel keeps it: bit n is capability n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// The set of a mask, for example `CapBnd` of /proc/PID/status.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether it holds nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Puts one in.
    pub fn insert(&mut self, capability: Capability) {
        self.0 |= 1 << capability.0;
    }

    /// Whether one is in it.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Its members by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..64)
            .map(Capability)
            .filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(members: I) -> Self {
        let mut set = Self::default();
        members.into_iter().for_each(|member| set.insert(member));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("chown", Some(0)),
            ("sys_admin", Some(21)),
            ("mknod", Some(27)),
            ("checkpoint_restore", Some(40)),
            ("21", Some(21)),
            ("63", Some(63)),
            ("64", None),
            ("+1", None),
            ("CAP_CHOWN", None),
            ("sys_Admin", None),
            ("", None),
        ] {
            assert_eq!(
                Capability::parse(text).map(Capability::number),
                number,
                "{text}"
            );
        }
        assert_eq!(Capability::NET_ADMIN.to_string(), "net_admin");
        assert_eq!(Capability::SYS_BOOT.to_string(), "sys_boot");
    }

    #[test]
    fn sets_are_masks() {
        let set: CapabilitySet = [Capability::MKNOD, Capability::SYS_ADMIN]
            .into_iter()
            .collect();
        assert_eq!(set.bits(), 1 << 27 | 1 << 21);
        assert_eq!(
            set.iter().map(|c| c.to_string()).collect::<Vec<_>>(),
            ["sys_admin", "mknod"]
        );
        assert!(!set.contains(Capability::NET_ADMIN));
    }
}
