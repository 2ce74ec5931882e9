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
    choose_on(&kernel, settings, layout)
}

fn choose_on(kernel: &Kernel, settings: &Settings, layout: &ContainerLayout) -> Step<Confinement> {
    let chosen = apparmor::Confinement::of(settings, layout, kernel);
    let label = chosen.label(kernel);
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

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::config::{Config, SkipIncludes};
    use gantry_core::name::ContainerName;
    use std::path::Path;

    #[test]
    fn a_kernel_that_cannot_confine_mounts_is_taken_only_where_the_config_says_so() {
        let layout = ContainerLayout::new("/var/lib/lxc", ContainerName::new("c1").unwrap());
        let choose = |confines_mounts, text: &str| {
            let kernel = Kernel {
                confines_mounts,
                stacks: false,
                has_default: false,
                caller_is_confined: false,
            };
            let config = Config::read(Path::new("/x"), text.to_owned(), &mut SkipIncludes);
            let settings = Settings::from_config(&config).unwrap();
            choose_on(&kernel, &settings, &layout)
        };
        let mine = "lxc.apparmor.profile = mine\n";
        let label = |chosen: Confinement| chosen.label.unwrap_or_default();
        assert_eq!(label(choose(true, mine).unwrap()), "mine");
        let refused = choose(false, mine).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported);
        assert!(
            refused
                .message
                .contains("lxc.apparmor.allow_incomplete = 1")
        );
        let allowed = format!("{mine}lxc.apparmor.allow_incomplete = 1\n");
        assert_eq!(label(choose(false, &allowed).unwrap()), "mine");
        let unconfined = choose(false, "lxc.apparmor.profile = unconfined\n");
        assert_eq!(label(unconfined.unwrap()), "unconfined");
    }
}
