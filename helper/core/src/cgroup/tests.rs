use super::*;
use CgroupVersion::{V1, V2};
use proptest::prelude::*;

fn file(name: &str) -> CgroupFile {
    CgroupFile::parse(name).unwrap()
}

fn host<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| {
        let found = files.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    }
}

/// `FILE=VALUE` of each write.
fn on(version: CgroupVersion, name: &str, value: &str, files: &[(&str, &str)]) -> Vec<String> {
    writes(&file(name), value, version, &host(files))
        .unwrap()
        .into_iter()
        .map(|write| format!("{}={}", write.file.name(), write.value))
        .collect()
}

fn shows(version: CgroupVersion, name: &str, files: &[(&str, &str)]) -> String {
    reading(&file(name), version, &host(files))
        .unwrap()
        .unwrap()
}

#[test]
fn the_hosts_own_keys_stay_as_they_are() {
    assert_eq!(
        on(V1, "memory.limit_in_bytes", " 512M ", &[]),
        ["memory.limit_in_bytes=512M"]
    );
    assert_eq!(on(V2, "memory.max", "512M", &[]), ["memory.max=512M"]);
    assert_eq!(
        on(V1, "memory.swappiness", "10", &[]),
        ["memory.swappiness=10"]
    );
    assert_eq!(on(V2, "cgroup.max.depth", "3", &[]), ["cgroup.max.depth=3"]);
    for version in [V1, V2] {
        assert_eq!(on(version, "pids.max", "max", &[]), ["pids.max=max"]);
        assert_eq!(on(version, "cpuset.cpus", "0-1", &[]), ["cpuset.cpus=0-1"]);
    }
}

#[test]
fn keys_of_the_other_version_are_translated() {
    for (version, key, value, expected) in [
        (V2, "memory.limit_in_bytes", "512M", "memory.max=512M"),
        (V2, "memory.limit_in_bytes", "-1", "memory.max=max"),
        (V2, "memory.soft_limit_in_bytes", "1G", "memory.low=1G"),
        (V2, "cpu.shares", "1024", "cpu.weight=100"),
        (V2, "cpu.shares", "2", "cpu.weight=1"),
        (V2, "cpu.shares", "262144", "cpu.weight=10000"),
        (V2, "blkio.weight", "500", "io.weight=100"),
        (V2, "freezer.state", "FROZEN", "cgroup.freeze=1"),
        (
            V2,
            "blkio.throttle.read_bps_device",
            "8:0 1M",
            "io.max=8:0 rbps=1048576",
        ),
        (
            V2,
            "blkio.throttle.write_iops_device",
            "8:0 0",
            "io.max=8:0 wiops=max",
        ),
        (V1, "memory.max", "max", "memory.limit_in_bytes=-1"),
        (V1, "memory.high", "64M", "memory.soft_limit_in_bytes=64M"),
        (V1, "cpu.weight", "100", "cpu.shares=1024"),
        (V1, "io.weight", "default 200", "blkio.weight=1000"),
    ] {
        assert_eq!(on(version, key, value, &[]), [expected]);
    }
}

#[test]
fn a_file_that_the_host_has_comes_first() {
    let bfq = [("io.bfq.weight", "100")];
    assert_eq!(on(V2, "blkio.weight", "500", &bfq), ["io.bfq.weight=100"]);
    let bfq = [("blkio.bfq.weight", "100")];
    assert_eq!(on(V1, "io.weight", "50", &bfq), ["blkio.bfq.weight=50"]);
}

#[test]
fn swap_is_what_memory_and_swap_have_beyond_memory() {
    let limited = [("memory.max", "1073741824\n")];
    assert_eq!(
        on(V2, "memory.memsw.limit_in_bytes", "3G", &limited),
        ["memory.swap.max=2147483648"]
    );
    assert_eq!(
        on(V2, "memory.memsw.limit_in_bytes", "-1", &limited),
        ["memory.swap.max=max"]
    );
    let limited = [("memory.limit_in_bytes", "1073741824\n")];
    assert_eq!(
        on(V1, "memory.swap.max", "1G", &limited),
        ["memory.memsw.limit_in_bytes=2147483648"]
    );
    for (version, key, files) in [
        (V2, "memory.memsw.limit_in_bytes", [("memory.max", "max")]),
        (
            V2,
            "memory.memsw.limit_in_bytes",
            [("memory.max", "2147483648")],
        ),
        (
            V1,
            "memory.swap.max",
            [("memory.limit_in_bytes", "9223372036854771712")],
        ),
    ] {
        let refused = writes(&file(key), "1G", version, &host(&files)).unwrap_err();
        assert!(
            matches!(&refused, CgroupError::Invalid(text) if text.contains("first")),
            "{refused}"
        );
    }
    let usage = [("memory.current", "100"), ("memory.swap.current", "20")];
    assert_eq!(shows(V2, "memory.memsw.usage_in_bytes", &usage), "120");
}

