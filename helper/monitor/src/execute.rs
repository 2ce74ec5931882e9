//! Becoming a program of the container's.

use rustix::io::Errno;
use std::ffi::{CStr, CString};

/// Where programs are looked for, unless the container says otherwise.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// As execvpe(3): what has no slash is looked for in the directories of `path`. Gives back
/// why the program could not be executed.
pub(crate) fn execute(program: &str, argv: &[String], variables: &[String], path: &str) -> Errno {
    let c_strings = |texts: &[String]| {
        let texts = texts.iter().map(|text| CString::new(text.as_str()));
        texts.collect::<Result<Vec<_>, _>>()
    };
    let (Ok(argv), Ok(variables)) = (c_strings(argv), c_strings(variables)) else {
        return Errno::INVAL;
    };
    let argv: Vec<&CStr> = argv.iter().map(CString::as_c_str).collect();
    let variables: Vec<&CStr> = variables.iter().map(CString::as_c_str).collect();
    let candidates: Vec<String> = match program.contains('/') {
        true => vec![program.to_owned()],
        false => path
            .split(':')
            .map(|directory| format!("{directory}/{program}"))
            .collect(),
    };
    let mut reason = Errno::NOENT;
    for candidate in candidates {
        let Ok(candidate) = CString::new(candidate) else {
            return Errno::INVAL;
        };
        match nix::unistd::execve(&candidate, &argv, &variables) {
            Ok(never) => match never {},
            // What cannot be found elsewhere either tells why.
            Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => {}
            Err(errno) => reason = Errno::from_raw_os_error(errno as i32),
        }
    }
    reason
}
