//! Gantry's nftables table, put back when `nft flush ruleset` or the like took it away.
//! Whoever deletes a rule of it is told of by the kernel; the rules themselves stand in
//! a file that the helper writes.

use super::server::program;
use super::try_lock;
use crate::log;
use crate::netlink::Tables;
use crate::sys;
use gantry_core::networks::{FIREWALL, FIREWALL_LOCK, TABLE};
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::Command;
use std::time::{Duration, Instant};

/// Deletions come in a bunch, and others follow: a firewall is being loaded anew.
const SETTLE: Duration = Duration::from_millis(100);

pub(super) struct Firewall {
    tables: Tables,
    due: Option<Instant>,
}

impl Firewall {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            tables: Tables::watch()?,
            // Something may have happened while nobody watched.
            due: Some(Instant::now()),
        })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.tables.as_fd()
    }

    /// When [`Self::tend`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes in what the kernel tells, and puts the rules back if they are gone.
    pub(super) fn tend(&mut self) {
        if self.tables.has_lost(TABLE) {
            self.due = Some(Instant::now() + SETTLE);
        }
        if self.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.due = None;
        match restore() {
            Ok(true) => {}
            // The helper is at it, and may have begun before what we noticed.
            Ok(false) => self.due = Some(Instant::now() + SETTLE),
            Err(error) => log::error(format!(
                "putting the rules of nftables back failed: {error}"
            )),
        }
    }
}

/// Loads the rules unless they are there. False: somebody else is changing them.
fn restore() -> io::Result<bool> {
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(FIREWALL_LOCK)?;
    if !try_lock(&lock)? {
        return Ok(false);
    }
    let text = match std::fs::read_to_string(FIREWALL) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    if present()? >= rules(&text) {
        return Ok(true);
    }
    log::warn("the rules in the table 'inet gantry' were gone; putting them back");
    let run = nft(&["-j", "-f", "-"])?
        .stdin(File::open(FIREWALL)?)
        .output()?;
    if run.status.success() {
        return Ok(true);
    }
    let said = String::from_utf8_lossy(&run.stderr);
    Err(io::Error::other(said.trim().to_owned()))
}

/// How many rules the kernel has in the table.
fn present() -> io::Result<usize> {
    let run = nft(&["-j", "list", "table", "inet", TABLE])?.output()?;
    Ok(if run.status.success() {
        rules(&String::from_utf8_lossy(&run.stdout))
    } else {
        0
    })
}

/// How many rules a text in nftables' JSON has, as commands or as objects.
fn rules(text: &str) -> usize {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else {
        return 0;
    };
    let items = value.get("nftables").and_then(serde_json::Value::as_array);
    let is_rule = |item: &&serde_json::Value| {
        item.get("rule").is_some() || item.get("add").is_some_and(|add| add.get("rule").is_some())
    };
    items.map_or(0, |items| items.iter().filter(is_rule).count())
}

fn nft(arguments: &[&str]) -> io::Result<Command> {
    let program = program("nft").ok_or(io::ErrorKind::NotFound)?;
    let mut command = sys::program(&program);
    command.args(arguments);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::rules;

    #[test]
    fn rules_are_counted_in_commands_and_in_lists() {
        let commands = r#"{"nftables": [{"add": {"table": {}}}, {"add": {"rule": {}}}, {"delete": {"table": {}}}]}"#;
        let listed =
            r#"{"nftables": [{"metainfo": {}}, {"table": {}}, {"rule": {}}, {"rule": {}}]}"#;
        assert_eq!((rules(commands), rules(listed), rules("")), (1, 2, 0));
    }
}