#[test]
fn quota_and_period_are_one_file_in_version_2() {
    let max = [("cpu.max", "30000 50000\n")];
    assert_eq!(
        on(V2, "cpu.cfs_quota_us", "20000", &max),
        ["cpu.max=20000 50000"]
    );
    assert_eq!(
        on(V2, "cpu.cfs_period_us", "60000", &max),
        ["cpu.max=30000 60000"]
    );
    assert_eq!(
        on(V2, "cpu.cfs_quota_us", "-1", &[]),
        ["cpu.max=max 100000"]
    );
    assert_eq!(shows(V2, "cpu.cfs_quota_us", &max), "30000");
    assert_eq!(shows(V2, "cpu.cfs_period_us", &max), "50000");
    assert_eq!(
        shows(V2, "cpu.cfs_quota_us", &[("cpu.max", "max 100000")]),
        "-1"
    );
    assert_eq!(
        on(V1, "cpu.max", "20000 50000", &[]),
        ["cpu.cfs_period_us=50000", "cpu.cfs_quota_us=20000"]
    );
    assert_eq!(on(V1, "cpu.max", "max", &[]), ["cpu.cfs_quota_us=-1"]);
    let files = [
        ("cpu.cfs_quota_us", "-1\n"),
        ("cpu.cfs_period_us", "50000\n"),
    ];
    assert_eq!(shows(V1, "cpu.max", &files), "max 50000");
}

#[test]
fn throttles_are_one_file_in_version_2() {
    assert_eq!(
        on(V1, "io.max", "8:16 rbps=1M wiops=max", &[]),
        [
            "blkio.throttle.read_bps_device=8:16 1048576",
            "blkio.throttle.write_iops_device=8:16 0"
        ]
    );
    let one = [
        ("blkio.throttle.read_bps_device", "8:0 1000\n8:16 5\n"),
        ("blkio.throttle.write_bps_device", ""),
        ("blkio.throttle.read_iops_device", "8:0 7\n"),
    ];
    assert_eq!(
        shows(V1, "io.max", &one),
        "8:0 rbps=1000 riops=7\n8:16 rbps=5"
    );
    let two = [(
        "io.max",
        "8:0 rbps=1000 wbps=max riops=max wiops=7\n8:16 rbps=max wbps=max riops=max wiops=1\n",
    )];
    assert_eq!(
        shows(V2, "blkio.throttle.read_bps_device", &two),
        "8:0 1000"
    );
    assert_eq!(
        shows(V2, "blkio.throttle.write_iops_device", &two),
        "8:0 7\n8:16 1"
    );
}

#[test]
fn values_are_shown_in_the_words_of_the_key() {
    let one = [
        ("memory.limit_in_bytes", "9223372036854771712\n"),
        ("cpu.shares", "1024\n"),
    ];
    assert_eq!(shows(V1, "memory.max", &one), "max");
    assert_eq!(shows(V1, "cpu.weight", &one), "100");
    let two = [
        ("memory.max", "max\n"),
        ("cpu.stat", "usage_usec 7\nuser_usec 1\n"),
        ("io.weight", "default 100\n8:0 50\n"),
    ];
    assert_eq!(shows(V2, "memory.limit_in_bytes", &two), "-1");
    assert_eq!(shows(V2, "cpuacct.usage", &two), "7000");
    assert_eq!(shows(V2, "blkio.weight", &two), "500");
    assert_eq!(reading(&file("memory.high"), V1, &host(&[])).unwrap(), None);
}

#[test]
fn what_has_no_equivalent_says_so() {
    for (version, key) in [
        (V2, "freezer.parent_freezing"),
        (V1, "cgroup.max.depth"),
        (V1, "cpu.pressure"),
        (V2, "blkio.leaf_weight"),
    ] {
        let refused = writes(&file(key), "1", version, &host(&[])).unwrap_err();
        assert!(
            matches!(&refused, CgroupError::NoEquivalent(text) if text.contains(key)),
            "{key}: {refused}"
        );
    }
}

