//! `finish`: does the last that a copy needs before it is a container, or one with another
//! name: its name inside, and the hooks for clones.

use crate::config;
use crate::failure::{At, Step, failed, failure};
use crate::hooks::Hooks;
use crate::log;
use crate::message;
use crate::setup::{attach, copy_tree, filesystem, mount_point, prepare_rootfs};
use crate::sys::MountAttributes;
use gantry_core::config::Config;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{FailureKind, FinishCopy, Report};
use gantry_core::settings::{HookStage, RENAMING_HOOK, Rootfs, Settings};
use gantry_core::values::mount::MountOptions;
use gantry_core::values::rootfs::RootfsKind;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, fchmod, fchown, fstat,
    mkdirat, openat, openat2, readlinkat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const STEP: &str = "finishing the copy";

/// The most bytes of a file in which a name is replaced.
const MAX_FILE: u64 = 1 << 20;

/// Does it as long as the other end of `starter` is open, and reports there that all
/// went well, or what failed.
pub(crate) fn main(layout: &ContainerLayout, starter: OwnedFd) -> ExitCode {
    let ran = run(layout, &starter);
    log::report_to(Some(starter));
    match ran {
        Ok(left) => {
            if let Some(left) = left {
                log::warn(left);
            }
            log::report(&Report::Done);
            ExitCode::SUCCESS
        }
        Err(failure) => log::report_failure(failure),
    }
}

/// Gives back what was left as it was.
fn run(layout: &ContainerLayout, starter: &OwnedFd) -> Step<Option<String>> {
    let received =
        message::receive(starter).at(STEP, || "cannot read what is to be done".to_owned())?;
    let Some((request, _)) = received else {
        return failed(FailureKind::Cancelled, STEP, "The request was withdrawn.");
    };
    let request: FinishCopy = request;
    be_apart()?;
    if request.directory != layout.name().as_str() {
        show(layout, &request.directory)?;
    }
    let (config, settings, _) = config::load(layout)?;
    let Some(rootfs) = &settings.rootfs else {
        return Ok(None);
    };
    let root = mount(rootfs);
    let mut left = None;
    if let Some(arguments) = &request.hooks {
        log::open(layout, &settings)?;
        let root = root.as_ref().map_err(Clone::clone)?;
        run_hooks(
            layout, &config, &settings, root, &request, arguments, starter,
        )?;
        let lines = settings.hooks.of(HookStage::Clone);
        if lines.iter().any(|line| line == RENAMING_HOOK) {
            let renamed = rename_in_files(root, &request.source, layout.name().as_str());
            left = renamed
                .err()
                .map(|error| format!("its files go on to name {}: {error}", request.source));
        }
    }
    if request.host_name {
        let named = root.and_then(|root| {
            set_host_name(&root, layout.name().as_str()).at(STEP, || "cannot write it".to_owned())
        });
        if let Err(failure) = named {
            left = Some(format!(
                "its /etc/hostname stays as it was: {}",
                failure.message
            ));
        }
    }
    Ok(left)
}

/// From now on nobody else sees what is mounted here.
fn be_apart() -> Step<()> {
    let be_apart = || -> io::Result<()> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        let at = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let slave = MountAttributes::propagate(MountPropagationFlags::DOWNSTREAM);
        crate::sys::mount_setattr(openat(CWD, "/", at, Mode::empty())?, true, &slave)
    };
    be_apart().at(STEP, || "cannot make a mount namespace".to_owned())
}

/// Shows the copy where the container is to be: its config and hooks know it by the paths
/// there.
fn show(layout: &ContainerLayout, directory: &str) -> Step<()> {
    let what = || format!("cannot show it as {}", layout.directory().display());
    let show = || -> io::Result<()> {
        let at = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let reading = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let there = openat(CWD, layout.lxc_path(), reading, Mode::empty())?;
        let view = filesystem(
            "tmpfs",
            "gantry",
            &[("mode", Some("0755"))],
            MountAttrFlags::empty(),
        )?;
        attach(&view, openat(CWD, layout.lxc_path(), at, Mode::empty())?)?;
        let put = |name: &std::ffi::CStr, from: &std::ffi::CStr| -> io::Result<()> {
            mkdirat(&view, name, Mode::from_raw_mode(0o700))?;
            let place = openat(&view, name, at | OFlags::NOFOLLOW, Mode::empty())?;
            attach(copy_tree(&there, path_of(from), true)?, place)
        };
        for entry in Dir::read_from(&there)? {
            let entry = entry?;
            let name = entry.file_name();
            match entry.file_type() {
                _ if name == c"." || name == c".." => {}
                FileType::Directory => put(name, name)?,
                FileType::Symlink => {
                    let target = readlinkat(&there, name, Vec::new())?;
                    symlinkat(target, &view, name)?;
                }
                _ => {}
            }
        }
        let c_string = |text: &str| std::ffi::CString::new(text);
        put(&c_string(layout.name().as_str())?, &c_string(directory)?)
    };
    show().at(STEP, what)
}

