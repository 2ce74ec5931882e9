//! Edits: what changes, and that nothing else does.

use super::*;

fn config(text: &str) -> Config {
    Config::read(Path::new("/c"), text.to_owned(), &mut Common)
}

/// One include that sets a list and a single value.
struct Common;

impl Includes for Common {
    fn read(&mut self, path: &Path) -> std::io::Result<Included> {
        Ok(match path.to_str() {
            Some("/common") => Included::File(
                "lxc.cap.drop = kill\nlxc.tty.max = 4\nlxc.hook.stop = /s\n".to_owned(),
            ),
            _ => Included::Missing,
        })
    }
}

fn edited(text: &str, edit: impl FnOnce(&mut Config) -> Result<(), ConfigError>) -> String {
    let mut config = config(text);
    edit(&mut config).unwrap();
    let again = Config::read(Path::new("/c"), config.text().to_owned(), &mut Common);
    let values = |config: &Config| {
        config
            .items
            .iter()
            .map(|item| (item.key.clone(), item.value.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        values(&again),
        values(&config),
        "what was edited reads back"
    );
    config.text().to_owned()
}

fn set(text: &str, key: &str, values: &[&str]) -> String {
    edited(text, |config| config.set(key, values, &mut Common))
}

const TEXT: &str = "# mine\n\nlxc.tty.max = 1 \n  foo: bar\nlxc.uts.name='a'\n# end";

#[test]
fn single_values_are_replaced_where_they_stand() {
    assert_eq!(
        set(TEXT, "lxc.tty.max", &["2"]),
        "# mine\n\nlxc.tty.max = 2\n  foo: bar\nlxc.uts.name='a'\n# end"
    );
    assert_eq!(
        set(
            "lxc.tty.max = 1\n# x\nlxc.tty.max = 2\n",
            "lxc.tty.max",
            &["3"]
        ),
        "lxc.tty.max = 3\n# x\n"
    );
}

#[test]
fn new_values_go_to_the_end() {
    assert_eq!(
        set(TEXT, "lxc.autodev", &["0"]),
        format!("{TEXT}\nlxc.autodev = 0\n")
    );
    assert_eq!(
        set("", "lxc.group", &["a", "b"]),
        "lxc.group = a\nlxc.group = b\n"
    );
}

#[test]
fn the_same_value_changes_nothing() {
    assert_eq!(set(TEXT, "lxc.uts.name", &["a"]), TEXT);
}

#[test]
fn no_values_remove_the_lines() {
    assert_eq!(
        set(TEXT, "lxc.tty.max", &[]),
        "# mine\n\n  foo: bar\nlxc.uts.name='a'\n# end"
    );
    assert_eq!(
        set("lxc.group = a\n \tlxc.group=b\n# c\n", "lxc.group", &[]),
        "# c\n"
    );
}

#[test]
fn line_ends_are_those_of_the_text() {
    assert_eq!(
        set("lxc.tty.max = 1\r\n# x\r\n", "lxc.pty.max", &["5"]),
        "lxc.tty.max = 1\r\n# x\r\nlxc.pty.max = 5\r\n"
    );
    assert_eq!(
        set("lxc.tty.max = 1\r\n# x\r\n", "lxc.tty.max", &[]),
        "# x\r\n"
    );
}

#[test]
fn what_an_include_gives_is_overridden() {
    // A later include wins over a line before it.
    let text = "lxc.tty.max = 1\nlxc.include = /common\n";
    assert_eq!(
        set(text, "lxc.tty.max", &["2"]),
        "lxc.include = /common\nlxc.tty.max = 2\n"
    );
    assert_eq!(
        set(text, "lxc.tty.max", &[]),
        "lxc.include = /common\nlxc.tty.max =\n"
    );
    let list = set("lxc.include = /common\n", "lxc.cap.drop", &["mknod"]);
    assert_eq!(
        list,
        "lxc.include = /common\nlxc.cap.drop =\nlxc.cap.drop = mknod\n"
    );
    assert_eq!(
        set(&list, "lxc.cap.drop", &["kill", "mknod"]),
        "lxc.include = /common\nlxc.cap.drop =\nlxc.cap.drop = kill\nlxc.cap.drop = mknod\n"
    );
}

#[test]
fn groups_are_cleared() {
    let nets = "lxc.net.0.type = veth\n# x\nlxc.net.1.type = empty\nlxc.net.0.link = br0\n";
    let clear = |text: &str, key: &str| edited(text, |config| config.clear(key, &mut Common));
    assert_eq!(clear(nets, "lxc.net.0"), "# x\nlxc.net.1.type = empty\n");
    assert_eq!(clear(nets, "lxc.net"), "# x\n");
    assert_eq!(
        clear("lxc.include = /common\nlxc.hook.start = a\n", "lxc.hook"),
        "lxc.include = /common\nlxc.hook =\n"
    );
    assert_eq!(
        clear("lxc.network.type = veth\nlxc.network.link = a\n", "lxc.net"),
        ""
    );
}

#[test]
fn a_type_stays_before_its_subkeys() {
    let text = "lxc.net.0.type = veth\nlxc.net.0.veth.pair = a\n";
    assert_eq!(
        set(text, "lxc.net.0.link", &["br0"]),
        format!("{text}lxc.net.0.link = br0\n")
    );
    assert_eq!(
        set(text, "lxc.net.0.veth.pair", &["b"]),
        "lxc.net.0.type = veth\nlxc.net.0.veth.pair = b\n"
    );
}

#[test]
fn modern_keys_replace_legacy_ones() {
    let text = "lxc.utsname = a\nlxc.network.type = veth\nlxc.network.link = x\n";
    assert_eq!(
        set(text, "lxc.uts.name", &["b"]),
        "lxc.uts.name = b\nlxc.network.type = veth\nlxc.network.link = x\n"
    );
    assert_eq!(
        set(text, "lxc.utsname", &["b"]),
        "lxc.uts.name = b\nlxc.network.type = veth\nlxc.network.link = x\n"
    );
    assert_eq!(
        set(text, "lxc.net.0.link", &["y"]),
        "lxc.utsname = a\nlxc.network.type = veth\nlxc.net.0.link = y\n"
    );
}

#[test]
fn values_are_quoted_where_they_must_be() {
    for value in [
        " a ", "'a'", "\"a\"", "a b", "\"", "a # b", "\tx", "''", "' '",
    ] {
        let text = set("", "lxc.init.cmd", &[value]);
        assert_eq!(config(&text).get("lxc.init.cmd"), Some(value), "{text}");
    }
    assert_eq!(
        set("", "lxc.init.cmd", &["/init a"]),
        "lxc.init.cmd = /init a\n"
    );
}

#[test]
fn refused_edits_change_nothing() {
    let mut config = config(TEXT);
    for (key, values, kind) in [
        ("lxc.tty.max", &["x"][..], ConfigErrorKind::InvalidValue),
        ("lxc.tty.max", &["1", "2"], ConfigErrorKind::InvalidValue),
        (
            "lxc.uts.name",
            &["a\nlxc.hook.start = /x"],
            ConfigErrorKind::InvalidValue,
        ),
        ("lxc.uts.name", &["a\rb"], ConfigErrorKind::InvalidValue),
        ("lxc.uts.name", &["a\0b"], ConfigErrorKind::InvalidValue),
        ("lxc.uts.name", &[""], ConfigErrorKind::InvalidValue),
        ("lxc.no.such", &["1"], ConfigErrorKind::UnknownKey),
        ("lxc.network.link", &["br0"], ConfigErrorKind::UnknownKey),
        ("lxc.kmsg", &["1"], ConfigErrorKind::UnknownKey),
        ("lxc.net", &["1"], ConfigErrorKind::InvalidValue),
        ("lxc.net.0.veth.pair", &["v"], ConfigErrorKind::Conflict),
        ("lxc.include", &["/missing"], ConfigErrorKind::Include),
    ] {
        assert_eq!(
            config.set(key, values, &mut Common).unwrap_err().kind,
            kind,
            "{key} {values:?}"
        );
        assert_eq!(config.text(), TEXT);
    }
}

#[test]
fn a_config_with_errors_can_be_edited() {
    assert_eq!(
        set("lxc.bad = 1\nlxc.tty.max = 1\n", "lxc.tty.max", &["2"]),
        "lxc.bad = 1\nlxc.tty.max = 2\n"
    );
}

#[test]
fn values_are_appended() {
    let append = |text: &str, key: &str, value: &str| {
        edited(text, |config| config.append(key, value, &mut Common))
    };
    assert_eq!(
        append("lxc.group = a\n# x", "lxc.group", "b"),
        "lxc.group = a\n# x\nlxc.group = b\n"
    );
    assert_eq!(
        append("lxc.tty.max = 1\n", "lxc.tty.max", "2"),
        "lxc.tty.max = 2\n"
    );
}

#[test]
fn conversion_to_modern_keys() {
    let old = "# kept\nlxc.utsname = a\nlxc.rootfs = /a/rootfs\nlxc.rootfs.backend = overlayfs\r\nlxc.kmsg = 0\n\
               lxc.network.type = veth\nlxc.network.flags = up\nlxc.network.type = empty\nlxc.network.ipv4 = 10.0.3.4\n\
               other\nlxc.limit.core = 5\nlxc.tty.max = 1\nlxc.id_map =";
    let new = "# kept\nlxc.uts.name = a\nlxc.rootfs.path = overlay:/a/rootfs\n\
               lxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.net.1.type = empty\nlxc.net.1.ipv4.address = 10.0.3.4\n\
               other\nlxc.prlimit.core = 5\nlxc.tty.max = 1\nlxc.idmap =";
    assert_eq!(config(old).errors(), []);
    assert_eq!(config(old).to_modern().text, new);
    let again = config(new);
    assert!(!again.is_legacy());
    assert_eq!(again.to_modern().text, new);
}

#[test]
fn conversion_says_what_it_did() {
    let old = "# lxc.utsname = kept\n\tlxc.utsname=a\nlxc.pivotdir = x\nlxc.tty = 2\nlxc.cap.drop = mknod\n";
    let modern = config(old).to_modern();
    assert_eq!(
        modern.changes,
        [
            "line 2: 'lxc.utsname=a' is now 'lxc.uts.name = a'",
            "line 3: 'lxc.pivotdir = x' is left out: LXC has no such key now",
            "line 4: 'lxc.tty = 2' is now 'lxc.tty.max = 2'",
        ]
    );
    assert!(config(old).means_the_same(&config(&modern.text)));
    assert!(!config(old).means_the_same(&config("lxc.uts.name = b\n")));
    assert!(config(&modern.text).to_modern().changes.is_empty());
}
