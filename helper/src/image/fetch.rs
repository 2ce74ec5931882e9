//! Having files fetched, read and verified by workers.

use super::backup::Told;
use super::catalog::is_word;
use super::confined::Workers;
use super::outside::{
    BACKUP, DOCUMENT, Document, Entry, FETCH, INDEX, Order, PROPERTIES, READ, Said, VERIFY, WORKER,
};
use super::server::Server;
use super::unpack::{Target, refuse_full};
use super::worker::VERIFIER;
use crate::error::{Error, Result};
use crate::linux::memfd;
use crate::linux::spawn::Child;
use crate::work::Work;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

/// How often a file is tried while nothing more of it comes.
const TRIES: u32 = 3;
/// How long is waited before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// The most bytes of all that a worker says.
const MOST_SAID: u64 = 64 << 20;
/// How long a list or a signature may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the rate is measured before it is told.
const RATE_AFTER: Duration = Duration::from_millis(500);

/// Fetches files of one server.
#[derive(Debug)]
pub(crate) struct Fetcher<'a, W> {
    pub(crate) workers: &'a W,
    pub(crate) server: &'a Server,
    /// Where free space is looked at.
    pub(crate) place: &'a Path,
    pub(crate) work: &'a Work,
}

/// A file that is wanted.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// Its path on the server.
    pub(crate) path: &'a str,
    /// The most bytes it may have.
    pub(crate) limit: u64,
    /// Goes on with what the file holds already.
    pub(crate) resume: bool,
    /// The ETag of what there is.
    pub(crate) tag: Option<String>,
    /// Tells the job's bytes and rate.
    pub(crate) shown: bool,
    /// The kinds of content to ask for; empty: any.
    pub(crate) accept: &'a str,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The file is there; its ETag.
    Whole(Option<String>),
    /// It is as it was.
    Same,
    /// The server has none.
    Missing,
}

impl<W: Workers> Fetcher<'_, W> {
    /// Fetches into `file`, and goes on where a connection breaks. When this fails or is
    /// cancelled, what has come stays, to be gone on with.
    pub(crate) async fn fetch(&self, wanted: &Wanted<'_>, file: &File) -> Result<Fetched> {
        let name = wanted.path.rsplit('/').next().unwrap_or_default();
        let mut order = Order {
            url: self.server.file(wanted.path),
            proxy: self.server.proxy(),
            accept: wanted.accept.to_owned(),
            login: self.server.login().cloned(),
            offset: if wanted.resume { length(file)? } else { 0 },
            tag: wanted.tag.clone(),
            limit: wanted.limit,
        };
        let mut progress = Progress::new(self.work, name, wanted.shown);
        let (mut failures, mut tag) = (0, wanted.tag.clone());
        loop {
            self.work.check()?;
            let before = order.offset;
            match self.attempt(&order, file, &mut progress, &mut tag).await? {
                Said::Done => return Ok(Fetched::Whole(tag)),
                Said::Same => return Ok(Fetched::Same),
                Said::Missing => return Ok(Fetched::Missing),
                Said::Broken(reason) => {
                    order.offset = length(file)?;
                    order.tag = tag.clone().filter(|_| order.offset > 0);
                    failures = if order.offset > before {
                        1
                    } else {
                        failures + 1
                    };
                    if failures >= TRIES {
                        return Err(Error::Failed(format!(
                            "{} cannot be had: {reason}; look whether the server can be reached and try again, what has come is kept",
                            order.url
                        )));
                    }
                    self.work.log(format!("{name}: {reason}; trying again"));
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = self.work.cancelled() => {}
                    }
                }
                Said::Refused(reason) => {
                    return Err(Error::Failed(format!(
                        "{} cannot be had: {reason}",
                        order.url
                    )));
                }
                Said::Begun { .. } | Said::Bytes(_) => {
                    return Err(Error::Failed(
                        "the worker that fetches ended early".to_owned(),
                    ));
                }
            }
        }
    }

    /// One connection. Gives the last word.
    async fn attempt(
        &self,
        order: &Order,
        file: &File,
        progress: &mut Progress<'_>,
        tag: &mut Option<String>,
    ) -> Result<Said> {
        let failed = |error: io::Error| Error::io("starting to fetch", &error);
        let text = serde_json::to_vec(order).map_err(|error| failed(error.into()))?;
        let order = memfd::sealed_bytes("order", &text).map_err(failed)?;
        let (mut child, said) = start(self.workers, FETCH, order.as_fd(), &[file.as_fd()])?;
        let mut lines = BufReader::new(said.take(MOST_SAID)).lines();
        let mut last = None;
        let end = loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => match serde_json::from_str(&line) {
                        Ok(Said::Begun { offset, total, tag: now }) => {
                            *tag = now;
                            progress.begin(offset, total);
                        }
                        Ok(Said::Bytes(bytes)) => {
                            progress.tell(bytes);
                            if let Err(error) = refuse_full(Target::directory(self.place)) { break Err(error) }
                        }
                        Ok(word) => last = Some(word),
                        Err(_) => break Err(Error::Failed("the worker that fetches said what nobody understands".to_owned())),
                    },
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(Error::io("hearing of what is fetched", &error)),
                },
                () = self.work.cancelled() => break self.work.check(),
            }
        };
        if end.is_err() {
            child.kill();
        }
        child.ended().await;
        end?;
        last.ok_or_else(|| {
            Error::Failed(
                "the worker that fetches came to an end; the helper's log may say why".to_owned(),
            )
        })
    }
}

