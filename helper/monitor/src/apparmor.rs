//! AppArmor, from the monitor's side: the helper has loaded a generated profile.

use crate::failure::{Step, failed, failure};
use crate::log;
use gantry_core::apparmor::{self, Kernel};
use gantry_core::layout::ContainerLayout;
use gantry_core::monitor::FailureKind;
use gantry_core::settings::Settings;
use gantry_core::values::mount::MountEntry;

const STEP: &str = "confining";

/// Unmasked instances of both, without which the kernel lets nobody mount new ones in
/// a nested user namespace (mount_namespaces(7)).
const NESTING: [&str; 2] = [
    "proc dev/.lxc/proc proc create=dir,optional 0 0",
    "sysfs dev/.lxc/sys sysfs create=dir,optional 0 0",
];

/// What AppArmor means for a container.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    /// The label of its processes.
    pub(crate) label: Option<String>,
    /// What is mounted in it besides the config's entries.
    pub(crate) mounts: Vec<MountEntry>,
}

/// What the config asks for, as far as the kernel has AppArmor. One that cannot
/// confine mounts would leave a way around every other rule.
pub(crate) fn choose(settings: &Settings, layout: &ContainerLayout) -> Step<Confinement> {
    let Some(kernel) = Kernel::look(|path| std::fs::read_to_string(path).ok()) else {
        if let Some(profile) = settings.apparmor.profile.as_deref()
            && !matches!(profile, "unconfined" | "unchanged")
        {
            log::notice(format!(
                "lxc.apparmor.profile = {profile} has no effect: the kernel runs without AppArmor"
            ));
        }
        return Ok(Confinement::default());
    };
    let chosen = apparmor::Confinement::of(settings, layout, &kernel);
    let label = chosen.label(&kernel);
    if label.as_deref().is_some_and(|label| label != "unconfined")
        && !kernel.confines_mounts
        && !settings.apparmor.allow_incomplete
    {
        return failed(
            FailureKind::Unsupported,
            STEP,
            "The kernel's AppArmor cannot confine mounts. Set lxc.apparmor.allow_incomplete = 1 to start all the same, or lxc.apparmor.profile = unconfined.",
        );
    }
    let nested =
        matches!(chosen, apparmor::Confinement::Generated(_)) && settings.apparmor.allow_nesting;
    let mounts = NESTING
        .into_iter()
        .filter(|_| nested)
        .map(MountEntry::parse)
        .collect::<Result<_, _>>()
        .map_err(|reason| failure(FailureKind::StartFailed, STEP, format!("{reason}.")))?;
    Ok(Confinement { label, mounts })
}
