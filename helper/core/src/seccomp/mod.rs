//! Seccomp profiles: LXC's files that say which system calls a container may
//! make (`lxc.seccomp.profile` in lxc.container.conf(5)).
//!
//! The first line is the grammar's version, the second begins with the policy.
//! Version 1 is a list of allowed numbers. Version 2 has one rule a line, by
//! name, with an action and conditions on arguments, and sections for
//! architectures.

mod parse;
#[cfg(test)]
mod tests;

/// Where LXC has the profile that its common configs name.
pub const COMMON_PATH: &str = "/usr/share/lxc/config/common.seccomp";

/// What stands in for [`COMMON_PATH`] where the file is not installed.
pub const COMMON: &str = "\
2
denylist
# A container may not tear mounts away from the host's users of them, replace
# the kernel or its modules, nor open files by handles that it made up.
reject_force_umount
[all]
kexec_load errno 1
open_by_handle_at errno 1
init_module errno 1
finit_module errno 1
delete_module errno 1
";

/// EACCES of errno(3), what `reject_force_umount` answers.
const EACCES: u16 = 13;
/// MNT_FORCE of umount(2).
const MNT_FORCE: u64 = 1;

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What becomes of calls that no rule is about.
    pub default: Action,
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// Whether the compatible architectures are filtered, too; otherwise a
    /// call by one of them kills.
    pub compatible: bool,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The thread is killed.
    Kill,
    /// The call fails with this error number.
    Errno(u16),
    /// The call is made.
    Allow,
    /// The process gets SIGSYS.
    Trap,
    /// Another process decides.
    Notify,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The only architecture it is for; none for all.
    pub architecture: Option<Architecture>,
    /// The system call.
    pub call: Call,
    /// What becomes of it.
    pub action: Action,
    /// What must hold for the arguments, all of it; at most six.
    pub conditions: Vec<Condition>,
}

/// A system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// By the name in the kernel's tables, which may be unknown here.
    Name(String),
    /// By the native architecture's number.
    Number(i32),
}

/// What must hold for one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u32,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}

/// How an argument is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    /// `&=`: equal once all bits but these are cleared.
    MaskedEqual(u64),
}

/// An architecture's calling convention, as sections name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say all there is to say")]
pub enum Architecture {
    X86,
    X32,
    X86_64,
    Arm,
    Arm64,
    Loongarch64,
    Ppc,
    Ppc64,
    Ppc64le,
    Mips,
    Mips64,
    Mips64n32,
    Mipsel,
    Mipsel64,
    Mipsel64n32,
    S390,
    S390x,
}

/// A fault in a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ProfileError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

impl Profile {
    /// Reads a profile's text.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        parse::profile(text)
    }
}

impl Architecture {
    const NAMES: [(&'static str, Self); 17] = [
        ("x86", Self::X86),
        ("x32", Self::X32),
        ("x86_64", Self::X86_64),
        ("arm", Self::Arm),
        ("arm64", Self::Arm64),
        ("loongarch64", Self::Loongarch64),
        ("ppc", Self::Ppc),
        ("ppc64", Self::Ppc64),
        ("ppc64le", Self::Ppc64le),
        ("mips", Self::Mips),
        ("mips64", Self::Mips64),
        ("mips64n32", Self::Mips64n32),
        ("mipsel", Self::Mipsel),
        ("mipsel64", Self::Mipsel64),
        ("mipsel64n32", Self::Mipsel64n32),
        ("s390", Self::S390),
        ("s390x", Self::S390x),
    ];

    /// The architecture of a section's name, all lower or all upper case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .into_iter()
            .find(|(known, _)| *known == name || known.to_ascii_uppercase() == name)
            .map(|(_, architecture)| architecture)
    }

    /// The architectures whose calls a kernel of the machine `uname -m` names
    /// takes, the native one first.
    pub fn of_machine(machine: &str) -> &'static [Self] {
        use Architecture::*;
        match machine {
            "x86_64" => &[X86_64, X86, X32],
            "i386" | "i486" | "i586" | "i686" => &[X86],
            "aarch64" => &[Arm64, Arm],
            "loongarch64" => &[Loongarch64],
            "ppc" => &[Ppc],
            "ppc64" => &[Ppc64, Ppc],
            "ppc64le" => &[Ppc64le],
            "mips" => &[Mips],
            "mips64" => &[Mips64, Mips, Mips64n32],
            "mipsel" => &[Mipsel],
            "mipsel64" => &[Mipsel64, Mipsel, Mipsel64n32],
            "s390x" => &[S390x, S390],
            arm if arm.starts_with("arm") => &[Arm],
            _ => &[],
        }
    }
}
