//! What an image runs, as lines of a container's config: as LXC's template `lxc-oci` has
//! them, and `lxc.init.cmd`, so that starting it runs that too.

use super::super::bootstrap::put_name;
use super::ImageConfig;
use crate::error::{Error, Result};
use crate::work::Work;
use gantry_core::config::{Config, SkipIncludes};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What LXC has for all containers, and for these.
const INCLUDES: [&str; 2] = [
    "/usr/share/lxc/config/common.conf",
    "/usr/share/lxc/config/oci.common.conf",
];
/// And for those with ids of their own.
const MAPPED_INCLUDE: &str = "/usr/share/lxc/config/userns.conf";
/// Where programs are looked for if the image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What runs a program with variables of its own.
const ENV: [&str; 2] = ["/usr/bin/env", "/bin/env"];
/// Where nobody but root can put programs, on every host.
const SYSTEM: [&str; 4] = ["/usr", "/bin", "/sbin", "/opt"];
/// What asks a program to end that says nothing else: few know that of LXC.
const STOP_SIGNAL: &str = "SIGTERM";
/// The most bytes of /etc/passwd and /etc/group that are read.
const MOST: u64 = 1 << 20;
/// Parts of names of variables that have programs load or run what these say.
const LOADING: [&str; 23] = [
    "PATH",
    "LIB",
    "LOAD",
    "MODULE",
    "PLUGIN",
    "HOME",
    "TMP",
    "SHELL",
    "EDITOR",
    "PAGER",
    "OPTS",
    "OPTIONS",
    "STARTUP",
    "PROMPT",
    "GCONV",
    "TUNABLES",
    "HOSTALIASES",
    "PYTHON",
    "PERL",
    "RUBY",
    "NODE",
    "JAVA",
    "GIT",
];

/// A container of an image.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Whole lines for its config.
    pub(crate) lines: String,
    /// They include what LXC has for all containers.
    pub(crate) includes: bool,
    /// What whoever made it is told.
    pub(crate) message: String,
}

impl ImageConfig {
    /// Makes what was unpacked a container of this name. `owner` are the host's ids of its
    /// root; `mapped`: it has ids of its own.
    pub(crate) fn settle(
        &self,
        root: &OwnedFd,
        name: &str,
        owner: (u32, u32),
        mapped: bool,
        work: &Work,
    ) -> Result<Settled> {
        put_name(root, name, owner)?;
        let mut text = Lines::default();
        let includes = INCLUDES.into_iter().chain(mapped.then_some(MAPPED_INCLUDE));
        let includes: Vec<&str> = includes.filter(|path| Path::new(path).exists()).collect();
        for path in &includes {
            text.set("lxc.include", path);
        }
        let directory = match self.directory.starts_with('/') {
            true => self.directory.as_str(),
            false => "/",
        };
        make_directory(root, directory, owner)
            .map_err(|error| Error::path("making", Path::new(directory), &error))?;
        text.set("lxc.init.cwd", directory);
        let (uid, gid) = self.ids(root)?;
        text.set("lxc.init.uid", &uid.to_string());
        text.set("lxc.init.gid", &gid.to_string());
        let kept = self.set_environment(root, &mut text, work);
        let command = [kept, self.command(root, directory)].concat();
        text.set("lxc.execute.cmd", &command);
        let runs = text.set("lxc.init.cmd", &command);
        if !text.set("lxc.signal.halt", &self.stop_signal) {
            text.set("lxc.signal.halt", STOP_SIGNAL);
        }
        if !runs {
            return Err(Error::Unsupported(
                "what the image runs does not fit into a line of a config".to_owned(),
            ));
        }
        Ok(Settled {
            message: format!(
                "The image is of an application: the container runs {command} and nothing else, and its network is up only if that sees to it or the config gives an address."
            ),
            includes: !includes.is_empty(),
            lines: text.0,
        })
    }

