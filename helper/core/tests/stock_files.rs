//! The config files that LXC's packages install are read without an error.

use gantry_core::config::{Config, Included, Includes, included_by_directory};
use gantry_core::settings::{Capabilities, Settings};
use std::fs;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Includes from the disk.
struct Disk;

impl Includes for Disk {
    fn read(&mut self, path: &Path) -> Result<Included> {
        if path.is_dir() {
            let mut members = Vec::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                if included_by_directory(&entry.file_name().to_string_lossy()) {
                    members.push((entry.path(), fs::read_to_string(entry.path())?));
                }
            }
            return Ok(Included::Directory(members));
        }
        match fs::read_to_string(path) {
            Ok(text) => Ok(Included::File(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Included::Missing),
            Err(error) => Err(error),
        }
    }
}

/// Stock config files on this machine; none where LXC is not installed.
fn stock_files() -> Vec<PathBuf> {
    let entries = fs::read_dir("/usr/share/lxc/config")
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "conf")
    });
    files.push("/etc/lxc/default.conf".into());
    files.retain(|path| path.exists());
    files
}

#[test]
fn installed_files_are_understood() {
    let files = stock_files();
    if files.is_empty() {
        println!("skipped: LXC's config files are not installed here (package lxc)");
    }
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let config = Config::read(&path, text.clone(), &mut Disk);
        assert_eq!(config.errors(), [], "{}", path.display());
        assert_eq!(config.text(), text);
        Settings::from_config(&config).unwrap();
    }
}

#[test]
fn userns_conf_undoes_common_conf() {
    let common = Path::new("/usr/share/lxc/config/common.conf");
    if !common.exists() {
        println!("skipped: LXC's config files are not installed here (package lxc)");
        return;
    }
    let read = |text: &str| {
        let config =
            Config::parse(Path::new("/lxc/c1/config"), text.to_owned(), &mut Disk).unwrap();
        Settings::from_config(&config).unwrap()
    };
    let privileged = read("lxc.include = /usr/share/lxc/config/common.conf\n");
    assert!(!privileged.cgroup.is_empty());
    assert!(matches!(privileged.capabilities, Capabilities::Drop(dropped) if !dropped.is_empty()));
    let mapped = read(
        "lxc.include = /usr/share/lxc/config/common.conf\nlxc.include = /usr/share/lxc/config/userns.conf\n",
    );
    assert!(mapped.cgroup.is_empty());
    assert!(matches!(mapped.capabilities, Capabilities::Drop(dropped) if dropped.is_empty()));
    assert_eq!(mapped.tty_max, 4);
}

/// What this crate has in their place says the same as the files themselves.
#[test]
fn what_stands_in_for_the_common_files_is_the_same() {
    struct NotInstalled;
    impl Includes for NotInstalled {
        fn read(&mut self, _: &Path) -> Result<Included> {
            Ok(Included::Missing)
        }
    }
    let items = |name: &str, includes: &mut dyn Includes| {
        let text = format!("lxc.include = /usr/share/lxc/config/{name}\n");
        let config = Config::parse(Path::new("/lxc/c1/config"), text, includes).unwrap();
        let mut items: Vec<String> = config
            .items()
            .iter()
            .filter(|item| item.key != "lxc.hook.clone")
            .map(|item| format!("{} = {}", item.key, item.value))
            .collect();
        // The order counts for device rules alone, whose keys sort as they stand.
        items.sort_by_key(|item| item.split(' ').next().map(str::to_owned));
        items
    };
    for name in [
        "common.conf",
        "userns.conf",
        "nesting.conf",
        "oci.common.conf",
    ] {
        if !Path::new("/usr/share/lxc/config").join(name).exists() {
            println!("skipped: LXC's {name} is not installed here (package lxc)");
            continue;
        }
        assert_eq!(
            items(name, &mut NotInstalled),
            items(name, &mut Disk),
            "{name}"
        );
    }
}
