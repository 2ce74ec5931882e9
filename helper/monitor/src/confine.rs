//! What holds a container's processes beyond namespaces, capabilities and
//! groups: the filter of system calls, and SELinux's contexts.

use crate::failure::{At, Step, failed};
use crate::label::Label;
use crate::log;
use crate::message;
use crate::sys::{self, Instruction};
use gantry_core::monitor::{FailureKind, StartRequest};
use gantry_core::settings::Settings;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

const STEP: &str = "confining the container";

/// The most instructions of a filter (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// What the helper has made for this container.
pub(crate) struct Offer {
    request: StartRequest,
    filter: Option<Filter>,
}

impl Offer {
    /// Hears the helper. Without one there is nothing on offer.
    pub(crate) fn receive(starter: Option<&OwnedFd>) -> Step<Self> {
        let received = starter
            .map_or(Ok(None), message::receive::<StartRequest>)
            .at(STEP, || "cannot read the request to start".to_owned())?;
        let (request, fds) = received.unwrap_or_default();
        Ok(Self {
            request,
            filter: fds.into_iter().next().map(Filter::from),
        })
    }

    /// Which interfaces may take the host's way out, see [`StartRequest`].
    pub(crate) fn confirmed(&self) -> BTreeSet<(u32, String)> {
        self.request.confirmed.clone()
    }
}

/// How the container is confined, the same at every reboot.
pub(crate) struct Confinement {
    filter: Option<Filter>,
    context: Option<String>,
    keyring: Option<String>,
}

impl Confinement {
    /// Takes what the config asks for from what is on offer.
    pub(crate) fn new(settings: &Settings, offer: Offer) -> Step<Self> {
        let seccomp = &settings.seccomp;
        let filter = match &seccomp.profile {
            None => None,
            Some(_) if is_filtered() && !seccomp.allow_nesting => {
                log::notice(
                    "lxc.seccomp.profile is left out, as with LXC, because a system call filter is in force \
                     already; set lxc.seccomp.allow_nesting = 1 to have both",
                );
                None
            }
            profile if offer.request.seccomp == *profile && offer.filter.is_some() => offer.filter,
            Some(_) => {
                let message = "The filter of lxc.seccomp.profile has not been made: the config has just been \
                               changed. Start the container again.";
                return failed(FailureKind::Busy, STEP, message);
            }
        };
        let selinux = &settings.selinux;
        let is_there = Path::new("/sys/fs/selinux/enforce").exists();
        if !is_there && (selinux.context.is_some() || selinux.keyring.is_some()) {
            log::notice("this kernel has no SELinux: lxc.selinux.context confines nothing here");
        }
        let context = selinux.context.clone().filter(|_| is_there);
        let keyring = selinux.keyring.clone().filter(|_| is_there);
        Ok(Self {
            filter,
            keyring: keyring.or_else(|| context.clone()),
            context,
        })
    }

    /// The filter, for sessions.
    pub(crate) fn filter(&self) -> Option<&OwnedFd> {
        self.filter.as_ref().map(|Filter(program)| program)
    }

    /// `lxc.selinux.context`, for init.
    pub(crate) fn context(&self) -> Option<Step<Label>> {
        self.context
            .as_ref()
            .map(|text| Label::context(text, "exec"))
    }

    /// `lxc.selinux.context.keyring`, for its session keyring.
    pub(crate) fn keyring_context(&self) -> Option<Step<Label>> {
        self.keyring
            .as_ref()
            .map(|text| Label::context(text, "keycreate"))
    }

    /// Whether the filter leaves calls to whoever listens.
    pub(crate) fn notifies(&self) -> Step<bool> {
        let program = self.filter.as_ref().map(Filter::program).transpose();
        let program = program.at(STEP, || "cannot read the system call filter".to_owned())?;
        Ok(program.is_some_and(|program| sys::notifies(&program)))
    }

    /// Puts the filter on this process for good, and gives what listens to it.
    pub(crate) fn filter_system_calls(&self) -> Step<Option<OwnedFd>> {
        self.filter.as_ref().map_or(Ok(None), |filter| {
            filter.load().at(STEP, || {
                "cannot load the filter of lxc.seccomp.profile".to_owned()
            })
        })
    }
}

/// A system call filter: a file of `struct sock_filter`.
pub(crate) struct Filter(OwnedFd);

impl From<OwnedFd> for Filter {
    fn from(program: OwnedFd) -> Self {
        Self(program)
    }
}

impl Filter {
    /// Puts it on this process for good, and gives what listens to it if it notifies.
    pub(crate) fn load(&self) -> io::Result<Option<OwnedFd>> {
        sys::load_filter(&mut self.program()?)
    }

    fn program(&self) -> io::Result<Vec<Instruction>> {
        let mut bytes = vec![0; MAX_INSTRUCTIONS * size_of::<Instruction>()];
        // The file's position is shared with others.
        let length = File::from(self.0.try_clone()?).read_at(&mut bytes, 0)?;
        bytes.truncate(length);
        Ok(bytes.chunks_exact(8).filter_map(instruction).collect())
    }
}

fn instruction(bytes: &[u8]) -> Option<Instruction> {
    let (code, rest) = bytes.split_first_chunk()?;
    let (jumps, k) = rest.split_first_chunk()?;
    let [jt, jf] = *jumps;
    Some(Instruction {
        code: u16::from_ne_bytes(*code),
        jt,
        jf,
        k: u32::from_ne_bytes(k.try_into().ok()?),
    })
}

/// Whether a filter is in force in this process: seccomp(2), by proc(5).
fn is_filtered() -> bool {
    let status = crate::proc::text("/proc/self/status").unwrap_or_default();
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() != "0")
}
