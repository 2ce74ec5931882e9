//! What a change of an interface makes of a config.

use crate::engine::{Error, Result};
use crate::linux::files;
use gantry_core::config::{Config, ConfigError, Includes};
use gantry_core::settings::{Settings, WiringFault, check_wiring, inner_names};
use gantry_core::values::network::{HardwareAddress, NetworkType};

/// The first bytes of the MAC addresses of LXC's interfaces.
const VENDOR: &str = "10:66:6a:xx:xx:xx";

/// What an interface is to be. None leaves it as it is; what is empty, or the number 0,
/// takes it away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WireChange {
    /// veth, macvlan, ipvlan, vlan, phys, empty or none.
    pub(crate) kind: Option<String>,
    /// The bridge or interface of the host it is attached to.
    pub(crate) link: Option<String>,
    /// Its name in the container.
    pub(crate) name: Option<String>,
    /// Its MAC address; x is a random digit.
    pub(crate) hwaddr: Option<String>,
    /// Its largest packet, in bytes.
    pub(crate) mtu: Option<u32>,
    /// Its IPv4 addresses, with prefix lengths.
    pub(crate) ipv4: Option<Vec<String>>,
    /// An address, auto or dev.
    pub(crate) ipv4_gateway: Option<String>,
    /// Its IPv6 addresses, with prefix lengths.
    pub(crate) ipv6: Option<Vec<String>>,
    /// An address, auto or dev.
    pub(crate) ipv6_gateway: Option<String>,
    /// Of a veth: the name of the host's end.
    pub(crate) host_name: Option<String>,
    /// Of a vlan: its number.
    pub(crate) vlan_id: Option<u32>,
    /// Of a macvlan: private, vepa, bridge or passthru.
    pub(crate) macvlan_mode: Option<String>,
    /// Whether it is up.
    pub(crate) up: Option<bool>,
}

/// What is to be done to a container's interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WireAction {
    /// There is to be one more.
    Add(WireChange),
    /// The one of this number is to be different.
    Configure(u32, WireChange),
    /// Its cable is to be plugged in here.
    Connect(u32, String),
    /// Its cable is to be pulled.
    Disconnect(u32),
    /// It is to go.
    Remove(u32),
}

impl WireAction {
    /// What of the host the interface is to be attached to, where that is said.
    pub(crate) fn link(&self) -> Option<&str> {
        match self {
            Self::Add(change) | Self::Configure(_, change) => change.link.as_deref(),
            Self::Connect(_, link) => Some(link),
            Self::Disconnect(_) | Self::Remove(_) => None,
        }
    }
}

/// The keys of an interface, each without `lxc.net.N.`, and their values.
type Lines = Vec<(String, String)>;

/// The config with the change, and the number of the interface.
pub(super) fn edited(
    old: &Config,
    action: &WireAction,
    includes: &mut dyn Includes,
) -> Result<(u32, Config)> {
    let settings = Settings::from_config(old)?;
    let (number, lines) = match action {
        WireAction::Add(change) => {
            let free = (0..).find(|number| !settings.networks.contains_key(number));
            (free.unwrap_or_default(), added(&settings, change)?)
        }
        WireAction::Configure(number, change) => {
            (*number, applied(present(old, *number)?, change)?)
        }
        WireAction::Connect(number, link) => {
            let change = WireChange {
                link: Some(link.clone()),
                ..WireChange::default()
            };
            let lines = present(old, *number)?;
            if matches!(kind(&lines)?, NetworkType::Empty | NetworkType::None) {
                return Err(Error::InvalidArgument(format!(
                    "interface {number} has no cable: its type is {}",
                    kind(&lines)?.word()
                )));
            }
            (*number, applied(lines, &change)?)
        }
        WireAction::Disconnect(number) => (*number, pulled(*number, present(old, *number)?)?),
        WireAction::Remove(number) => {
            present(old, *number)?;
            (*number, Lines::new())
        }
    };
    let mut new = old.clone();
    new.set_wire(number, &lines, includes).map_err(refused)?;
    let settings = Settings::from_config(&new).map_err(refused)?;
    check_wiring(&settings.networks).map_err(impossible)?;
    Ok((number, new))
}

