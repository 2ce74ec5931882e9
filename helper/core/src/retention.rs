//! Which of a container's scheduled snapshots are kept, and when the next is due.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How many snapshots are kept: the last one of each of so many hours, days and weeks
/// that have one. All zero: there is no schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Hours.
    pub hourly: u32,
    /// Days, from midnight to midnight where the host is.
    pub daily: u32,
    /// Weeks, from Monday on.
    pub weekly: u32,
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970.
    pub seconds: i64,
    /// What the clocks where the host is are ahead of that, at this moment.
    pub ahead: i64,
}

/// The number of the hour, day or week that a moment is in.
type Period = fn(Moment) -> i64;

impl Moment {
    /// By the hours that pass: when clocks go back one hour of the day comes twice.
    fn hour(self) -> i64 {
        self.seconds.div_euclid(3600)
    }

    fn day(self) -> i64 {
        (self.seconds + self.ahead).div_euclid(86_400)
    }

    fn week(self) -> i64 {
        // 1970 began on a Thursday.
        (self.day() + 3).div_euclid(7)
    }
}

impl Retention {
    /// Whether there is a schedule.
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }

    /// Whether a snapshot is to be taken now: none is of this hour; or of this day, or
    /// week, where none are kept of hours, or days.
    pub fn is_due(&self, taken: &[Moment], now: Moment) -> bool {
        let same = |period: Period| {
            taken
                .iter()
                .any(|moment| moment.seconds <= now.seconds && period(*moment) == period(now))
        };
        match *self {
            Self { hourly: 1.., .. } => !same(Moment::hour),
            Self { daily: 1.., .. } => !same(Moment::day),
            Self { weekly: 1.., .. } => !same(Moment::week),
            _ => false,
        }
    }

    /// Which of these moments, by index, are not to be kept. Those to come, which are
    /// there when the clock was set back, are kept and do not count.
    pub fn outdated(&self, taken: &[Moment], now: Moment) -> Vec<usize> {
        if !self.is_set() {
            return Vec::new();
        }
        let mut past: Vec<(usize, Moment)> = taken
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, moment)| moment.seconds <= now.seconds)
            .collect();
        past.sort_by_key(|(_, moment)| std::cmp::Reverse(moment.seconds));
        let mut kept = BTreeSet::new();
        let periods: [(u32, Period); 3] = [
            (self.hourly, Moment::hour),
            (self.daily, Moment::day),
            (self.weekly, Moment::week),
        ];
        for (most, period) in periods {
            let mut periods = BTreeSet::new();
            for (index, moment) in &past {
                if periods.len() < usize::try_from(most).unwrap_or(usize::MAX)
                    && periods.insert(period(*moment))
                {
                    kept.insert(*index);
                }
            }
        }
        let outdated = past.into_iter().map(|(index, _)| index);
        outdated.filter(|index| !kept.contains(index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    /// Monday, 26 October 2026, 00:00 in UTC.
    const MONDAY: i64 = 1_792_972_800;

    fn utc(seconds: i64) -> Moment {
        Moment { seconds, ahead: 0 }
    }

    /// Lives through the hours of a schedule as the timer does; gives what is there then.
    fn live(rules: Retention, hours: impl Iterator<Item = Moment>) -> Vec<i64> {
        let mut taken: Vec<Moment> = Vec::new();
        for now in hours {
            if rules.is_due(&taken, now) {
                taken.push(now);
            }
            let mut outdated = rules.outdated(&taken, now);
            outdated.sort_unstable();
            for index in outdated.into_iter().rev() {
                taken.remove(index);
            }
        }
        taken.iter().map(|moment| moment.seconds).collect()
    }

    #[test]
    fn the_last_of_each_period_is_kept() {
        let rules = Retention {
            hourly: 3,
            daily: 2,
            weekly: 2,
        };
        let hours = (0..=20 * 24 + 5).map(|hour| utc(MONDAY + hour * HOUR));
        let end = MONDAY + 20 * DAY + 5 * HOUR;
        assert_eq!(
            live(rules, hours),
            [
                // The last Sunday's end, which is the week's; yesterday's; three hours.
                MONDAY + 14 * DAY - HOUR,
                MONDAY + 20 * DAY - HOUR,
                end - 2 * HOUR,
                end - HOUR,
                end
            ]
        );
    }

    #[test]
    fn one_is_due_in_each_of_the_shortest_periods_that_are_kept() {
        let now = utc(MONDAY + 10 * HOUR);
        let daily = Retention {
            daily: 7,
            ..Retention::default()
        };
        let weekly = Retention {
            weekly: 4,
            ..Retention::default()
        };
        assert!(daily.is_due(&[utc(MONDAY - 1)], now) && !daily.is_due(&[utc(MONDAY)], now));
        assert!(weekly.is_due(&[utc(MONDAY - 1)], now) && !weekly.is_due(&[utc(MONDAY)], now));
        assert!(!Retention::default().is_due(&[], now));
        assert!(Retention::default().outdated(&[utc(0)], now).is_empty());
    }

    #[test]
    fn an_hour_that_comes_twice_is_two_hours_and_one_day() {
        // Central Europe on 25 October 2026: at 01:00 UTC it is 02:00 for the second time.
        let sunday = MONDAY - DAY;
        let at = |hour: i64| Moment {
            seconds: sunday + hour * HOUR,
            ahead: if hour < 1 { 2 * HOUR } else { HOUR },
        };
        let hourly = Retention {
            hourly: 30,
            ..Retention::default()
        };
        assert_eq!(live(hourly, (-2..=22).map(at)).len(), 25);
        let daily = Retention {
            daily: 30,
            ..Retention::default()
        };
        // The day there has 25 hours: the next begins at 23:00 UTC.
        assert_eq!(
            live(daily, (-3..=23).map(at)),
            [sunday - 3 * HOUR, sunday - 2 * HOUR, sunday + 23 * HOUR]
        );
    }

    #[test]
    fn a_clock_set_back_costs_no_snapshot() {
        let rules = Retention {
            hourly: 2,
            ..Retention::default()
        };
        let before = [5, 6].map(|hour| utc(MONDAY + hour * HOUR));
        let now = utc(MONDAY + 2 * HOUR);
        assert!(rules.is_due(&before, now));
        let taken = [before[0], before[1], now];
        assert!(rules.outdated(&taken, now).is_empty());
        let later = utc(MONDAY + 7 * HOUR);
        assert_eq!(rules.outdated(&taken, later), [2]);
    }
}
