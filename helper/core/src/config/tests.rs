//! The language's rules, one by one.

use super::*;
use std::collections::HashMap;

/// Files that can be included.
#[derive(Default)]
struct Files(HashMap<PathBuf, Included>);

impl Files {
    fn file(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.into(), Included::File(text.to_owned()));
        self
    }

    fn directory(mut self, path: &str, members: &[(&str, &str)]) -> Self {
        let members = members
            .iter()
            .map(|(name, text)| (Path::new(path).join(name), (*text).to_owned()));
        self.0
            .insert(path.into(), Included::Directory(members.collect()));
        self
    }
}

impl Includes for Files {
    fn read(&mut self, path: &Path) -> std::io::Result<Included> {
        if path == Path::new("/forbidden") {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        Ok(self.0.get(path).cloned().unwrap_or(Included::Missing))
    }
}

fn read_with(text: &str, mut files: Files) -> Config {
    let config = Config::read(Path::new("/lxc/c1/config"), text.to_owned(), &mut files);
    assert_eq!(config.text(), text);
    config
}

fn read(text: &str) -> Config {
    read_with(text, Files::default())
}

/// Reads a text that must be right.
fn good(text: &str) -> Config {
    let config = read(text);
    assert_eq!(config.errors(), [], "{text}");
    config
}

/// The only error of a text.
fn error(text: &str) -> ConfigError {
    match read(text).errors() {
        [error] => error.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn lines_end_at_feeds_returns_and_nuls() {
    let config = good("lxc.uts.name = a\r\nlxc.tty.max = 1\rlxc.pty.max = 2\0lxc.autodev = 0");
    assert_eq!(config.get("lxc.uts.name"), Some("a"));
    assert_eq!(config.get("lxc.tty.max"), Some("1"));
    assert_eq!(config.get("lxc.pty.max"), Some("2"));
    assert_eq!(config.get("lxc.autodev"), Some("0"));
    assert_eq!(config.items().last().map(|item| item.line), Some(2));
}

#[test]
fn blanks_around_keys_and_values_do_not_count() {
    let config = good(" \tlxc.uts.name\t =  web one \t\n\n   \n");
    assert_eq!(config.get("lxc.uts.name"), Some("web one"));
    assert_eq!(good("lxc.uts.name=a=b").get("lxc.uts.name"), Some("a=b"));
}

#[test]
fn comments_begin_lines_only() {
    let config = good("# lxc.tty.max = x\n  # lxc.bad\nlxc.init.cmd = /init # a\n");
    assert_eq!(config.get("lxc.init.cmd"), Some("/init # a"));
    assert_eq!(config.items().len(), 1);
}

#[test]
fn other_lines_are_ignored() {
    assert!(
        good("hello\nLXC.uts.name = a\nlxc\nfoo = bar\nlxc_thing = 1\n")
            .items()
            .is_empty()
    );
}

#[test]
fn a_line_of_lxc_needs_an_equals_sign() {
    let error = error("# one\nlxc.uts.name web\n");
    assert_eq!(error.kind, ConfigErrorKind::Syntax);
    assert_eq!((error.line, error.key.as_str()), (2, "lxc.uts.name"));
    assert_eq!(error.file, Path::new("/lxc/c1/config"));
}

#[test]
fn one_pair_of_equal_quotes_is_removed() {
    for (written, value) in [
        ("\"web\"", "web"),
        ("'web'", "web"),
        ("''web''", "'web'"),
        ("\"web'", "\"web'"),
        ("\"", "\""),
        ("' web '", " web "),
        ("\"a\" \"b\"", "a\" \"b"),
    ] {
        assert_eq!(
            good(&format!("lxc.init.cmd = {written}")).get("lxc.init.cmd"),
            Some(value),
            "{written}"
        );
    }
    assert_eq!(
        good("lxc.init.cmd = a\nlxc.init.cmd = \"\"").get("lxc.init.cmd"),
        None
    );
}

#[test]
fn unknown_keys_and_wrong_values_are_told_apart() {
    let unknown = error("lxc.uts.nam = a");
    assert_eq!(unknown.kind, ConfigErrorKind::UnknownKey);
    assert_eq!(unknown.key, "lxc.uts.nam");
    let wrong = error("\nlxc.autodev = 2");
    assert_eq!(wrong.kind, ConfigErrorKind::InvalidValue);
    assert_eq!(
        wrong.to_string(),
        "/lxc/c1/config, line 2, lxc.autodev: '2' is neither 0 nor 1"
    );
}

#[test]
fn errors_show_no_control_characters() {
    let text = error("lxc.\u{1b}[31m = 1").to_string();
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let text = error("lxc.uts.name = \u{1b}[31m").to_string();
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn errors_do_not_hide_the_rest() {
    let config = read("lxc.bad = 1\nlxc.start.auto = 1\nlxc.autodev = x\nlxc.group = a\n");
    assert_eq!(config.errors().len(), 2);
    assert_eq!(config.get("lxc.start.auto"), Some("1"));
    assert_eq!(config.get("lxc.group"), Some("a"));
    assert_eq!(config.check().unwrap_err().line, 1);
}

#[test]
fn later_values_override_or_add_up() {
    let config =
        good("lxc.tty.max = 1\nlxc.cap.drop = kill\nlxc.tty.max = 2\nlxc.cap.drop = mknod\n");
    assert_eq!(config.values("lxc.tty.max"), ["2"]);
    assert_eq!(config.values("lxc.cap.drop"), ["kill", "mknod"]);
    let limits = good("lxc.prlimit.core = 1\nlxc.prlimit.nofile = 2\nlxc.prlimit.core = 3\n");
    assert_eq!(limits.values("lxc.prlimit.core"), ["3"]);
}

#[test]
fn empty_values_clear_where_they_stand() {
    let config = good(
        "lxc.cap.drop = kill\nlxc.cap.drop =\nlxc.cap.drop = mknod\nlxc.tty.dir = lxc\nlxc.tty.dir =\n",
    );
    assert_eq!(config.values("lxc.cap.drop"), ["mknod"]);
    assert_eq!(config.get("lxc.tty.dir"), None);
}

#[test]
fn bare_names_clear_groups() {
    let nets = "lxc.net.0.type = veth\nlxc.net.0.link = a\nlxc.net.1.type = veth\n";
    assert!(good(&format!("{nets}lxc.net =\n")).items().is_empty());
    assert_eq!(good(&format!("{nets}lxc.net.0 =\n")).items().len(), 1);
    assert!(good(&format!("{nets}lxc.network =\n")).items().is_empty());
    assert!(
        good("lxc.hook.start = a\nlxc.hook.stop = b\nlxc.hook =\n")
            .items()
            .is_empty()
    );
    let cgroup = good("lxc.cgroup.dir = d\nlxc.cgroup.cpu.shares = 5\nlxc.cgroup =\n");
    assert_eq!(cgroup.get("lxc.cgroup.dir"), Some("d"));
    assert_eq!(cgroup.get("lxc.cgroup.cpu.shares"), None);
    assert_eq!(error("lxc.net = veth").kind, ConfigErrorKind::InvalidValue);
}

#[test]
fn subkeys_of_a_type_need_the_type_before() {
    assert_eq!(
        error("lxc.net.0.veth.pair = v\nlxc.net.0.type = veth\n").kind,
        ConfigErrorKind::Conflict
    );
    assert_eq!(
        error("lxc.net.0.type = macvlan\nlxc.net.0.veth.pair = v\n").line,
        2
    );
    good("lxc.net.0.link = br0\nlxc.net.0.type = veth\nlxc.net.0.veth.pair = v\n");
    assert_eq!(
        error("lxc.net.0.type = veth\nlxc.net.0.type =\nlxc.net.0.veth.pair = v\n").line,
        3
    );
    // Cleared with the network.
    assert_eq!(
        error("lxc.net.0.type = veth\nlxc.net.0 =\nlxc.net.0.veth.pair = v\n").line,
        3
    );
}

#[test]
fn keys_that_exclude_each_other() {
    for text in [
        "lxc.cap.drop = kill\nlxc.cap.keep = mknod\n",
        "lxc.cap.keep = mknod\nlxc.cap.drop = kill\n",
    ] {
        let error = error(text);
        assert_eq!((error.kind, error.line), (ConfigErrorKind::Conflict, 2));
    }
    assert_eq!(
        error("lxc.namespace.clone = net\nlxc.namespace.keep = pid\n").kind,
        ConfigErrorKind::Conflict
    );
    good("lxc.cap.drop = kill\nlxc.cap.drop =\nlxc.cap.keep = mknod\n");
}

#[test]
fn legacy_keys_are_read() {
    let config = good(
        "lxc.utsname = old\nlxc.rootfs = /srv/old\nlxc.tty = 4\nlxc.pts = 1024\nlxc.id_map = u 0 100000 65536\n\
         lxc.network.type = veth\nlxc.network.link = lxcbr0\nlxc.network.ipv4 = 10.0.3.5/24\n\
         lxc.network.type = macvlan\nlxc.network.macvlan.mode = bridge\nlxc.network.0.name = lan\nlxc.kmsg = 0\n",
    );
    assert_eq!(config.get("lxc.uts.name"), Some("old"));
    assert_eq!(config.get("lxc.rootfs.path"), Some("/srv/old"));
    assert_eq!(config.get("lxc.net.0.link"), Some("lxcbr0"));
    assert_eq!(config.get("lxc.net.0.ipv4.address"), Some("10.0.3.5/24"));
    assert_eq!(config.get("lxc.net.0.name"), Some("lan"));
    assert_eq!(config.get("lxc.net.1.macvlan.mode"), Some("bridge"));
    assert_eq!(
        config
            .items_of("lxc.net.1.type")
            .next()
            .map(|item| item.written.as_str()),
        Some("lxc.network.type")
    );
    assert!(config.is_legacy());
}

#[test]
fn an_empty_legacy_type_removes_every_network() {
    let config = good(
        "lxc.network.type = veth\nlxc.network.link = a\nlxc.network.type =\nlxc.network.type = empty\n",
    );
    assert_eq!(config.values("lxc.net.0.type"), ["empty"]);
    assert_eq!(config.get("lxc.net.0.link"), None);
}

#[test]
fn both_generations_in_one_file() {
    let config = good(
        "lxc.net.3.type = veth\nlxc.network.link = a\nlxc.network.type = veth\nlxc.network.link = b\n",
    );
    assert_eq!(config.get("lxc.net.3.link"), Some("a"));
    assert_eq!(config.get("lxc.net.4.link"), Some("b"));
}

#[test]
fn includes_act_at_their_point() {
    let files = || Files::default().file("/common", "lxc.tty.max = 4\nlxc.cap.drop = kill\n");
    let config = read_with(
        "lxc.tty.max = 1\nlxc.include = /common\nlxc.cap.drop =\nlxc.cap.drop = mknod\n",
        files(),
    );
    assert_eq!(config.errors(), []);
    assert_eq!(config.get("lxc.tty.max"), Some("4"));
    assert_eq!(config.values("lxc.cap.drop"), ["mknod"]);
    let from = config.items_of("lxc.tty.max").next().unwrap();
    assert_eq!((&*from.file, from.line), (Path::new("/common"), 1));
    assert_eq!(
        config.included().collect::<Vec<_>>(),
        [Path::new("/common")]
    );
}

#[test]
fn included_directories_are_read_in_order() {
    let members = [
        ("b.conf2", "lxc.bad = 1\n"),
        ("20-b.conf", "lxc.group = b\n"),
        ("10-a.conf", "lxc.group = a\n"),
        (".conf", "lxc.bad = 2\n"),
    ];
    let config = read_with(
        "lxc.include = /d\n",
        Files::default().directory("/d", &members),
    );
    assert_eq!(config.errors(), []);
    assert_eq!(config.values("lxc.group"), ["a", "b"]);
}

#[test]
fn missing_includes() {
    good("lxc.include = /missing/\n");
    let missing = error("\nlxc.include = /missing\n");
    assert_eq!((missing.kind, missing.line), (ConfigErrorKind::Include, 2));
    assert!(missing.reason.contains("/missing"));
    assert_eq!(
        error("lxc.include = /forbidden\n").kind,
        ConfigErrorKind::Include
    );
}

#[test]
fn errors_in_includes_are_placed_there() {
    let config = read_with(
        "lxc.include = /a\n",
        Files::default().file("/a", "\n\nlxc.bad = 1\n"),
    );
    assert_eq!(
        (&*config.errors()[0].file, config.errors()[0].line),
        (Path::new("/a"), 3)
    );
}

#[test]
fn include_loops_end() {
    let files = Files::default()
        .file("/a", "lxc.include = /b\n")
        .file("/b", "lxc.include = /a\n");
    let config = read_with("lxc.include = /a\n", files);
    let [error] = config.errors() else {
        panic!("{:?}", config.errors())
    };
    assert_eq!(
        (&*error.file, error.line, error.kind),
        (Path::new("/b"), 1, ConfigErrorKind::Include)
    );
    let own = Files::default().file("/lxc/c1/config", "");
    assert_eq!(
        read_with("lxc.include = /lxc/c1/config\n", own)
            .errors()
            .len(),
        1
    );
}

#[test]
fn includes_that_multiply_end() {
    let mut files = Files::default();
    for level in 0..14 {
        let next = format!("lxc.include = /{0}\nlxc.include = /{0}\n", level + 1);
        files = files.file(&format!("/{level}"), &next);
    }
    let config = read_with("lxc.include = /0\n", files.file("/14", ""));
    assert!(
        config
            .errors()
            .iter()
            .all(|error| error.kind == ConfigErrorKind::Include)
    );
    assert!(!config.errors().is_empty());
}

#[test]
fn texts_that_are_not_utf8_are_placed() {
    let error = text_of(Path::new("/c"), b"a\nb\n\xff\n".to_vec()).unwrap_err();
    assert_eq!((error.line, error.kind), (3, ConfigErrorKind::Syntax));
    assert_eq!(text_of(Path::new("/c"), "é".into()).unwrap(), "é");
}

#[test]
fn what_needs_a_restart() {
    let running = good(
        "lxc.tty.max = 1\nlxc.start.auto = 0\nlxc.cgroup2.memory.max = 1G\nlxc.hook.start = a\n",
    );
    let saved = good("lxc.tty.max = 2\nlxc.start.auto = 1\nlxc.cgroup2.memory.max = 2G\n");
    assert_eq!(
        saved.changed_keys(&running),
        [
            "lxc.cgroup2.memory.max",
            "lxc.hook.start",
            "lxc.start.auto",
            "lxc.tty.max"
        ]
    );
    // A limit that was set in the running container stands in its config, too: one that
    // differs is not in force.
    assert_eq!(
        saved.needing_restart(&running),
        ["lxc.cgroup2.memory.max", "lxc.hook.start", "lxc.tty.max"]
    );
}

const CONFINED: &str =
    "lxc.rootfs.path = dir:/srv/a\nlxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";

#[test]
fn unsafe_changes_are_named() {
    let unsafe_keys = |old: &str, new: &str| {
        let (old, new) = (
            good(&format!("{CONFINED}{old}")),
            good(&format!("{CONFINED}{new}")),
        );
        new.unsafe_changes(&old)
    };
    assert_eq!(
        unsafe_keys("", "lxc.uts.name = a\nlxc.init.cmd = /x\n"),
        [""; 0]
    );
    assert_eq!(
        unsafe_keys(
            "lxc.hook.start = /a\n",
            "lxc.hook.start = /a\nlxc.tty.max = 1\n"
        ),
        [""; 0]
    );
    assert_eq!(unsafe_keys("", "lxc.hook.start = /a\n"), ["lxc.hook.start"]);
    assert_eq!(unsafe_keys("lxc.cap.drop = kill\n", ""), ["lxc.cap.drop"]);
    assert_eq!(
        unsafe_keys(
            "lxc.cap.drop = kill\n",
            "lxc.cap.drop = kill\nlxc.cap.drop = mknod\n"
        ),
        [""; 0]
    );
    assert_eq!(
        unsafe_keys("", "lxc.net.0.type = phys\nlxc.net.0.link = eth0\n"),
        ["lxc.net.0.link", "lxc.net.0.type"]
    );
    assert_eq!(
        unsafe_keys(
            "lxc.net.0.type = phys\nlxc.net.0.link = eth0\n",
            "lxc.net.0.type = phys\nlxc.net.0.link = eth1\n"
        ),
        ["lxc.net.0.link"]
    );
    let rules = [
        "lxc.cgroup2.devices.deny = b *:*\n",
        "lxc.cgroup2.devices.allow = a\n",
    ];
    assert_eq!(
        unsafe_keys(
            &[rules[1], rules[0]].concat(),
            &[rules[0], rules[1]].concat()
        )
        .len(),
        1,
        "the order of device rules counts"
    );
}

#[test]
fn settings_of_the_kernel_are_unsafe_where_its_namespaces_may_be_the_hosts() {
    let sysctl = "lxc.sysctl.net.ipv4.ip_forward = 1\n";
    let changes = |base: &str| good(&format!("{base}{sysctl}")).unsafe_changes(&good(base));
    assert_eq!(changes(CONFINED), [""; 0]);
    assert_eq!(
        changes("lxc.rootfs.path = dir:/srv/a\nlxc.namespace.keep = net\n"),
        ["lxc.sysctl.net.ipv4.ip_forward"]
    );
}

#[test]
fn dropping_the_id_map_is_unsafe() {
    let new = good("lxc.rootfs.path = dir:/srv/a\n");
    assert_eq!(new.unsafe_changes(&good(CONFINED)), ["lxc.idmap"]);
}

#[test]
fn what_runs_in_a_privileged_container_is_unsafe() {
    let old = good("lxc.rootfs.path = dir:/srv/a\n");
    let new = good(
        "lxc.rootfs.path = dir:/srv/a\nlxc.init.cmd = /x\nlxc.mount.entry = proc p proc\nlxc.tty.max = 1\n",
    );
    assert_eq!(
        new.unsafe_changes(&old),
        ["lxc.init.cmd", "lxc.mount.entry"]
    );
}
