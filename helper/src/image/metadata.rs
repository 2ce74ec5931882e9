//! What an image says beside its root file system (`meta.tar.xz`): lines of config, files
//! in which names are put in place, and what its users are told.

use super::catalog::is_word;
use crate::error::{Error, Result};
use crate::linux::files;
use gantry_core::config::{Config, SkipIncludes};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// The files that are read, without what their names may go on with.
const NAMES: [&str; 6] = [
    "config",
    "create-message",
    "excludes",
    "expiry",
    "fstab",
    "templates",
];
/// The level of the template whose files count: LXC 5 and 6.
const LEVEL: &str = ".7";
/// The most bytes of such a file, and of one in which names are put in place.
const MOST: u64 = 1 << 20;
/// The most lines that are looked at.
const MOST_LINES: usize = 500;
/// Where LXC keeps what images' configs include.
const INCLUDES: &str = "/usr/share/lxc/config";
/// LXC's hooks.
const HOOKS: &str = "/usr/share/lxc/hooks";
/// Keys that are the container's own.
const OWN_KEYS: [&str; 5] = [
    "lxc.rootfs",
    "lxc.uts.name",
    "lxc.utsname",
    "lxc.idmap",
    "lxc.id_map",
];

/// The texts of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    texts: BTreeMap<String, String>,
    /// Containers are mapped to ids of their own, for which images have files of their own.
    pub(crate) mapped: bool,
}

/// What an image has a container's config begin with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigLines {
    /// Whole lines.
    pub(crate) text: String,
    /// Whether they include what LXC has for all containers.
    pub(crate) includes: bool,
    /// Lines that are not honoured.
    pub(crate) left_out: Vec<String>,
}

/// The name, the directory and the root file system of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) directory: &'a Path,
    pub(crate) rootfs: &'a Path,
}

impl Metadata {
    /// Whether a file of this name is read.
    pub(crate) fn is_read(name: &str) -> bool {
        is_word(name)
            && NAMES.iter().any(|known| {
                name.strip_prefix(known)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
            })
    }

    /// Reads the files in a directory.
    pub(crate) fn load(directory: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::path("reading", directory, &error);
        let mut texts = BTreeMap::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str().filter(|name| Self::is_read(name)) else {
                continue;
            };
            let (file, _) = files::open_regular(&directory.join(name)).map_err(failed)?;
            let bytes = files::read_bounded(&file, MOST).map_err(failed)?;
            texts.insert(
                name.to_owned(),
                String::from_utf8_lossy(&bytes).into_owned(),
            );
        }
        Ok(Self {
            texts,
            mapped: false,
        })
    }

    /// The text that counts, as LXC's template chooses among files of several names.
    fn text(&self, name: &str) -> Option<&str> {
        let mode = if self.mapped { "user" } else { "system" };
        let of_mode = format!("{name}-{mode}");
        let name = if self.texts.contains_key(&of_mode) {
            &of_mode
        } else {
            name
        };
        let level = format!("{name}{LEVEL}");
        self.texts
            .get(&level)
            .or_else(|| self.texts.get(name))
            .map(String::as_str)
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.text(name).unwrap_or_default().lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.chars().any(char::is_control))
            .take(MOST_LINES)
    }

    /// When it is to be looked for anew, in seconds since 1970.
    pub(crate) fn expiry(&self) -> Option<u64> {
        self.text("expiry")?.trim().parse().ok()
    }

    /// What is not to be unpacked, as patterns of tar.
    pub(crate) fn excludes(&self) -> Vec<String> {
        self.lines("excludes").map(str::to_owned).collect()
    }

    /// What whoever made the container is told: who to log in as, how to set a password.
    pub(crate) fn message(&self) -> String {
        let text = self.text("create-message").unwrap_or_default();
        let plain: String = text
            .chars()
            .filter(|c| *c == '\n' || !c.is_control())
            .take(4000)
            .collect();
        plain.trim().to_owned()
    }

    /// The lines for the container's config. What equals root on the host is left out, but
    /// for what LXC's own files, which are root's, say.
    pub(crate) fn config(&self, place: Place<'_>) -> ConfigLines {
        let mut found = ConfigLines::default();
        for line in self.lines("config").filter(|line| line.starts_with("lxc.")) {
            let line = substituted(line, place);
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let (key, value) = (key.trim(), value.trim());
            if OWN_KEYS.iter().any(|own| key.starts_with(own)) {
                continue;
            }
            let keep = match key {
                "lxc.include" => {
                    let name = value
                        .strip_prefix(INCLUDES)
                        .and_then(|rest| rest.strip_prefix('/'));
                    let is_for_all = name.is_some_and(|name| self.may_include(name));
                    let is_known = is_for_all && Path::new(value).exists();
                    found.includes |= is_known && includes_common(Path::new(value));
                    is_known
                }
                _ => is_harmless(&line),
            };
            if keep {
                found.text.push_str(&line);
                found.text.push('\n');
            } else {
                found.left_out.push(line);
            }
        }
        found.left_out.extend(
            self.lines("fstab")
                .filter(|line| !line.starts_with('#'))
                .map(str::to_owned),
        );
        found
    }

    /// Whether an image decides that one of LXC's files is included: those with what all
    /// containers have. Others take walls away, also that for mapped containers.
    fn may_include(&self, name: &str) -> bool {
        let is = |kind: &str| {
            name.strip_suffix(kind)
                .is_some_and(|of| of.is_empty() || of.ends_with('.'))
        };
        is_word(name) && (is("common.conf") || (self.mapped && is("userns.conf")))
    }

    /// Puts the container's name in place in the files that the image names.
    pub(crate) fn put_in_place(&self, root: BorrowedFd<'_>, place: Place<'_>) -> Result<()> {
        for path in self.lines("templates") {
            match put_in_place(root, path, place) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Error::path(
                        "writing in the root file system",
                        Path::new(path),
                        &error,
                    ));
                }
            }
        }
        Ok(())
    }
}

