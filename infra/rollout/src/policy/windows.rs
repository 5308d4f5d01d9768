//! Windows: when a cluster may be changed, by the clock on its wall.

use std::{collections::BTreeSet, fmt};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Weekday},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Deserializer, de};

/// What is expected where a window stands.
const EXPECTED: &str = "expected days and times such as `weekdays 02:00 to 05:00`, `sat,sun 00:00 to 06:00` or \
                        `daily 22:00 to 24:00`";
/// Days that are looked through for the next opening: each day of a week twice, since a change of the clock can leave
/// nothing of one.
const AHEAD: i32 = 15;
const NAMES: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Times of some days of a week. One that ends before it begins ends on the day after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    text: String,
    days: BTreeSet<i8>,
    begin: Minute,
    end: Minute,
}

/// Minutes since midnight, at most 24 hours.
type Minute = i16;
const MIDNIGHT: Minute = 24 * 60;

impl Window {
    /// Reads a window; says what is wrong with another text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        let [days, begin, "to", end] = words.as_slice() else {
            return Err(format!("`{text}` is not a window; {EXPECTED}"));
        };
        let time = |word| minute(word).ok_or_else(|| format!("`{word}` is no time; {EXPECTED}"));
        let (begin, end) = (time(begin)?, time(end)?);
        if begin == MIDNIGHT {
            return Err(format!("`{text}` begins at 24:00; expected 00:00 of the day after"));
        }
        if begin == end {
            return Err(format!(
                "`{text}` ends when it begins; expected `00:00 to 24:00` for a day"
            ));
        }
        let days = days_of(days)?;
        Ok(Self { text: text.to_owned(), days, begin, end })
    }

    /// When it is open that begins on this day; none where it does not, or where the clock leaves that time out.
    fn on(&self, date: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        if !self.days.contains(&date.weekday().to_monday_zero_offset()) {
            return None;
        }
        let last = if self.end <= self.begin { date.tomorrow().ok()? } else { date };
        let begin = reached(at(date, self.begin)?, zone)?;
        let end = reached(at(last, self.end)?, zone)?;
        (begin < end).then_some((begin, end))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// A time zone by its name in the IANA database, such as `Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Finds a time zone: in the system's database, else in the one that was built in.
    pub fn parse(name: &str) -> Result<Self, String> {
        let zone = TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
        zone.map(Self).map_err(|_| {
            format!("`{name}` is no time zone; expected a name of the IANA database, such as `Europe/Berlin` or `UTC`")
        })
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).map_err(de::Error::custom)
    }
}

/// Returns when one of the windows is open next: `now` while one is. Without any window it is always open.
///
/// A window begins when the clock first shows its beginning, and ends when the clock first shows its end, or what
/// comes after them where the clock is put forward over them.
pub fn opens(windows: &[Window], zone: &Zone, now: Timestamp) -> Option<Timestamp> {
    if windows.is_empty() {
        return Some(now);
    }
    let today = now.to_zoned(zone.0.clone()).date();
    let days = (-1..AHEAD).filter_map(|day| today.checked_add(day.days()).ok());
    let spans = days.flat_map(|day| windows.iter().filter_map(move |it| it.on(day, &zone.0)));
    let ahead = spans.filter(|(_, end)| now < *end).map(|(begin, _)| begin.max(now));
    ahead.min()
}

/// When a clock first shows this time, or a later one.
fn reached(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(time).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(time).ok(),
        // The clock never shows it: what counts is when it is put forward.
        AmbiguousOffset::Gap { after, .. } => {
            let earlier = after.to_timestamp(time).ok()?;
            zone.following(earlier).next().map(|change| change.timestamp())
        }
    }
}

fn at(date: Date, minute: Minute) -> Option<DateTime> {
    if minute == MIDNIGHT {
        return Some(date.tomorrow().ok()?.at(0, 0, 0, 0));
    }
    let hour = i8::try_from(minute / 60).ok()?;
    Some(date.at(hour, i8::try_from(minute % 60).ok()?, 0, 0))
}

fn minute(word: &str) -> Option<Minute> {
    let number = |text: &str| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<Minute>().ok().filter(|_| is_plain)
    };
    let (hour, minute) = word.split_once(':')?;
    let (hour, minute) = (number(hour)?, number(minute)?);
    let since = hour * 60 + minute;
    (minute < 60 && since <= MIDNIGHT).then_some(since)
}

