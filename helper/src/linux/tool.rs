//! Programs of the system's that do one thing and end: by their full path, without a
//! shell.

use super::lock::FileLock;
use super::spawn::spawn_at;
use gantry_core::layout::{PROGRAM_DIRECTORIES, RUN_DIR};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The most that is kept of what a program says, in bytes.
pub(crate) const MOST_SAID: usize = 1 << 20;

/// How long programs of a helper that was killed may take to end.
const LEFT: Duration = Duration::from_secs(20);
/// Between two looks whether they have.
const PAUSE: Duration = Duration::from_millis(20);

/// An empty file that is the standard input of every program, which so holds its lock
/// until it ends, also if its helper does before.
fn lock() -> PathBuf {
    Path::new(RUN_DIR).join("gantry/tools.lock")
}

/// Waits for the end of programs that another helper was not there for any more: what
/// they make can be found, and removed, only then.
///
/// # Errors
/// They do not end.
pub(crate) fn wait_for_left() -> io::Result<()> {
    let (lock, deadline) = (lock(), Instant::now() + LEFT);
    while FileLock::is_held(&lock)? {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Where a program is, if it can be run.
pub(crate) fn find(tool: &str) -> Option<PathBuf> {
    let mut paths = PROGRAM_DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(tool));
    paths.find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| {
        found.is_file() && found.len() > 0 && found.permissions().mode() & 0o111 != 0
    })
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status, or 128 and the number of the signal that ended it.
    pub(crate) status: i32,
    /// What it said on standard output.
    pub(crate) output: String,
    /// And on standard error.
    pub(crate) errors: String,
}

/// Runs a program to its end, which also comes when this process ends before. It waits:
/// what calls it belongs on a thread that may.
pub(crate) fn run(program: &Path, args: &[&str]) -> io::Result<Ended> {
    run_after(|| Ok(()), program, args)
}

/// As [`run`], after what `prepare` does to the thread that starts the program, and ends
/// with it.
pub(crate) fn run_after(
    prepare: impl FnOnce() -> io::Result<()> + Send,
    program: &Path,
    args: &[&str],
) -> io::Result<Ended> {
    let runtime = tokio::runtime::Handle::current();
    // On a thread of its own, where waiting is allowed whoever calls: what is given up is
    // removed by whoever has it.
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                prepare()?;
                wait_for(&runtime, program, args, &lock())
            })
            .join()
            .map_err(|_| io::Error::other("waiting for it failed"))?
    })
}

fn wait_for(
    runtime: &tokio::runtime::Handle,
    program: &Path,
    args: &[&str],
    lock: &Path,
) -> io::Result<Ended> {
    // Without it only what follows a kill of this process is less sure.
    let input = FileLock::share(lock).ok();
    let (output, stdout) = io::pipe()?;
    let (errors, stderr) = io::pipe()?;
    let path = program.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    let name = program.file_name().unwrap_or_default();
    let mut child = {
        let _inside = runtime.enter();
        spawn_at(
            path,
            &name.to_string_lossy(),
            args,
            &[
                input.as_ref().map(AsFd::as_fd),
                Some(stdout.as_fd()),
                Some(stderr.as_fd()),
            ],
        )?
    };
    drop((input, stdout, stderr));
    let errors = std::thread::spawn(move || said(errors));
    let output = said(output)?;
    let errors = errors
        .join()
        .map_err(|_| io::Error::other("reading its errors failed"))??;
    let status = runtime.block_on(child.ended());
    Ok(Ended {
        status,
        output,
        errors,
    })
}

/// All is read, so that nothing holds the program up; the beginning is kept.
fn said(mut pipe: io::PipeReader) -> io::Result<String> {
    let mut bytes = Vec::new();
    (&mut pipe).take(MOST_SAID as u64).read_to_end(&mut bytes)?;
    io::copy(&mut pipe, &mut io::sink())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_no_program() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tool");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(!is_program(&path));
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        assert!(is_program(&path));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(!is_program(&path));
        assert!(!is_program(directory.path()));
    }

    #[test]
    fn a_program_holds_the_lock_while_it_runs_and_reads_nothing() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (lock, end) = (directory.path().join("lock"), directory.path().join("end"));
        let script = format!("while [ ! -e {} ]; do sleep 0.01; done; cat", end.display());
        let args = ["-c", script.as_str()];
        std::thread::scope(|scope| {
            let running = scope
                .spawn(|| wait_for(runtime.handle(), Path::new("/bin/sh"), &args, &lock).unwrap());
            while !FileLock::is_held(&lock).unwrap() {
                std::thread::sleep(PAUSE);
            }
            std::fs::write(&end, "").unwrap();
            let ended = running.join().unwrap();
            assert_eq!((ended.status, ended.output.as_str()), (0, ""));
        });
        assert!(!FileLock::is_held(&lock).unwrap());
    }

    #[test]
    fn what_a_program_says_is_read_to_its_end() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let script = "head -c 300000 /dev/zero | tr '\\0' x; echo no >&2; exit 3";
        let ended = run(Path::new("/bin/sh"), &["-c", script]).unwrap();
        assert_eq!((ended.status, ended.errors.as_str()), (3, "no\n"));
        assert_eq!(ended.output.len(), 300_000);
    }
}
