//! Profiles made into filters by libseccomp, for the compatible architectures
//! too.

use crate::error::{ConfigFault, Error, Result};
use crate::linux::{files, memfd};
use gantry_core::seccomp::{
    Action, Architecture, COMMON, COMMON_PATH, Call, Comparison, Profile, Rule,
};
use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The most bytes of a profile.
const MAX_PROFILE: u64 = 1 << 20;
/// How many filters are kept.
const KEPT: usize = 32;

/// Filters by their profiles' texts: most containers have the same.
#[derive(Debug, Default)]
pub(crate) struct Filters(Mutex<HashMap<String, Arc<OwnedFd>>>);

impl Filters {
    /// The filter of a profile's file, as a sealed file of `struct
    /// sock_filter`.
    pub(crate) fn of(&self, path: &Path) -> Result<Arc<OwnedFd>> {
        let fault = |line: u32, message: String| {
            Error::InvalidConfig(ConfigFault {
                file: path.to_path_buf(),
                line,
                key: "lxc.seccomp.profile".to_owned(),
                message,
            })
        };
        let text =
            read(path).map_err(|error| fault(0, format!("the profile cannot be read: {error}")))?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = kept.get(&text) {
            return Ok(filter.clone());
        }
        let profile = Profile::parse(&text).map_err(|error| fault(error.line, error.message))?;
        let filter = compile(&profile)
            .map_err(|error| fault(0, format!("the profile cannot be used: {error}")))?;
        if kept.len() == KEPT {
            kept.clear();
        }
        let filter = Arc::new(filter);
        kept.insert(text, filter.clone());
        Ok(filter)
    }
}

/// Reads a profile, which nobody but root may decide about. LXC's common one
/// need not be installed.
fn read(path: &Path) -> io::Result<String> {
    let refuse = |reason: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    let path = Path::new("/").join(path);
    let (file, metadata) = match std::fs::canonicalize(&path)
        .and_then(|path| files::open_regular(&path))
    {
        Err(error) if error.kind() == io::ErrorKind::NotFound && path == Path::new(COMMON_PATH) => {
            return Ok(COMMON.to_owned());
        }
        opened => opened?,
    };
    if metadata.uid() != 0 || metadata.mode() & 0o002 != 0 {
        return refuse("it must belong to root, and others may not write to it");
    }
    String::from_utf8(files::read_bounded(&file, MAX_PROFILE)?).map_err(io::Error::other)
}

fn compile(profile: &Profile) -> io::Result<OwnedFd> {
    let context = context(profile).map_err(io::Error::other)?;
    memfd::sealed("seccomp", |file| {
        context.export_bpf(file).map_err(io::Error::other)
    })
}

/// One context an architecture, merged.
fn context(profile: &Profile) -> std::result::Result<ScmpFilterContext, SeccompError> {
    let rules: Vec<(&Rule, ScmpSyscall)> = profile
        .rules
        .iter()
        // libseccomp refuses rules that say what goes without saying.
        .filter(|rule| rule.action != profile.default)
        .filter_map(|rule| Some((rule, system_call(&rule.call)?)))
        .collect();
    let build = |architecture: Option<Architecture>| -> std::result::Result<_, SeccompError> {
        let mut context = ScmpFilterContext::new(action(profile.default))?;
        if let Some(token) = architecture.map(token)
            && !context.is_arch_present(token)?
        {
            context.add_arch(token)?.remove_arch(ScmpArch::Native)?;
        }
        for (rule, call) in &rules {
            if rule.architecture.is_none() || rule.architecture == architecture {
                add(&mut context, rule, *call)?;
            }
        }
        Ok(context)
    };
    let machine = nix::sys::utsname::uname();
    let machine = machine
        .as_ref()
        .ok()
        .and_then(|names| names.machine().to_str())
        .unwrap_or_default();
    let mut architectures = Architecture::of_machine(machine).iter().copied();
    let mut context = build(architectures.next())?;
    if profile.compatible {
        for architecture in architectures {
            context.merge(build(Some(architecture))?)?;
        }
    }
    Ok(context)
}

/// None for one that this library does not know, as with LXC.
fn system_call(call: &Call) -> Option<ScmpSyscall> {
    match call {
        Call::Number(number) => Some(ScmpSyscall::from_raw_syscall(*number)),
        Call::Name(name) => match ScmpSyscall::from_name(name) {
            Ok(call) => Some(call),
            Err(_) => {
                tracing::warn!("seccomp: the system call '{name}' is unknown and left out");
                None
            }
        },
    }
}

