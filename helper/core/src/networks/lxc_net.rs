//! `lxcbr0` as LXC's service has it: shell variables of /etc/default/lxc-net, read as
//! data. What is no plain assignment of one of these variables is skipped, as much of
//! such a file is none of ours; a value that only a shell could tell is an error.

use super::lines::{lines, replace};
use super::{Impossible, Network, Subnet, parse_mac};
use crate::name::InterfaceName;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Where it stands. LXC reads the first, which on Debian ends with reading the second.
pub const FILES: [&str; 2] = ["/etc/default/lxc", "/etc/default/lxc-net"];

/// The variables and what they are where nothing is said, as of LXC 6.
const VARIABLES: [(&str, &str); 16] = [
    ("USE_LXC_BRIDGE", "true"),
    ("LXC_BRIDGE", "lxcbr0"),
    ("LXC_BRIDGE_MAC", "10:66:6a:00:00:00"),
    ("LXC_ADDR", "10.0.3.1"),
    ("LXC_NETMASK", "255.255.255.0"),
    ("LXC_NETWORK", "10.0.3.0/24"),
    ("LXC_DHCP_RANGE", "10.0.3.2,10.0.3.254"),
    ("LXC_DHCP_MAX", "253"),
    ("LXC_DHCP_CONFILE", ""),
    ("LXC_DHCP_PING", "true"),
    ("LXC_DOMAIN", ""),
    ("LXC_IPV6_ENABLE", "true"),
    ("LXC_IPV6_ADDR", "fc42:5009:ba4b:5ab0::1"),
    ("LXC_IPV6_MASK", "64"),
    ("LXC_IPV6_NETWORK", "fc42:5009:ba4b:5ab0::/64"),
    ("LXC_IPV6_NAT", "true"),
];

/// What the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LxcNet {
    /// Whether there is to be such a network at all (`USE_LXC_BRIDGE`).
    pub wanted: bool,
    /// What it is.
    pub network: Network,
}

/// The variables by name, and the line of each that is set.
struct Variables(BTreeMap<String, (String, u32)>);

impl Variables {
    fn get(&self, name: &str) -> &str {
        let default = || VARIABLES.iter().find(|(key, _)| *key == name);
        match self.0.get(name) {
            Some((value, _)) => value,
            None => default().map_or("", |(_, value)| value),
        }
    }

    fn wrong(&self, name: &str, what: &str) -> Impossible {
        Impossible {
            key: name.to_owned(),
            line: self.0.get(name).map_or(0, |(_, line)| *line),
            sentence: format!("{:?} is not {what}", super::short(self.get(name))),
        }
    }

    /// A value of a type; none when it is empty.
    fn parse<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Impossible> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| self.wrong(name, what)),
        }
    }
}

/// Reads the text of the files, one after the other.
///
/// # Errors
/// What in them cannot be; the line is that of the last text.
pub fn read(texts: &[&str]) -> Result<LxcNet, Impossible> {
    let mut variables = Variables(BTreeMap::new());
    for text in texts {
        for line in lines(text) {
            if !VARIABLES.iter().any(|(name, _)| *name == line.key) {
                continue;
            }
            let value = word(line.value).ok_or_else(|| Impossible {
                key: line.key.to_owned(),
                line: line.number,
                sentence:
                    "only a shell could tell the value; write it in plain, in quotation marks"
                        .to_owned(),
            })?;
            variables
                .0
                .insert(line.key.to_owned(), (value, line.number));
        }
    }
    let network = network(&variables)?;
    network.check().map_err(|error| {
        let name = match error.key.as_str() {
            "ipv4" => "LXC_ADDR",
            "ipv6" => "LXC_IPV6_ADDR",
            "domain" => "LXC_DOMAIN",
            "dhcp_range" => "LXC_DHCP_RANGE",
            "dnsmasq_file" => "LXC_DHCP_CONFILE",
            _ => "LXC_BRIDGE",
        };
        let line = variables.0.get(name).map_or(0, |(_, line)| *line);
        Impossible {
            key: name.to_owned(),
            line,
            ..error
        }
    })?;
    Ok(LxcNet {
        wanted: variables.get("USE_LXC_BRIDGE") == "true",
        network,
    })
}

