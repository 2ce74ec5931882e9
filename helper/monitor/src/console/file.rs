//! `lxc.console.logfile`: a copy of the console's output on the host.

use crate::failure::{At, Step};
use crate::log;
use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The copy, and how far it may grow.
pub(super) struct OutputFile {
    path: PathBuf,
    file: File,
    written: u64,
    /// 0 is no limit.
    limit: u64,
    rotate: bool,
}

impl OutputFile {
    pub(super) fn open(path: &Path, limit: u64, rotate: bool) -> Step<Self> {
        let what = || format!("cannot open lxc.console.logfile = {}", path.display());
        let file = open_file(path).at("preparing the console", what)?;
        let written = file.metadata().at("preparing the console", what)?.len();
        Ok(Self {
            path: path.to_path_buf(),
            file,
            written,
            limit,
            rotate,
        })
    }

    /// Adds output. A file that becomes full is set aside as FILE.1, or begun
    /// anew.
    pub(super) fn write(&mut self, mut output: &[u8]) {
        while self.limit > 0 && self.written + output.len() as u64 > self.limit {
            let room = self.limit.saturating_sub(self.written);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let (fits, rest) = output.split_at_checked(room).unwrap_or((output, &[]));
            self.append(fits);
            output = rest;
            if let Err(error) = self.start_anew() {
                log::error(format!("cannot rotate {}: {error}", self.path.display()));
                break;
            }
        }
        self.append(output);
    }

    fn append(&mut self, output: &[u8]) {
        match self.file.write_all(output) {
            Ok(()) => self.written += output.len() as u64,
            // A full disk must not hold up the container's output.
            Err(error) => log::debug(format!("cannot write {}: {error}", self.path.display())),
        }
    }

    fn start_anew(&mut self) -> io::Result<()> {
        if self.rotate {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            std::fs::rename(&self.path, aside)?;
            self.file = open_file(&self.path)?;
        } else {
            self.file.set_len(0)?;
        }
        self.written = 0;
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NOCTTY;
    Ok(File::from(open(path, flags, Mode::from_raw_mode(0o600))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_rotated_or_begun_anew() {
        let path = std::env::temp_dir().join(format!("gantry-console-{}", std::process::id()));
        let aside = PathBuf::from(format!("{}.1", path.display()));
        let mut file = OutputFile::open(&path, 8, true).unwrap();
        file.write(b"12345");
        file.write(b"6789");
        assert_eq!(std::fs::read(&path).unwrap(), b"9");
        assert_eq!(std::fs::read(&aside).unwrap(), b"12345678");
        let mut file = OutputFile::open(&path, 8, false).unwrap();
        file.write(b"abcdefghij");
        assert_eq!(std::fs::read(&path).unwrap(), b"hij");
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(aside).unwrap();
    }
}