fn days_of(word: &str) -> Result<BTreeSet<i8>, String> {
    match word {
        "daily" => return Ok((0..7).collect()),
        "weekdays" => return Ok((0..5).collect()),
        "weekends" => return Ok((5..7).collect()),
        _ => {}
    }
    let mut days = BTreeSet::new();
    for name in word.split(',') {
        let day = NAMES.iter().find(|(known, _)| *known == name);
        let (_, day) = day.ok_or_else(|| {
            format!("`{name}` is no day; expected `daily`, `weekdays`, `weekends`, or some of mon,tue,wed,thu,fri,sat,sun")
        })?;
        if !days.insert(day.to_monday_zero_offset()) {
            return Err(format!("`{word}` names {name} twice; expected each day once"));
        }
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn next(window: &str, zone: &str, now: &str) -> String {
        let windows = [Window::parse(window).unwrap()];
        let zone = Zone::parse(zone).unwrap();
        opens(&windows, &zone, now.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn the_next_opening_is_by_the_clock_on_the_wall() {
        for (window, zone, now, expected) in [
            // 2026-11-20 is a Friday.
            ("weekdays 02:00 to 05:00", "UTC", "2026-11-20T01:00:00Z", "2026-11-20T02:00:00Z"),
            ("weekdays 02:00 to 05:00", "UTC", "2026-11-20T02:00:00Z", "2026-11-20T02:00:00Z"),
            ("weekdays 02:00 to 05:00", "UTC", "2026-11-20T04:59:59Z", "2026-11-20T04:59:59Z"),
            ("weekdays 02:00 to 05:00", "UTC", "2026-11-20T05:00:00Z", "2026-11-23T02:00:00Z"),
            ("sat,sun 00:00 to 06:00", "UTC", "2026-11-20T05:00:00Z", "2026-11-21T00:00:00Z"),
            (
                "weekends 00:00 to 06:00",
                "Europe/Berlin",
                "2026-11-20T05:00:00Z",
                "2026-11-20T23:00:00Z",
            ),
            (
                "weekends 00:00 to 06:00",
                "Europe/Berlin",
                "2026-07-17T05:00:00Z",
                "2026-07-17T22:00:00Z",
            ),
            // Over midnight: Friday's goes on into Saturday.
            ("fri 22:00 to 04:00", "UTC", "2026-11-21T03:59:00Z", "2026-11-21T03:59:00Z"),
            ("fri 22:00 to 04:00", "UTC", "2026-11-21T04:00:00Z", "2026-11-27T22:00:00Z"),
            ("fri 22:00 to 04:00", "UTC", "2026-11-20T03:00:00Z", "2026-11-20T22:00:00Z"),
            ("daily 22:00 to 24:00", "UTC", "2026-11-21T00:00:00Z", "2026-11-21T22:00:00Z"),
            ("daily 00:00 to 24:00", "UTC", "2026-11-21T23:59:59Z", "2026-11-21T23:59:59Z"),
        ] {
            assert_eq!(next(window, zone, now), expected, "{window} {zone} {now}");
        }
    }

    #[test]
    fn a_window_in_the_hour_that_is_left_out_begins_when_the_clock_is_put_forward() {
        // On 2026-03-08 at 07:00 UTC, New York's clocks go from 02:00 to 03:00.
        let forward = |window, now| next(window, "America/New_York", now);
        assert_eq!(forward("daily 02:30 to 05:00", "2026-03-08T06:00:00Z"), "2026-03-08T07:00:00Z");
        assert_eq!(forward("daily 02:00 to 05:00", "2026-03-08T06:00:00Z"), "2026-03-08T07:00:00Z");
        // It ends then, too; and what would lie inside of it is not on that day.
        assert_eq!(forward("daily 01:00 to 02:30", "2026-03-08T06:59:59Z"), "2026-03-08T06:59:59Z");
        assert_eq!(forward("daily 01:00 to 02:30", "2026-03-08T07:00:00Z"), "2026-03-09T05:00:00Z");
        assert_eq!(forward("sun 02:10 to 02:50", "2026-03-08T06:00:00Z"), "2026-03-15T06:10:00Z");
        // Apia left out all of 2011-12-30, a Friday.
        let apia = next("fri 08:00 to 10:00", "Pacific/Apia", "2011-12-29T22:00:00Z");
        assert_eq!(apia, "2012-01-05T18:00:00Z");
    }

    #[test]
    fn a_window_in_the_hour_that_comes_twice_is_the_first_of_them() {
        // On 2026-11-01 at 06:00 UTC, New York's clocks go from 02:00 back to 01:00.
        let back = |now| next("daily 01:00 to 01:30", "America/New_York", now);
        assert_eq!(back("2026-11-01T04:00:00Z"), "2026-11-01T05:00:00Z");
        assert_eq!(back("2026-11-01T05:30:00Z"), "2026-11-02T06:00:00Z");
    }

    #[test]
    fn the_earliest_of_several_windows_counts_and_none_is_always() {
        let windows =
            ["sat 00:00 to 06:00", "weekdays 02:00 to 05:00"].map(|it| Window::parse(it).unwrap());
        let now: Timestamp = "2026-11-20T06:00:00Z".parse().unwrap();
        let opening = opens(&windows, &Zone::default(), now).unwrap();
        assert_eq!(opening.to_string(), "2026-11-21T00:00:00Z");
        assert_eq!(opens(&[], &Zone::default(), now), Some(now));
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for (text, expected) in [
            ("", "is not a window"),
            ("weekdays", "is not a window"),
            ("weekdays 02:00 - 05:00", "is not a window"),
            ("weekdays 02:00 to 05:00 UTC", "is not a window"),
            ("workdays 02:00 to 05:00", "`workdays` is no day"),
            ("mon,,tue 02:00 to 05:00", "`` is no day"),
            ("mon,tue,mon 02:00 to 05:00", "names mon twice"),
            ("Mon 02:00 to 05:00", "`Mon` is no day"),
            ("mon 2:00 to 05:00", "`2:00` is no time"),
            ("mon 02:60 to 05:00", "`02:60` is no time"),
            ("mon 02:00 to 24:01", "`24:01` is no time"),
            ("mon 02:00 to 25:00", "`25:00` is no time"),
            ("mon +2:00 to 05:00", "`+2:00` is no time"),
            ("mon 02:00 to 02:00", "ends when it begins"),
            ("mon 24:00 to 02:00", "begins at 24:00"),
        ] {
            let error = Window::parse(text).unwrap_err();
            assert!(error.contains(expected) && error.contains("expected"), "{error}");
        }
        assert!(Zone::parse("Mars/Olympus").unwrap_err().contains("is no time zone"));
        assert!(Zone::parse("../../etc/passwd").is_err());
    }

    /// Some windows as they are written, with days and minutes.
    fn any_window() -> impl Strategy<Value = (String, BTreeSet<i8>, i16, i16)> {
        let times =
            (0..MIDNIGHT, 1..=MIDNIGHT).prop_filter("no length", |(begin, end)| begin != end);
        (proptest::collection::btree_set(0..7_i8, 1..7), times).prop_map(|(days, (begin, end))| {
            let names: Vec<_> = NAMES
                .iter()
                .filter(|(_, day)| days.contains(&day.to_monday_zero_offset()))
                .map(|(name, _)| *name)
                .collect();
            let time = |minute| format!("{:02}:{:02}", minute / 60, minute % 60);
            (format!("{} {} to {}", names.join(","), time(begin), time(end)), days, begin, end)
        })
    }

    /// Times, half of them near a change of the clock in one of the zones below.
    fn any_time() -> impl Strategy<Value = Timestamp> {
        let near = proptest::sample::select(vec![
            1_772_953_200_i64, // New York forward, 2026-03-08
            1_793_512_800,     // New York back, 2026-11-01
            1_774_746_000,     // Berlin forward, 2026-03-29
            1_775_314_800,     // Lord Howe back by half an hour, 2026-04-05
            1_325_239_200,     // Apia, 2011-12-30
        ]);
        let near = (near, -200_000..200_000_i64).prop_map(|(time, by)| time + by);
        prop_oneof![0..4_000_000_000_i64, near]
            .prop_map(|second| Timestamp::from_second(second).unwrap())
    }

    const ZONES: [&str; 6] = [
        "UTC",
        "America/New_York",
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Kolkata",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn it_is_open_when_the_clock_on_the_wall_says_so(
            window in any_window(), now in any_time(), zone in proptest::sample::select(&ZONES[..])
        ) {
            let (text, days, begin, end) = window;
            let windows = [Window::parse(&text).unwrap()];
            let zone = Zone::parse(zone).unwrap();
            let local = now.to_zoned(zone.0.clone());
            // Of an hour that comes twice, only the first counts, which the clock does not tell.
            prop_assume!(!zone.0.to_ambiguous_timestamp(local.datetime()).is_ambiguous());
            let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
            let today = local.weekday().to_monday_zero_offset();
            let yesterday = (today + 6) % 7;
            let shown = if begin < end {
                days.contains(&today) && (begin..end).contains(&minute)
            } else {
                (days.contains(&today) && minute >= begin) || (days.contains(&yesterday) && minute < end)
            };
            prop_assert_eq!(opens(&windows, &zone, now) == Some(now), shown, "{} {}", text, local);
        }

        #[test]
        fn the_next_opening_is_open_and_nothing_before_it_is(
            window in any_window(), now in any_time(), zone in proptest::sample::select(&ZONES[..]), part in 0.0..1.0_f64
        ) {
            let windows = [Window::parse(&window.0).unwrap()];
            let zone = Zone::parse(zone).unwrap();
            let next = opens(&windows, &zone, now).unwrap();
            prop_assert!(next >= now);
            prop_assert_eq!(opens(&windows, &zone, next), Some(next));
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any time between will do")]
            let between = now.as_second() + ((next.as_second() - now.as_second()) as f64 * part) as i64;
            let between = Timestamp::from_second(between).unwrap();
            if now < between && between < next {
                prop_assert_eq!(opens(&windows, &zone, between), Some(next));
            }
        }

        #[test]
        fn no_text_panics(text in "[a-z,]{0,12} ?[0-9:+-]{0,6} ?(to)? ?[0-9:]{0,6}|\\PC{0,20}") {
            let _ = Window::parse(&text);
            let _ = Zone::parse(&text);
        }
    }
}