fn length(file: &File) -> Result<u64> {
    let metadata = file.metadata();
    metadata
        .map(|found| found.len())
        .map_err(|error| Error::io("looking at a file", &error))
}

/// Starts a worker. Gives what it says, too.
fn start(
    workers: &impl Workers,
    what: &str,
    input: BorrowedFd<'_>,
    files: &[BorrowedFd<'_>],
) -> Result<(Child, pipe::Receiver)> {
    let failed = |error: io::Error| Error::io("starting a worker", &error);
    let (said, out) = io::pipe().map_err(failed)?;
    let log = io::stderr();
    let mut fds = vec![Some(input), Some(out.as_fd()), Some(log.as_fd())];
    fds.extend(files.iter().copied().map(Some));
    let helper = std::process::id().to_string();
    let child = workers.start(&[WORKER, what, &helper], &fds)?;
    let said = pipe::Receiver::from_owned_fd(said.into()).map_err(failed)?;
    Ok((child, said))
}

/// Has a worker read a list of images.
pub(crate) async fn read(workers: &impl Workers, list: &File) -> Result<Vec<Entry>> {
    rewind(list)?;
    let (mut child, said) = start(workers, READ, list.as_fd(), &[])?;
    let reading = async {
        let mut lines = BufReader::new(said.take(MOST_SAID)).lines();
        let mut entries = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str::<Entry>(&line) {
                // The worker has read what nobody trusts.
                Ok(entry) if entry.is_sound() => entries.push(entry),
                _ => break,
            }
        }
        entries
    };
    let entries = tokio::time::timeout(PATIENCE, reading).await;
    child.kill();
    child.ended().await;
    entries.map_err(|_| {
        Error::TimedOut("reading the server's list of images takes too long".to_owned())
    })
}

/// Has a worker read an index of lists. Gives their paths.
pub(crate) async fn read_index(workers: &impl Workers, index: &File) -> Result<Vec<String>> {
    let paths: Vec<String> = read_as(workers, INDEX, index).await?.unwrap_or_default();
    // The worker has read what nobody trusts.
    let is_sound = |path: &String| path.len() <= 512 && path.split('/').all(is_word);
    Ok(paths.into_iter().filter(is_sound).collect())
}

/// Has a worker read a document of an OCI image. None: it is none.
pub(crate) async fn read_document(
    workers: &impl Workers,
    document: &File,
) -> Result<Option<Document>> {
    read_as(workers, DOCUMENT, document).await
}

/// Has a worker read what an image says of itself: no word for it is trusted.
pub(crate) async fn read_properties(
    workers: &impl Workers,
    metadata: &File,
) -> Result<BTreeMap<String, String>> {
    Ok(read_as(workers, PROPERTIES, metadata)
        .await?
        .unwrap_or_default())
}

/// Has a worker read what a backup of Incus says of itself.
///
/// # Errors
/// [`Error::InvalidArgument`] with what is wrong with it.
pub(crate) async fn read_backup(workers: &impl Workers, name: &str, file: &File) -> Result<Told> {
    let told: Option<std::result::Result<Told, String>> = read_as(workers, BACKUP, file).await?;
    told.unwrap_or_else(|| Err("it is too long, or too much to read".to_owned()))
        .map_err(|reason| {
            Error::InvalidArgument(format!("the backup's {name} cannot be read: {reason}"))
        })
}

