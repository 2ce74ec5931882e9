//! Words for people: translations, states, sizes.

use gantry_api::ContainerState;
use relm4::gtk::glib;

/// The gettext domain.
const DOMAIN: &str = "gantry";

/// Shows `message` to the translators (`./dev po` finds it) where it is chosen in one
/// place and translated by [`tr`] in another.
#[must_use]
pub const fn mark(message: &'static str) -> &'static str {
    message
}

/// The translation of `message`, or `message` itself.
#[must_use]
pub fn tr(message: &str) -> String {
    glib::dgettext(Some(DOMAIN), message).into()
}

/// The translation of `message` with `{name}` replaced by `name`.
#[must_use]
pub fn tr_name(message: &str, name: &str) -> String {
    tr(message).replace("{name}", name)
}

/// The translation of `one` or `many`, with `{n}` replaced by `n`.
#[must_use]
pub fn count(n: usize, one: &str, many: &str) -> String {
    let number = std::ffi::c_ulong::try_from(n).unwrap_or(std::ffi::c_ulong::MAX);
    glib::dngettext(Some(DOMAIN), one, many, number).replace("{n}", &n.to_string())
}

/// A container's state as a word.
#[must_use]
pub fn state_word(state: ContainerState) -> String {
    match state {
        ContainerState::Stopped => tr("Stopped"),
        ContainerState::Starting => tr("Starting…"),
        ContainerState::Running => tr("Running"),
        ContainerState::Stopping => tr("Stopping…"),
        ContainerState::Aborting => tr("Aborting…"),
        ContainerState::Freezing => tr("Freezing…"),
        ContainerState::Frozen => tr("Frozen"),
        ContainerState::Thawed => tr("Unfreezing…"),
    }
}

/// The icon that stands beside the word.
#[must_use]
pub fn state_icon(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Running => "gantry-running-symbolic",
        ContainerState::Frozen => "gantry-frozen-symbolic",
        ContainerState::Stopped => "gantry-stopped-symbolic",
        _ => "gantry-changing-symbolic",
    }
}

/// The style class that colours the icon.
#[must_use]
pub fn state_class(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Running => "success",
        ContainerState::Frozen => "accent",
        ContainerState::Stopped => "dim-label",
        _ => "warning",
    }
}

/// A number of bytes with its unit, in powers of 1000 as GNOME shows them.
#[must_use]
pub fn size(bytes: u64) -> String {
    glib::format_size(bytes).into()
}
