//! A network's own file, /etc/gantry/networks/NAME.conf: lines `key = value`, as in a
//! container's config. Of lxcbr0, which LXC's variables describe, it has only what those
//! have no word for: see [`add_to`].

use super::lines::{Line, lines, replace};
use super::{Driver, Forward, Impossible, Network, Reservation, Subnet};
use crate::name::InterfaceName;
use std::net::IpAddr;

/// The directory of these files.
pub const DIRECTORY: &str = "/etc/gantry/networks";
/// How their names end.
pub const SUFFIX: &str = ".conf";

const BEGINNING: &str = "# A network of Gantry's, see gantry-helper(8): lines 'key = value'.\n";

/// Where the file of a network is.
pub fn path(name: &InterfaceName) -> String {
    format!("{DIRECTORY}/{}{SUFFIX}", name.as_str())
}

/// Reads a network of this name.
///
/// # Errors
/// What in it cannot be.
pub fn read(name: InterfaceName, text: &str) -> Result<Network, Impossible> {
    let mut network = Network::new(name);
    let mut nat = false;
    for line in lines(text) {
        let known = match line.key {
            "driver" => {
                let driver = Driver::from_word(line.value);
                network.driver = driver.ok_or_else(|| wrong(&line, "bridge or ovs"))?;
                true
            }
            "ipv4" => set(&mut network.ipv4, subnet(&line)?),
            "ipv6" => set(&mut network.ipv6, subnet(&line)?),
            "dhcp" => set(&mut network.dhcp, flag(&line)?),
            "dhcp_range" => set(&mut network.dhcp_range, Some(range(&line)?)),
            "domain" => set(&mut network.domain, line.value.to_owned()),
            "dnsmasq_file" => set(&mut network.dnsmasq_file, line.value.to_owned()),
            "nat" => set(&mut nat, flag(&line)?),
            _ => add(&mut network, &line)?,
        };
        if !known {
            return Err(wrong(&line, "known here: there is no such key"));
        }
    }
    if nat {
        network.nat4 = network.ipv4.map(Subnet::net);
        network.nat6 = network.ipv6.map(Subnet::net);
    }
    network.check()?;
    Ok(network)
}

/// Adds to a network what this file alone says, whatever describes the rest: `autostart`,
/// `isolated`, `uplink`, `take_over`, reservations and forwards.
///
/// # Errors
/// What in it cannot be.
pub fn add_to(network: &mut Network, text: &str) -> Result<(), Impossible> {
    for line in lines(text) {
        add(network, &line)?;
    }
    network.check()
}

/// Whether the line was one of these.
fn add(network: &mut Network, line: &Line<'_>) -> Result<bool, Impossible> {
    match line.key {
        "autostart" => network.autostart = flag(line)?,
        "isolated" => network.isolated = flag(line)?,
        "uplink" => line.value.clone_into(&mut network.uplink),
        "uplink_confirmed" => network.uplink_confirmed = flag(line)?,
        "take_over" => network.take_over = flag(line)?,
        "reservation" => network
            .reservations
            .push(reservation(line.value).ok_or_else(|| wrong(line, "'MAC ADDRESS [NAME]'"))?),
        "forward" => network.forwards.push(
            forward(line.value)
                .ok_or_else(|| wrong(line, "'tcp|udp HOST-PORT CONTAINER ADDRESS PORT'"))?,
        ),
        _ => return Ok(false),
    }
    Ok(true)
}

fn reservation(text: &str) -> Option<Reservation> {
    let mut words = text.split_whitespace();
    let reservation = Reservation {
        mac: words.next()?.to_ascii_lowercase(),
        address: words.next()?.parse().ok()?,
        name: words.next().unwrap_or_default().to_owned(),
    };
    words.next().is_none().then_some(reservation)
}

fn forward(text: &str) -> Option<Forward> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [
            protocol @ ("tcp" | "udp"),
            host_port,
            container,
            address,
            port,
        ] => Some(Forward {
            protocol: (*protocol).to_owned(),
            host_port: host_port.parse().ok().filter(|port| *port != 0)?,
            container: (*container).to_owned(),
            address: address.parse().ok()?,
            port: port.parse().ok().filter(|port| *port != 0)?,
        }),
        _ => None,
    }
}

fn set<T>(place: &mut T, value: T) -> bool {
    *place = value;
    true
}

fn wrong(line: &Line<'_>, what: &str) -> Impossible {
    Impossible {
        key: line.key.to_owned(),
        line: line.number,
        sentence: format!("{:?} is not {what}", super::short(line.value)),
    }
}

fn flag(line: &Line<'_>) -> Result<bool, Impossible> {
    match line.value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(wrong(line, "true or false")),
    }
}

fn subnet(line: &Line<'_>) -> Result<Option<Subnet>, Impossible> {
    if line.value.is_empty() {
        return Ok(None);
    }
    let parsed = line.value.parse::<Subnet>();
    parsed
        .map(Some)
        .map_err(|_| wrong(line, "an address such as 10.0.4.1/24"))
}

