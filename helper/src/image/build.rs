//! Root file systems that programs of the host make: LXC's script templates and
//! debootstrap. They run with root's powers, and what they make goes through the same
//! unpacking as every archive.

use super::confined::{Workers, tar};
use super::unpack::{Target, refuse_full};
use crate::error::{Error, Result};
use crate::linux::script::WORKER;
use crate::linux::spawn::Child;
use crate::work::Work;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

/// Where LXC keeps its script templates.
const TEMPLATES: &str = "/usr/share/lxc/templates";
/// The most lines of a program that are passed on, and bytes of all of them.
const MOST_LINES: usize = 20_000;
const MOST_SAID: u64 = 64 << 20;
/// How often free space is looked at.
const SPACE_INTERVAL: Duration = Duration::from_millis(500);

/// The script of a template of this name.
///
/// # Errors
/// `InvalidArgument` when there is none, `NotAuthorized` when others than root could have
/// written it.
pub(crate) fn script(name: &str) -> Result<PathBuf> {
    if !super::catalog::is_word(name) {
        return Err(Error::InvalidArgument(format!(
            "'{}' is not the name of a template",
            name.escape_debug()
        )));
    }
    let path = Path::new(TEMPLATES).join(format!("lxc-{name}"));
    let metadata = match path.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.mode() & 0o111 != 0 => metadata,
        _ => {
            return Err(Error::InvalidArgument(format!(
                "there is no template '{name}': use busybox, debootstrap, download, local or oci, or install {}",
                path.display()
            )));
        }
    };
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err(Error::NotAuthorized(format!(
            "{} can be written by others than root; it is not run",
            path.display()
        )));
    }
    Ok(path)
}

/// A program and its arguments.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Its absolute path.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// The proxy that it is told of, `http://HOST:PORT`; may be empty.
    pub(crate) proxy: String,
}

impl Tool {
    /// Runs it to its end; what it says goes to the log of the work.
    pub(crate) async fn run(
        &self,
        workers: &impl Workers,
        place: &Path,
        work: &Work,
    ) -> Result<()> {
        let failed = |error: io::Error| Error::path("starting", &self.program, &error);
        let (said, out) = io::pipe().map_err(failed)?;
        let mut child = self.start(workers, &[None, Some(out.as_fd()), Some(out.as_fd())])?;
        drop(out);
        let said = pipe::Receiver::from_owned_fd(said.into()).map_err(failed)?;
        let mut lines = BufReader::new(said.take(MOST_SAID)).lines();
        let mut space = tokio::time::interval(SPACE_INTERVAL);
        let (mut count, mut last) = (0, String::new());
        let end = loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => {
                        let line: String = line.chars().filter(|c| !c.is_control()).take(400).collect();
                        count += 1;
                        if count < MOST_LINES {
                            work.log(&line);
                        }
                        if !line.trim().is_empty() {
                            last = line;
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(failed(error)),
                },
                _ = space.tick() => if let Err(error) = refuse_full(Target::directory(place)) { break Err(error) },
                () = work.cancelled() => break work.check(),
            }
        };
        if end.is_err() {
            child.kill();
        }
        let status = child.ended().await;
        end?;
        match status {
            0 => Ok(()),
            status => Err(Error::Failed(format!(
                "{} ended with status {status}: {last}",
                self.program.display()
            ))),
        }
    }

    /// Starts it with these descriptors. It ends with the child.
    pub(crate) fn start(
        &self,
        workers: &impl Workers,
        fds: &[Option<BorrowedFd<'_>>],
    ) -> Result<Child> {
        let helper = std::process::id().to_string();
        let program = self.program.to_string_lossy();
        let mut args = vec![WORKER, &helper, &self.proxy, &program];
        args.extend(self.arguments.iter().map(String::as_str));
        workers.start(&args, fds)
    }
}

/// What packs a tree into a tar, which keeps all that a file has.
pub(crate) fn packer(tree: &Path, to: &str) -> Result<Tool> {
    let options = [
        "--create",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--sparse",
    ];
    let mut arguments: Vec<String> = options.map(str::to_owned).into();
    arguments.extend([
        format!("--file={to}"),
        format!("--directory={}", tree.display()),
    ]);
    arguments.extend(["--", "."].map(str::to_owned));
    Ok(Tool {
        program: tar()?.into(),
        arguments,
        proxy: String::new(),
    })
}

/// A tree as a stream, which is cut short when it cannot be read.
pub(crate) fn stream(workers: &impl Workers, tree: &Path) -> Result<OwnedFd> {
    let failed = |error: io::Error| Error::path("reading", tree, &error);
    let (stream, out) = io::pipe().map_err(failed)?;
    packer(tree, "-")?.start(workers, &[None, Some(out.as_fd()), None])?;
    Ok(stream.into())
}
