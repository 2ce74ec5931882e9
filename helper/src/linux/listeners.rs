//! The ports that programs of the host serve.

use super::proc;
use std::io;

/// Whether a program waits at a port of `tcp` or `udp`, on other addresses than those by
/// which the host reaches itself (proc_net(5)).
pub(crate) fn has(protocol: &str, port: u16) -> io::Result<bool> {
    for family in ["", "6"] {
        match proc::text(format!("/proc/self/net/{protocol}{family}")) {
            Ok(table) if serves(&table, protocol, port) => return Ok(true),
            // Without IPv6 there is no table of it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

/// Lines of `N: ADDRESS:PORT REMOTE:PORT STATE …`, in hexadecimal digits.
fn serves(table: &str, protocol: &str, port: u16) -> bool {
    // TCP_LISTEN, or what the kernel says of a socket of UDP that is not connected.
    let waits = if protocol == "tcp" { "0A" } else { "07" };
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().and_then(|local| local.rsplit_once(':'));
        let Some((address, number)) = local else {
            return false;
        };
        // In the byte order of the host, by words of 32 bits.
        let is_loopback = match address.len() {
            8 => address.ends_with("7F"),
            _ => address == "00000000000000000000000001000000",
        };
        fields.nth(1) == Some(waits) && u16::from_str_radix(number, 16) == Ok(port) && !is_loopback
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_others_is_found() {
        let tcp = "  sl  local_address rem_address   st tx_queue\n   \
            0: 00000000:0016 00000000:0000 0A 00000000:00000000\n   \
            1: 0100007F:0277 00000000:0000 0A 00000000:00000000\n   \
            2: 0203000A:01BB 0103000A:D431 01 00000000:00000000\n";
        assert!(serves(tcp, "tcp", 22));
        assert!(!serves(tcp, "tcp", 631) && !serves(tcp, "tcp", 443) && !serves(tcp, "tcp", 80));
        let udp = "  sl  local_address\n \
            7: 00000000000000000000000000000000:14E9 00000000000000000000000000000000:0000 07 0\n \
            8: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07 0\n";
        assert!(serves(udp, "udp", 5353) && !serves(udp, "udp", 53));
    }
}
