//! Where LXC keeps things: paths and socket addresses. Nothing is looked up;
//! paths are compared and hashed as text, as LXC does, so a symbolic link to
//! the LXC path names other sockets.

use crate::name::ContainerName;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The LXC path when lxc.conf says nothing.
pub const DEFAULT_LXC_PATH: &str = "/var/lib/lxc";
/// The global settings of root.
pub const GLOBAL_CONFIG: &str = "/etc/lxc/lxc.conf";
/// What every new container's config begins with when lxc.conf says nothing.
pub const DEFAULT_CONFIG: &str = "/etc/lxc/default.conf";
/// Root's directory for run-time data.
pub const RUN_DIR: &str = "/run";

/// Where programs of the host are looked for, in this order.
pub const PROGRAM_DIRECTORIES: [&str; 6] = [
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
];
/// Where logs of containers in [`DEFAULT_LXC_PATH`] go.
pub const LOG_DIR: &str = "/var/log/lxc";

/// What the names of directories in the LXC path begin with that are being
/// removed. LXC's tools skip names with a leading dot.
pub const REMOVING: &str = ".gantry-remove-";

/// Reads one key of lxc.conf(5) text: `KEY = VALUE`, `#` in the first column
/// is a comment, and the first match counts. An empty value is none.
pub fn global_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty())
}

/// The LXC path as it appears in socket names: no slash at the end, none
/// doubled.
pub fn normalize_lxc_path(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    if path.starts_with('/') {
        normal.push('/');
    }
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if !normal.is_empty() && !normal.ends_with('/') {
            normal.push('/');
        }
        normal.push_str(part);
    }
    normal
}

/// The places that belong to one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLayout {
    lxc_path: String,
    name: ContainerName,
}

impl ContainerLayout {
    /// The places of the container `name` below `lxc_path`.
    pub fn new(lxc_path: &str, name: ContainerName) -> Self {
        Self {
            lxc_path: normalize_lxc_path(lxc_path),
            name,
        }
    }

    /// The container's name.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// The LXC path, normalised.
    pub fn lxc_path(&self) -> &str {
        &self.lxc_path
    }

    /// `LXCPATH/NAME`.
    pub fn directory(&self) -> PathBuf {
        Path::new(&self.lxc_path).join(self.name.as_str())
    }

    /// The config file; a directory that has one is a container.
    pub fn config(&self) -> PathBuf {
        self.directory().join("config")
    }

    /// The root tree of the directory backend, and the mount point of others.
    pub fn rootfs(&self) -> PathBuf {
        self.directory().join("rootfs")
    }

    /// The marker of a creation under way: locked while it runs, left behind
    /// unlocked when it was interrupted.
    pub fn partial(&self) -> PathBuf {
        self.directory().join("partial")
    }

    /// Snapshots made by LXC, each a container directory.
    pub fn snapshots(&self) -> PathBuf {
        self.directory().join("snaps")
    }

    /// Containers that depend on this one.
    pub fn dependents(&self) -> PathBuf {
        self.directory().join("lxc_snapshots")
    }

    /// Containers that this one depends on.
    pub fn origins(&self) -> PathBuf {
        self.directory().join("lxc_rdepends")
    }

    /// In an ephemeral container that has been started: a file on which its
    /// monitor holds a lock as long as it lives.
    pub fn mark_of_life(&self) -> PathBuf {
        self.directory().join(".gantry-ephemeral")
    }

    /// Which of its interfaces may take the host's way out without a word.
    pub fn confirmed(&self) -> PathBuf {
        self.directory().join(".gantry-confirmed")
    }

    /// While it runs, and only if its control groups are not where a container's
    /// usually are: where they are, the LXC path and then `payload` or `monitor`
    /// and a directory a line.
    pub fn groups(&self) -> PathBuf {
        Path::new(GROUPS).join(self.name.as_str())
    }

    /// What bridges do otherwise with its ports ([`crate::ports`]).
    pub fn ports(&self) -> PathBuf {
        self.directory().join(".gantry-ports")
    }

