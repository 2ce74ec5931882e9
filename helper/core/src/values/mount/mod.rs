//! Mounts: `lxc.mount.entry` and fstab lines, `lxc.rootfs.options`, and
//! `lxc.mount.auto`.

mod auto;

pub use auto::{AutoMounts, CgroupMode, CgroupMount, CgroupTree, ProcMode, SharedMounts, SysMode};

use super::words;
use std::ops::{BitOr, BitOrAssign};
use std::path::PathBuf;

/// A set of mount flags. The bits are those of mount(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountFlags(u64);

impl MountFlags {
    /// `ro`
    pub const READ_ONLY: Self = Self(1);
    /// `nosuid`
    pub const NO_SUID: Self = Self(1 << 1);
    /// `nodev`
    pub const NO_DEV: Self = Self(1 << 2);
    /// `noexec`
    pub const NO_EXEC: Self = Self(1 << 3);
    /// `sync`
    pub const SYNCHRONOUS: Self = Self(1 << 4);
    /// `remount`
    pub const REMOUNT: Self = Self(1 << 5);
    /// `mand`
    pub const MANDATORY_LOCKS: Self = Self(1 << 6);
    /// `dirsync`
    pub const DIR_SYNC: Self = Self(1 << 7);
    /// `noatime`
    pub const NO_ATIME: Self = Self(1 << 10);
    /// `nodiratime`
    pub const NO_DIR_ATIME: Self = Self(1 << 11);
    /// `bind`
    pub const BIND: Self = Self(1 << 12);
    /// With `bind`: `rbind`
    pub const RECURSIVE: Self = Self(1 << 14);
    /// `relatime`
    pub const RELATIME: Self = Self(1 << 21);
    /// `strictatime`
    pub const STRICT_ATIME: Self = Self(1 << 24);
    /// `lazytime`
    pub const LAZY_TIME: Self = Self(1 << 25);

    /// The bits as mount(2) takes them.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether nothing is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether everything in `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without what is in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for MountFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for MountFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// How mounts and unmounts spread, see mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationKind {
    /// Not at all.
    Private,
    /// Both ways.
    Shared,
    /// Into this mount only.
    Slave,
    /// Not at all, and it cannot be bound elsewhere.
    Unbindable,
}

/// A change of propagation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// To what.
    pub kind: PropagationKind,
    /// For everything below, too.
    pub recursive: bool,
}

/// What to make when a mount's target is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateTarget {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

/// Whose id map an id-mapped mount uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountIdmap {
    /// The container's own.
    Container,
    /// That of a user namespace file.
    Path(PathBuf),
}

/// A list of mount options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// What is on after all options were applied in order.
    pub flags: MountFlags,
    /// What was turned off by name (`suid`, `rw`, ...).
    pub cleared: MountFlags,
    /// The last change of propagation asked for.
    pub propagation: Option<Propagation>,
    /// What is left for the file system, separated by commas.
    pub data: String,
    /// `create=dir` or `create=file`.
    pub create: Option<CreateTarget>,
    /// `optional`: a failure is no failure.
    pub optional: bool,
    /// `relative`: the source is below the container's root, too.
    pub relative: bool,
    /// `idmap=container` or `idmap=PATH`.
    pub idmap: Option<MountIdmap>,
}

enum Effect {
    Set(MountFlags),
    Clear(MountFlags),
    Propagate(PropagationKind, bool),
}

/// The options of mount(8) that do not depend on the file system.
fn standard(option: &str) -> Option<Effect> {
    use Effect::{Clear, Propagate, Set};
    use PropagationKind::{Private, Shared, Slave, Unbindable};
    Some(match option {
        "defaults" => Set(MountFlags::default()),
        "ro" => Set(MountFlags::READ_ONLY),
        "rw" => Clear(MountFlags::READ_ONLY),
        "nosuid" => Set(MountFlags::NO_SUID),
        "suid" => Clear(MountFlags::NO_SUID),
        "nodev" => Set(MountFlags::NO_DEV),
        "dev" => Clear(MountFlags::NO_DEV),
        "noexec" => Set(MountFlags::NO_EXEC),
        "exec" => Clear(MountFlags::NO_EXEC),
        "sync" => Set(MountFlags::SYNCHRONOUS),
        "async" => Clear(MountFlags::SYNCHRONOUS),
        "remount" => Set(MountFlags::REMOUNT),
        "mand" => Set(MountFlags::MANDATORY_LOCKS),
        "nomand" => Clear(MountFlags::MANDATORY_LOCKS),
        "dirsync" => Set(MountFlags::DIR_SYNC),
        "noatime" => Set(MountFlags::NO_ATIME),
        "atime" => Clear(MountFlags::NO_ATIME),
        "nodiratime" => Set(MountFlags::NO_DIR_ATIME),
        "diratime" => Clear(MountFlags::NO_DIR_ATIME),
        "bind" => Set(MountFlags::BIND),
        "rbind" => Set(MountFlags::BIND | MountFlags::RECURSIVE),
        "relatime" => Set(MountFlags::RELATIME),
        "norelatime" => Clear(MountFlags::RELATIME),
        "strictatime" => Set(MountFlags::STRICT_ATIME),
        "nostrictatime" => Clear(MountFlags::STRICT_ATIME),
        "lazytime" => Set(MountFlags::LAZY_TIME),
        "nolazytime" => Clear(MountFlags::LAZY_TIME),
        "private" => Propagate(Private, false),
        "rprivate" => Propagate(Private, true),
        "shared" => Propagate(Shared, false),
        "rshared" => Propagate(Shared, true),
        "slave" => Propagate(Slave, false),
        "rslave" => Propagate(Slave, true),
        "unbindable" => Propagate(Unbindable, false),
        "runbindable" => Propagate(Unbindable, true),
        _ => return None,
    })
}