    /// Sets the image's variables. Those which hooks would heed are for what the image runs
    /// alone: gives the words that have env(1) of the image see to that, if it has one, for
    /// LXC has a key for it only since version 7.
    fn set_environment(&self, root: &OwnedFd, text: &mut Lines, work: &Work) -> String {
        let env = ENV.into_iter().find(|path| is_program(root, path));
        let mut kept = String::new();
        for variable in &self.environment {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            let fits = name.len() < variable.len()
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_graphic())
                && !value.chars().any(char::is_control);
            let is_kept = fits && reaches_init_alone(variable);
            let why = match env {
                Some(env) if is_kept && !name.starts_with('-') => {
                    if kept.is_empty() {
                        kept = format!("{env} ");
                    }
                    kept.push_str(&quoted(variable));
                    kept.push(' ');
                    "is kept from hooks"
                }
                _ if is_kept && text.set("lxc.environment.runtime", variable) => {
                    "is kept from hooks; LXC before version 7 cannot read this config"
                }
                _ if fits && !is_kept && text.set("lxc.environment", variable) => continue,
                _ => "is left out: it does not fit into a line of a config",
            };
            work.log(format!(
                "the image's variable {} {why}",
                name.escape_debug()
            ));
        }
        kept
    }

    /// The user and the group, by the files of the image.
    fn ids(&self, root: &OwnedFd) -> Result<(u32, u32)> {
        let (user, group) = self.user.split_once(':').unwrap_or((&self.user, ""));
        let passwd = read(root, "etc/passwd")?;
        let fields = |text: &'_ str, test: &dyn Fn(&[&str]) -> bool| -> Option<Vec<String>> {
            let lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let mut found = lines.filter(|fields| fields.len() >= 4 && test(fields));
            found
                .next()
                .map(|f| f.into_iter().map(str::to_owned).collect())
        };
        let unknown = |what: &str, name: &str| {
            Error::InvalidArgument(format!(
                "the image is to run as the {what} '{}', whom it does not have",
                name.escape_debug()
            ))
        };
        let number = |fields: &[String], at: usize| fields.get(at)?.parse::<u32>().ok();
        let (uid, own_group) = match (user, user.parse::<u32>()) {
            ("", _) => (0, Some(0)),
            (_, Ok(uid)) => {
                let line = fields(&passwd, &|f| f.get(2) == Some(&user));
                (uid, line.and_then(|line| number(&line, 3)))
            }
            _ => {
                let line = fields(&passwd, &|f| f.first() == Some(&user));
                let line = line.ok_or_else(|| unknown("user", user))?;
                let uid = number(&line, 2).ok_or_else(|| unknown("user", user))?;
                (uid, number(&line, 3))
            }
        };
        let gid = match (group, group.parse::<u32>()) {
            ("", _) => own_group.unwrap_or(0),
            (_, Ok(gid)) => gid,
            _ => {
                let line = fields(&read(root, "etc/group")?, &|f| f.first() == Some(&group));
                let line = line.ok_or_else(|| unknown("group", group))?;
                number(&line, 2).ok_or_else(|| unknown("group", group))?
            }
        };
        Ok((uid, gid))
    }

    /// What it runs, as one line.
    fn command(&self, root: &OwnedFd, directory: &str) -> String {
        let shell = ["/bin/sh".to_owned()];
        let words = match self.command.as_slice() {
            [] => &shell[..],
            words => words,
        };
        let mut line = Vec::new();
        for (at, word) in words.iter().enumerate() {
            line.push(match at {
                0 => quoted(&self.program(root, directory, word)),
                _ => quoted(word),
            });
        }
        line.join(" ")
    }

    /// The path of a program that the image names.
    fn program(&self, root: &OwnedFd, directory: &str, name: &str) -> String {
        if name.starts_with('/') {
            return name.to_owned();
        }
        if name.contains('/') {
            return format!("{}/{name}", directory.trim_end_matches('/'));
        }
        let path = self
            .environment
            .iter()
            .find_map(|v| v.strip_prefix("PATH="));
        let found = path
            .unwrap_or(PATH)
            .split(':')
            .filter(|place| place.starts_with('/'))
            .map(|place| format!("{}/{name}", place.trim_end_matches('/')))
            .find(|path| is_program(root, path));
        found.unwrap_or_else(|| format!("/bin/{name}"))
    }
}

/// Lines of a config.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Sets a key, if the value makes sense there; a list gets one more. Says whether.
    fn set(&mut self, key: &str, value: &str) -> bool {
        if value.is_empty() || value.chars().any(char::is_control) {
            return false;
        }
        let path = Path::new("config");
        let mut config = Config::read(path, std::mem::take(&mut self.0), &mut SkipIncludes);
        let done = config.append(key, value, &mut SkipIncludes).is_ok();
        self.0 = config.text().to_owned();
        done
    }
}

/// A word as a command line of LXC's has it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| !matches!(c, ' ' | '\t' | '\'' | '"');
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let parts: Vec<String> = word.split('\'').map(|part| format!("'{part}'")).collect();
    parts.join("\"'\"")
}

/// Whether a variable, which an image has chosen, is to be kept from hooks: these run as
/// root on the host. The usual PATH is harmless there.
fn reaches_init_alone(variable: &str) -> bool {
    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
    let is_systems = |place: &str| {
        SYSTEM.iter().any(|top| {
            place
                .strip_prefix(top)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }) && !place.split('/').any(|part| part == "..")
    };
    if name == "PATH" {
        return !value.split(':').all(is_systems);
    }
    let is_usual = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let upper = name.to_ascii_uppercase();
    !name.chars().all(is_usual)
        || [
            "LD_",
            "LXC_",
            "BASH",
            "ENV",
            "IFS",
            "PS4",
            "LC_ALL",
            "XDG_",
            "CDPATH",
            "GLOBIGNORE",
        ]
        .iter()
        .any(|start| upper.starts_with(start))
        || LOADING.iter().any(|part| upper.contains(part))
}

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

fn is_program(root: &OwnedFd, path: &str) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(root, path, flags, Mode::empty(), IN_ROOT);
    let metadata = file.ok().and_then(|file| File::from(file).metadata().ok());
    metadata.is_some_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A text file of the image; the empty text if it has none.
