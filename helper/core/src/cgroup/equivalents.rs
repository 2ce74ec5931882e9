//! The table: files of version 1, files of version 2, and how their values
//! turn into each other (the kernel's admin-guide/cgroup-v1 and cgroup-v2.rst).

use super::values::{DEFAULT_PERIOD, Scale, bandwidth, bytes, integer, is_unlimited};
use super::{CgroupError, Present, invalid};
use crate::settings::CgroupVersion;

/// Two files that mean the same.
#[derive(Debug)]
pub(super) struct Equivalent {
    pub(super) v1: &'static str,
    pub(super) v2: &'static str,
    pub(super) rule: Rule,
}

impl Equivalent {
    pub(super) fn of(&self, version: CgroupVersion) -> &'static str {
        match version {
            CgroupVersion::V1 => self.v1,
            CgroupVersion::V2 => self.v2,
        }
    }
}

/// How values turn into each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// They are the same.
    Same,
    /// No limit is `-1` in version 1 and `max` in version 2.
    Limit,
    /// A share among the groups beside it.
    Weight(Scale),
    /// Version 1 has memory and swap in one number, version 2 swap alone. The
    /// files with the memory, of version 1 and 2.
    Swap(&'static str, &'static str),
    /// `cpu.max` is this, a blank and the period.
    Quota,
    /// The second word of `cpu.max`.
    Period,
    /// A line a device; version 2 names this among others, and `max` is what
    /// 0 is in version 1.
    Throttle(&'static str),
    /// `FROZEN` is 1.
    Freezer,
    /// Nanoseconds; the microseconds of `usage_usec`.
    CpuTime,
}

const fn same(v1: &'static str, v2: &'static str) -> Equivalent {
    with(v1, v2, Rule::Same)
}

const fn limit(v1: &'static str, v2: &'static str) -> Equivalent {
    with(v1, v2, Rule::Limit)
}

const fn with(v1: &'static str, v2: &'static str, rule: Rule) -> Equivalent {
    Equivalent { v1, v2, rule }
}

const fn throttle(v1: &'static str, field: &'static str) -> Equivalent {
    with(v1, "io.max", Rule::Throttle(field))
}

/// The scheduler's own conversion (`cpu_weight_read_u64`): 1024 shares are a
/// weight of 100.
const SHARES: Rule = Rule::Weight(Scale {
    v1: (2, 1024, 262_144),
    v2: (1, 100, 10_000),
});
/// As systemd has it: 500 are 100.
const BLKIO_WEIGHT: Rule = Rule::Weight(Scale {
    v1: (10, 500, 1000),
    v2: (1, 100, 10_000),
});
const BFQ_WEIGHT: Rule = Rule::Weight(Scale {
    v1: (1, 100, 1000),
    v2: (1, 100, 10_000),
});

/// Where a file stands several times, the first that the host has counts.
pub(super) static TABLE: &[Equivalent] = &[
    limit("memory.limit_in_bytes", "memory.max"),
    limit("memory.soft_limit_in_bytes", "memory.low"),
    limit("memory.soft_limit_in_bytes", "memory.high"),
    with(
        "memory.memsw.limit_in_bytes",
        "memory.swap.max",
        Rule::Swap("memory.limit_in_bytes", "memory.max"),
    ),
    same("memory.usage_in_bytes", "memory.current"),
    same("memory.max_usage_in_bytes", "memory.peak"),
    with(
        "memory.memsw.usage_in_bytes",
        "memory.swap.current",
        Rule::Swap("memory.usage_in_bytes", "memory.current"),
    ),
    with("cpu.shares", "cpu.weight", SHARES),
    with("cpu.cfs_period_us", "cpu.max", Rule::Period),
    with("cpu.cfs_quota_us", "cpu.max", Rule::Quota),
    same("cpu.cfs_burst_us", "cpu.max.burst"),
    with("cpuacct.usage", "cpu.stat", Rule::CpuTime),
    same("cpuset.cpus", "cpuset.cpus"),
    same("cpuset.mems", "cpuset.mems"),
    same("cpuset.effective_cpus", "cpuset.cpus.effective"),
    same("cpuset.effective_mems", "cpuset.mems.effective"),
    same("pids.max", "pids.max"),
    same("pids.current", "pids.current"),
    with("blkio.weight", "io.weight", BLKIO_WEIGHT),
    with("blkio.weight", "io.bfq.weight", BLKIO_WEIGHT),
    with("blkio.bfq.weight", "io.bfq.weight", BFQ_WEIGHT),
    with("blkio.bfq.weight", "io.weight", BFQ_WEIGHT),
    throttle("blkio.throttle.read_bps_device", "rbps"),
    throttle("blkio.throttle.write_bps_device", "wbps"),
    throttle("blkio.throttle.read_iops_device", "riops"),
    throttle("blkio.throttle.write_iops_device", "wiops"),
    with("freezer.state", "cgroup.freeze", Rule::Freezer),
    limit("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"),
    limit("hugetlb.1GB.limit_in_bytes", "hugetlb.1GB.max"),
];