fn network(variables: &Variables) -> Result<Network, Impossible> {
    let name = InterfaceName::new(variables.get("LXC_BRIDGE")).map_err(|error| Impossible {
        sentence: error.to_string(),
        ..variables.wrong("LXC_BRIDGE", "")
    })?;
    let mut network = Network::new(name);
    network.mac = match variables.get("LXC_BRIDGE_MAC") {
        "" => None,
        text => Some(
            parse_mac(text).ok_or_else(|| variables.wrong("LXC_BRIDGE_MAC", "a MAC address"))?,
        ),
    };
    let address: Option<Ipv4Addr> = variables.parse("LXC_ADDR", "an IPv4 address")?;
    network.ipv4 = match address {
        None => None,
        Some(address) => Some(Subnet {
            address: address.into(),
            prefix: prefix(variables.get("LXC_NETMASK")).ok_or_else(|| {
                variables.wrong("LXC_NETMASK", "a net mask such as 255.255.255.0")
            })?,
        }),
    };
    let net = |name: &str| variables.parse::<Subnet>(name, "a net such as 10.0.3.0/24");
    network.nat4 = net("LXC_NETWORK")?;
    (network.dhcp_range, network.lease_time) = range(variables, network.ipv4)?;
    network.dhcp = network.dhcp_range.is_some();
    network.lease_limit = variables.parse("LXC_DHCP_MAX", "a number")?;
    network.dhcp_ping = variables.get("LXC_DHCP_PING") != "false";
    network.dnsmasq_file = match variables.get("LXC_DHCP_CONFILE") {
        "/dev/null" => String::new(),
        file => file.to_owned(),
    };
    network.domain = variables.get("LXC_DOMAIN").to_owned();
    let address = variables.parse::<std::net::Ipv6Addr>("LXC_IPV6_ADDR", "an IPv6 address")?;
    let prefix = variables.parse::<u8>("LXC_IPV6_MASK", "a prefix length")?;
    let v6 = net("LXC_IPV6_NETWORK")?;
    if variables.get("LXC_IPV6_ENABLE") == "true"
        && let (Some(address), Some(prefix), Some(net)) =
            (address, prefix.filter(|p| *p <= 128), v6)
    {
        network.ipv6 = Some(Subnet {
            address: address.into(),
            prefix,
        });
        network.nat6 = Some(net).filter(|_| variables.get("LXC_IPV6_NAT") == "true");
    }
    Ok(network)
}

/// `10.0.3.2,10.0.3.254`, and what dnsmasq, to which LXC hands it, takes after it: the mask,
/// and for how long an address is given out.
fn range(
    variables: &Variables,
    home: Option<Subnet>,
) -> Result<(Option<(IpAddr, IpAddr)>, String), Impossible> {
    let text = variables.get("LXC_DHCP_RANGE");
    if text.is_empty() {
        return Ok((None, String::new()));
    }
    let read = || {
        let mut parts = text.split(',').map(str::trim);
        let mut v4 = || parts.next()?.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
        let ends = (v4()?, v4()?);
        let mut rest: Vec<&str> = parts.collect();
        if let Some(mask) = rest.first().and_then(|word| word.parse::<Ipv4Addr>().ok()) {
            if prefix(&mask.to_string()) != home.map(|home| home.prefix) {
                return None;
            }
            rest.remove(0);
        }
        match rest.as_slice() {
            [] => Some((Some(ends), String::new())),
            [time] if is_time(time) => Some((Some(ends), (*time).to_owned())),
            _ => None,
        }
    };
    let wrong = || {
        let what = "a range such as 10.0.3.2,10.0.3.254, with the bridge's mask and a lease time such as 12h if need be";
        variables.wrong("LXC_DHCP_RANGE", what)
    };
    read().ok_or_else(wrong)
}

/// As dnsmasq has them: seconds, or another unit by its letter.
fn is_time(text: &str) -> bool {
    let digits = text.strip_suffix(['s', 'm', 'h', 'd', 'w']).unwrap_or(text);
    let is_number = (1..=9).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
    is_number || text == "infinite"
}

/// The prefix of a net mask; LXC also takes a prefix in its place.
fn prefix(mask: &str) -> Option<u8> {
    if let Ok(prefix) = mask.parse::<u8>() {
        return (prefix <= 32).then_some(prefix);
    }
    let bits = u32::from(mask.parse::<Ipv4Addr>().ok()?);
    let prefix = bits.leading_ones();
    (bits.count_ones() == prefix).then_some(prefix as u8)
}

