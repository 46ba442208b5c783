//! The server's clock beside this machine's: whether it jumped, as it may when another server takes over.

use std::time::Duration;

use tokio::time::Instant;

/// The server's clock, in ms, and when it was read.
pub(super) type Reading = (u64, Instant);

/// Where the server's clock is, seen from where it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Jump {
    Ahead(Duration),
    Behind(Duration),
}

/// How far the server's clock went more, or less, than this machine's between two readings; `None`
/// up to this much, which is what an answer may have waited on its way.
pub(super) fn jump(before: Reading, now: Reading, beyond: Duration) -> Option<Jump> {
    let passed = now.1.saturating_duration_since(before.1);
    let expected = Duration::from_millis(before.0).saturating_add(passed);
    let read = Duration::from_millis(now.0);
    let (ahead, behind) = (read.saturating_sub(expected), expected.saturating_sub(read));
    if ahead > beyond {
        Some(Jump::Ahead(ahead))
    } else if behind > beyond {
        Some(Jump::Behind(behind))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_is_told_from_answers_that_wait() {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let at = |server, here| (server * 1000, start + seconds(here));
        let of = |before, now| jump(before, now, seconds(30));
        assert_eq!(of(at(1000, 0), at(1060, 60)), None);
        assert_eq!(of(at(1000, 0), at(1030, 0)), None);
        assert_eq!(of(at(1000, 0), at(1000, 30)), None);
        let ten_minutes = seconds(600);
        let ahead = of(at(1000, 0), at(1660, 60));
        assert_eq!(ahead, Some(Jump::Ahead(ten_minutes)));
        let behind = of(at(1000, 0), at(460, 60));
        assert_eq!(behind, Some(Jump::Behind(ten_minutes)));
        assert!(of(at(0, 0), at(u64::MAX / 1000, 0)).is_some());
    }
}
