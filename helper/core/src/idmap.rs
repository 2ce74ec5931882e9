//! Id maps of user namespaces, the ranges of /etc/subuid and /etc/subgid, and
//! the choice of a free range for a new container.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How many ids a new container gets.
pub const RANGE_SIZE: u32 = 65_536;
/// Where ranges are looked for when root has no entry in /etc/subuid.
pub const FIRST_FREE: u32 = 1_000_000;

/// Whether a map is about users or groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdKind {
    /// `u`, for uid_map.
    User,
    /// `g`, for gid_map.
    Group,
}

/// One line of a map: `count` ids from `container` on are the host's ids from
/// `host` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Users or groups.
    pub kind: IdKind,
    /// First id in the container.
    pub container: u32,
    /// First id on the host.
    pub host: u32,
    /// How many; at least 1.
    pub count: u32,
}

impl IdMap {
    /// Reads `u 0 100000 65536` (`lxc.idmap`). The error is a reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [letter, numbers @ ..] = fields.as_slice() else {
            return Err(format!(
                "'{text}' is not an id map; write 'u 0 100000 65536'"
            ));
        };
        let kind = match *letter {
            "u" => IdKind::User,
            "g" => IdKind::Group,
            other => return Err(format!("'{other}' is neither 'u' nor 'g'")),
        };
        let [container, host, count] = numbers else {
            return Err(format!(
                "'{text}' needs three numbers: first id inside, first id outside, how many"
            ));
        };
        let number = |text: &str| decimal(text).ok_or_else(|| format!("'{text}' is not an id"));
        let map = Self {
            kind,
            container: number(container)?,
            host: number(host)?,
            count: number(count)?,
        };
        if map.count == 0 {
            return Err("a map of no ids is not possible".to_owned());
        }
        // 4294967295 is the kernel's "no id".
        if map.container.checked_add(map.count).is_none()
            || map.host.checked_add(map.count).is_none()
        {
            return Err(format!("'{text}' goes beyond the last id, 4294967294"));
        }
        Ok(map)
    }

    /// The ids on the host that this map uses.
    pub fn host_range(&self) -> IdRange {
        IdRange {
            first: self.host,
            count: self.count,
        }
    }
}

fn decimal(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            IdKind::User => 'u',
            IdKind::Group => 'g',
        };
        write!(
            f,
            "{letter} {} {} {}",
            self.container, self.host, self.count
        )
    }
}

/// The maps of one container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdMaps(pub Vec<IdMap>);

impl IdMaps {
    /// Maps all 65536 ids of a container onto one range, users and groups
    /// alike.
    pub fn for_range(users: IdRange, groups: IdRange) -> Self {
        let map = |kind, range: IdRange| IdMap {
            kind,
            container: 0,
            host: range.first,
            count: range.count,
        };
        Self(vec![map(IdKind::User, users), map(IdKind::Group, groups)])
    }

    /// Whether there is no map, which makes the container privileged.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The maps of one kind.
    pub fn of(&self, kind: IdKind) -> impl Iterator<Item = &IdMap> {
        self.0.iter().filter(move |map| map.kind == kind)
    }

    /// The host's id of a container's id.
    pub fn host_of(&self, kind: IdKind, id: u32) -> Option<u32> {
        self.of(kind).find_map(|map| {
            let offset = id.checked_sub(map.container)?;
            (offset < map.count).then(|| map.host.checked_add(offset))?
        })
    }

    /// The container's id of a host's id.
    pub fn container_of(&self, kind: IdKind, id: u32) -> Option<u32> {
        self.of(kind).find_map(|map| {
            let offset = id.checked_sub(map.host)?;
            (offset < map.count).then(|| map.container.checked_add(offset))?
        })
    }