/// The lines of an interface that is there.
fn present(config: &Config, number: u32) -> Result<Lines> {
    let lines = config.wire(number);
    if lines.is_empty() {
        return Err(Error::NotFound(format!(
            "the container has no interface {number}"
        )));
    }
    Ok(lines)
}

fn added(settings: &Settings, change: &WireChange) -> Result<Lines> {
    if change.kind.as_deref().unwrap_or_default().is_empty() {
        return Err(Error::InvalidArgument(
            "the option type is missing; give veth, macvlan, ipvlan, vlan, phys, empty or none"
                .to_owned(),
        ));
    }
    let mut change = change.clone();
    change.up.get_or_insert(true);
    let lines = applied(Lines::new(), &change)?;
    let kind = kind(&lines)?;
    // Written, so that it stays when others go.
    let is_made = !matches!(
        kind,
        NetworkType::Phys | NetworkType::Empty | NetworkType::None
    );
    if is_made && change.name.is_none() {
        let taken = inner_names(&settings.networks).map_err(impossible)?;
        let mut names = (0..=u32::MAX).map(|number| format!("eth{number}"));
        change.name = names.find(|name| taken.values().all(|other| other != name));
    }
    let has_own = matches!(kind, NetworkType::Veth | NetworkType::Macvlan);
    if has_own && change.hwaddr.is_none() {
        change.hwaddr = Some(VENDOR.to_owned());
    }
    applied(Lines::new(), &change)
}

fn applied(mut lines: Lines, change: &WireChange) -> Result<Lines> {
    let WireChange {
        kind: new_kind,
        link,
        name,
        hwaddr,
        mtu,
        ipv4,
        ipv4_gateway,
        ipv6,
        ipv6_gateway,
        host_name,
        vlan_id,
        macvlan_mode,
        up,
    } = change;
    let one = |text: &Option<String>| text.clone().map(|text| vec![text]);
    let number = |number: &Option<u32>| {
        let text = |number: &u32| match number {
            0 => Vec::new(),
            number => vec![number.to_string()],
        };
        number.as_ref().map(text)
    };
    let before = lines.iter().find(|(part, _)| part == "type").cloned();
    put(&mut lines, "type", one(new_kind));
    let kind = kind(&lines)?;
    if before.is_some_and(|(_, before)| before != kind.word()) {
        lines.retain(|(part, _)| fits(part, kind));
    }
    put(&mut lines, "link", one(link));
    put(&mut lines, "name", one(name));
    put(
        &mut lines,
        "flags",
        up.map(|up| Vec::from_iter(up.then(|| "up".to_owned()))),
    );
    put(
        &mut lines,
        "hwaddr",
        hwaddr
            .as_deref()
            .map(address)
            .transpose()?
            .map(|text| vec![text]),
    );
    put(&mut lines, "mtu", number(mtu));
    put(&mut lines, "ipv4.address", ipv4.clone());
    put(&mut lines, "ipv4.gateway", one(ipv4_gateway));
    put(&mut lines, "ipv6.address", ipv6.clone());
    put(&mut lines, "ipv6.gateway", one(ipv6_gateway));
    put(&mut lines, "veth.pair", one(host_name));
    put(
        &mut lines,
        "vlan.id",
        vlan_id.map(|id| vec![id.to_string()]),
    );
    put(&mut lines, "macvlan.mode", one(macvlan_mode));
    match lines.iter().find(|(part, _)| !fits(part, kind)) {
        Some((part, _)) => Err(Error::InvalidArgument(format!(
            "an interface of type {} has no {}; leave it out",
            kind.word(),
            option_of(part)
        ))),
        None => Ok(lines),
    }
}

