//! Where a client's archive goes: a file, a pipe or a socket, which may be full, slow or
//! gone.

use crate::error::{Error, Result};
use crate::work::Work;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::net::{SendFlags, SocketType, send, sockopt::socket_type};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a client may take nothing.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often cancelling is looked for meanwhile.
const POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
const CHUNK: usize = 256 * 1024;
/// Whoever polls a pipe for writing is promised so much room (pipe(7)).
const ROOM: usize = 4096;

/// What a client gave to be written to.
#[derive(Debug)]
pub(crate) struct Sink {
    target: File,
    kind: Kind,
}

/// Where an archive begins in a client's file.
#[derive(Debug)]
pub(crate) struct Beginning(File, u64);

impl Beginning {
    /// Takes back what was written from here on, so that no part of an archive is taken
    /// for a whole one.
    pub(crate) fn restore(self) {
        let Self(mut file, position) = self;
        let restored = file
            .set_len(position)
            .and_then(|()| file.seek(SeekFrom::Start(position)));
        if let Err(error) = restored {
            tracing::warn!("taking back a part of an archive failed: {error}");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Pipe,
    Socket,
}

impl Sink {
    /// Checks it, without writing to it.
    pub(crate) fn open(fd: OwnedFd) -> Result<Self> {
        let refuse = |what: &str| {
            Error::InvalidArgument(format!(
                "the target of the export {what}; give a file, a pipe or a socket"
            ))
        };
        let failed = |error: rustix::io::Errno| Error::io("looking at the target", &error.into());
        let flags = fcntl_getfl(&fd).map_err(failed)?;
        if flags.contains(OFlags::PATH) || flags & OFlags::ACCMODE == OFlags::RDONLY {
            return Err(refuse("is not open for writing"));
        }
        let kind = match FileType::from_raw_mode(fstat(&fd).map_err(failed)?.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Fifo => Kind::Pipe,
            FileType::Socket if socket_type(&fd).is_ok_and(|kind| kind == SocketType::STREAM) => {
                Kind::Socket
            }
            _ => return Err(refuse("is neither of them")),
        };
        Ok(Self {
            target: File::from(fd),
            kind,
        })
    }

    /// Where it will begin to write, if that is a file, which can be taken back.
    pub(crate) fn beginning(&self) -> Result<Option<Beginning>> {
        if self.kind != Kind::File {
            return Ok(None);
        }
        let failed = |error: io::Error| Error::io("looking at the target", &error);
        let mut file = self.target.try_clone().map_err(failed)?;
        let appends = fcntl_getfl(&file).map_err(|error| failed(error.into()))?;
        let position = match appends.contains(OFlags::APPEND) {
            true => file.metadata().map(|found| found.len()),
            false => file.stream_position(),
        };
        Ok(Some(Beginning(file, position.map_err(failed)?)))
    }

    /// Writes all that comes from `source`; gives how many bytes that were. Blocks: not
    /// for the runtime's threads.
    pub(crate) fn pump(mut self, source: OwnedFd, work: &Work) -> Result<u64> {
        let mut source = File::from(source);
        let mut chunk = vec![0; CHUNK];
        let mut bytes = 0;
        loop {
            let length = match source.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => return Err(Error::io("reading the archive", &error)),
            };
            let mut rest = chunk.get(..length).unwrap_or_default();
            while !rest.is_empty() {
                let written = self.write(rest, work)?;
                rest = rest.get(written..).unwrap_or_default();
            }
            bytes += length as u64;
        }
        if self.kind == Kind::File {
            // A full disk may show only now.
            self.target.sync_all().map_err(|error| failed(&error))?;
        }
        Ok(bytes)
    }

    /// Writes a part, and gives up when cancelled or when nothing is taken any more.
    fn write(&mut self, bytes: &[u8], work: &Work) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            work.check()?;
            let mut fds = [PollFd::new(&self.target, PollFlags::OUT)];
            match poll(&mut fds, Some(&POLL)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {
                    if Instant::now() > deadline {
                        return Err(Error::TimedOut(
                            "nobody took anything of the archive for ten minutes".to_owned(),
                        ));
                    }
                }
                Ok(_) => match self.write_now(bytes) {
                    Ok(0) => return Err(failed(&io::ErrorKind::WriteZero.into())),
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                        ) => {}
                    result => return result.map_err(|error| failed(&error)),
                },
                Err(error) => return Err(failed(&error.into())),
            }
        }
    }

    /// Writes what there is room for.
    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.kind {
            Kind::File => self.target.write(bytes),
            Kind::Pipe => self.target.write(bytes.get(..ROOM).unwrap_or(bytes)),
            Kind::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                Ok(send(&self.target, bytes, flags)?)
            }
        }
    }
}

fn failed(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Failed(
            "whoever was to take the archive has closed it before its end; try again".to_owned(),
        ),
        io::ErrorKind::FileTooLarge => Error::NoSpace(
            "the file cannot be as long as the archive; write it to another file system".to_owned(),
        ),
        _ => Error::io("writing the archive", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pumped(target: OwnedFd, bytes: usize) -> Result<u64> {
        let (source, mut into) = io::pipe().unwrap();
        let writer = std::thread::spawn(move || into.write_all(&vec![1; bytes]).ok());
        let (work, _observer) = Work::new();
        let result = Sink::open(target).unwrap().pump(source.into(), &work);
        writer.join().unwrap();
        result
    }

    #[test]
    fn all_bytes_arrive_in_a_file_and_in_a_pipe() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(
            pumped(file.try_clone().unwrap().into(), 700_000).unwrap(),
            700_000
        );
        assert_eq!(file.metadata().unwrap().len(), 700_000);
        let (mut out, into) = io::pipe().unwrap();
        let reader = std::thread::spawn(move || io::copy(&mut out, &mut io::sink()).unwrap());
        assert_eq!(pumped(into.into(), 700_000).unwrap(), 700_000);
        assert_eq!(reader.join().unwrap(), 700_000);
    }

    #[test]
    fn what_was_written_can_be_taken_back() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before").unwrap();
        let sink = Sink::open(file.try_clone().unwrap().into()).unwrap();
        let beginning = sink.beginning().unwrap().unwrap();
        file.write_all(b"a part").unwrap();
        beginning.restore();
        assert_eq!(file.metadata().unwrap().len(), 6);
        let (_out, into) = io::pipe().unwrap();
        assert!(
            Sink::open(into.into())
                .unwrap()
                .beginning()
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_reader_that_leaves_is_named() {
        let (out, into) = io::pipe().unwrap();
        drop(out);
        let error = pumped(into.into(), 700_000).unwrap_err();
        assert!(
            error.to_string().contains("closed it before its end"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_written_to_is_refused() {
        let null = File::open("/dev/null").unwrap();
        let (out, _into) = io::pipe().unwrap();
        for fd in [OwnedFd::from(null), out.into()] {
            assert!(matches!(Sink::open(fd), Err(Error::InvalidArgument(_))));
        }
    }
}
