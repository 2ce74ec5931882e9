//! The container's /dev: nodes, devpts, console and ttys.

use super::mounts::{copy_tree, filesystem};
use super::root::{Root, attach};
use crate::failure::{At, Step};
use crate::terminal::{self, Terminal};
use gantry_core::settings::{ConsolePath, Settings};
use rustix::fs::{
    CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, makedev, mknodat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::io;
use std::os::fd::OwnedFd;

const STEP: &str = "preparing /dev";

const CONSOLE: &str = "console";

/// Nodes that every container has: name, major and minor number.
const NODES: [(&str, u32, u32); 6] = [
    ("full", 1, 7),
    ("null", 1, 3),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
];

/// Links of the standard streams.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// What `lxc.pty.max` sets for the kernel when it is 0 or 1, which stock LXC
/// takes for "not set".
const DEFAULT_PTYS: u32 = 1024;

/// Mounts an empty /dev.
pub(crate) fn mount(root: &Root, settings: &Settings) -> Step<()> {
    let size = settings.autodev_size.to_string();
    let data = [("size", Some(size.as_str())), ("mode", Some("755"))];
    root.make_directory("dev")
        .and_then(|target| {
            attach(
                filesystem("tmpfs", "none", &data, MountAttrFlags::empty())?,
                target,
            )
        })
        .at(STEP, || "cannot mount a tmpfs on /dev".to_owned())
}

/// Fills /dev with nodes and links.
pub(crate) fn populate(root: &Root, settings: &Settings) -> Step<()> {
    let dev = root
        .open("dev", OFlags::PATH | OFlags::DIRECTORY)
        .at(STEP, || "cannot open /dev".to_owned())?;
    let may_make_nodes = settings.is_privileged();
    for (name, major, minor) in NODES {
        make_node(root, &dev, name, major, minor, may_make_nodes)
            .at(STEP, || format!("cannot make /dev/{name}"))?;
    }
    for (name, target) in LINKS {
        match symlinkat(target, &dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).at(STEP, || format!("cannot make /dev/{name}")),
        }
    }
    Ok(())
}

fn make_node(
    root: &Root,
    dev: &OwnedFd,
    name: &str,
    major: u32,
    minor: u32,
    may_make: bool,
) -> io::Result<()> {
    let device = makedev(major, minor);
    if may_make {
        match mknodat(
            dev,
            name,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            device,
        ) {
            Ok(()) | Err(Errno::EXIST) => return Ok(()),
            Err(Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let tree = copy_tree(CWD, format!("/dev/{name}"), false)?;
    let status = fstat(&tree)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::CharacterDevice
        || status.st_rdev != device
    {
        return Err(io::Error::other(format!(
            "the host's /dev/{name} is not device {major}:{minor}"
        )));
    }
    attach(tree, root.make_file(format!("dev/{name}"))?)
}

/// The container's terminals.
pub(crate) struct Terminals {
    /// The root of its devpts.
    pub(crate) devpts: OwnedFd,
    pub(crate) console: Option<Terminal>,
    pub(crate) ttys: Vec<Terminal>,
}

/// Mounts devpts, and opens and places console and ttys.
pub(crate) fn make_terminals(root: &Root, settings: &Settings) -> Step<Terminals> {
    let devpts = mount_devpts(root, settings).at(STEP, || "cannot mount /dev/pts".to_owned())?;
    let directory = settings
        .tty_dir
        .as_deref()
        .map(|name| name.trim_matches('/'))
        .filter(|name| !name.is_empty());
    let console = match settings.console.path {
        ConsolePath::None => None,
        _ => Some(
            place(root, &devpts, directory, CONSOLE)
                .and_then(|console| give_to_init(console, settings))
                .at(STEP, || "cannot make /dev/console".to_owned())?,
        ),
    };
    let ttys = (1..=settings.tty_max)
        .map(|number| {
            let name = format!("tty{number}");
            place(root, &devpts, directory, &name).at(STEP, || format!("cannot make /dev/{name}"))
        })
        .collect::<Step<Vec<_>>>()?;
    Ok(Terminals {
        devpts,
        console,
        ttys,
    })
}

fn mount_devpts(root: &Root, settings: &Settings) -> io::Result<OwnedFd> {
    let target = root.make_directory("dev/pts")?;
    let ptys = if settings.pty_max <= 1 {
        DEFAULT_PTYS
    } else {
        settings.pty_max
    };
    let max = ptys.saturating_add(settings.tty_max).to_string();
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = [
        ("ptmxmode", Some("0666")),
        ("mode", Some("0620")),
        ("max", Some(max.as_str())),
        ("gid", Some("5")),
    ];
    let tree = match filesystem("devpts", "devpts", &options, attributes) {
        // Group 5 may not be mapped.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => filesystem(
            "devpts",
            "devpts",
            options.get(..3).unwrap_or_default(),
            attributes,
        )?,
        tree => tree?,
    };
    attach(tree, target)?;
    if let Err(error) = root
        .make_file("dev/ptmx")
        .and_then(|place| attach(copy_tree(root.handle("dev/pts/ptmx")?, "", false)?, place))
    {
        crate::log::debug(format!("/dev/ptmx becomes a link: {error}"));
        let dev = root.open("dev", OFlags::PATH | OFlags::DIRECTORY)?;
        match unlinkat(&dev, "ptmx", rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        symlinkat("pts/ptmx", &dev, "ptmx")?;
    }
    root.open("dev/pts", OFlags::RDONLY | OFlags::DIRECTORY)
}

/// What init's streams are is its user's, who may open it anew (`/dev/stderr`).
fn give_to_init(console: Terminal, settings: &Settings) -> io::Result<Terminal> {
    let owner = Uid::from_raw(settings.init.uid);
    fchown(&console.slave, Some(owner), None::<Gid>)?;
    fchmod(&console.slave, Mode::from_raw_mode(0o600))?;
    Ok(console)
}

/// Opens a pseudoterminal and shows its slave as /dev/NAME, or as
/// /dev/DIRECTORY/NAME with a link to it. The console is there itself, too.
fn place(
    root: &Root,
    devpts: &OwnedFd,
    directory: Option<&str>,
    name: &str,
) -> io::Result<Terminal> {
    let terminal = terminal::open(devpts)?;
    let show = |path: String| {
        let tree = copy_tree(devpts, terminal.number.to_string(), false)?;
        terminal::check_slave(&tree, terminal.number)?;
        attach(tree, root.make_file(path)?)
    };
    let Some(directory) = directory else {
        show(format!("dev/{name}"))?;
        return Ok(terminal);
    };
    show(format!("dev/{directory}/{name}"))?;
    let dev = root.open("dev", OFlags::PATH | OFlags::DIRECTORY)?;
    match unlinkat(&dev, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    if name == CONSOLE {
        show(format!("dev/{name}"))?;
    } else {
        symlinkat(format!("{directory}/{name}"), &dev, name)?;
    }
    Ok(terminal)
}