/// Sets a key, in its place if it is there.
fn put(lines: &mut Lines, part: &str, values: Option<Vec<String>>) {
    let Some(values) = values else { return };
    let place = lines.iter().position(|(other, _)| other == part);
    let place = place.unwrap_or(lines.len());
    lines.retain(|(other, _)| other != part);
    let values = values.into_iter().filter(|value| !value.is_empty());
    let new: Lines = values.map(|value| (part.to_owned(), value)).collect();
    lines.splice(place..place, new);
}

fn pulled(number: u32, mut lines: Lines) -> Result<Lines> {
    let kind = kind(&lines)?;
    if kind != NetworkType::Veth {
        return Err(Error::InvalidArgument(format!(
            "interface {number} has no cable of its own: its type is {}; remove it, or connect it to another link",
            kind.word()
        )));
    }
    if lines.iter().all(|(part, _)| part != "link") {
        return Err(Error::WrongState(format!(
            "interface {number} is not connected"
        )));
    }
    lines.retain(|(part, _)| part != "link");
    Ok(lines)
}

fn kind(lines: &[(String, String)]) -> Result<NetworkType> {
    let word = lines.iter().find(|(part, _)| part == "type");
    let word = word.map_or("", |(_, word)| word.as_str());
    NetworkType::parse(word).map_err(|reason| Error::InvalidArgument(format!("type: {reason}")))
}

/// Whether an interface of this type can have a key.
fn fits(part: &str, kind: NetworkType) -> bool {
    match (part, kind) {
        ("hwaddr", NetworkType::Ipvlan) => false,
        ("link" | "name" | "hwaddr" | "mtu", NetworkType::Empty | NetworkType::None) => false,
        _ => match part.split_once('.') {
            Some((word @ ("veth" | "macvlan" | "ipvlan" | "vlan"), _)) => word == kind.word(),
            _ => true,
        },
    }
}

/// A MAC address with its open digits filled in: it is to stay.
fn address(text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let invalid = |reason: String| Error::InvalidArgument(format!("hwaddr: {reason}"));
    let parsed = HardwareAddress::parse(text).map_err(invalid)?;
    let random =
        files::random_bytes(6).map_err(|error| Error::io("drawing a MAC address", &error))?;
    let random = <[u8; 6]>::try_from(random.as_slice()).unwrap_or_default();
    Ok(HardwareAddress::from(parsed.fill(random)).to_string())
}

/// What an option is called that stands for a key.
fn option_of(part: &str) -> &str {
    match part {
        "veth.pair" => "host_name",
        "vlan.id" => "vlan_id",
        "macvlan.mode" => "macvlan_mode",
        part => part,
    }
}

/// The error of a value that the config does not take.
fn refused(error: ConfigError) -> Error {
    Error::InvalidArgument(format!("{}: {}", error.key, error.reason))
}

