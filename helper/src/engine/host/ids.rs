//! Ranges of user and group ids for containers (subuid(5), subgid(5)).

use super::{Report, Verdict, read, topic};
use gantry_core::idmap::{RANGE_SIZE, SubordinateIds, parse_subordinate};
use nix::unistd::{Uid, User};

const FILES: [(&str, &str); 2] = [
    ("/etc/subuid", "--add-subuids"),
    ("/etc/subgid", "--add-subgids"),
];

/// Sysctls that keep users from making user namespaces, and what they are
/// when they do not.
const GATES: [(&str, &str, &str); 2] = [
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "kernel.unprivileged_userns_clone",
        "1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "kernel.apparmor_restrict_unprivileged_userns",
        "0",
    ),
];

/// Root's ranges, and those of the user who asks.
pub(super) fn check(report: &mut Report, uid: u32) {
    let caller = user(uid);
    for (file, option) in FILES {
        let all = parse_subordinate(&read(file).unwrap_or_default());
        report.add(topic::IDS, file, root(&all));
        if let Some(name) = &caller {
            let verdict = own(&all, name, uid, option);
            report.add(topic::IDS, &format!("{file}, {name}"), verdict);
        }
        report.add(
            topic::IDS,
            &format!("{file}, overlaps"),
            overlaps(&all, file),
        );
    }
    if caller.is_some() {
        report.add(topic::IDS, "user namespaces of users", gates());
    }
}

/// The name of a user; none for root.
fn user(uid: u32) -> Option<String> {
    if uid == 0 {
        return None;
    }
    let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    Some(known.map_or_else(|| uid.to_string(), |user| user.name))
}

/// For how many containers a user's ranges have room; none without ranges.
fn room(all: &[SubordinateIds], is_owner: impl Fn(&str) -> bool) -> Option<u32> {
    let own = all.iter().filter(|ids| is_owner(&ids.owner));
    own.map(|ids| ids.range.count / RANGE_SIZE)
        .reduce(u32::saturating_add)
}

fn root(all: &[SubordinateIds]) -> Verdict {
    match room(all, |owner| matches!(owner, "root" | "0")) {
        None => Ok("Root has no range yet: it gets one with the first container.".to_owned()),
        Some(0) => Err(format!(
            "Root's range is smaller than the {RANGE_SIZE} ids of one container, so that none can be created. Enlarge it."
        )),
        Some(count) => Ok(format!("Room for {count} containers.")),
    }
}

fn own(all: &[SubordinateIds], name: &str, uid: u32, option: &str) -> Verdict {
    match room(all, |owner| owner == name || owner == uid.to_string()) {
        None | Some(0) => {
            let first = all
                .iter()
                .map(|ids| ids.range.first.saturating_add(ids.range.count))
                .max()
                .unwrap_or(100_000);
            Err(format!(
                "{name} has no {RANGE_SIZE} ids in a row, and cannot have containers of their own. Run “usermod {option} {first}-{} {name}”.",
                first.saturating_add(RANGE_SIZE - 1)
            ))
        }
        Some(count) => Ok(format!("Room for {count} containers of {name}'s own.")),
    }
}

/// Where ranges overlap, one user's containers can reach into another's.
fn overlaps(all: &[SubordinateIds], file: &str) -> Verdict {
    for (at, one) in all.iter().enumerate() {
        let clash = all.iter().skip(at + 1);
        if let Some(other) = clash
            .filter(|other| other.owner != one.owner)
            .find(|other| other.range.overlaps(one.range))
        {
            return Err(format!(
                "The ranges of {} and {} overlap, so that their containers are not kept apart. Change one of them in {file}.",
                one.owner, other.owner
            ));
        }
    }
    Ok("No two users share ids.".to_owned())
}

fn gates() -> Verdict {
    for (path, name, open) in GATES {
        if read(path).is_some_and(|value| value != open) {
            return Err(format!(
                "Only root may make them, so that users cannot have containers of their own. Run “sysctl -w {name}={open}”, and keep it in /etc/sysctl.d/."
            ));
        }
    }
    Ok("Users may make them.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_range_counts_by_name_and_by_number() {
        let all = parse_subordinate("alice:100000:65536\n1001:165536:131072\nroot:1000000:1000\n");
        assert!(own(&all, "alice", 1000, "--add-subuids").is_ok());
        assert!(
            own(&all, "bob", 1001, "--add-subuids")
                .unwrap()
                .contains('2')
        );
        let problem = own(&all, "eve", 1002, "--add-subuids").unwrap_err();
        // Clear of everybody else's.
        assert!(
            problem.contains("usermod --add-subuids 1001000-1066535 eve"),
            "{problem}"
        );
        assert!(root(&all).unwrap_err().contains("65536"));
        assert!(root(&[]).is_ok());
    }

    #[test]
    fn overlapping_ranges_of_two_users_are_a_problem() {
        let all = parse_subordinate("alice:100000:65536\nalice:100000:10\nbob:165536:65536\n");
        assert!(overlaps(&all, "/etc/subuid").is_ok());
        let all = parse_subordinate("alice:100000:65536\nbob:165535:65536\n");
        let problem = overlaps(&all, "/etc/subuid").unwrap_err();
        assert!(problem.contains("alice") && problem.contains("bob"));
    }
}
