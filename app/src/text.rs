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

/// A length of time in its two largest units.
#[must_use]
pub fn duration(seconds: u64) -> String {
    let number = |n| usize::try_from(n).unwrap_or(usize::MAX);
    let units = [
        count(number(seconds / 86_400), "{n} day", "{n} days"),
        count(number(seconds / 3_600 % 24), "{n} hour", "{n} hours"),
        count(number(seconds / 60 % 60), "{n} minute", "{n} minutes"),
        count(number(seconds % 60), "{n} second", "{n} seconds"),
    ];
    let largest = match seconds {
        86_400.. => 0,
        3_600.. => 1,
        _ => 2,
    };
    match seconds {
        0..60 => units[3].clone(),
        _ => units[largest..largest + 2].join(" "),
    }
}

/// A number of bytes with its unit, in powers of 1000 as GNOME shows them.
#[must_use]
pub fn size(bytes: u64) -> String {
    glib::format_size(bytes).into()
}

/// A number of bytes a second.
#[must_use]
pub fn rate(bytes: f64) -> String {
    // A negative number is 0, and one that is too large the largest.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let bytes = bytes as u64;
    tr_name("{name}/s", &size(bytes))
}

/// A number of bytes as it is typed, with a unit in powers of 1024: 10G.
///
/// # Errors
/// When it is none: what to type.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim() {
        "" | "B" => Some(1),
        "K" => Some(1 << 10),
        "M" => Some(1 << 20),
        "G" => Some(1 << 30),
        "T" => Some(1 << 40),
        _ => None,
    };
    let number = digits.parse::<u64>().ok();
    let bytes = number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit));
    bytes.ok_or_else(|| tr("Give a size such as 512M or 10G."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_two_units_at_most() {
        assert_eq!(duration(0), "0 seconds");
        assert_eq!(duration(61), "1 minute 1 second");
        assert_eq!(duration(7_200), "2 hours 0 minutes");
        assert_eq!(duration(90_000), "1 day 1 hour");
    }

    #[test]
    fn a_size_has_a_unit_or_none() {
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size("10 G"), Ok(10 << 30));
        assert_eq!(parse_size("7"), Ok(7));
        for wrong in ["", "G", "10X", "99999999999T", "1.5G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