fn substituted(text: &str, place: Place<'_>) -> String {
    text.replace("LXC_NAME", place.name)
        .replace("LXC_PATH", &place.directory.to_string_lossy())
        .replace("LXC_ROOTFS", &place.rootfs.to_string_lossy())
        .replace("LXC_TEMPLATE_CONFIG", INCLUDES)
        .replace("LXC_HOOK_DIR", HOOKS)
}

/// Whether one of LXC's files is the one for all containers, or includes it.
fn includes_common(path: &Path) -> bool {
    const COMMON: &str = "common.conf";
    let names_it = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or_default();
        key.trim() == "lxc.include" && Path::new(value.trim()).ends_with(COMMON)
    };
    path.ends_with(COMMON)
        || std::fs::read_to_string(path).is_ok_and(|text| text.lines().any(names_it))
}

/// Whether a line alone is right, and does not equal root on the host.
fn is_harmless(line: &str) -> bool {
    let read = |text: &str| Config::read(Path::new("config"), text.to_owned(), &mut SkipIncludes);
    let config = read(&format!("{line}\n"));
    config.check().is_ok() && config.unsafe_changes(&read("")).is_empty()
}

fn put_in_place(root: BorrowedFd<'_>, path: &str, place: Place<'_>) -> io::Result<()> {
    // Whoever made the image decides what lies at the path: a link leads nowhere else, and
    // a FIFO holds nobody up.
    let flags =
        OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let mut file = match rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        // A link, a directory, or a FIFO that nobody writes to: no text.
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::ISDIR | rustix::io::Errno::NXIO) => {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MOST {
        return Ok(());
    }
    let mut text = String::new();
    if (&mut file).take(MOST).read_to_string(&mut text).is_err() {
        return Ok(());
    }
    let new = substituted(&text, place);
    if new == text {
        return Ok(());
    }
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(new.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(files: &[(&str, &str)]) -> Metadata {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Metadata::load(directory.path()).unwrap()
    }

    fn place() -> Place<'static> {
        let directory = Path::new("/var/lib/lxc/web");
        Place {
            name: "web",
            directory,
            rootfs: directory,
        }
    }

    #[test]
    fn files_are_chosen_by_mode_and_level() {
        let mut image = metadata(&[
            ("config", "lxc.arch = a\n"),
            ("config-user", "lxc.arch = b\n"),
            ("config-user.7", "lxc.arch = c\n"),
            ("config.1", "lxc.arch = d\n"),
            ("expiry", "17\n"),
            ("passwd", "x"),
        ]);
        assert_eq!(image.text("config"), Some("lxc.arch = a\n"));
        image.mapped = true;
        assert_eq!(image.text("config"), Some("lxc.arch = c\n"));
        assert_eq!(image.expiry(), Some(17));
        assert!(!image.texts.contains_key("passwd"));
    }

    #[test]
    fn what_equals_root_on_the_host_is_left_out() {
        let image = metadata(&[(
            "config",
            "# a comment\nlxc.arch = x86_64\nlxc.hook.start = /bin/LXC_NAME\nlxc.include = /etc/passwd\n\
             lxc.include = LXC_TEMPLATE_CONFIG/../x\nlxc.rootfs.path = /\nlxc.mount.entry = /etc mnt none bind 0 0\nrubbish\n",
        )]);
        let lines = image.config(place());
        assert_eq!(lines.text, "lxc.arch = x86_64\n");
        assert!(!lines.includes);
        assert_eq!(lines.left_out.len(), 4, "{:?}", lines.left_out);
        assert_eq!(lines.left_out[0], "lxc.hook.start = /bin/web");
    }

    #[test]
    fn an_image_cannot_take_walls_away_by_files_of_lxc() {
        let mut image = metadata(&[]);
        let may = |image: &Metadata, name| image.may_include(name);
        assert!(may(&image, "common.conf") && may(&image, "debian.common.conf"));
        for name in [
            "userns.conf",
            "nesting.conf",
            "uncommon.conf",
            "../common.conf",
        ] {
            assert!(!may(&image, name), "{name}");
        }
        image.mapped = true;
        assert!(may(&image, "userns.conf") && may(&image, "debian.userns.conf"));
        assert!(!may(&image, "nesting.conf"));
    }

    #[test]
    fn names_are_put_in_place_inside_alone() {
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "LXC_NAME").unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/hostname"), "LXC_NAME\n").unwrap();
        std::os::unix::fs::symlink(&victim, root.path().join("etc/link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("out")).unwrap();
        nix::unistd::mkfifo(&root.path().join("etc/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let image = metadata(&[(
            "templates",
            "/etc/hostname\n/etc/link\n/out/victim\n/etc/fifo\n/etc\n/etc/missing\n../../victim\n",
        )]);
        let fd = files::open_directory(root.path()).unwrap();
        image.put_in_place(fd.as_fd(), place()).unwrap();
        assert_eq!(
            std::fs::read_to_string(root.path().join("etc/hostname")).unwrap(),
            "web\n"
        );
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "LXC_NAME");
    }

    #[test]
    fn messages_are_plain_text() {
        let image = metadata(&[(
            "create-message",
            "\nUse \u{1b}[1mpasswd\u{1b}[0m\nto set it\n\n",
        )]);
        assert_eq!(image.message(), "Use [1mpasswd[0m\nto set it");
    }
}
