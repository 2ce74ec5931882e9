//! `lxc.time.offset.*`: clocks of the container's own, time_namespaces(7).

use crate::failure::{At, Step};
use gantry_core::settings::TimeOffsets;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{Mode, OFlags, open};

const STEP: &str = "making the time namespace";

/// CLONE_NEWTIME, which nix does not name.
const NEW_TIME: CloneFlags = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);

/// Makes a time namespace with these offsets and enters it. Offsets are set
/// while nobody is in it; the host's /proc must still be seen.
pub(super) fn enter(offsets: &TimeOffsets) -> Step<()> {
    unshare(NEW_TIME).at(STEP, || "cannot make one".to_owned())?;
    for (clock, offset) in [("boottime", offsets.boot), ("monotonic", offsets.monotonic)] {
        let Some(offset) = offset else { continue };
        let line = format!("{clock} {} {}\n", offset.seconds, offset.nanoseconds);
        std::fs::write("/proc/self/timens_offsets", line).at(STEP, || {
            format!("cannot move the {clock} clock; check lxc.time.offset.*")
        })?;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    open("/proc/self/ns/time_for_children", flags, Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(|namespace| Ok(setns(namespace, NEW_TIME)?))
        .at(STEP, || "cannot enter it".to_owned())
}
