//! A root file system around the host's busybox: init, getty, login, a DHCP
//! client and a shell, without a network to fetch anything from.

use crate::error::{Error, Result};
use crate::linux::files;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::process::Stdio;

/// Where distributions put busybox, those first that keep a static one.
const PROGRAMS: [&str; 5] = [
    "/usr/bin/busybox",
    "/bin/busybox",
    "/usr/lib/busybox/bin/busybox",
    "/sbin/busybox.static",
    "/usr/sbin/busybox.static",
];
/// More than any build of busybox needs.
const MAX_PROGRAM: u64 = 64 << 20;

const DIRECTORIES: [(&str, u32); 28] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/init.d", 0o755),
    ("etc/network", 0o755),
    ("etc/udhcpc", 0o755),
    ("home", 0o755),
    ("lib", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sbin", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/lib", 0o755),
    ("usr/sbin", 0o755),
    ("usr/share", 0o755),
    ("usr/share/udhcpc", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

const FILES: [(&str, u32, &str); 12] = [
    ("etc/inittab", 0o644, include_str!("busybox/inittab")),
    ("etc/init.d/rcS", 0o755, include_str!("busybox/rcS")),
    (
        "usr/share/udhcpc/default.script",
        0o755,
        include_str!("busybox/udhcpc"),
    ),
    // Where Debian's build looks for it.
    (
        "etc/udhcpc/default.script",
        0o755,
        include_str!("busybox/udhcpc"),
    ),
    (
        "etc/passwd",
        0o644,
        "root::0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/:/bin/false\n",
    ),
    (
        "etc/group",
        0o644,
        "root:x:0:\ntty:x:5:\nutmp:x:43:\nnogroup:x:65534:\n",
    ),
    ("etc/shells", 0o644, "/bin/sh\n/bin/ash\n"),
    (
        "etc/profile",
        0o644,
        "export PATH=/bin:/sbin:/usr/bin:/usr/sbin\nexport PS1='\\u@\\h:\\w\\$ '\n",
    ),
    ("etc/resolv.conf", 0o644, ""),
    (
        "etc/issue",
        0o644,
        "busybox on \\n, log in as root without a password\n\n",
    ),
    ("etc/nsswitch.conf", 0o644, "hosts: files dns\n"),
    ("etc/fstab", 0o644, ""),
];

/// Lines of the container's config that differ from other containers'.
pub(crate) const CONFIG: &str = "\
lxc.signal.halt = SIGUSR1
lxc.signal.reboot = SIGTERM
lxc.tty.max = 2
lxc.mount.entry = tmpfs dev/shm tmpfs rw,nosuid,nodev,create=dir 0 0
lxc.mount.entry = mqueue dev/mqueue mqueue rw,create=dir,optional 0 0
";

/// What is to be known for logging in.
pub(crate) const FIRST_LOGIN: &str = "Log in as root; there is no password. Set one with passwd.";

/// The host's busybox, opened.
#[derive(Debug)]
pub(crate) struct Busybox {
    program: File,
    applets: Vec<String>,
}

impl Busybox {
    /// Finds a static busybox and asks it for its applets.
    pub(crate) fn find() -> Result<Self> {
        let program = PROGRAMS
            .iter()
            .find_map(|path| {
                open_static(Path::new(path))
                    .ok()
                    .flatten()
                    .map(|file| (*path, file))
            })
            .ok_or_else(|| {
                Error::Unsupported("there is no static busybox; install busybox-static".to_owned())
            })?;
        let (path, program) = program;
        let failed = |error: io::Error| Error::path("asking", Path::new(path), &error);
        let output = std::process::Command::new(path)
            .arg("--list-full")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(failed)?;
        let applets: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| is_plain(line))
            .map(str::to_owned)
            .collect();
        if !applets.iter().any(|applet| applet == "sbin/init") {
            return Err(Error::Unsupported(format!(
                "{path} has no init; install busybox-static"
            )));
        }
        Ok(Self { program, applets })
    }

    /// Fills an empty directory. Everything belongs to the host's ids `owner`.
    pub(crate) fn install(
        mut self,
        root: BorrowedFd<'_>,
        name: &str,
        owner: (u32, u32),
    ) -> Result<()> {
        let tree = Tree {
            root,
            owner: (Uid::from_raw(owner.0), Gid::from_raw(owner.1)),
        };
        let failed = |error: io::Error| Error::io("writing the root file system", &error);
        for (path, mode) in DIRECTORIES {
            tree.directory(path, mode).map_err(failed)?;
        }
        for (path, mode, text) in FILES {
            tree.file(path, mode, &mut text.as_bytes())
                .map_err(failed)?;
        }
        tree.file("etc/hostname", 0o644, &mut format!("{name}\n").as_bytes())
            .map_err(failed)?;
        let hosts =
            format!("127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost\n");
        tree.file("etc/hosts", 0o644, &mut hosts.as_bytes())
            .map_err(failed)?;
        tree.link("../run", "var/run").map_err(failed)?;
        self.program.rewind().map_err(failed)?;
        tree.file("bin/busybox", 0o755, &mut self.program.take(MAX_PROGRAM))
            .map_err(failed)?;
        for applet in &self.applets {
            match rustix::fs::linkat(root, "bin/busybox", root, applet, AtFlags::empty()) {
                // A build may name an applet twice, or one that has our file's name.
                Ok(()) | Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        Ok(())
    }
}

/// Applets are `bin/ls` and the like: nothing that leads elsewhere.
fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && path.len() < 64
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// Opens a program if it needs no other file to run.
fn open_static(path: &Path) -> io::Result<Option<File>> {
    let (mut file, _) = files::open_regular(&path.canonicalize()?)?;
    let mut header = Vec::new();
    (&mut file).take(4096).read_to_end(&mut header)?;
    Ok(is_static(&header).then_some(file))
}

/// Whether the start of a 64-bit ELF file asks for no interpreter (elf(5)).
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| {
        elf.get(at..at + 2)
            .and_then(|b| b.try_into().ok())
            .map(u16::from_ne_bytes)
    };
    let word = |at: usize| {
        elf.get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .map(u32::from_ne_bytes)
    };
    let long = |at: usize| {
        elf.get(at..at + 8)
            .and_then(|b| b.try_into().ok())
            .map(u64::from_ne_bytes)
    };
    let is_64_bit = elf.starts_with(b"\x7fELF\x02");
    let (Some(start), Some(size), Some(count)) = (long(32), half(54), half(56)) else {
        return false;
    };
    let Ok(start) = usize::try_from(start) else {
        return false;
    };
    let kinds =
        (0..usize::from(count)).map(|index| word(start.saturating_add(index * usize::from(size))));
    is_64_bit
        && kinds
            .clone()
            .all(|kind| kind.is_some_and(|kind| kind != PT_INTERP))
}

/// Where files are made. Nobody else can reach it yet.
struct Tree<'a> {
    root: BorrowedFd<'a>,
    owner: (Uid, Gid),
}

