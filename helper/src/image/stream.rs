//! A client's archive: a file, a pipe or a socket, of which nothing is
//! believed.

use crate::error::{Error, Result};
use crate::work::Work;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::net::{SocketType, sockopt::socket_type};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a client may send nothing.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often cancelling is looked for while nothing comes.
const POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
const CHUNK: usize = 256 * 1024;
/// tar(5): an archive ends in blocks of zeros.
const BLOCK: usize = 512;

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Not at all.
    Plain,
    /// gzip(1)
    Gzip,
    /// bzip2(1)
    Bzip2,
    /// xz(1)
    Xz,
    /// zstd(1)
    Zstd,
}

impl Compression {
    /// By the magic number at the start of a stream.
    pub(super) fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// By the name that callers give; none if it is none of those that are packed with.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        match name {
            "zstd" => Some(Self::Zstd),
            "gzip" => Some(Self::Gzip),
            "xz" => Some(Self::Xz),
            "none" => Some(Self::Plain),
            _ => None,
        }
    }

    /// The program that packs and unpacks it.
    pub(crate) fn program(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Bzip2 => Some("bzip2"),
            Self::Xz => Some("xz"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// An archive whose first bytes have been read.
#[derive(Debug)]
pub(crate) struct Stream {
    source: File,
    start: Vec<u8>,
    /// How it is packed.
    pub(crate) compression: Compression,
    /// Bytes in all, if it is a file.
    pub(crate) total: Option<u64>,
}

impl Stream {
    /// Checks what a client gave, without reading from it.
    pub(crate) fn check(fd: &OwnedFd) -> Result<Option<u64>> {
        let refuse = |what: &str| {
            Error::InvalidArgument(format!(
                "the archive {what}; give a file, a pipe or a socket"
            ))
        };
        let stat = fstat(fd).map_err(|error| Error::io("looking at the archive", &error.into()))?;
        let flags =
            fcntl_getfl(fd).map_err(|error| Error::io("looking at the archive", &error.into()))?;
        if flags.contains(OFlags::PATH) || flags & OFlags::ACCMODE == OFlags::WRONLY {
            return Err(refuse("is not open for reading"));
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let position = rustix::fs::tell(fd)
                    .map_err(|error| Error::io("reading the archive", &error.into()))?;
                Ok(Some(
                    u64::try_from(stat.st_size)
                        .unwrap_or_default()
                        .saturating_sub(position),
                ))
            }
            FileType::Fifo => Ok(None),
            // One without connections has no end.
            FileType::Socket if socket_type(fd).is_ok_and(|kind| kind == SocketType::STREAM) => {
                Ok(None)
            }
            _ => Err(refuse("is neither of them")),
        }
    }

    /// Reads the first bytes. Blocks: not for the runtime's threads.
    pub(crate) fn open(fd: OwnedFd, work: &Work) -> Result<Self> {
        let total = Self::check(&fd)?;
        let mut stream = Self {
            source: File::from(fd),
            start: Vec::new(),
            compression: Compression::Plain,
            total,
        };
        let mut start = [0; BLOCK];
        let mut filled = 0;
        while filled < start.len() {
            match stream.read(start.get_mut(filled..).unwrap_or_default(), work)? {
                0 => break,
                length => filled += length,
            }
        }
        stream.start = start.get(..filled).unwrap_or_default().to_vec();
        if stream.start.is_empty() {
            return Err(Error::InvalidArgument("the archive is empty".to_owned()));
        }
        stream.compression = Compression::detect(&stream.start);
        Ok(stream)
    }

    /// Copies everything into `sink`, telling how far it is. When the reader
    /// of `sink` has gone, that says why, and this is no error.
    pub(crate) fn pump(mut self, sink: OwnedFd, work: &Work) -> Result<()> {
        let mut sink = File::from(sink);
        let mut tail = [0xff; BLOCK];
        let mut bytes = 0;
        let mut chunk = std::mem::take(&mut self.start);
        work.total(self.total.unwrap_or(0));
        loop {
            match sink.write_all(&chunk) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Error::io("passing the archive on", &error)),
            }
            bytes += chunk.len() as u64;
            work.bytes(bytes);
            keep_tail(&mut tail, &chunk);
            chunk.resize(CHUNK, 0);
            let length = self.read(&mut chunk, work)?;
            chunk.truncate(length);
            if length == 0 {
                break;
            }
        }
        if self.compression == Compression::Plain && tail.iter().any(|byte| *byte != 0) {
            return Err(Error::VerificationFailed(
                "the archive is truncated or not a tar archive: it does not end in a block of zeros".to_owned(),
            ));
        }
        Ok(())
    }

    /// Reads, and gives up when cancelled or when nothing comes any more.
    fn read(&mut self, buffer: &mut [u8], work: &Work) -> Result<usize> {
        let failed = |error: io::Error| Error::io("reading the archive", &error);
        let deadline = Instant::now() + PATIENCE;
        loop {
            work.check()?;
            let mut fds = [PollFd::new(&self.source, PollFlags::IN)];
            match poll(&mut fds, Some(&POLL)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {
                    if Instant::now() > deadline {
                        return Err(Error::TimedOut(
                            "nothing of the archive came for ten minutes".to_owned(),
                        ));
                    }
                }
                Ok(_) => match self.source.read(buffer) {
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                        ) => {}
                    result => return result.map_err(failed),
                },
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}

/// The last bytes of what has passed.
fn keep_tail(tail: &mut [u8; BLOCK], chunk: &[u8]) {
    if let Some(last) = chunk.last_chunk() {
        *tail = *last;
    } else {
        tail.rotate_left(chunk.len());
        if let Some(end) = tail.get_mut(BLOCK - chunk.len()..) {
            end.copy_from_slice(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pumped(bytes: &[u8]) -> (Result<()>, Vec<u8>) {
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(bytes).unwrap();
        io::Seek::rewind(&mut source).unwrap();
        let (work, _observer) = Work::new();
        let stream = match Stream::open(source.into(), &work) {
            Ok(stream) => stream,
            Err(error) => return (Err(error), Vec::new()),
        };
        let (mut read_end, write_end) = io::pipe().unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            read_end.read_to_end(&mut all).unwrap();
            all
        });
        let result = stream.pump(write_end.into(), &work);
        (result, reader.join().unwrap())
    }

    #[test]
    fn all_bytes_arrive() {
        let mut bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        bytes.extend([0; 1024]);
        let (result, arrived) = pumped(&bytes);
        result.unwrap();
        assert_eq!(arrived, bytes);
    }

    #[test]
    fn a_plain_archive_without_its_end_is_truncated() {
        let (result, _) = pumped(&[7; 10_240]);
        assert!(matches!(result, Err(Error::VerificationFailed(_))));
        let (result, _) = pumped(&[]);
        assert!(matches!(result, Err(Error::InvalidArgument(_))));
    }

    #[test]
    fn compression_is_known_by_magic() {
        assert_eq!(Compression::detect(&[0x1f, 0x8b, 8]), Compression::Gzip);
        assert_eq!(
            Compression::detect(&[0x28, 0xb5, 0x2f, 0xfd, 0]),
            Compression::Zstd
        );
        assert_eq!(Compression::detect(b"bin/"), Compression::Plain);
    }

    #[test]
    fn a_silent_pipe_can_be_cancelled() {
        let (read_end, _write_end) = io::pipe().unwrap();
        let (work, observer) = Work::new();
        observer.cancel.send(true).unwrap();
        assert!(matches!(
            Stream::open(read_end.into(), &work),
            Err(Error::Cancelled(_))
        ));
    }

    #[test]
    fn devices_are_refused() {
        let zero = File::open("/dev/zero").unwrap();
        assert!(matches!(
            Stream::check(&zero.into()),
            Err(Error::InvalidArgument(_))
        ));
        let (_, write_end) = io::pipe().unwrap();
        assert!(matches!(
            Stream::check(&write_end.into()),
            Err(Error::InvalidArgument(_))
        ));
    }
}
