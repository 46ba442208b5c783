//! What is asked of a dead letter besides its id.

use super::count::CountFilter;
use super::error_text::{ErrorRegex, ErrorText, FingerprintPrefix};
use super::field::{FieldFilter, Forms};
use crate::dead_letter::{DeadLetter, DeadLetterLayout, Reason};
use crate::names::{ConsumerName, GroupName, StreamKey};

/// All kinds of filter. An empty list asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filters {
    pub(super) reasons: Vec<Reason>,
    pub(super) streams: Vec<StreamKey>,
    pub(super) groups: Vec<GroupName>,
    pub(super) consumers: Vec<ConsumerName>,
    pub(super) error_kinds: Vec<String>,
    pub(super) fingerprints: Vec<FingerprintPrefix>,
    pub(super) since_ms: Option<u64>,
    pub(super) before_ms: Option<u64>,
    pub(super) attempts: Vec<CountFilter>,
    pub(super) replays: Vec<CountFilter>,
    pub(super) errors: Vec<ErrorText>,
    pub(super) error_patterns: Vec<ErrorRegex>,
    pub(super) fields: Vec<FieldFilter>,
}

impl Filters {
    /// The cheap ones first: of what they leave out nothing is searched, and nothing decoded.
    pub(super) fn pass(&self, letter: &DeadLetter) -> bool {
        let died_ms = letter.dead_at_ms.unwrap_or(letter.id.millis());
        // The other layouts have no place for it.
        let replays =
            (letter.layout == DeadLetterLayout::Native).then_some(u64::from(letter.replays));
        let error = letter.error.as_deref();
        one_of(&self.reasons, letter.reason.as_ref(), |wanted, found| {
            wanted == found
        }) && one_of(&self.streams, letter.stream.as_ref(), |wanted, found| {
            wanted == found
        }) && one_of(&self.groups, letter.group.as_ref(), |wanted, found| {
            wanted == found
        }) && self.since_ms.is_none_or(|since_ms| died_ms >= since_ms)
            && self.before_ms.is_none_or(|before_ms| died_ms < before_ms)
            && one_of(&self.attempts, letter.attempts, |wanted, found| {
                wanted.matches(found)
            })
            && one_of(&self.replays, replays, |wanted, found| {
                wanted.matches(found)
            })
            && one_of(
                &self.consumers,
                letter.consumer.as_deref(),
                |wanted, found| wanted.as_str() == found,
            )
            && one_of(
                &self.error_kinds,
                letter.error_kind.as_deref(),
                |wanted, found| wanted == found,
            )
            && one_of(
                &self.fingerprints,
                Some(&letter.fingerprint),
                |wanted, found| wanted.matches(found),
            )
            && one_of(&self.errors, error, ErrorText::matches)
            && one_of(&self.error_patterns, error, ErrorRegex::matches)
            && self.pass_fields(letter)
    }

    fn pass_fields(&self, letter: &DeadLetter) -> bool {
        let mut forms = Forms::default();
        let mut matches = |wanted: &FieldFilter| wanted.matches_in(letter, &mut forms);
        self.fields.is_empty() || self.fields.iter().any(&mut matches)
    }
}

/// Whether nothing is asked, or what was found is among it. What a dead letter does not say is not.
fn one_of<T, F: Copy>(wanted: &[T], found: Option<F>, is: impl Fn(&T, F) -> bool) -> bool {
    wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|wanted| is(wanted, found)))
}
