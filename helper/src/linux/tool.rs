//! Programs of the system's that do one thing and end: by their full path, without a
//! shell.

use super::spawn::spawn_at;
use gantry_core::layout::PROGRAM_DIRECTORIES;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The most that is kept of what a program says, in bytes.
const MOST_SAID: u64 = 1 << 20;

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
    let runtime = tokio::runtime::Handle::current();
    // On a thread of its own, where waiting is allowed whoever calls: what is given up is
    // removed by whoever has it.
    std::thread::scope(|scope| {
        scope
            .spawn(|| wait_for(&runtime, program, args))
            .join()
            .map_err(|_| io::Error::other("waiting for it failed"))?
    })
}

fn wait_for(runtime: &tokio::runtime::Handle, program: &Path, args: &[&str]) -> io::Result<Ended> {
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
            &[None, Some(stdout.as_fd()), Some(stderr.as_fd())],
        )?
    };
    drop((stdout, stderr));
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
    (&mut pipe).take(MOST_SAID).read_to_end(&mut bytes)?;
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
    fn what_a_program_says_is_read_to_its_end() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let script = "head -c 300000 /dev/zero | tr '\\0' x; echo no >&2; exit 3";
        let ended = run(Path::new("/bin/sh"), &["-c", script]).unwrap();
        assert_eq!((ended.status, ended.errors.as_str()), (3, "no\n"));
        assert_eq!(ended.output.len(), 300_000);
    }
}
