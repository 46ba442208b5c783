//! Instants and spans, as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::output::json::instant;

/// Now, in Unix ms, by this machine's clock: for showing only.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A span in its largest unit, cut: `250ms`, `3s`, `7m`, `2h`, `5d`.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}s", ms / 1_000),
        60_000..3_600_000 => format!("{}m", ms / 60_000),
        3_600_000..86_400_000 => format!("{}h", ms / 3_600_000),
        _ => format!("{}d", ms / 86_400_000),
    }
}

/// How long ago an instant was. Clocks differ: what lies ahead is `0ms`.
pub(crate) fn ago(ms: u64) -> String {
    span(now_ms().saturating_sub(ms))
}

/// An instant, and how long ago it was.
pub(crate) fn dated(ms: u64) -> String {
    match instant(ms) {
        Some(instant) => format!("{instant} ({} ago)", ago(ms)),
        None => format!("{ms} ms after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_largest_unit() {
        let told = [0, 999, 1_000, 61_000, 7_199_999, 86_400_000 * 3].map(span);
        assert_eq!(told, ["0ms", "999ms", "1s", "1m", "1h", "3d"]);
        assert_eq!(ago(u64::MAX), "0ms");
    }
}