/// The value of a shell word that stands for itself.
fn word(text: &str) -> Option<String> {
    let (value, rest) = match text.chars().next() {
        Some('\'') => text.get(1..)?.split_once('\'')?,
        Some('"') => {
            let (value, rest) = text.get(1..)?.split_once('"')?;
            if value.contains(['$', '`', '\\']) {
                return None;
            }
            (value, rest)
        }
        _ => {
            let end = text.find(|c: char| c.is_whitespace() || c == ';');
            let (value, rest) = text.split_at(end.unwrap_or(text.len()));
            if value.contains([
                '$', '`', '\\', '"', '\'', '(', ')', '&', '|', '<', '>', '*', '?', '~',
            ]) {
                return None;
            }
            (value, rest)
        }
    };
    let rest = rest.trim_start();
    // What follows must not change the value, as `A=1 command` would.
    (rest.is_empty() || rest.starts_with(['#', ';'])).then(|| value.to_owned())
}

/// The text of /etc/default/lxc-net with what differs of a network, its name left out.
pub fn write(text: &str, old: &Network, new: &Network) -> String {
    let mut text = text.to_owned();
    let before = assignments(old);
    for ((name, value), (_, was)) in assignments(new).into_iter().zip(before) {
        if value != was {
            text = replace(&text, name, &[format!("{name}=\"{value}\"")]);
        }
    }
    text
}