fn path_of(name: &std::ffi::CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

/// Mounts the root file system, where it is not simply a directory, and gives its path.
fn mount(rootfs: &Rootfs) -> Step<PathBuf> {
    if rootfs.path.kind == RootfsKind::Dir {
        return Ok(PathBuf::from(&rootfs.path.path));
    }
    let no_options = MountOptions::parse("")
        .map_err(|reason| failure(FailureKind::InvalidConfig, STEP, reason))?;
    let plain = Rootfs {
        options: no_options,
        ..rootfs.clone()
    };
    let tree = prepare_rootfs(&plain, None)?;
    let place = mount_point(rootfs)?;
    openat(
        CWD,
        &place,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(io::Error::from)
    .and_then(|opened| attach(tree, opened))
    .at(STEP, || {
        format!("cannot mount its root file system on {}", place.display())
    })?;
    Ok(place)
}

fn run_hooks(
    layout: &ContainerLayout,
    config: &Config,
    settings: &Settings,
    root: &Path,
    request: &FinishCopy,
    arguments: &[String],
    starter: &OwnedFd,
) -> Step<()> {
    let mut hooks = Hooks::new(layout, settings, root, |stage| stage == HookStage::Clone)?;
    hooks.tell("LXC_SRC_NAME", request.source.as_str());
    // Here alone LXC says the store, too.
    let rootfs = config.get("lxc.rootfs.path").unwrap_or_default();
    hooks.tell("LXC_ROOTFS_PATH", rootfs);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    hooks.run(HookStage::Clone, &arguments, Some(starter))
}

/// Below the root, and nowhere else.
fn open_below(root: impl std::os::fd::AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(openat2(root, path, flags, Mode::empty(), resolve)?)
}

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    Ok(openat(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )?)
}

/// Writes /etc/hostname anew, with the owner that /etc has.
fn set_host_name(root: &Path, name: &str) -> io::Result<()> {
    let etc = open_below(open_root(root)?, "etc", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let owner = fstat(&etc)?;
    replace(
        &etc,
        "hostname",
        format!("{name}\n").as_bytes(),
        &owner,
        0o644,
    )
}

/// What [`RENAMING_HOOK`] does: in the files that name the host, the new name takes the
/// place of the old one, once in each line.
fn rename_in_files(root: &Path, old: &str, new: &str) -> io::Result<()> {
    let root = open_root(root)?;
    const SCRIPTS: &str = "etc/sysconfig/network-scripts";
    rename_in(&root, "etc", "hosts", old, new)?;
    rename_in(&root, "etc/sysconfig", "network", old, new)?;
    let scripts = match open_below(&root, SCRIPTS, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(scripts) => scripts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in Dir::read_from(&scripts)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok(name) if name.starts_with("ifcfg-") => rename_in(&root, SCRIPTS, name, old, new)?,
            _ => {}
        }
    }
    Ok(())
}

fn rename_in(root: &OwnedFd, folder: &str, name: &str, old: &str, new: &str) -> io::Result<()> {
    let opened = open_below(root, folder, OFlags::RDONLY | OFlags::DIRECTORY)
        .and_then(|folder| Ok((open_below(&folder, name, OFlags::RDONLY)?, folder)));
    let (file, folder) = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let status = fstat(&file)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    let mut text = Vec::new();
    File::from(file).take(MAX_FILE + 1).read_to_end(&mut text)?;
    let Ok(text) = String::from_utf8(text) else {
        return Ok(());
    };
    let renamed: String = text
        .split_inclusive('\n')
        .map(|line| line.replacen(old, new, 1))
        .collect();
    if renamed == text || text.len() as u64 > MAX_FILE {
        return Ok(());
    }
    replace(&folder, name, renamed.as_bytes(), &status, status.st_mode)
}

/// Puts a new file in the place of what a directory has under a name.
fn replace(
    directory: &OwnedFd,
    name: &str,
    bytes: &[u8],
    owner: &Stat,
    mode: u32,
) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::from_raw_mode(0o600))?;
    let (uid, gid) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    fchown(&file, Some(uid), Some(gid))?;
    fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
    File::from(file).write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_name_takes_the_place_of_the_old_one_in_its_files_alone() {
        let name: [u8; 8] = crate::sys::random().unwrap();
        let root = std::env::temp_dir().join(format!("gantry-{:x}", u64::from_ne_bytes(name)));
        let scripts = root.join("etc/sysconfig/network-scripts");
        std::fs::create_dir_all(&scripts).unwrap();
        std::fs::write(root.join("victim"), "web").unwrap();
        for path in [
            "etc/hosts",
            "etc/sysconfig/network-scripts/ifcfg-eth0",
            "etc/web",
        ] {
            std::fs::write(root.join(path), "127.0.1.1 web web\n::1 web").unwrap();
        }
        std::os::unix::fs::symlink("../../victim", root.join("etc/sysconfig/network")).unwrap();
        // A link in their place is nothing to follow.
        assert!(rename_in_files(&root, "web", "twin").is_err());
        std::fs::remove_file(root.join("etc/sysconfig/network")).unwrap();
        rename_in_files(&root, "web", "db").unwrap();
        let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        // Once a line, as LXC's script; the first call had come to it already.
        assert_eq!(text("etc/hosts"), "127.0.1.1 twin db\n::1 twin");
        assert_eq!(
            text("etc/sysconfig/network-scripts/ifcfg-eth0"),
            "127.0.1.1 db web\n::1 db"
        );
        assert_eq!(
            (text("etc/web"), text("victim")),
            ("127.0.1.1 web web\n::1 web".into(), "web".into())
        );
        std::fs::remove_dir_all(root).unwrap();
    }
}
