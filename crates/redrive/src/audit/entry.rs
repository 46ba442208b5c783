//! What is written of an operation: one entry when it begins, one when it has ended.

use super::{Audit, AuditAction, AuditOutcome};
use crate::message::Fields;

/// How much of a selection is kept, in bytes: ids by the thousand are no news.
const LONGEST_SELECTION: usize = 2_048;

/// A text up to its bound, in whole characters, with a sign where it goes on.
pub(crate) fn cut(text: &str) -> String {
    if text.len() <= LONGEST_SELECTION {
        return text.to_owned();
    }
    let mut end = LONGEST_SELECTION;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} …", text.get(..end).unwrap_or_default().trim_end())
}

/// What both entries say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) op: &'a str,
    pub(crate) what: AuditAction,
    pub(crate) audit: &'a Audit,
    pub(crate) selection: Option<&'a str>,
    pub(crate) campaign: Option<&'a str>,
}

impl Head<'_> {
    fn pairs(&self, state: &'static str) -> Vec<(&'static str, String)> {
        let said = [
            ("op", Some(self.op)),
            ("what", Some(self.what.as_str())),
            ("state", Some(state)),
            ("who", self.audit.who()),
            ("because", self.audit.reason()),
            ("selection", self.selection),
            ("campaign", self.campaign),
        ];
        let said = said.into_iter();
        said.filter_map(|(name, text)| Some((name, text?.to_owned())))
            .collect()
    }
}

/// The entry of an operation that is about to change something.
pub(crate) fn began(head: &Head<'_>) -> Fields {
    Fields::from_iter(head.pairs("began"))
}

/// The entry of one that has ended.
pub(crate) fn ended(
    head: &Head<'_>,
    outcome: AuditOutcome,
    counts: &[(&'static str, u64)],
) -> Fields {
    let mut pairs = head.pairs("ended");
    pairs.push(("outcome", outcome.as_str().to_owned()));
    let counts = counts.iter();
    pairs.extend(counts.map(|(name, count)| (*name, count.to_string())));
    Fields::from_iter(pairs)
}