    /// The log of starts when `lxc.log.file` is unset.
    pub fn log_file(&self) -> PathBuf {
        let directory = if self.lxc_path == DEFAULT_LXC_PATH {
            PathBuf::from(LOG_DIR)
        } else {
            self.directory()
        };
        directory.join(format!("{}.log", self.name))
    }

    /// The file on which LXC's tools take an open-file-description lock around
    /// changes: `RUNDIR/lxc/lock/LXCPATH/.NAME`.
    pub fn lock_file(&self, run_dir: &Path) -> PathBuf {
        run_dir
            .join("lxc/lock")
            .join(self.lxc_path.trim_start_matches('/'))
            .join(format!(".{}", self.name))
    }

    /// The command socket's address in the abstract namespace, without the
    /// leading NUL.
    pub fn command_socket(&self) -> Vec<u8> {
        let plain = format!("{}/{}/command", self.lxc_path, self.name);
        if plain.len() < MAX_PLAIN_ADDRESS {
            return plain.into_bytes();
        }
        let hash = fnv1a_64(format!("{}/{}", self.lxc_path, self.name).as_bytes());
        format!("lxc/{hash:016x}/command").into_bytes()
    }
}

/// The folder of [`ContainerLayout::groups`].
pub const GROUPS: &str = "/run/gantry/groups";

/// From this many bytes on a command socket's name is hashed: `sun_path` less
/// the leading NUL and one byte more.
const MAX_PLAIN_ADDRESS: usize = 106;

/// The 64-bit FNV-1a hash.
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The FIFO of lxc-monitord for an LXC path: `RUNDIR/lxc/LXCPATH/monitor-fifo`.
pub fn monitor_fifo(run_dir: &Path, lxc_path: &str) -> PathBuf {
    let path = normalize_lxc_path(lxc_path);
    run_dir
        .join("lxc")
        .join(path.trim_start_matches('/'))
        .join("monitor-fifo")
}

/// A command socket found in /proc/net/unix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FoundSocket {
    /// Its address tells whose it is.
    Plain {
        /// The LXC path, as text.
        lxc_path: String,
        /// The container.
        name: ContainerName,
    },
    /// Its address is hashed: ask it by commands 9 (LXCPATH) and 8 (NAME).
    Hashed {
        /// The address without the leading NUL.
        address: Vec<u8>,
    },
}

/// The listening LXC command sockets in the text of /proc/net/unix, each once.
///
/// Other programs may bind such names too: whoever connects must check the
/// peer's credentials before believing an answer.
pub fn command_sockets(proc_net_unix: &str) -> Vec<FoundSocket> {
    let mut seen = HashSet::new();
    let addresses = proc_net_unix.lines().skip(1).filter_map(listening_address);
    addresses
        .filter_map(command_socket)
        .filter(|socket| seen.insert(socket.clone()))
        .collect()
}

/// The abstract address of a line whose flags say that the socket listens
/// (`__SO_ACCEPTCON`, bit 16).
fn listening_address(line: &str) -> Option<&str> {
    let mut rest = line;
    let mut flags = "";
    for column in 0..7 {
        let (field, after) = rest.split_once(' ')?;
        if column == 3 {
            flags = field;
        }
        rest = after.trim_start_matches(' ');
    }
    let listens = u32::from_str_radix(flags, 16).ok()? & 0x1_0000 != 0;
    rest.strip_prefix('@').filter(|_| listens)
}

