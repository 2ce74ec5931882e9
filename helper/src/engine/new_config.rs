//! The config that a new container begins with.

use super::config::read_defaults;
use super::create::CreateRequest;
use super::idmaps::maps_of;
use super::{Error, Result};
use crate::cgroup::Host;
use crate::image::busybox;
use crate::linux::files;
use gantry_core::config::{Config, SkipIncludes};
use gantry_core::idmap::IdMaps;
use gantry_core::keys::{self, Match};
use gantry_core::layout::ContainerLayout;
use gantry_core::settings::CgroupVersion;
use std::fmt::Write as _;

/// The extra lines of a request as one text.
pub(super) fn lines(lines: &[String]) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        let refuse =
            |what: &str| Error::InvalidArgument(format!("'{}' {what}", line.escape_debug()));
        let Some((key, _)) = line
            .split_once('=')
            .filter(|_| !line.chars().any(char::is_control))
        else {
            return Err(refuse("is not one line of the form 'key = value'"));
        };
        match keys::find(key.trim()) {
            Some(Match::Key(found)) if found.key.name == "lxc.rootfs.path" => {
                return Err(refuse("is for the helper to set; use 'backend' and 'dir'"));
            }
            Some(_) => {}
            None => return Err(refuse("names no key of a container's config")),
        }
        text.push_str(line.trim());
        text.push('\n');
    }
    Ok(text)
}

/// The config of a new container: LXC's header, the defaults, what the
/// template needs, what the container is (`rootfs` is its lxc.rootfs.path), and what was
/// asked for.
pub(super) fn config_text(
    request: &CreateRequest,
    layout: &ContainerLayout,
    maps: &IdMaps,
    rootfs: &str,
) -> Result<String> {
    let random =
        files::random_bytes(64).map_err(|error| Error::io("reading random bytes", &error))?;
    let defaults = read_defaults()?.config;
    let mut text = format!(
        "# Template used to create this container: {}\n# Parameters passed to the template:\n\
         # For additional config options, please look at lxc.container.conf(5)\n\n",
        request.template
    );
    text.push_str(&without_idmaps(&with_addresses(defaults.text(), &random)));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str("\n# Template specific configuration\n");
    let image = request.image_config(layout);
    if !image.includes {
        text.push_str(COMMON);
    }
    if request.template == "busybox" {
        text.push_str(busybox::CONFIG);
    } else if !image.includes {
        text.push_str("lxc.tty.max = 4\n");
    }
    text.push_str(&image.text);
    let privileged = maps.is_empty()
        && maps_of(&Config::read(
            &layout.config(),
            lines(&request.config)?,
            &mut SkipIncludes,
        ))
        .is_empty();
    if privileged && !image.includes {
        text.push_str(&device_rules());
    }
    // Writing to a String cannot fail.
    write!(
        text,
        "\n# Container specific configuration\nlxc.rootfs.path = {rootfs}\nlxc.uts.name = \"{}\"\n",
        layout.name(),
    )
    .unwrap_or_default();
    // An image knows for what it is made.
    let own = (!image.text.contains("lxc.arch")).then_some(std::env::consts::ARCH);
    if let Some(architecture) = request.architecture.as_deref().or(own) {
        writeln!(text, "lxc.arch = {architecture}").unwrap_or_default();
    }
    for map in &maps.0 {
        writeln!(text, "lxc.idmap = {map}").unwrap_or_default();
    }
    if request.ephemeral {
        text.push_str("lxc.ephemeral = 1\n");
    }
    text.push_str(&lines(&request.config)?);
    Ok(text)
}

/// What every container gets.
const COMMON: &str = "\
lxc.pty.max = 1024
lxc.cap.drop = mac_admin mac_override sys_module sys_rawio sys_time
lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed
";

/// The devices that a container whose root is the host's root may use: those
/// of every system, and making nodes of others without using them.
fn device_rules() -> String {
    const ALLOWED: [&str; 12] = [
        "c *:* m",
        "b *:* m",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:1 rwm",
        "c 5:2 rwm",
        "c 136:* rwm",
        "c 10:229 rwm",
    ];
    let version_1 =
        Host::read().is_ok_and(|host| host.version_of("devices") == Some(CgroupVersion::V1));
    let key = if version_1 {
        "lxc.cgroup.devices"
    } else {
        "lxc.cgroup2.devices"
    };
    let allowed: String = ALLOWED
        .iter()
        .map(|rule| format!("{key}.allow = {rule}\n"))
        .collect();
    format!("{key}.deny = a\n{allowed}")
}

/// Replaces each `x` in hardware addresses by a random digit. The second
/// digit is even, which makes an address of one interface, not of a group.
fn with_addresses(text: &str, random: &[u8]) -> String {
    let mut digits = random.iter().cycle();
    let mut digit = |even: bool| {
        let number = digits
            .next()
            .map_or(0, |byte| byte & if even { 0xe } else { 0xf });
        char::from_digit(u32::from(number), 16).unwrap_or('0')
    };
    let expand = |line: &str| -> String {
        let is_address = line.trim_start().starts_with("lxc.net") && line.contains(".hwaddr");
        match line.split_once('=').filter(|_| is_address) {
            Some((key, value)) => {
                let offset = value.len() - value.trim_start().len();
                let value = value.char_indices().map(|(index, c)| match c {
                    'x' | 'X' => digit(index == offset + 1),
                    other => other,
                });
                format!("{key}={}", value.collect::<String>())
            }
            None => line.to_owned(),
        }
    };
    text.split_inclusive('\n').map(expand).collect()
}

/// The maps stand with the rest of what is the container's own.
fn without_idmaps(text: &str) -> String {
    let is_map = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("lxc.idmap") || line.starts_with("lxc.id_map")
    };
    text.split_inclusive('\n')
        .filter(|line| !is_map(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_one_interface() {
        let text = "lxc.net.0.type = veth\nlxc.net.0.hwaddr = xx:16:3e:xx:xx:xx\n# xx stays\n";
        let expanded = with_addresses(text, &[0xff; 8]);
        assert_eq!(
            expanded,
            "lxc.net.0.type = veth\nlxc.net.0.hwaddr = fe:16:3e:ff:ff:ff\n# xx stays\n"
        );
    }

    #[test]
    fn extra_lines_are_lines_of_known_keys() {
        let one = |line: &str| lines(&[line.to_owned()]);
        assert_eq!(one(" lxc.tty.max = 1").unwrap(), "lxc.tty.max = 1\n");
        for bad in [
            "lxc.tty.max",
            "lxc.tty.max = 1\nlxc.hook.start = x",
            "lxc.nonsense = 1",
            "x = 1",
            "lxc.rootfs.path = /",
        ] {
            assert!(matches!(one(bad), Err(Error::InvalidArgument(_))), "{bad}");
        }
    }
}
