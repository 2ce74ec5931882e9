//! What must hold for any input, however hostile.

use gantry_core::command::{
    CgroupDescriptor, ConsoleLog, DeviceAccess, RequestHeader, ResponseHeader, StateInterest,
    StateMessage, decode_text,
};
use gantry_core::config::{Config, Included, Includes, SkipIncludes};
use gantry_core::dependents::Dependents;
use gantry_core::idmap::{IdMap, IdRange, SubordinateIds, allocate, parse_subordinate};
use gantry_core::keys::{self, Match};
use gantry_core::layout::{ContainerLayout, command_sockets, normalize_lxc_path};
use gantry_core::name::{ContainerName, InterfaceName};
use gantry_core::settings::{Settings, stock_value};
use gantry_core::values::mount::{MountEntry, MountOptions, parse_fstab};
use gantry_core::values::{LogLevel, command_words};
use gantry_core::{caps, signals};
use proptest::prelude::*;
use std::path::Path;

fn read(text: &str) -> Config {
    Config::read(Path::new("/c"), text.to_owned(), &mut SkipIncludes)
}

/// Includes that hand back the text that includes them.
struct Mirror(String);

impl Includes for Mirror {
    fn read(&mut self, path: &Path) -> std::io::Result<Included> {
        Ok(match path.to_string_lossy().len() % 3 {
            0 => Included::Missing,
            1 => Included::File(self.0.clone()),
            _ => Included::Directory(vec![(path.join("aa.conf"), self.0.clone())]),
        })
    }
}

/// Lines that look like those of configs, and others.
fn config_text() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = keys::all()
        .flat_map(|key| key.legacy.iter().copied().chain([key.name]))
        .collect();
    let name = prop::sample::select(names).prop_map(|name| {
        name.replace(".N.", ".1.")
            .replace("FILE", "memory.max")
            .replace("NAME", "core")
            .replace("NS", "net")
            .replace("KEY", "a.b")
    });
    let value = prop_oneof![
        "[ -~]{0,12}",
        Just(String::new()),
        Just("1".to_owned()),
        Just("veth".to_owned()),
        Just("u 0 100000 65536".to_owned()),
        Just("'quoted'".to_owned()),
        Just("/x".to_owned()),
        Just("/xx".to_owned()),
    ];
    let line = prop_oneof![
        4 => (name, "[ \t]{0,2}=[ \t]{0,2}", value).prop_map(|(name, equals, value)| format!("{name}{equals}{value}")),
        1 => "[ \t]{0,2}#?[ -~]{0,20}",
        1 => "lxc\\.[a-z.=0-9]{0,20}",
        1 => any::<String>(),
    ];
    let end = prop_oneof![4 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\r"), 1 => Just("\0"), 1 => Just("\n\n")];
    prop::collection::vec((line, end), 0..20).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(line, end)| [line, end.to_owned()])
            .collect()
    })
}