impl MountOptions {
    /// Reads options separated by commas, in order.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        let mut data = Vec::new();
        for option in text
            .split(',')
            .map(str::trim)
            .filter(|option| !option.is_empty())
        {
            match (option, standard(option)) {
                (_, Some(Effect::Set(flags))) => {
                    options.flags |= flags;
                    options.cleared = options.cleared.without(flags);
                }
                (_, Some(Effect::Clear(flags))) => {
                    options.flags = options.flags.without(flags);
                    options.cleared |= flags;
                }
                (_, Some(Effect::Propagate(kind, recursive))) => {
                    options.propagation = Some(Propagation { kind, recursive });
                }
                ("optional", None) => options.optional = true,
                ("relative", None) => options.relative = true,
                (other, None) => match other.split_once('=') {
                    Some(("create", "dir")) => options.create = Some(CreateTarget::Directory),
                    Some(("create", "file")) => options.create = Some(CreateTarget::File),
                    Some(("create", what)) => {
                        return Err(format!("'create={what}' is neither 'dir' nor 'file'"));
                    }
                    Some(("idmap", "container")) => options.idmap = Some(MountIdmap::Container),
                    Some(("idmap", path)) if path.starts_with('/') => {
                        options.idmap = Some(MountIdmap::Path(PathBuf::from(path)));
                    }
                    Some(("idmap", what)) => {
                        return Err(format!(
                            "'idmap={what}' is neither 'container' nor an absolute path"
                        ));
                    }
                    _ => data.push(other),
                },
            }
        }
        options.data = data.join(",");
        Ok(options)
    }

    /// Whether something that exists is bound elsewhere.
    pub fn is_bind(&self) -> bool {
        self.flags.contains(MountFlags::BIND)
    }
}

/// One mount of fstab(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Device, path or name.
    pub source: String,
    /// Where: relative ones are below the container's root.
    pub target: String,
    /// File system type; `none` for binds.
    pub fstype: String,
    /// Options.
    pub options: MountOptions,
}

impl MountEntry {
    /// Reads one line: source, target, type, options, and two numbers that
    /// are ignored. Type and options may be left out.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut fields = words(line);
        let mut next = || fields.next().map(unescape).transpose();
        let (source, target) = (next()?, next()?);
        let (Some(source), Some(target)) = (source, target) else {
            return Err(format!(
                "'{line}' is not a mount; write source, target, type and options"
            ));
        };
        let fstype = next()?.unwrap_or_else(|| "none".to_owned());
        let options = MountOptions::parse(&next()?.unwrap_or_default())?;
        Ok(Self {
            source,
            target,
            fstype,
            options,
        })
    }
}

/// Undoes the octal escapes of fstab and of the kernel's lists of mounts
/// (`\040` is a blank).
pub fn unescape(field: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = |digit: &u8| matches!(digit, b'0'..=b'7').then(|| u32::from(digit - b'0'));
        let code = match tail {
            [a, b, c, ..] if *first == b'\\' => match (octal(a), octal(b), octal(c)) {
                (Some(a), Some(b), Some(c)) => u8::try_from(a * 64 + b * 8 + c).ok(),
                _ => None,
            },
            _ => None,
        };
        match code {
            Some(0) => return Err(format!("'{field}' holds a NUL")),
            Some(code) => {
                bytes.push(code);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| format!("'{field}' is not UTF-8 once its escapes are undone"))
}

/// Reads a whole fstab file. The error has the line's number, counted from 1.
pub fn parse_fstab(text: &str) -> Result<Vec<MountEntry>, (u32, String)> {
    (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| MountEntry::parse(line).map_err(|reason| (number, reason)))
        .collect()
}
