//! The container's log file, as LXC places it, and the reports to whoever
//! started this process.
//!
//! One thread, one container: the log is a thread-local, so that every step
//! can write to it without handing it around.

use crate::failure::{At, Step};
use crate::message;
use crate::syslog::Syslog;
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::{Failure, Report, ReportLevel};
use gantry_core::settings::Settings;
use gantry_core::values::LogLevel;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// How many lines a failure shows.
const TAIL: usize = 20;
/// How large a log may grow, in bytes, before it is set aside as FILE.1: a container
/// that runs for years, and may have things logged, is not to fill the host's disk.
const LARGEST: u64 = 4 << 20;

thread_local! {
    static LOG: RefCell<Log> = const {
        RefCell::new(Log { sink: Sink::Nowhere, journal: None, syslog: None, report: None, tail: VecDeque::new() })
    };
}

struct Log {
    sink: Sink,
    journal: Option<File>,
    syslog: Option<Syslog>,
    report: Option<OwnedFd>,
    tail: VecDeque<String>,
}

enum Sink {
    Nowhere,
    File {
        file: File,
        /// Where it is, if it is one that grows.
        place: Option<PathBuf>,
        name: String,
        level: LogLevel,
    },
    /// Init's side of the start: the monitor writes it down.
    Monitor(OwnedFd),
}

/// A line that init's side of the start hands to the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) level: LogLevel,
    pub(crate) message: String,
}

/// From now on reports go to `socket`.
pub(crate) fn report_to(socket: Option<OwnedFd>) {
    LOG.with_borrow_mut(|log| log.report = socket);
}

/// From now on what is worth a record goes to standard error, too, where systemd
/// listens for its journal. The number before each line tells how important it
/// is (sd-daemon(3)).
pub(crate) fn write_to_journal() -> io::Result<()> {
    // A copy: the descriptor itself becomes the container's.
    let journal = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    LOG.with_borrow_mut(|log| log.journal = Some(journal));
    Ok(())
}

/// Opens the logs: the file where LXC has it, and the system's. A log that
/// cannot be written is no reason not to start, unless the config asks for that
/// file.
pub(crate) fn open(layout: &ContainerLayout, settings: &Settings) -> Step<()> {
    tell_syslog(
        settings.log.syslog.as_deref(),
        layout.name().as_str(),
        settings.log.level,
    );
    let path = settings
        .log
        .file
        .clone()
        .unwrap_or_else(|| layout.log_file());
    let parent = path.parent().unwrap_or(Path::new("/"));
    if let Err(error) = std::fs::create_dir_all(parent) {
        debug(format!("cannot make {}: {error}", parent.display()));
    }
    match open_file(&path) {
        Ok(file) => {
            let grows = file.metadata().is_ok_and(|status| status.is_file());
            let place = grows.then_some(path);
            write_to(file, place, layout.name().as_str(), settings.log.level);
        }
        Err(error) if settings.log.file.is_some() => {
            return Err(error).at("opening the log", || {
                format!("cannot open lxc.log.file = {}", path.display())
            });
        }
        Err(error) => warn(format!(
            "there is no log: cannot open {}: {error}",
            path.display()
        )),
    }
    Ok(())
}

fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    let mode = Mode::from_raw_mode(0o640);
    Ok(File::from(rustix::fs::open(path, flags, mode)?))
}

/// Sets a log aside that is full, and begins anew.
fn rotate(file: &mut File, path: &Path) -> io::Result<()> {
    if file.metadata()?.len() < LARGEST {
        return Ok(());
    }
    let mut aside = path.to_path_buf().into_os_string();
    aside.push(".1");
    // Whoever writes to it, too, has done so by now or goes on in the one set aside.
    std::fs::rename(path, aside)?;
    *file = open_file(path)?;
    Ok(())
}

/// From now on lines of at least `level` go to `file`, which is at `place` if it grows.
pub(crate) fn write_to(file: File, place: Option<PathBuf>, name: &str, level: LogLevel) {
    LOG.with_borrow_mut(|log| {
        log.sink = Sink::File {
            file,
            place,
            name: name.to_owned(),
            level,
        }
    });
}

/// From now on lines of at least `level` go to the system's log, too; without a
/// facility none do.
pub(crate) fn tell_syslog(facility: Option<&str>, name: &str, level: LogLevel) {
    let syslog = facility.and_then(|facility| Syslog::open(facility, name, level));
    LOG.with_borrow_mut(|log| log.syslog = syslog);
}

/// From now on lines go to the monitor, over `socket`.
pub(crate) fn hand_to(socket: OwnedFd) {
    LOG.with_borrow_mut(|log| {
        log.report = None;
        log.journal = None;
        log.syslog = None;
        log.sink = Sink::Monitor(socket);
    });
}

/// The last lines, for a failure's report.
fn tail() -> Vec<String> {
    LOG.with_borrow(|log| log.tail.iter().cloned().collect())
}

/// The container runs: nobody waits for reports, and no failure will show
/// lines.
pub(crate) fn started() {
    LOG.with_borrow_mut(|log| {
        log.report = None;
        log.tail = VecDeque::new();
    });
}

/// Sends a report, if somebody waits for one. A starter that is gone is no
/// reason to stop.
pub(crate) fn report(report: &Report) {
    let sent = LOG.with_borrow(|log| {
        log.report
            .as_ref()
            .map(|socket| message::send(socket, report, &[]))
    });
    if let Some(Err(error)) = sent {
        LOG.with_borrow_mut(|log| log.report = None);
        info(format!("nobody takes reports any more: {error}"));
    }
}