impl Rule {
    /// Whether several files of version 1 are one of version 2.
    pub(super) fn is_part(self) -> bool {
        matches!(self, Self::Quota | Self::Period | Self::Throttle(_))
    }

    /// A value of version 1 for a value of version 2; empty if that says
    /// nothing of it. The files that are `present` are those of `host`.
    pub(super) fn to_v1(
        self,
        value: &str,
        host: CgroupVersion,
        present: Present<'_>,
    ) -> Result<String, CgroupError> {
        match self {
            Self::Same => Ok(value.to_owned()),
            Self::Limit if is_unlimited(value) => Ok("-1".to_owned()),
            Self::Limit => Ok(value.to_owned()),
            Self::Weight(scale) => scale.to_v1(value),
            Self::Swap(..) if is_unlimited(value) => Ok("-1".to_owned()),
            Self::Swap(..) => match self.memory(host, present) {
                Some(memory) => Ok(memory.saturating_add(bytes(value)?).to_string()),
                None => self.without_memory(host),
            },
            Self::Quota => Ok(match bandwidth(value)? {
                (None, _) => "-1".to_owned(),
                (Some(quota), _) => quota.to_string(),
            }),
            Self::Period => Ok(bandwidth(value)?
                .1
                .map(|period| period.to_string())
                .unwrap_or_default()),
            Self::Throttle(field) => part_of_lines(value, field),
            Self::Freezer if value == "1" => Ok("FROZEN".to_owned()),
            Self::Freezer if value == "0" => Ok("THAWED".to_owned()),
            Self::Freezer => invalid(format!("{value:?} is neither 0 nor 1")),
            Self::CpuTime => Ok(value
                .lines()
                .find_map(|line| line.strip_prefix("usage_usec "))
                .and_then(|number| number.trim().parse::<u64>().ok())
                .map(|number| number.saturating_mul(1000).to_string())
                .unwrap_or_default()),
        }
    }

