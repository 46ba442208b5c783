//! Which connections are from before something broke: where one of a consumer's connections broke, the
//! others are not believed either.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the connections of one consumer share: it changes whenever one of them breaks, and a connection
/// from before is made anew before it is used again. Otherwise each would find out by an error of its own,
/// long after the outage was over, and each time it would look like another one.
#[derive(Clone, Debug, Default)]
pub(super) struct Era(Arc<AtomicU64>);

/// When a connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since(u64);

impl Era {
    pub(super) fn now(&self) -> Since {
        Since(self.0.load(Ordering::Acquire))
    }

    /// Whether nothing has broken since.
    pub(super) fn lasts(&self, since: Since) -> bool {
        self.now() == since
    }

    /// A connection from then broke. Several that break together end one era.
    pub(super) fn end(&self, since: Since) {
        let next = since.0.wrapping_add(1);
        // Where it fails another one was faster.
        let _ = self
            .0
            .compare_exchange(since.0, next, Ordering::AcqRel, Ordering::Acquire);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_break_together_end_one_era() {
        let era = Era::default();
        let (first, other) = (era.now(), era.clone());
        era.end(first);
        assert!(!other.lasts(first));
        let second = other.now();
        other.end(first);
        assert!(era.lasts(second));
    }
}