impl Tree<'_> {
    fn directory(&self, path: &str, mode: u32) -> io::Result<()> {
        rustix::fs::mkdirat(self.root, path, Mode::from_raw_mode(0o700))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.finish(
            rustix::fs::openat(self.root, path, flags, Mode::empty())?,
            mode,
        )
    }

    fn link(&self, to: &str, path: &str) -> io::Result<()> {
        let (uid, gid) = self.owner;
        rustix::fs::symlinkat(to, self.root, path)?;
        let itself = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(
            self.root,
            path,
            Some(uid),
            Some(gid),
            itself,
        )?)
    }

    fn file(&self, path: &str, mode: u32, content: &mut impl Read) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(
            self.root,
            path,
            flags,
            Mode::from_raw_mode(0o600),
        )?);
        io::copy(content, &mut file)?;
        file.flush()?;
        self.finish(file.into(), mode)
    }

    fn finish(&self, made: OwnedFd, mode: u32) -> io::Result<()> {
        rustix::fs::fchown(made.as_fd(), Some(self.owner.0), Some(self.owner.1))?;
        Ok(rustix::fs::fchmod(made, Mode::from_raw_mode(mode))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_no_applet() {
        assert!(is_plain("usr/bin/awk"));
        for bad in ["", "../x", "/bin/x", "bin/../../x"] {
            assert!(!is_plain(bad), "{bad}");
        }
    }

    #[test]
    fn this_test_is_a_dynamic_program() {
        let mut header = vec![0; 4096];
        File::open("/proc/self/exe")
            .unwrap()
            .read_exact(&mut header)
            .unwrap();
        assert!(!is_static(&header));
        assert!(!is_static(b"#!/bin/sh"));
    }

    #[test]
    fn a_root_file_system_has_what_init_needs() {
        let Ok(busybox) = Busybox::find() else {
            println!("skipped: no static busybox here");
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        let root = files::open_directory(directory.path()).unwrap();
        let me = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        busybox.install(root.as_fd(), "web", me).unwrap();
        for program in [
            "sbin/init",
            "sbin/getty",
            "bin/login",
            "sbin/udhcpc",
            "bin/sh",
        ] {
            let mut start = [0; 4];
            File::open(directory.path().join(program))
                .unwrap()
                .read_exact(&mut start)
                .unwrap();
            assert_eq!(&start, b"\x7fELF", "{program}");
        }
        assert_eq!(
            std::fs::read_to_string(directory.path().join("etc/hostname")).unwrap(),
            "web\n"
        );
    }
}