    /// A value of version 2 for a value of version 1.
    pub(super) fn to_v2(
        self,
        value: &str,
        host: CgroupVersion,
        present: Present<'_>,
    ) -> Result<String, CgroupError> {
        match self {
            Self::Same => Ok(value.to_owned()),
            Self::Limit if is_unlimited(value) => Ok("max".to_owned()),
            Self::Limit => Ok(value.to_owned()),
            Self::Weight(scale) => scale.to_v2(value),
            Self::Swap(..) if is_unlimited(value) => Ok("max".to_owned()),
            Self::Swap(..) => {
                let both = bytes(value)?;
                match self.memory(host, present) {
                    Some(memory) if memory <= both => Ok((both - memory).to_string()),
                    Some(memory) => invalid(format!(
                        "{both} bytes of memory and swap are less than the {memory} of memory alone; lower that first"
                    )),
                    None => self.without_memory(host),
                }
            }
            Self::Quota => {
                let quota = match integer(value)? {
                    quota if quota < 0 => "max".to_owned(),
                    quota => quota.to_string(),
                };
                let old = present("cpu.max").and_then(|text| bandwidth(text.trim()).ok());
                let period = old.and_then(|(_, period)| period).or_else(|| {
                    present("cpu.cfs_period_us").and_then(|text| text.trim().parse().ok())
                });
                Ok(format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD)))
            }
            Self::Period => {
                let period = integer(value)?;
                let old = present("cpu.max").and_then(|text| bandwidth(text.trim()).ok());
                let quota = old.and_then(|(quota, _)| quota);
                let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
                Ok(format!("{quota} {period}"))
            }
            Self::Throttle(field) => match value.split_whitespace().collect::<Vec<_>>()[..] {
                [device, "0"] => Ok(format!("{device} {field}=max")),
                [device, number] => Ok(format!("{device} {field}={}", bytes(number)?)),
                _ => invalid(format!(
                    "{value:?} is not a device and a number, such as \"8:0 1048576\""
                )),
            },
            Self::Freezer if value == "FROZEN" || value == "FREEZING" => Ok("1".to_owned()),
            Self::Freezer if value == "THAWED" => Ok("0".to_owned()),
            Self::Freezer => invalid(format!("{value:?} is neither FROZEN nor THAWED")),
            Self::CpuTime => Ok(format!("usage_usec {}", bytes(value)? / 1000)),
        }
    }

    /// The memory without swap that `host` has now; none if it is not limited.
    fn memory(self, host: CgroupVersion, present: Present<'_>) -> Option<u64> {
        let Self::Swap(v1, v2) = self else {
            return None;
        };
        let text = present(match host {
            CgroupVersion::V1 => v1,
            CgroupVersion::V2 => v2,
        })?;
        Some(text.trim())
            .filter(|text| !is_unlimited(text))
            .and_then(|text| bytes(text).ok())
    }

    fn without_memory(self, host: CgroupVersion) -> Result<String, CgroupError> {
        let file = match (self, host) {
            (Self::Swap(v1, _), CgroupVersion::V1) => v1,
            (Self::Swap(_, v2), CgroupVersion::V2) => v2,
            _ => "the memory",
        };
        invalid(format!(
            "memory and swap together depend on {file}, which has no limit; set it first"
        ))
    }
}

/// What the lines of `io.max` say of one of its four parts.
fn part_of_lines(value: &str, field: &str) -> Result<String, CgroupError> {
    let mut lines = Vec::new();
    for line in value.lines() {
        let mut words = line.split_whitespace();
        let device = words.next().unwrap_or_default();
        for word in words {
            let Some((name, number)) = word.split_once('=') else {
                return invalid(format!(
                    "{word:?} is not one of rbps=, wbps=, riops= and wiops="
                ));
            };
            if !matches!(name, "rbps" | "wbps" | "riops" | "wiops") {
                return invalid(format!(
                    "{name:?} is not one of rbps, wbps, riops and wiops"
                ));
            }
            if name == field {
                let number = match number {
                    "max" => 0,
                    number => bytes(number)?,
                };
                lines.push(format!("{device} {number}"));
            }
        }
    }
    Ok(lines.join("\n"))
}

/// The value of version 2 of which these are the parts; none if the host has
/// none of them.
pub(super) fn together(entries: &[&Equivalent], present: Present<'_>) -> Option<String> {
    let host = CgroupVersion::V1;
    let mut devices: Vec<(String, Vec<String>)> = Vec::new();
    let mut found = false;
    for entry in entries {
        let Some(text) = present(entry.v1) else {
            continue;
        };
        found = true;
        if let Rule::Quota = entry.rule {
            return entry.rule.to_v2(text.trim(), host, present).ok();
        }
        for line in text.lines().filter(|_| !matches!(entry.rule, Rule::Period)) {
            let Ok(line) = entry.rule.to_v2(line, host, present) else {
                continue;
            };
            let (device, part) = line.split_once(' ').unwrap_or((&line, ""));
            match devices.iter_mut().find(|(known, _)| known == device) {
                Some((_, parts)) => parts.push(part.to_owned()),
                None => devices.push((device.to_owned(), vec![part.to_owned()])),
            }
        }
    }
    let lines: Vec<String> = devices
        .into_iter()
        .map(|(device, parts)| format!("{device} {}", parts.join(" ")))
        .collect();
    found.then(|| lines.join("\n"))
}
