//! Workers of this program (linux/worker.rs), as the helper sees them.

use super::stream::Compression;
use crate::error::{Error, Result};
use crate::linux::spawn::Child;
use crate::linux::worker::{NOT_CONFINED, Report};
use crate::work::Work;
use gantry_core::idmap::{IdKind, IdMaps, IdRange};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

/// Places of GNU tar.
const TARS: [&str; 2] = ["/usr/bin/tar", "/bin/tar"];
/// The most lines of a worker's that are passed on.
const MAX_LINES: usize = 200;
/// What tar says besides the cause of a failure.
const NOISE: [&str; 3] = ["Removing leading", "Exiting with", "Child returned"];

/// Who starts this program as a worker.
pub(crate) trait Workers: Sync {
    /// Starts it.
    fn start(&self, args: &[&str], fds: &[Option<BorrowedFd<'_>>]) -> Result<Child>;
}

/// Every id there is, for archives of containers with ids of the host.
pub(crate) fn all_ids() -> IdMaps {
    let all = IdRange {
        first: 0,
        count: u32::MAX,
    };
    IdMaps::for_range(all, all)
}

/// The path of tar.
pub(super) fn tar() -> Result<&'static str> {
    let tar = TARS.into_iter().find(|path| Path::new(path).exists());
    tar.ok_or_else(|| Error::Unsupported("tar is missing; install GNU tar".to_owned()))
}

/// The path of what packs and unpacks; none if nothing is to.
pub(super) fn packer(compression: Compression) -> Result<Option<String>> {
    let Some(program) = compression.program() else {
        return Ok(None);
    };
    let paths = ["/usr/bin", "/bin"].map(|place| format!("{place}/{program}"));
    let found = paths.into_iter().find(|path| Path::new(path).exists());
    found.map(Some).ok_or_else(|| {
        Error::Unsupported(format!(
            "the archive is packed with {program}; install {program}"
        ))
    })
}

/// Runs what blocks away from the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    flatten(tokio::task::spawn_blocking(work).await)
}

/// The result of a task.
pub(super) fn flatten<T>(
    result: std::result::Result<Result<T>, tokio::task::JoinError>,
) -> Result<T> {
    result.unwrap_or_else(|error| Err(Error::Failed(format!("the archive was lost: {error}"))))
}

/// A worker under way.
pub(super) struct Confined {
    child: Child,
    reports: Lines<BufReader<pipe::Receiver>>,
    said: JoinHandle<Vec<String>>,
    go: File,
}

impl Confined {
    /// Starts one with these as its standard input and output, and with mounts that it
    /// attaches.
    pub(super) fn start(
        workers: &impl Workers,
        args: &[&str],
        stdin: OwnedFd,
        stdout: Option<OwnedFd>,
        mounts: &[BorrowedFd<'_>],
        work: &Work,
    ) -> Result<Self> {
        let failed = |error: io::Error| Error::io("starting a worker", &error);
        let (said, stderr) = io::pipe().map_err(failed)?;
        let (reports, report) = io::pipe().map_err(failed)?;
        let (wait, go) = io::pipe().map_err(failed)?;
        let mut fds = vec![
            Some(stdin.as_fd()),
            stdout.as_ref().map(AsFd::as_fd),
            Some(stderr.as_fd()),
            Some(report.as_fd()),
            Some(wait.as_fd()),
        ];
        fds.extend(mounts.iter().copied().map(Some));
        let child = workers.start(args, &fds)?;
        let receiver = |pipe: io::PipeReader| pipe::Receiver::from_owned_fd(pipe.into());
        let said = receiver(said).map_err(failed)?;
        Ok(Self {
            child,
            reports: BufReader::new(receiver(reports).map_err(failed)?).lines(),
            said: tokio::spawn(collect_lines(said, work.clone())),
            go: OwnedFd::from(go).into(),
        })
    }

    /// Its next report; none when there will be no more.
    pub(super) async fn report(&mut self) -> Result<Option<Report>> {
        let failed = |error: io::Error| Error::io("hearing of a worker", &error);
        let line = self.reports.next_line().await.map_err(failed)?;
        line.map(|line| serde_json::from_str(&line).map_err(|error| failed(error.into())))
            .transpose()
    }

    /// Gives it its ids, and lets it go on. It has not been waited for, so that the pid
    /// is still its own.
    pub(super) fn map(&mut self, maps: &IdMaps) -> Result<()> {
        let pid = self.child.pid();
        let write =
            |file: &str, kind| std::fs::write(format!("/proc/{pid}/{file}"), maps.proc_text(kind));
        write("uid_map", IdKind::User)
            .and_then(|()| write("gid_map", IdKind::Group))
            .and_then(|()| self.go.write_all(b"g"))
            .map_err(|error| Error::io("giving a worker its ids", &error))
    }

    /// Waits for its end; gives the exit status and what it said.
    pub(super) async fn ended(&mut self) -> (i32, Vec<String>) {
        let status = self.child.ended().await;
        (status, (&mut self.said).await.unwrap_or_default())
    }

    /// Ends it, so that nothing of it goes on.
    pub(super) async fn end(&mut self) {
        self.child.kill();
        self.child.ended().await;
    }
}

async fn collect_lines(stderr: pipe::Receiver, work: Work) -> Vec<String> {
    let mut lines = BufReader::new(stderr.take(1 << 20)).lines();
    let mut kept = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let line: String = line.chars().filter(|c| !c.is_control()).take(400).collect();
        if kept.len() < MAX_LINES {
            work.log(line.clone());
            kept.push(line);
        }
    }
    kept
}

/// What the failure of a worker means for any archive; `Err` has the cause, if it means
/// something else for each.
pub(super) fn failure(status: i32, said: &[String]) -> std::result::Result<Error, String> {
    let has = |text: &str| said.iter().any(|line| line.contains(text));
    let cause = said
        .iter()
        .find(|line| !line.is_empty() && !NOISE.iter().any(|noise| line.contains(noise)));
    let cause = cause.map_or_else(|| format!("tar ended with status {status}"), Clone::clone);
    // A short write is how tar first meets a full disk.
    if has("No space left on device") || has("Wrote only") || has("Disk quota exceeded") {
        return Ok(Error::NoSpace(format!(
            "the disk is full ({cause}); free some space and try again"
        )));
    }
    if status == NOT_CONFINED {
        return Ok(Error::Failed(cause));
    }
    if status > 128 {
        return Ok(Error::Failed(format!(
            "tar was ended by signal {}; the host may lack memory",
            status - 128
        )));
    }
    Err(cause)
}