fn impossible(fault: WiringFault) -> Error {
    Error::InvalidArgument(fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::config::SkipIncludes;
    use std::path::Path;

    fn config(text: &str) -> Config {
        Config::parse(Path::new("/c"), text.to_owned(), &mut SkipIncludes).unwrap()
    }

    fn edit(text: &str, action: WireAction) -> Result<(u32, Config)> {
        edited(&config(text), &action, &mut SkipIncludes)
    }

    fn change(pairs: &[(&str, &str)]) -> WireChange {
        let mut change = WireChange::default();
        for (key, value) in pairs {
            let value = Some((*value).to_owned());
            match *key {
                "type" => change.kind = value,
                "link" => change.link = value,
                "name" => change.name = value,
                "hwaddr" => change.hwaddr = value,
                "host_name" => change.host_name = value,
                "macvlan_mode" => change.macvlan_mode = value,
                _ => change.ipv4 = Some(Vec::from_iter(value)),
            }
        }
        change
    }

    const TWO: &str = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.2.type = empty\n";

    #[test]
    fn one_more_gets_a_free_number_a_name_and_an_address_that_stay() {
        let (number, new) = edit(
            TWO,
            WireAction::Add(change(&[("type", "veth"), ("link", "br1")])),
        )
        .unwrap();
        assert_eq!(number, 1);
        assert_eq!(new.get("lxc.net.1.name"), Some("eth1"));
        assert_eq!(new.get("lxc.net.1.flags"), Some("up"));
        let address = new.get("lxc.net.1.hwaddr").unwrap();
        assert!(
            address.starts_with("10:66:6a:") && !address.contains('x'),
            "{address}"
        );
        assert!(new.text().starts_with(TWO));
    }

    #[test]
    fn another_type_takes_its_own_keys_only() {
        let text = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.veth.pair = v\n";
        let (_, new) = edit(
            text,
            WireAction::Configure(0, change(&[("type", "macvlan"), ("link", "e")])),
        )
        .unwrap();
        assert_eq!(new.text(), "lxc.net.0.type = macvlan\nlxc.net.0.link = e\n");
    }

    #[test]
    fn a_cable_is_pulled_and_plugged_in() {
        let (_, new) = edit(TWO, WireAction::Disconnect(0)).unwrap();
        assert_eq!(new.get("lxc.net.0.link"), None);
        assert!(matches!(
            edit(new.text(), WireAction::Disconnect(0)),
            Err(Error::WrongState(_))
        ));
        let (_, new) = edit(new.text(), WireAction::Connect(0, "br7".to_owned())).unwrap();
        assert_eq!(new.get("lxc.net.0.link"), Some("br7"));
    }

    #[test]
    fn what_is_empty_is_taken_away() {
        let text =
            "lxc.net.0.type = veth\nlxc.net.0.name = a\nlxc.net.0.ipv4.address = 10.0.3.7/24\n";
        let (_, new) = edit(
            text,
            WireAction::Configure(0, change(&[("name", ""), ("ipv4", "")])),
        )
        .unwrap();
        assert_eq!(new.text(), "lxc.net.0.type = veth\n");
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let add = |pairs: &[(&str, &str)]| WireAction::Add(change(pairs));
        for (action, word) in [
            (add(&[]), "type"),
            (add(&[("type", "bridge")]), "veth, macvlan"),
            (add(&[("type", "macvlan")]), "lxc.net.1.link"),
            (
                add(&[("type", "macvlan"), ("link", "e"), ("host_name", "x")]),
                "host_name",
            ),
            (
                add(&[
                    ("type", "ipvlan"),
                    ("link", "e"),
                    ("hwaddr", "00:16:3e:00:00:01"),
                ]),
                "hwaddr",
            ),
            (add(&[("type", "veth"), ("name", "abcdefghijklmnop")]), "15"),
            (add(&[("type", "veth"), ("name", "a/b")]), "'/'"),
            (add(&[("type", "veth"), ("link", "..")]), ".."),
            (add(&[("type", "veth"), ("host_name", "a/b")]), "'/'"),
            (
                add(&[("type", "veth"), ("hwaddr", "01:00:5e:00:00:01")]),
                "first byte even",
            ),
            (add(&[("type", "veth"), ("hwaddr", "zz")]), "MAC address"),
            (
                add(&[("type", "veth"), ("ipv4", "10.0.3.777/24")]),
                "10.0.3.777",
            ),
            (add(&[("type", "phys"), ("link", "lo")]), "'lo'"),
            (WireAction::Remove(1), "no interface 1"),
            (WireAction::Disconnect(2), "empty"),
            (WireAction::Connect(2, "br0".to_owned()), "empty"),
        ] {
            let error = edit(TWO, action.clone()).map(|(_, new)| new.text().to_owned());
            let sentence = error.unwrap_err().to_string();
            assert!(sentence.contains(word), "{action:?}: {sentence}");
        }
    }
}