/// What a worker of this kind makes of a file. None: nothing.
async fn read_as<T: DeserializeOwned>(
    workers: &impl Workers,
    what: &str,
    file: &File,
) -> Result<Option<T>> {
    rewind(file)?;
    let (mut child, said) = start(workers, what, file.as_fd(), &[])?;
    let reading = async {
        let mut text = Vec::new();
        said.take(MOST_SAID).read_to_end(&mut text).await.ok()?;
        Some(text)
    };
    let text = tokio::time::timeout(PATIENCE, reading).await;
    child.kill();
    child.ended().await;
    let text =
        text.map_err(|_| Error::TimedOut("reading what the image is takes too long".to_owned()))?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// Whether a signature of `data` is good, and by one of the keys.
pub(crate) async fn is_signed(
    workers: &impl Workers,
    data: &File,
    signature: &File,
    keys: BorrowedFd<'_>,
) -> Result<bool> {
    if !Path::new(VERIFIER).exists() {
        return Err(Error::Unsupported(
            "signatures cannot be checked: sqv is missing; install sqv".to_owned(),
        ));
    }
    rewind(data)?;
    rewind(signature)?;
    let files = [signature.as_fd(), keys];
    let (mut child, said) = start(workers, VERIFY, data.as_fd(), &files)?;
    let judging = async {
        drain(said).await;
        child.ended().await
    };
    let Ok(status) = tokio::time::timeout(PATIENCE, judging).await else {
        child.kill();
        return Err(Error::TimedOut(
            "checking a signature takes too long".to_owned(),
        ));
    };
    Ok(status == 0)
}

async fn drain(said: impl AsyncRead + Unpin) {
    // Fingerprints, of which nothing is made.
    let mut sink = Vec::new();
    said.take(1 << 16)
        .read_to_end(&mut sink)
        .await
        .unwrap_or_default();
}

pub(crate) fn rewind(mut file: &File) -> Result<()> {
    io::Seek::rewind(&mut file).map_err(|error| Error::io("reading what was fetched", &error))
}

/// Tells bytes, rate and time left.
struct Progress<'a> {
    work: &'a Work,
    name: String,
    shown: bool,
    since: Instant,
    first: u64,
    total: Option<u64>,
}

impl<'a> Progress<'a> {
    fn new(work: &'a Work, name: &str, shown: bool) -> Self {
        Self {
            work,
            name: name.to_owned(),
            shown,
            since: Instant::now(),
            first: 0,
            total: None,
        }
    }

    fn begin(&mut self, offset: u64, total: Option<u64>) {
        (self.since, self.first, self.total) = (Instant::now(), offset, total);
        if self.shown {
            self.work.stage(&format!("downloading {}", self.name));
            self.work.total(total.unwrap_or(0));
            self.work.bytes(offset);
        }
    }

    fn tell(&self, bytes: u64) {
        if !self.shown {
            return;
        }
        self.work.bytes(bytes);
        let time = self.since.elapsed();
        if time >= RATE_AFTER {
            let pace = pace(
                bytes.saturating_sub(self.first),
                time,
                self.total.map(|total| total.saturating_sub(bytes)),
            );
            self.work
                .stage(&format!("downloading {}: {pace}", self.name));
        }
    }
}

/// `3.2 MB/s, 12 s left`
fn pace(bytes: u64, time: Duration, left: Option<u64>) -> String {
    let rate =
        u64::try_from(u128::from(bytes) * 1000 / time.as_millis().max(1)).unwrap_or(u64::MAX);
    let (whole, unit) = match rate {
        1_000_000.. => (rate / 100_000, "MB"),
        _ => (rate / 100, "kB"),
    };
    let mut text = format!("{}.{} {unit}/s", whole / 10, whole % 10);
    if let Some(left) = left.filter(|_| rate > 0) {
        let seconds = left.div_ceil(rate);
        text.push_str(&match seconds {
            0..120 => format!(", {seconds} s left"),
            _ => format!(", {} min left", seconds.div_ceil(60)),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_said_in_few_words() {
        let second = Duration::from_secs(1);
        assert_eq!(
            pace(3_200_000, second, Some(32_000_000)),
            "3.2 MB/s, 10 s left"
        );
        assert_eq!(pace(500, second, Some(500_000)), "0.5 kB/s, 17 min left");
        assert_eq!(pace(0, second, Some(5)), "0.0 kB/s");
        assert_eq!(pace(10_000, second, None), "10.0 kB/s");
    }
}