fn add(
    context: &mut ScmpFilterContext,
    rule: &Rule,
    call: ScmpSyscall,
) -> std::result::Result<(), SeccompError> {
    let conditions: Vec<ScmpArgCompare> = rule
        .conditions
        .iter()
        .map(|condition| {
            let comparison = match condition.comparison {
                Comparison::NotEqual => ScmpCompareOp::NotEqual,
                Comparison::Less => ScmpCompareOp::Less,
                Comparison::LessOrEqual => ScmpCompareOp::LessOrEqual,
                Comparison::Equal => ScmpCompareOp::Equal,
                Comparison::GreaterOrEqual => ScmpCompareOp::GreaterEqual,
                Comparison::Greater => ScmpCompareOp::Greater,
                Comparison::MaskedEqual(mask) => ScmpCompareOp::MaskedEqual(mask),
            };
            ScmpArgCompare::new(condition.argument, comparison, condition.value)
        })
        .collect();
    match context.add_rule_conditional_exact(action(rule.action), call, &conditions) {
        // A call of other architectures, which this one has not.
        Err(_) if call.as_raw_syscall() < 0 => Ok(()),
        added => added.map(drop),
    }
}

fn action(action: Action) -> ScmpAction {
    match action {
        Action::Kill => ScmpAction::KillThread,
        Action::Errno(number) => ScmpAction::Errno(number.into()),
        Action::Allow => ScmpAction::Allow,
        Action::Trap => ScmpAction::Trap,
        Action::Notify => ScmpAction::Notify,
    }
}

fn token(architecture: Architecture) -> ScmpArch {
    match architecture {
        Architecture::X86 => ScmpArch::X86,
        Architecture::X32 => ScmpArch::X32,
        Architecture::X86_64 => ScmpArch::X8664,
        Architecture::Arm => ScmpArch::Arm,
        Architecture::Arm64 => ScmpArch::Aarch64,
        Architecture::Loongarch64 => ScmpArch::Loongarch64,
        Architecture::Ppc => ScmpArch::Ppc,
        Architecture::Ppc64 => ScmpArch::Ppc64,
        Architecture::Ppc64le => ScmpArch::Ppc64Le,
        Architecture::Mips => ScmpArch::Mips,
        Architecture::Mips64 => ScmpArch::Mips64,
        Architecture::Mips64n32 => ScmpArch::Mips64N32,
        Architecture::Mipsel => ScmpArch::Mipsel,
        Architecture::Mipsel64 => ScmpArch::Mipsel64,
        Architecture::Mipsel64n32 => ScmpArch::Mipsel64N32,
        Architecture::S390 => ScmpArch::S390,
        Architecture::S390x => ScmpArch::S390X,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, text: &str) -> std::path::PathBuf {
        let path = directory.join("profile");
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn filters_are_made_once_a_text() {
        let directory = tempfile::tempdir().unwrap();
        let filters = Filters::default();
        let path = write(directory.path(), "2\nallowlist\nread\n[x86]\nsocketcall\n");
        let first = filters.of(&path).unwrap();
        assert!(Arc::ptr_eq(&first, &filters.of(&path).unwrap()));
        write(directory.path(), "2\nallowlist errno 1\nread\n");
        let second = filters.of(&path).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        let length = std::fs::File::from(second.try_clone().unwrap())
            .metadata()
            .unwrap()
            .len();
        assert!(length > 0 && length % 8 == 0);
    }

    #[test]
    fn faults_name_the_profile_and_the_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = write(directory.path(), "2\ndenylist\n[vax]\n");
        let fault = |path: &Path| match Filters::default().of(path) {
            Err(Error::InvalidConfig(fault)) => fault,
            other => panic!("{other:?}"),
        };
        assert_eq!((fault(&path).line, fault(&path).file), (3, path.clone()));
        assert_eq!(fault(&directory.path().join("missing")).line, 0);
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(fault(&path).message.contains("root"));
    }

    #[test]
    fn the_common_profile_makes_a_filter() {
        assert!(compile(&Profile::parse(COMMON).unwrap()).is_ok());
    }
}