/// For whoever looks for a fault: what hooks print, what was decided.
pub(crate) fn debug(message: impl Into<String>) {
    write(LogLevel::Debug, message.into());
}

/// For the record.
pub(crate) fn info(message: impl Into<String>) {
    write(LogLevel::Info, message.into());
}

/// Something does not work as the config says; reported to the starter, too.
pub(crate) fn warn(message: impl Into<String>) {
    write(LogLevel::Warn, message.into());
}

/// As [`warn`], but in the file whatever its level: what a user must not miss.
pub(crate) fn notice(message: impl Into<String>) {
    put(LogLevel::Warn, message.into(), true);
}

/// Something failed; reported to the starter, too.
pub(crate) fn error(message: impl Into<String>) {
    write(LogLevel::Error, message.into());
}

/// All is undone: tells the starter why.
pub(crate) fn report_failure(mut failure: Failure) -> ExitCode {
    record(&format!("{}: {}", failure.step, failure.message));
    failure.log = tail();
    report(&Report::Failed(failure));
    ExitCode::FAILURE
}

/// Writes a failure down that is reported by itself.
fn record(message: &str) {
    LOG.with_borrow_mut(|log| log.write(LogLevel::Error, message, false));
}

/// Writes a line at any level.
pub(crate) fn write(level: LogLevel, message: String) {
    put(level, message, false);
}

fn put(level: LogLevel, message: String, at_any_level: bool) {
    let reported = LOG.with_borrow_mut(|log| log.write(level, &message, at_any_level));
    if reported {
        let level = if level >= LogLevel::Error {
            ReportLevel::Error
        } else {
            ReportLevel::Warning
        };
        report(&Report::Log { level, message });
    }
}

impl Log {
    /// Gives back whether the starter is to be told, too.
    fn write(&mut self, level: LogLevel, message: &str, at_any_level: bool) -> bool {
        if let Some(syslog) = &self.syslog {
            syslog.write(level, message);
        }
        match &mut self.sink {
            Sink::Monitor(socket) => {
                // The monitor notices by itself when its other side is gone.
                drop(message::send(
                    &*socket,
                    &Line {
                        level,
                        message: message.to_owned(),
                    },
                    &[],
                ));
                return false;
            }
            Sink::File {
                file,
                place,
                name,
                level: least,
            } if level >= *least || at_any_level => {
                // Without a place for another the log goes on where it is.
                if let Some(path) = place {
                    drop(rotate(file, path));
                }
                let line = format!(
                    "gantry {name} {} {:<8} {message}\n",
                    timestamp(),
                    level.stock_name()
                );
                // A full disk must not stop a container.
                drop(file.write_all(line.as_bytes()));
            }
            _ => {}
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail
            .push_back(format!("{:<5} {message}", level.stock_name()));
        if let Some(journal) = &mut self.journal {
            let priority = match level {
                LogLevel::Trace | LogLevel::Debug => return false,
                LogLevel::Info => 6,
                LogLevel::Notice => 5,
                LogLevel::Warn => 4,
                _ => 3,
            };
            for line in message.lines() {
                // A journal that is gone must not stop a container.
                drop(writeln!(journal, "<{priority}>{line}"));
            }
            return false;
        }
        level >= LogLevel::Warn && self.report.is_some()
    }
}

/// `YYYYMMDDHHMMSS.mmm` in UTC, as LXC stamps its lines.
fn timestamp() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (year, month, day) = civil_date(now.as_secs() / 86_400);
    let second = now.as_secs() % 86_400;
    format!(
        "{year:04}{month:02}{day:02}{:02}{:02}{:02}.{:03}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        now.subsec_millis()
    )
}

/// The Gregorian date of a day counted from 1970-01-01: years are counted
/// from March, so that the leap day is the last of its year.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_781, (2026, 11, 24)),
        ] {
            assert_eq!(civil_date(days), date);
        }
    }

    #[test]
    fn a_full_log_is_set_aside() {
        let path = std::env::temp_dir().join(format!("gantry-full-{}", std::process::id()));
        let aside = PathBuf::from(format!("{}.1", path.display()));
        let file = File::create(&path).unwrap();
        file.set_len(LARGEST - 1).unwrap();
        let file = open_file(&path).unwrap();
        write_to(file, Some(path.clone()), "c1", LogLevel::Error);
        error("the last");
        error("the first");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("the first") && !text.contains("the last"));
        assert!(std::fs::metadata(&aside).unwrap().len() > LARGEST);
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(aside).unwrap();
    }

    #[test]
    fn lines_below_the_level_stay_out_of_the_file_but_in_the_tail() {
        let path = std::env::temp_dir().join(format!("gantry-log-{}", std::process::id()));
        write_to(File::create(&path).unwrap(), None, "c1", LogLevel::Error);
        info("quiet");
        error("loud");
        notice("said anyway");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(
            text.contains("ERROR    loud") && text.starts_with("gantry c1 2"),
            "{text}"
        );
        assert!(!text.contains("quiet"));
        assert!(text.contains("WARN     said anyway"));
        assert_eq!(tail(), ["INFO  quiet", "ERROR loud", "WARN  said anyway"]);
    }
}
