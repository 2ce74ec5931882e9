//! Signal names and numbers as `lxc.signal.*` spells them.

/// The first real-time signal as C libraries on Linux count it: the kernel's
/// 32, less the two that glibc keeps for threads.
pub const SIGRTMIN: i32 = 34;
/// The last real-time signal.
pub const SIGRTMAX: i32 = 64;

/// Names and numbers of x86, ARM, POWER, RISC-V and s390 (signal(7)).
const NAMES: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// SIGINT, SIGKILL and SIGPWR, which LXC uses as defaults.
pub const SIGINT: i32 = 2;
/// See [`SIGINT`].
pub const SIGKILL: i32 = 9;
/// See [`SIGINT`].
pub const SIGPWR: i32 = 30;

/// systemd's request to halt: SIGRTMIN+3 (systemd(1)).
pub const SYSTEMD_HALT: i32 = SIGRTMIN + 3;

/// What an init understands as a request to halt, by the text of its
/// /proc/PID/status: systemd's signal if it waits for that, else SIGPWR, as
/// sysvinit does. A signal is waited for if it is blocked, to be read from a
/// signalfd, or caught.
pub fn halt_of(status: &str) -> i32 {
    if is_awaited(status, SYSTEMD_HALT) {
        SYSTEMD_HALT
    } else {
        SIGPWR
    }
}

/// Whether a signal does anything to an init, by the text of its
/// /proc/PID/status: the kernel drops what process 1 of a namespace does not
/// wait for yet (pid_namespaces(7)).
pub fn is_heard(status: &str, signal: i32) -> bool {
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let is_first = pids.is_some_and(|pids| {
        let mut pids = pids.split_ascii_whitespace();
        pids.next_back() == Some("1") && pids.next().is_some()
    });
    !is_first || signal == SIGKILL || is_awaited(status, signal)
}

fn is_awaited(status: &str, signal: i32) -> bool {
    ["SigBlk:", "SigCgt:"].iter().any(|field| {
        let mask = status.lines().find_map(|line| line.strip_prefix(field));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| (1..=SIGRTMAX).contains(&signal) && mask & (1 << (signal - 1)) != 0)
    })
}

/// Reads a number, `SIGNAME`, `SIGRTMIN+n` or `SIGRTMAX-n`, in any case. Names
/// need the `SIG` prefix, as in stock LXC; 0 is allowed and means none.
pub fn parse(text: &str) -> Option<i32> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().filter(|n| *n <= SIGRTMAX);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG")?;
    let offset = |digits: &str| {
        digits
            .parse::<i32>()
            .ok()
            .filter(|n| (0..=SIGRTMAX - SIGRTMIN).contains(n))
    };
    match name {
        "RTMIN" => return Some(SIGRTMIN),
        "RTMAX" => return Some(SIGRTMAX),
        _ => {}
    }
    if let Some(digits) = name.strip_prefix("RTMIN+") {
        return offset(digits).map(|n| SIGRTMIN + n);
    }
    if let Some(digits) = name.strip_prefix("RTMAX-") {
        return offset(digits).map(|n| SIGRTMAX - n);
    }
    NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

/// A name for a number: `SIGTERM`, `SIGRTMIN+3`, or the number itself.
pub fn name(number: i32) -> String {
    if let Some((name, _)) = NAMES.iter().find(|(_, known)| *known == number) {
        return format!("SIG{name}");
    }
    match number {
        SIGRTMIN => "SIGRTMIN".to_owned(),
        SIGRTMAX => "SIGRTMAX".to_owned(),
        n if (SIGRTMIN..SIGRTMAX).contains(&n) => format!("SIGRTMIN+{}", n - SIGRTMIN),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_process_1_waits_for_is_heard() {
        let status = |pids: &str, caught: u64| {
            format!(
                "Name:\tinit\nNSpid:\t{pids}\nSigBlk:\t0000000000000000\nSigCgt:\t{caught:016x}\n"
            )
        };
        let pwr = 1 << (SIGPWR - 1);
        assert!(!is_heard(&status("700\t1", 0), SIGPWR));
        assert!(is_heard(&status("700\t1", pwr), SIGPWR));
        assert!(!is_heard(&status("700\t1", pwr), SIGINT));
        assert!(is_heard(&status("700\t1", 0), SIGKILL));
        assert!(is_heard(&status("700", 0), SIGPWR));
        assert!(is_heard(&status("700\t20", 0), SIGPWR));
    }

    #[test]
    fn spellings_of_the_manual() {
        for (text, number) in [
            ("SIGPWR", Some(30)),
            ("SIGKILL", Some(9)),
            ("15", Some(15)),
            ("0", Some(0)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("SIGCONT", Some(18)),
            ("TERM", None),
            ("sigterm", Some(15)),
            ("sigrtmin+3", Some(37)),
            ("SIGRTMIN+31", None),
            ("SIGRTMIN+-1", None),
            ("65", None),
            ("-9", None),
            ("", None),
            ("SIGNONE", None),
        ] {
            assert_eq!(parse(text), number, "{text}");
        }
    }

    #[test]
    fn systemd_is_known_by_its_signal() {
        let systemd = "Name:\tsystemd\nSigBlk:\t7be3c0fe28014a03\nSigCgt:\t00000000000004ec\n";
        assert_eq!(halt_of(systemd), SYSTEMD_HALT);
        let busybox = "SigBlk:\t0000000000000000\nSigCgt:\t0000000008005003\n";
        assert_eq!(halt_of(busybox), SIGPWR);
        assert_eq!(halt_of(""), SIGPWR);
    }

    #[test]
    fn names_read_back() {
        for number in (1..=31).chain(SIGRTMIN..=SIGRTMAX) {
            assert_eq!(parse(&name(number)), Some(number));
        }
    }
}
