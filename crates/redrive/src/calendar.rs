//! Days and instants by the calendar.

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Year, month and day of a day since 1970-01-01, proleptic Gregorian: counted in eras of 400 years
/// that begin in March, so that the leap day comes last.
pub(crate) fn civil(day: u64) -> (u64, u64, u64) {
    let since_march = day + 719_468;
    let era = since_march / 146_097;
    let day_of_era = since_march % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, date)
}

/// An instant in Unix ms as RFC 3339, UTC, with milliseconds; `None` beyond the year 9999, which has
/// no such form.
pub(crate) fn instant(ms: u64) -> Option<String> {
    let (year, month, date) = civil(ms / DAY_MS);
    let rest = ms % DAY_MS;
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, part) = (rest / 1_000 % 60, rest % 1_000);
    (year <= 9_999).then(|| {
        format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{part:03}Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_named_by_the_calendar() {
        for (day, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (19_723, (2024, 1, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(day), date, "day {day}");
        }
    }

    #[test]
    fn an_instant_is_rfc_3339_in_utc_with_milliseconds() {
        for (ms, text) in [
            (0, Some("1970-01-01T00:00:00.000Z")),
            (1_795_324_222_249, Some("2026-11-22T05:10:22.249Z")),
            (253_402_300_799_999, Some("9999-12-31T23:59:59.999Z")),
            (253_402_300_800_000, None),
            (u64::MAX, None),
        ] {
            assert_eq!(instant(ms).as_deref(), text, "{ms}");
        }
    }
}