fn read(root: &OwnedFd, path: &str) -> Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat2(root, path, flags, Mode::empty(), IN_ROOT) else {
        return Ok(String::new());
    };
    let file = File::from(file);
    let failed = |error: io::Error| Error::path("reading", Path::new(path), &error);
    if !file.metadata().map_err(failed)?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes a directory of the container's, and those above it that are missing.
fn make_directory(root: &OwnedFd, path: &str, owner: (u32, u32)) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &str| rustix::fs::openat2(root, path, flags, Mode::empty(), IN_ROOT);
    let (mut above, mut way) = (open(".")?, String::new());
    for part in path
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
    {
        way.push('/');
        way.push_str(part);
        above = match open(&way) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&above, part, Mode::from_raw_mode(0o755))?;
                let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(&above, part, Some(uid), Some(gid), flags)?;
                open(&way)?
            }
            // Something else is there; the start tells.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
            directory => directory?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::files;
    use gantry_core::values::command_words;
    use std::os::unix::fs::MetadataExt;

    fn settled(config: &ImageConfig) -> (tempfile::TempDir, Result<Settled>) {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
        for folder in ["etc", "usr/bin"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        write(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:::\n",
        );
        write("etc/group", "root:x:0:\nmail:x:8:\n");
        write("usr/bin/serve", "");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(root.path().join("usr/bin/serve"), mode).unwrap();
        let fd = files::open_directory(root.path()).unwrap();
        let metadata = root.path().metadata().unwrap();
        let owner = (metadata.uid(), metadata.gid());
        let (work, _observer) = Work::new();
        let settled = config.settle(&fd, "box", owner, true, &work);
        (root, settled)
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn an_image_becomes_lines() {
        let config = ImageConfig {
            user: "web:mail".into(),
            directory: "/srv/new/app".into(),
            command: texts(&["serve", "-c", "it's on", ""]),
            environment: texts(&["A=b c", "PATH=/usr/bin:/bin", "LD_PRELOAD=/x", "bare"]),
            stop_signal: "SIGQUIT".into(),
            ..ImageConfig::default()
        };
        let (root, settled) = settled(&config);
        let settled = settled.unwrap();
        for line in [
            "lxc.init.uid = 33\n",
            "lxc.init.gid = 8\n",
            "lxc.init.cwd = /srv/new/app\n",
            "lxc.environment = A=b c\n",
            "lxc.environment = PATH=/usr/bin:/bin\n",
            "lxc.environment.runtime = LD_PRELOAD=/x\n",
            "lxc.signal.halt = SIGQUIT\n",
        ] {
            assert!(settled.lines.contains(line), "{line} in {}", settled.lines);
        }
        assert!(!settled.lines.contains("bare"));
        let read = Config::read(Path::new("c"), settled.lines, &mut SkipIncludes);
        let command = command_words(read.get("lxc.init.cmd").unwrap());
        assert_eq!(command, ["/usr/bin/serve", "-c", "it's on", ""]);
        assert!(root.path().join("srv/new/app").is_dir());
    }

    #[test]
    fn env_keeps_variables_from_hooks() {
        let config = ImageConfig {
            command: texts(&["env", "x y"]),
            environment: texts(&["HOME=/a b", "A=b", "-x=LIB", "JAVA_HOME=/opt/java"]),
            ..ImageConfig::default()
        };
        let (root, _) = settled(&config);
        std::fs::copy(
            root.path().join("usr/bin/serve"),
            root.path().join("usr/bin/env"),
        )
        .unwrap();
        let fd = files::open_directory(root.path()).unwrap();
        let (work, _observer) = Work::new();
        let mut lines = Lines::default();
        let kept = config.set_environment(&fd, &mut lines, &work);
        let command = [kept, config.command(&fd, "/")].concat();
        assert_eq!(
            command_words(&command),
            [
                "/usr/bin/env",
                "HOME=/a b",
                "JAVA_HOME=/opt/java",
                "/usr/bin/env",
                "x y"
            ]
        );
        assert_eq!(
            lines.0,
            "lxc.environment = A=b\nlxc.environment.runtime = -x=LIB\n"
        );
    }

    #[test]
    fn an_unknown_user_is_named() {
        let config = ImageConfig {
            user: "nobody-knows".into(),
            ..ImageConfig::default()
        };
        let error = settled(&config).1.unwrap_err();
        assert!(error.to_string().contains("nobody-knows"), "{error}");
    }

    #[test]
    fn variables_that_hooks_would_heed_are_known() {
        for heeded in [
            "PATH=/tmp",
            "PATH=",
            "PATH=/usr/../tmp",
            "LXC_ROOTFS_MOUNT=/",
            "BASH_ENV=/x",
            "a.b=c",
        ] {
            assert!(reaches_init_alone(heeded), "{heeded}");
        }
        for plain in [
            "PATH=/usr/local/bin:/usr/lib/postgresql/17/bin",
            "LANG=C",
            "PG_MAJOR=17",
        ] {
            assert!(!reaches_init_alone(plain), "{plain}");
        }
    }
}
