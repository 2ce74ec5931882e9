//! Values as stock LXC gives them back: what `lxc-info -c` prints and what a
//! monitor answers to command 7.

use crate::arch::Personality;
use crate::config::Config;
use crate::keys::{self, Match};
use crate::signals;
use crate::values::rootfs::RootfsPath;
use crate::values::{self, LogLevel, TimeOffset};

/// The value of a key in stock LXC's spelling, or none if it is unset (which
/// a monitor answers with -1). A list has one value a line, each with its
/// line end. Networks answer by number (`lxc.net.0.type`) or all together
/// (`lxc.net`: one type a line).
pub fn stock_value(config: &Config, key: &str) -> Option<String> {
    if key == "lxc.net" {
        let types = config
            .items()
            .iter()
            .filter(|item| item.description.name == "lxc.net.N.type");
        return non_empty(types.map(|item| format!("{}\n", item.value)).collect());
    }
    let Some(Match::Key(found)) = keys::find(key) else {
        return None;
    };
    let name = found.name(0);
    if found.key.multi {
        let words = matches!(name.as_str(), "lxc.cap.drop" | "lxc.cap.keep" | "lxc.group");
        let lines = config.items_of(&name).flat_map(|item| match words {
            true => values::words(&item.value).collect(),
            false => vec![item.value.as_str()],
        });
        return non_empty(lines.map(|line| format!("{line}\n")).collect());
    }
    match (config.get(&name), name.as_str()) {
        (Some(value), _) => Some(spell(&name, value)),
        (None, "lxc.autodev.tmpfs.size") => Some("0".to_owned()),
        (None, _) => None,
    }
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn spell(key: &str, value: &str) -> String {
    let spelled =
        match key {
            "lxc.arch" => {
                Personality::from_name(value).map(|personality| personality.stock_name().to_owned())
            }
            "lxc.rootfs.path" => Some(RootfsPath::parse(value).path),
            "lxc.log.level" => LogLevel::parse(value)
                .ok()
                .map(|level| level.stock_name().to_owned()),
            "lxc.signal.halt"
            | "lxc.signal.reboot"
            | "lxc.signal.stop"
            | "lxc.monitor.signal.pdeath" => signals::parse(value).map(|number| number.to_string()),
            "lxc.console.buffer.size" | "lxc.console.size" => values::size(value)
                .and_then(values::buffer_size)
                .ok()
                .map(|bytes| bytes.to_string()),
            "lxc.time.offset.boot" | "lxc.time.offset.monotonic" => TimeOffset::parse(value)
                .ok()
                .map(|offset| match (offset.seconds, offset.nanoseconds) {
                    (seconds, 0) => format!("{seconds} s"),
                    (seconds, nanoseconds) => {
                        format!(
                            "{} ns",
                            i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
                        )
                    }
                }),
            _ => None,
        };
    spelled.unwrap_or_else(|| value.to_owned())
}

/// The groups as `lxc-ls` prints them: stock LXC splits at blanks only.
pub fn stock_groups(config: &Config) -> Vec<&str> {
    config
        .items_of("lxc.group")
        .flat_map(|item| values::words(&item.value))
        .collect()
}