    /// Whether any id of the host is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let meets =
            |a: &IdMap, b: &IdMap| a.kind == b.kind && a.host_range().overlaps(b.host_range());
        self.0.iter().any(|a| other.0.iter().any(|b| meets(a, b)))
    }

    /// Whether they are as those of a new container, so that another range does as well.
    pub fn is_like_new(&self) -> bool {
        [IdKind::User, IdKind::Group].into_iter().all(|kind| {
            let maps: Vec<&IdMap> = self.of(kind).collect();
            matches!(maps.as_slice(), [map] if map.container == 0 && map.count <= RANGE_SIZE)
        })
    }

    /// Refuses what the kernel would refuse when the maps are written: ids
    /// mapped twice, or maps of one kind only. The error is a reason.
    pub fn check(&self) -> Result<(), String> {
        for kind in [IdKind::User, IdKind::Group] {
            let maps: Vec<&IdMap> = self.of(kind).collect();
            if maps.is_empty() && !self.0.is_empty() {
                let missing = if kind == IdKind::User {
                    "users ('u')"
                } else {
                    "groups ('g')"
                };
                return Err(format!(
                    "no {missing} are mapped; give a map for both users and groups"
                ));
            }
            for (index, a) in maps.iter().enumerate() {
                for b in maps.iter().skip(index + 1) {
                    let inside = |map: &IdMap| IdRange {
                        first: map.container,
                        count: map.count,
                    };
                    if a.host_range().overlaps(b.host_range()) || inside(a).overlaps(inside(b)) {
                        return Err(format!("the maps '{a}' and '{b}' overlap"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The text for /proc/PID/uid_map or gid_map.
    pub fn proc_text(&self, kind: IdKind) -> String {
        self.of(kind)
            .map(|map| format!("{} {} {}\n", map.container, map.host, map.count))
            .collect()
    }
}

/// A run of ids on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdRange {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    /// Whether any id is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.count > 0
            && other.count > 0
            && u64::from(self.first) < other.end()
            && u64::from(other.first) < self.end()
    }

    /// Whether every id of `other` is in this one.
    pub fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.end() <= self.end()
    }

    fn end(self) -> u64 {
        u64::from(self.first) + u64::from(self.count)
    }
}

/// One line of /etc/subuid or /etc/subgid (subuid(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubordinateIds {
    /// A user's name or number.
    pub owner: String,
    /// The ids that are delegated.
    pub range: IdRange,
}

/// Reads /etc/subuid or /etc/subgid; malformed lines are skipped, as the
/// shadow tools do.
pub fn parse_subordinate(text: &str) -> Vec<SubordinateIds> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields
                .next()
                .filter(|owner| !owner.is_empty() && !owner.starts_with('#'))?;
            let range = IdRange {
                first: decimal(fields.next()?)?,
                count: decimal(fields.next()?)?,
            };
            let complete = fields.next().is_none() && range.count > 0;
            complete.then(|| SubordinateIds {
                owner: owner.to_owned(),
                range,
            })
        })
        .collect()
}

/// No range of ids is left for a new container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no free range of {RANGE_SIZE} ids is left; give root a larger range in /etc/subuid and /etc/subgid"
)]
pub struct NoFreeRange;

/// Chooses a range of [`RANGE_SIZE`] ids for a new container that overlaps
/// none of `used`.
///
/// `delegated` are all lines of /etc/subuid (or /etc/subgid). If root (by name
/// or number) has lines there, the range comes from them; else from
/// [`FIRST_FREE`] on, clear of everybody's lines.
pub fn allocate(delegated: &[SubordinateIds], used: &[IdRange]) -> Result<IdRange, NoFreeRange> {
    let is_root = |ids: &&SubordinateIds| matches!(ids.owner.as_str(), "root" | "0");
    let own: Vec<IdRange> = delegated
        .iter()
        .filter(is_root)
        .map(|ids| ids.range)
        .collect();
    if !own.is_empty() {
        return own
            .into_iter()
            .find_map(|area| first_free(area, used))
            .ok_or(NoFreeRange);
    }
    let taken: Vec<IdRange> = used
        .iter()
        .copied()
        .chain(delegated.iter().map(|ids| ids.range))
        .collect();
    first_free(
        IdRange {
            first: FIRST_FREE,
            count: u32::MAX - FIRST_FREE,
        },
        &taken,
    )
    .ok_or(NoFreeRange)
}