proptest! {
    #[test]
    fn a_text_stays_as_it_is(text in prop_oneof![config_text(), any::<String>()]) {
        let config = read(&text);
        prop_assert_eq!(config.text(), &text);
    }

    #[test]
    fn reading_ends_whatever_is_included(text in config_text()) {
        let config = Config::read(Path::new("/c"), text.clone(), &mut Mirror(text.clone()));
        prop_assert_eq!(config.text(), &text);
        for key in config.items().iter().map(|item| item.key.as_str()) {
            stock_value(&config, key);
        }
        if let (Ok(_), Some(error)) = (Settings::from_config(&config), config.errors().first()) {
            prop_assert!(false, "settings in spite of {}", error);
        }
    }

    #[test]
    fn errors_name_a_line_that_is_there(text in config_text()) {
        let lines = text.matches('\n').count() as u32 + 1;
        for error in read(&text).errors() {
            prop_assert!((1..=lines).contains(&error.line), "{} of {}", error, lines);
            prop_assert!(!error.reason.ends_with('.'));
        }
    }

    #[test]
    fn what_is_set_is_there(text in config_text(), value in "[!-~]([ -~]{0,20}[!-~])?", key in prop::sample::select(vec![
        "lxc.init.cmd", "lxc.uts.name", "lxc.hook.start", "lxc.apparmor.raw", "lxc.group", "lxc.log.file", "lxc.cgroup2.memory.max",
    ])) {
        let mut config = read(&text);
        let before = config.clone();
        config.set(key, &[&value], &mut SkipIncludes).unwrap();
        prop_assert_eq!(config.values(key), vec![value.as_str()]);
        let again = read(config.text());
        prop_assert_eq!(again.values(key), vec![value.as_str()]);
        // Nothing else changed.
        for other in before.changed_keys(&config) {
            prop_assert_eq!(other.as_str(), key);
        }
        // Lines that are not about keys are still there, in order.
        let others = |text: &str| -> Vec<String> {
            let lines = text.split(['\n', '\r', '\0']).filter(|line| !line.trim_matches([' ', '\t']).starts_with("lxc."));
            lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
        };
        prop_assert_eq!(others(config.text()), others(&text));
        // And taking it away again leaves no trace.
        config.set(key, &[], &mut SkipIncludes).unwrap();
        prop_assert_eq!(config.get(key), None);
        prop_assert!(!read(config.text()).items().iter().any(|item| item.key == key));
    }

    #[test]
    fn lists_are_set_whole(values in prop::collection::vec("[a-z]{1,8}", 0..5), old in prop::collection::vec("[a-z]{1,8}", 0..5)) {
        let text: String = old.iter().map(|group| format!("lxc.group = {group}\n# x\n")).collect();
        let mut config = read(&text);
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        config.set("lxc.group", &values, &mut SkipIncludes).unwrap();
        prop_assert_eq!(config.values("lxc.group"), values);
        prop_assert_eq!(config.text().matches("# x\n").count(), old.len());
    }

    #[test]
    fn converted_configs_are_modern_and_say_the_same(text in config_text()) {
        let config = read(&text);
        let modern = read(&config.to_modern().text);
        prop_assert!(!modern.is_legacy());
        if config.errors().is_empty() && config.get("lxc.rootfs.backend").is_none() {
            let obsolete = ["lxc.kmsg", "lxc.pivotdir"];
            for key in config.changed_keys(&modern) {
                prop_assert!(obsolete.contains(&key.as_str()), "{} in {:?}", key, config.to_modern().text);
            }
        }
    }

    #[test]
    fn a_config_is_no_unsafe_change_of_itself(text in config_text()) {
        let config = read(&text);
        prop_assert_eq!(config.unsafe_changes(&config), Vec::<String>::new());
        prop_assert_eq!(config.needing_restart(&config), Vec::<String>::new());
    }

    #[test]
    fn every_grammar_survives_any_value(value in prop_oneof![any::<String>(), "[0-9a-z:./, =x-]{0,24}"]) {
        for key in keys::all() {
            if key.grammar.validate(&value).is_ok() {
                prop_assert!(!value.contains(['\n', '\r', '\0']), "{} = {:?}", key.name, value);
            }
            key.safety.is_safe(&value, &value);
        }
    }

    #[test]
    fn names_in_the_table_are_stable(name in "lxc\\.[a-z0-9.]{0,24}") {
        if let Some(Match::Key(found)) = keys::find(&name) {
            let modern = found.name(7);
            let Some(Match::Key(again)) = keys::find(&modern) else { panic!("{modern}") };
            prop_assert_eq!(again.name(7), modern.as_str());
            prop_assert!(std::ptr::eq(again.key, found.key));
        }
    }

    #[test]
    fn small_parsers_survive_any_text(text in any::<String>()) {
        drop(ContainerName::new(&text));
        drop(ContainerName::new_host(&text));
        drop(InterfaceName::new(&text));
        drop(IdMap::parse(&text));
        drop(MountEntry::parse(&text));
        drop(MountOptions::parse(&text));
        drop(parse_fstab(&text));
        drop(LogLevel::parse(&text));
        drop(DeviceAccess::parse(&text, true));
        command_words(&text);
        signals::parse(&text);
        caps::Capability::parse(&text);
        parse_subordinate(&text);
        command_sockets(&text);
        Dependents::parse(&text);
        prop_assert_eq!(normalize_lxc_path(&normalize_lxc_path(&text)), normalize_lxc_path(&text));
    }

    #[test]
    fn messages_survive_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for length in [16, 24, 32, 40, 80, 96, 264, bytes.len()] {
            let bytes = bytes.get(..length).unwrap_or(&bytes);
            if let Ok(header) = RequestHeader::decode(bytes) {
                prop_assert!(header.data_len <= 8192);
                prop_assert_eq!(header.encode(), bytes);
            }
            if let Ok(header) = ResponseHeader::decode(bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
            if let Ok(interest) = StateInterest::decode(bytes) {
                prop_assert_eq!(&interest.encode(), bytes);
            }
            if let Ok(log) = ConsoleLog::decode(bytes) {
                prop_assert_eq!(ConsoleLog::decode(&log.encode()), Ok(log));
            }
            if let Ok(rule) = DeviceAccess::decode(bytes) {
                prop_assert_eq!(DeviceAccess::decode(&rule.encode()), Ok(rule));
            }
            if let Ok(descriptor) = CgroupDescriptor::decode(bytes) {
                prop_assert_eq!(CgroupDescriptor::decode(&descriptor.encode()), Ok(descriptor));
            }
            if let Ok(message) = StateMessage::decode(bytes) {
                prop_assert_eq!(StateMessage::decode(&message.encode()), Ok(message));
            }
            drop(decode_text(bytes));
        }
    }

    #[test]
    fn allocated_ranges_are_free(
        used in prop::collection::vec((900_000_u32..1_400_000, 0_u32..100_000), 0..12),
        lines in prop::collection::vec((prop::sample::select(vec!["root", "alice", "0"]), 900_000_u32..1_400_000, 1_u32..200_000), 0..4),
    ) {
        let used: Vec<IdRange> = used.into_iter().map(|(first, count)| IdRange { first, count }).collect();
        let lines: Vec<SubordinateIds> = lines
            .into_iter()
            .map(|(owner, first, count)| SubordinateIds { owner: owner.to_owned(), range: IdRange { first, count } })
            .collect();
        let own: Vec<IdRange> = lines.iter().filter(|line| line.owner != "alice").map(|line| line.range).collect();
        if let Ok(range) = allocate(&lines, &used) {
            prop_assert_eq!(range.count, 65_536);
            prop_assert!(used.iter().all(|other| !other.overlaps(range)));
            if own.is_empty() {
                prop_assert!(lines.iter().all(|line| !line.range.overlaps(range)));
            } else {
                prop_assert!(own.iter().any(|own| own.contains(range)));
            }
        }
    }

    #[test]
    fn socket_names_fit(path in "/[a-z/]{0,120}", name in "[a-z][a-z0-9]{0,62}") {
        let layout = ContainerLayout::new(&path, ContainerName::new(&name).unwrap());
        prop_assert!(layout.command_socket().len() < 108);
    }
}