fn assignments(network: &Network) -> Vec<(&'static str, String)> {
    let address =
        |subnet: Option<Subnet>| subnet.map(|s| s.address.to_string()).unwrap_or_default();
    let text = |subnet: Option<Subnet>| subnet.map(|s| s.to_string()).unwrap_or_default();
    let mask = network.ipv4.map_or(0, |home| {
        u32::MAX
            .checked_shl(32 - u32::from(home.prefix))
            .unwrap_or(0)
    });
    let time = match network.lease_time.as_str() {
        "" => String::new(),
        time => format!(",{time}"),
    };
    let range = network
        .range()
        .map(|(first, last)| format!("{first},{last}{time}"));
    let (v6, net6) = (network.ipv6, network.nat6.or(network.ipv6.map(Subnet::net)));
    vec![
        ("LXC_ADDR", address(network.ipv4)),
        ("LXC_NETMASK", Ipv4Addr::from(mask).to_string()),
        ("LXC_NETWORK", text(network.nat4)),
        ("LXC_DHCP_RANGE", range.unwrap_or_default()),
        ("LXC_DHCP_MAX", network.leases().to_string()),
        ("LXC_DOMAIN", network.domain.clone()),
        ("LXC_IPV6_ENABLE", v6.is_some().to_string()),
        ("LXC_IPV6_ADDR", address(v6)),
        (
            "LXC_IPV6_MASK",
            v6.map_or(64, |home| home.prefix).to_string(),
        ),
        ("LXC_IPV6_NETWORK", text(net6)),
        ("LXC_IPV6_NAT", network.nat6.is_some().to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_it_is_what_lxc_has() {
        let LxcNet { wanted, network } = read(&[]).unwrap();
        assert!(wanted && network.dhcp);
        assert_eq!(network.name.as_str(), "lxcbr0");
        assert_eq!(network.ipv4.unwrap().to_string(), "10.0.3.1/24");
        let (first, last) = network.range().unwrap();
        assert_eq!(format!("{first},{last}"), "10.0.3.2,10.0.3.254");
        assert_eq!(network.nat4.unwrap().to_string(), "10.0.3.0/24");
        assert_eq!(
            network.ipv6.unwrap().to_string(),
            "fc42:5009:ba4b:5ab0::1/64"
        );
        assert_eq!((network.leases(), network.lease_time.as_str()), (253, ""));
    }

    #[test]
    fn a_range_may_have_what_dnsmasq_takes_after_it() {
        let read = |range: &str| read(&[&format!("LXC_DHCP_RANGE={range}\n")]);
        for (after, time) in [
            (",12h", "12h"),
            (",255.255.255.0", ""),
            (",255.255.255.0,infinite", "infinite"),
            (", 3600", "3600"),
        ] {
            let network = read(&format!("'10.0.3.2,10.0.3.99{after}'"))
                .unwrap()
                .network;
            assert_eq!(
                (network.lease_time.as_str(), network.leases()),
                (time, 253),
                "{after}"
            );
            let mut new = network.clone();
            new.lease_limit = None;
            new.dhcp_range = Some(("10.0.3.2".parse().unwrap(), "10.0.3.9".parse().unwrap()));
            let written = write("", &network, &new);
            assert!(written.contains("LXC_DHCP_MAX=\"8\"\n"), "{written}");
            let again = super::read(&[&written]).unwrap().network;
            assert_eq!(
                (again.lease_time, again.dhcp_range),
                (new.lease_time, new.dhcp_range)
            );
        }
        for bad in [",255.255.0.0", ",1h,1h", ",h", ",tag:x", ","] {
            let error = read(&format!("'10.0.3.2,10.0.3.99{bad}'")).unwrap_err();
            assert_eq!(error.key, "LXC_DHCP_RANGE", "{bad}");
        }
    }

    #[test]
    fn debians_files_are_read_in_their_order() {
        let lxc =
            "USE_LXC_BRIDGE=\"false\"\n[ ! -f /etc/default/lxc-net ] || . /etc/default/lxc-net\n";
        let net = "USE_LXC_BRIDGE=\"true\"\n# Honor system's dnsmasq configuration\n#LXC_DHCP_CONFILE=/etc/dnsmasq.conf\n";
        assert!(!read(&[lxc]).unwrap().wanted);
        assert!(read(&[lxc, net]).unwrap().wanted);
        assert_eq!(read(&[lxc, net]).unwrap().network.dnsmasq_file, "");
    }

    #[test]
    fn values_are_words_of_a_shell_that_stand_for_themselves() {
        let text = "export LXC_ADDR='10.1.0.1' # mine\nLXC_NETMASK=255.255.0.0\nLXC_NETWORK=\"10.1.0.0/16\"\nLXC_DHCP_RANGE=10.1.0.2,10.1.9.9;\nLXC_DOMAIN=lxc\nLXC_IPV6_ADDR=\"\"\nLXC_DHCP_PING=false\n";
        let network = read(&[text]).unwrap().network;
        assert_eq!(network.ipv4.unwrap().to_string(), "10.1.0.1/16");
        assert_eq!(
            (network.domain.as_str(), network.ipv6, network.dhcp_ping),
            ("lxc", None, false)
        );
        for bad in [
            "LXC_ADDR=$(id)",
            "LXC_ADDR=`id`",
            "LXC_ADDR=\"$X\"",
            "LXC_DOMAIN=a b",
            "LXC_DOMAIN=~",
        ] {
            let error = read(&[&format!("# one\n{bad}\n")]).unwrap_err();
            assert_eq!(error.line, 2, "{bad}");
            assert!(error.sentence.contains("shell"), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_names_variable_and_line() {
        for (bad, key) in [
            ("LXC_ADDR=10.0.3.999", "LXC_ADDR"),
            ("LXC_NETMASK=255.0.255.0", "LXC_NETMASK"),
            ("LXC_DHCP_RANGE=10.0.3.2,10.0.4.1", "LXC_DHCP_RANGE"),
            ("LXC_BRIDGE=a/b", "LXC_BRIDGE"),
            ("LXC_BRIDGE=abcdefghijklmnop", "LXC_BRIDGE"),
            ("LXC_BRIDGE_MAC=00:16", "LXC_BRIDGE_MAC"),
            ("LXC_DHCP_MAX=many", "LXC_DHCP_MAX"),
            ("LXC_DOMAIN=a_b", "LXC_DOMAIN"),
        ] {
            let error = read(&[bad]).unwrap_err();
            assert_eq!((error.key.as_str(), error.line), (key, 1), "{error}");
        }
    }

    #[test]
    fn only_what_differs_is_written() {
        let text = "# mine\nUSE_LXC_BRIDGE=\"true\"\n#LXC_ADDR=x\nLXC_DOMAIN=old\n";
        let old = read(&[text]).unwrap().network;
        let mut new = old.clone();
        new.domain = "lxc".to_owned();
        new.ipv4 = Some("10.7.0.1/16".parse().unwrap());
        new.nat4 = new.ipv4.map(Subnet::net);
        new.dhcp_range = None;
        let written = write(text, &old, &new);
        assert!(
            written
                .starts_with("# mine\nUSE_LXC_BRIDGE=\"true\"\n#LXC_ADDR=x\nLXC_DOMAIN=\"lxc\"\n"),
            "{written}"
        );
        assert!(
            written.contains("LXC_DHCP_RANGE=\"10.7.0.2,10.7.255.254\"\n"),
            "{written}"
        );
        assert!(!written.contains("IPV6"), "{written}");
        let again = read(&[&written]).unwrap().network;
        assert_eq!(
            (again.ipv4, again.nat4, again.domain),
            (new.ipv4, new.nat4, new.domain)
        );
    }
}
