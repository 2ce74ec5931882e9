//! Words for people: translations, states, sizes.

use gantry_api::ContainerState;
use relm4::gtk::glib;

/// The gettext domain.
const DOMAIN: &str = "gantry";

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

/// A container's state as a word.
#[must_use]
pub fn state_word(state: ContainerState) -> String {
    tr(match state {
        ContainerState::Stopped => "Stopped",
        ContainerState::Starting => "Starting…",
        ContainerState::Running => "Running",
        ContainerState::Stopping => "Stopping…",
        ContainerState::Aborting => "Aborting…",
        ContainerState::Freezing => "Freezing…",
        ContainerState::Frozen => "Frozen",
        ContainerState::Thawed => "Unfreezing…",
    })
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