/// The first range within `area` that overlaps none of `taken`.
fn first_free(area: IdRange, taken: &[IdRange]) -> Option<IdRange> {
    let mut taken: Vec<IdRange> = taken
        .iter()
        .copied()
        .filter(|range| range.overlaps(area))
        .collect();
    taken.sort_unstable();
    let mut first = u64::from(area.first);
    for range in taken {
        if first + u64::from(RANGE_SIZE) <= u64::from(range.first) {
            break;
        }
        first = first.max(range.end());
    }
    let candidate = IdRange {
        first: u32::try_from(first).ok()?,
        count: RANGE_SIZE,
    };
    area.contains(candidate).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, count: u32) -> IdRange {
        IdRange { first, count }
    }

    fn lines(text: &str) -> Vec<SubordinateIds> {
        parse_subordinate(text)
    }

    #[test]
    fn maps_read_back() {
        for text in ["u 0 100000 65536", "g 1000 1000 1", "u 0 4294901759 65536"] {
            assert_eq!(IdMap::parse(text).unwrap().to_string(), text);
        }
        assert!(IdMap::parse("u 0 4294901760 65536").is_err());
    }

    #[test]
    fn ids_are_translated_both_ways() {
        let maps = IdMaps(vec![
            IdMap::parse("u 0 100000 1000").unwrap(),
            IdMap::parse("u 1000 1000 1").unwrap(),
            IdMap::parse("g 0 200000 65536").unwrap(),
        ]);
        for (inside, outside) in [
            (0, Some(100_000)),
            (999, Some(100_999)),
            (1000, Some(1000)),
            (1001, None),
        ] {
            assert_eq!(maps.host_of(IdKind::User, inside), outside);
            if let Some(outside) = outside {
                assert_eq!(maps.container_of(IdKind::User, outside), Some(inside));
            }
        }
        assert_eq!(maps.host_of(IdKind::Group, 5), Some(200_005));
        assert_eq!(maps.container_of(IdKind::User, 0), None);
        assert_eq!(maps.proc_text(IdKind::User), "0 100000 1000\n1000 1000 1\n");
        assert_eq!(maps.check(), Ok(()));
    }

    #[test]
    fn maps_the_kernel_refuses() {
        for texts in [
            &["u 0 100000 10", "u 5 200000 10", "g 0 0 1"][..],
            &["u 0 100000 10", "u 50 100005 10", "g 0 0 1"],
            &["u 0 100000 10"],
            &["g 0 100000 10"],
        ] {
            let maps = IdMaps(
                texts
                    .iter()
                    .map(|text| IdMap::parse(text).unwrap())
                    .collect(),
            );
            assert!(maps.check().is_err(), "{texts:?}");
        }
        assert_eq!(IdMaps::default().check(), Ok(()));
        assert_eq!(IdMaps::for_range(range(5, 9), range(6, 9)).check(), Ok(()));
    }

    #[test]
    fn overlaps() {
        assert!(range(0, 10).overlaps(range(9, 1)));
        assert!(!range(0, 10).overlaps(range(10, 1)));
        assert!(!range(0, 0).overlaps(range(0, 1)));
        assert!(!range(u32::MAX, 1).overlaps(range(0, u32::MAX)));
        assert!(range(u32::MAX - 1, 2).overlaps(range(u32::MAX, 1)));
    }

    #[test]
    fn subordinate_files() {
        let found = lines(
            "# c\nroot:100000:65536\n\nalice:165536:65536\n1000:5:x\nbob:5\n:1:1\nx:1:0\ny:1:2:3\n",
        );
        assert_eq!(
            found,
            [
                SubordinateIds {
                    owner: "root".into(),
                    range: range(100_000, 65_536)
                },
                SubordinateIds {
                    owner: "alice".into(),
                    range: range(165_536, 65_536)
                },
            ]
        );
    }

    #[test]
    fn ranges_without_a_line_for_root() {
        assert_eq!(allocate(&[], &[]), Ok(range(1_000_000, 65_536)));
        let users = lines("alice:100000:65536\nbob:1000000:65536\n");
        assert_eq!(allocate(&users, &[]), Ok(range(1_065_536, 65_536)));
        assert_eq!(
            allocate(&users, &[range(1_065_536, 65_536)]),
            Ok(range(1_131_072, 65_536))
        );
        // A gap that is too small is passed over, one that fits is used.
        assert_eq!(
            allocate(&[], &[range(1_010_000, 5)]),
            Ok(range(1_010_005, 65_536))
        );
        assert_eq!(
            allocate(&[], &[range(1_065_536, 5), range(1_000_000, 0)]),
            Ok(range(1_000_000, 65_536))
        );
        assert_eq!(allocate(&[], &[range(0, u32::MAX)]), Err(NoFreeRange));
    }

    #[test]
    fn ranges_out_of_roots_lines() {
        let root = lines("alice:100000:65536\nroot:200000:65536\n0:400000:131072\n");
        assert_eq!(allocate(&root, &[]), Ok(range(200_000, 65_536)));
        assert_eq!(
            allocate(&root, &[range(200_000, 1)]),
            Ok(range(400_000, 65_536))
        );
        let used = [range(200_000, 65_536), range(400_000, 65_536)];
        assert_eq!(allocate(&root, &used), Ok(range(465_536, 65_536)));
        let full = [range(200_000, 65_536), range(400_000, 131_072)];
        assert_eq!(allocate(&root, &full), Err(NoFreeRange));
        assert_eq!(
            allocate(&lines("root:100000:1000\n"), &[]),
            Err(NoFreeRange)
        );
    }
}