fn range(line: &Line<'_>) -> Result<(IpAddr, IpAddr), Impossible> {
    parse_range(line.value).ok_or_else(|| wrong(line, "a range such as 10.0.4.2,10.0.4.254"))
}

/// Two addresses with a comma between.
pub fn parse_range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = text.split_once(',')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

/// The file's text with what a network is now; whatever else it says stays.
pub fn write(text: &str, network: &Network) -> String {
    let mut items = own_items(network);
    let some = |value: Option<String>| Vec::from_iter(value);
    let nat = network.nat4.is_some() || network.nat6.is_some();
    items.extend([
        ("driver", vec![network.driver.word().to_owned()]),
        ("ipv4", some(network.ipv4.map(|home| home.to_string()))),
        ("ipv6", some(network.ipv6.map(|home| home.to_string()))),
        ("dhcp", vec![network.dhcp.to_string()]),
        (
            "dhcp_range",
            some(
                network
                    .dhcp_range
                    .map(|(first, last)| format!("{first},{last}")),
            ),
        ),
        ("nat", vec![nat.to_string()]),
        (
            "domain",
            some(Some(network.domain.clone()).filter(|domain| !domain.is_empty())),
        ),
    ]);
    put(text, items)
}

/// The same of a network that something else describes: only what this file alone says.
pub fn write_own(text: &str, network: &Network) -> String {
    put(text, own_items(network))
}

fn own_items(network: &Network) -> Vec<(&'static str, Vec<String>)> {
    let on = |flag: bool| Vec::from_iter(flag.then(|| flag.to_string()));
    let uplink = Some(network.uplink.clone()).filter(|uplink| !uplink.is_empty());
    vec![
        ("autostart", vec![network.autostart.to_string()]),
        ("isolated", on(network.isolated)),
        ("uplink", Vec::from_iter(uplink)),
        ("uplink_confirmed", on(network.uplink_confirmed)),
        ("take_over", on(network.take_over)),
        (
            "reservation",
            network
                .reservations
                .iter()
                .map(|one| one.to_string().trim_end().to_owned())
                .collect(),
        ),
        (
            "forward",
            network.forwards.iter().map(ToString::to_string).collect(),
        ),
    ]
}

fn put(text: &str, items: Vec<(&str, Vec<String>)>) -> String {
    let mut text = if text.is_empty() {
        BEGINNING.to_owned()
    } else {
        text.to_owned()
    };
    for (key, values) in items {
        let old: Vec<&str> = lines(&text)
            .filter(|line| line.key == key)
            .map(|line| line.value)
            .collect();
        if old != values {
            let new: Vec<String> = values
                .iter()
                .map(|value| format!("{key} = {value}"))
                .collect();
            text = replace(&text, key, &new);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\ndriver = bridge\nipv4 = 10.4.0.1/16\n\ndhcp = true\ndhcp_range = 10.4.0.2,10.4.0.99\nnat = true\ndomain = dev\nreservation = 00:16:3E:00:00:01 10.4.0.7 web\nforward = tcp 8080 web 10.4.0.7 80\n";

    fn name() -> InterfaceName {
        InterfaceName::new("dev0").unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_and_comments_stay() {
        let network = read(name(), TEXT).unwrap();
        assert_eq!(network.nat4.unwrap().to_string(), "10.4.0.0/16");
        assert_eq!(network.reservations[0].mac, "00:16:3e:00:00:01");
        let written = write(TEXT, &network);
        assert!(
            written.starts_with("# mine\ndriver = bridge\nipv4 = 10.4.0.1/16\n\n"),
            "{written}"
        );
        assert_eq!(read(name(), &written).unwrap(), network);
        assert_eq!(read(name(), &write("", &network)).unwrap(), network);
        let mut bridged = network.clone();
        (bridged.dhcp, bridged.dhcp_range, bridged.nat4) = (false, None, None);
        (bridged.domain, bridged.forwards, bridged.reservations) =
            (String::new(), Vec::new(), Vec::new());
        (bridged.uplink, bridged.uplink_confirmed, bridged.take_over) =
            ("eth1".to_owned(), true, true);
        assert_eq!(read(name(), &write(TEXT, &bridged)).unwrap(), bridged);
        let mut other = network.clone();
        (other.domain, other.forwards) = (String::new(), Vec::new());
        let written = write(TEXT, &other);
        assert_eq!(read(name(), &written).unwrap(), other);
        assert!(
            !written.contains("domain") && !written.contains("forward"),
            "{written}"
        );
    }

    #[test]
    fn faults_name_key_and_line() {
        for (bad, key) in [
            ("ipv4 = 10.4.0.1", "ipv4"),
            ("dhcp = maybe", "dhcp"),
            ("colour = red", "colour"),
            ("driver = wire", "driver"),
            ("reservation = x", "reservation"),
            ("forward = icmp 1 web 10.4.0.7 1", "forward"),
            ("forward = tcp 0 web 10.4.0.7 1", "forward"),
        ] {
            let error = read(name(), &format!("# one\n{bad}\n")).unwrap_err();
            assert_eq!((error.key.as_str(), error.line), (key, 2), "{error}");
        }
    }
}