fn command_socket(address: &str) -> Option<FoundSocket> {
    let owner = address.strip_suffix("/command")?;
    let (lxc_path, name) = owner.rsplit_once('/')?;
    if lxc_path == "lxc" {
        let hashed = name.len() == 16
            && name
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        return hashed.then(|| FoundSocket::Hashed {
            address: address.as_bytes().to_vec(),
        });
    }
    if !lxc_path.starts_with('/') {
        return None;
    }
    Some(FoundSocket::Plain {
        lxc_path: lxc_path.to_owned(),
        name: ContainerName::new(name).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(path: &str, name: &str) -> ContainerLayout {
        ContainerLayout::new(path, ContainerName::new(name).unwrap())
    }

    #[test]
    fn paths_of_a_container() {
        let c1 = layout("/var/lib/lxc/", "c1");
        assert_eq!(c1.config(), Path::new("/var/lib/lxc/c1/config"));
        assert_eq!(c1.rootfs(), Path::new("/var/lib/lxc/c1/rootfs"));
        assert_eq!(c1.log_file(), Path::new("/var/log/lxc/c1.log"));
        assert_eq!(
            c1.lock_file(Path::new("/run")),
            Path::new("/run/lxc/lock/var/lib/lxc/.c1")
        );
        assert_eq!(
            layout("/srv/lxc", "c1").log_file(),
            Path::new("/srv/lxc/c1/c1.log")
        );
    }

    #[test]
    fn command_sockets_are_hashed_from_106_bytes_on() {
        assert_eq!(
            layout("/var/lib/lxc", "c1").command_socket(),
            b"/var/lib/lxc/c1/command"
        );
        // 106 - len("/" + "/c1" + "/command")
        let longest_plain = format!("/{}", "p".repeat(105 - 1 - "/c1/command".len()));
        let address = layout(&longest_plain, "c1").command_socket();
        assert_eq!(address.len(), 105);
        assert!(address.ends_with(b"/c1/command"));
        let hashed = layout(&format!("{longest_plain}p"), "c1").command_socket();
        let expected = format!(
            "lxc/{:016x}/command",
            fnv1a_64(format!("{longest_plain}p/c1").as_bytes())
        );
        assert_eq!(hashed, expected.into_bytes());
    }

    /// Published test vectors of FNV-1a.
    #[test]
    fn fnv_vectors() {
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn monitord_addresses() {
        assert_eq!(
            monitor_fifo(Path::new("/run"), "/var/lib/lxc"),
            Path::new("/run/lxc/var/lib/lxc/monitor-fifo")
        );
    }

    #[test]
    fn sockets_in_proc_net_unix() {
        let text = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 19041 @/var/lib/lxc/c1/command
0000000000000000: 00000003 00000000 00000000 0001 03 19050 @/var/lib/lxc/c1/command
0000000000000000: 00000002 00000000 00010000 0001 01 19041 @lxc/0123456789abcdef/command
0000000000000000: 00000002 00000000 00010000 0001 01 19044 @lxc/zz/command
0000000000000000: 00000002 00000000 00010000 0001 01 19042 /run/dbus/system_bus_socket
0000000000000000: 00000002 00000000 00010000 0001 01 19043 @/srv/my lxc/c2/command
0000000000000000: 00000002 00000000 00010000 0001 01 19045 @/var/lib/lxc/../command
0000000000000000: 00000002 00000000 00010000 0001 01    77 /run/x @/var/lib/lxc/c9/command
broken
";
        assert_eq!(
            command_sockets(text),
            [
                FoundSocket::Plain {
                    lxc_path: "/var/lib/lxc".into(),
                    name: ContainerName::new("c1").unwrap()
                },
                FoundSocket::Hashed {
                    address: b"lxc/0123456789abcdef/command".to_vec()
                },
                FoundSocket::Plain {
                    lxc_path: "/srv/my lxc".into(),
                    name: ContainerName::new("c2").unwrap()
                },
            ]
        );
    }

    #[test]
    fn global_values() {
        let text = "#lxc.lxcpath = /no\n lxc.lxcpath = /srv/lxc \nlxc.lxcpath=/second\nlxc.default_config =\n";
        assert_eq!(global_value(text, "lxc.lxcpath"), Some("/srv/lxc"));
        assert_eq!(global_value(text, "lxc.default_config"), None);
        assert_eq!(global_value(text, "lxc.bdev.lvm.vg"), None);
    }
}