#[test]
fn names_and_values_that_are_none_are_refused() {
    for name in [
        "",
        "memory",
        ".max",
        "memory.",
        "memory/../x.y",
        "memory.max\n",
        "a b.c",
        "../../cgroup.procs",
    ] {
        assert!(CgroupFile::parse(name).is_err(), "{name:?}");
    }
    for value in ["", "  ", "1\n2", "1\0", &"1".repeat(5000)] {
        assert!(
            writes(&file("memory.max"), value, V2, &host(&[])).is_err(),
            "{value:?}"
        );
    }
    for (key, value) in [
        ("cpu.shares", "1"),
        ("cpu.cfs_quota_us", "much"),
        ("freezer.state", "cold"),
        ("blkio.throttle.read_bps_device", "8:0"),
    ] {
        assert!(writes(&file(key), value, V2, &host(&[])).is_err(), "{key}");
    }
    assert!(writes(&file("io.max"), "8:0 speed=1", V1, &host(&[])).is_err());
}

#[test]
fn only_controllers_without_the_hosts_rights_are_safe() {
    assert!(file("memory.max").is_safe() && file("blkio.weight").is_safe());
    assert!(!file("devices.allow").is_safe() && !file("cgroup.procs").is_safe());
    assert_eq!(
        (
            file("devices.allow").device_rule(),
            file("devices.list").device_rule()
        ),
        (Some(true), None)
    );
}

#[test]
fn effects_are_seen() {
    for (written, shown) in [
        ("512M", "536870912\n"),
        ("1000000", "999424\n"),
        ("-1", "9223372036854771712\n"),
        ("max", "max\n"),
        ("0,1", "0-1\n"),
        ("50000", "50000 100000\n"),
        ("100", "default 100\n"),
        (
            "8:0 rbps=1048576",
            "8:0 rbps=1048576 wbps=max riops=max wiops=max\n",
        ),
        ("8:0 rbps=max", ""),
        ("8:0 0", ""),
        ("8:0 1048576", "8:16 5\n8:0 1048576\n"),
    ] {
        assert!(
            took_effect(&file("io.x"), written, shown),
            "{written:?} {shown:?}"
        );
    }
    assert!(took_effect(&file("memory.peak"), "0", "4096\n"));
    let control = file("cgroup.subtree_control");
    assert!(took_effect(&control, "+cpu -io", "cpu memory\n"));
    assert!(!took_effect(&control, "+cpu", "memory\n"));
    for (written, shown) in [
        ("1", "2\n"),
        ("max", "100\n"),
        ("0-1", "0\n"),
        ("8:0 rbps=1048576", ""),
        ("8:0 5", "8:0 55\n"),
        ("8:0 0", "8:0 5\n"),
    ] {
        assert!(
            !took_effect(&file("io.x"), written, shown),
            "{written:?} {shown:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(name in "(memory|cpu|io|blkio|freezer)\\.[a-z_.]{1,24}", value in "\\PC{0,40}", old in "\\PC{0,40}") {
        let present = |_: &str| Some(old.clone());
        for version in [V1, V2] {
            if let Ok(file) = CgroupFile::parse(&name) {
                drop(writes(&file, &value, version, &present));
                drop(reading(&file, version, &present));
            }
            for entry in TABLE {
                drop(writes(&file_of(entry, version), &value, version, &present));
                drop(writes(&file_of(entry, version.other()), &value, version, &present));
                drop(reading(&file_of(entry, version.other()), version, &present));
            }
        }
        took_effect(&file("io.max"), &value, &old);
    }

    #[test]
    fn what_is_written_by_one_name_is_read_by_it(bytes in 0_u64..1 << 50, weight in 1_u64..=10_000, quota in 1000_u64..1 << 32, period in 1000_u64..=1_000_000) {
        let cases = [
            (V1, "memory.max", bytes.to_string()),
            (V2, "memory.limit_in_bytes", bytes.to_string()),
            (V1, "cpu.max", format!("{quota} {period}")),
            (V1, "cpu.weight", weight.to_string()),
            (V1, "io.max", format!("8:0 rbps={} wiops={quota}", bytes + 1)),
            (V2, "blkio.throttle.read_bps_device", format!("8:0 {}", bytes + 1)),
        ];
        for (version, key, value) in cases {
            let written = writes(&file(key), &value, version, &host(&[])).unwrap();
            let files: Vec<(&str, &str)> = written.iter().map(|write| (write.file.name(), write.value.as_str())).collect();
            prop_assert_eq!(reading(&file(key), version, &host(&files)).unwrap(), Some(value));
        }
    }

    #[test]
    fn weights_keep_their_order_and_range(a in 2_u64..=262_144, b in 2_u64..=262_144) {
        let weight = |shares: u64| on(V2, "cpu.shares", &shares.to_string(), &[])[0].strip_prefix("cpu.weight=").unwrap().parse::<u64>().unwrap();
        prop_assert!((1..=10_000).contains(&weight(a)));
        prop_assert!(a > b || weight(a) <= weight(b));
    }
}

fn file_of(entry: &Equivalent, version: CgroupVersion) -> CgroupFile {
    file(entry.of(version))
}
