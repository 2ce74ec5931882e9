//! What LXC's own service (lxc-net) runs for its bridge, ended where Gantry takes the
//! bridge over. Its bridge, with whatever is plugged in, and its leases stay.

use super::firewall;
use crate::error::{Error, Result};
use crate::linux::files;
use crate::linux::process::Process;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// There while the service has its network up.
const UP: &str = "/run/lxc/network_up";
/// Where it keeps the process id of its dnsmasq.
const SERVER: &str = "/run/lxc/dnsmasq.pid";
/// Its tables of nftables.
const TABLES: [(&str, &str); 3] = [("inet", "lxc"), ("ip", "lxc"), ("ip6", "lxc")];
/// How long its dnsmasq may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends what the service runs for a bridge. Without the file that says so, it does not
/// think any more that its network is up, and leaves it alone when the host goes down.
pub(crate) async fn end(bridge: &str) -> Result<()> {
    end_server(bridge).await?;
    if !Path::new(UP).exists() {
        return Ok(());
    }
    firewall::delete(&TABLES).await?;
    for path in [SERVER, UP] {
        let path = Path::new(path);
        files::remove(path).map_err(|error| Error::path("removing", path, &error))?;
    }
    Ok(())
}

/// Only a dnsmasq that serves this bridge.
async fn end_server(bridge: &str) -> Result<()> {
    let failed = |error: io::Error| Error::io("ending the dnsmasq of LXC's service", &error);
    let Some(pid) = std::fs::read_to_string(SERVER)
        .ok()
        .and_then(|text| text.trim().parse().ok())
    else {
        return Ok(());
    };
    let Ok(process) = Process::open(pid) else {
        return Ok(());
    };
    // Looked at once it is held: from here on the number cannot mean another.
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let interface = format!("--interface={bridge}");
    let mut words = words.split(|byte| *byte == 0);
    let is_dnsmasq = words.next().is_some_and(|word| word.ends_with(b"dnsmasq"));
    if !is_dnsmasq || !words.any(|word| word == interface.as_bytes()) {
        return Ok(());
    }
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        match process.send(signal) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(failed(error)),
            _ => {}
        }
        if timeout(PATIENCE, process.ended()).await.is_ok() {
            return Ok(());
        }
    }
    Err(failed(io::ErrorKind::TimedOut.into()))
}
