//! A selection as one could type it.

use std::fmt::{self, Display};

use super::{Order, Selection};
use crate::calendar::instant;

impl Display for Selection {
    /// The flags of the command line that select the same, quoted for a shell where they have to be:
    /// `--reason rejected --where 'data.name="a b"'`; `--all` where nothing is asked. Times are
    /// instants, whatever they were counted from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filters = &self.filters;
        let mut flags = Flags { f, any: false };
        flags.each("id", self.ids.iter().flatten())?;
        if self
            .ids
            .as_ref()
            .is_some_and(std::collections::BTreeSet::is_empty)
        {
            flags.word("--id", "none")?;
        }
        flags.each("reason", filters.reasons.iter().map(|one| one.as_str()))?;
        flags.each("stream", &filters.streams)?;
        flags.each("group", &filters.groups)?;
        flags.each("consumer", &filters.consumers)?;
        flags.each("error", &filters.errors)?;
        flags.each("error-regex", &filters.error_patterns)?;
        flags.each("error-kind", &filters.error_kinds)?;
        flags.each("fingerprint", &filters.fingerprints)?;
        let time = |ms: u64| instant(ms).unwrap_or_else(|| ms.to_string());
        flags.each("since", filters.since_ms.map(time))?;
        flags.each("before", filters.before_ms.map(time))?;
        flags.each("attempts", &filters.attempts)?;
        flags.each("replays", &filters.replays)?;
        flags.each("where", &filters.fields)?;
        if !flags.any {
            flags.f.write_str("--all")?;
            flags.any = true;
        }
        flags.each("limit", self.limit)?;
        match self.order {
            Order::Oldest => Ok(()),
            Order::Newest => flags.f.write_str(" --newest"),
        }
    }
}

struct Flags<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    any: bool,
}

impl Flags<'_, '_> {
    fn each(&mut self, name: &str, values: impl IntoIterator<Item: Display>) -> fmt::Result {
        let flag = format!("--{name}");
        let mut values = values.into_iter();
        values.try_for_each(|value| self.word(&flag, &value.to_string()))
    }

    fn word(&mut self, flag: &str, value: &str) -> fmt::Result {
        let before = if self.any { " " } else { "" };
        self.any = true;
        write!(self.f, "{before}{flag} {}", quoted(value))
    }
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::Reason;

    #[test]
    fn a_selection_is_shown_as_the_flags_that_make_it() {
        assert_eq!(Selection::all().to_string(), "--all");
        let newest = Selection::all().limit(3).order(Order::Newest);
        assert_eq!(newest.to_string(), "--all --limit 3 --newest");
        let two = Selection::ids(["1712-0".parse().unwrap(), "1711-0".parse().unwrap()]);
        assert_eq!(two.to_string(), "--id 1711-0 --id 1712-0");
        let much = Selection::all()
            .reason(Reason::Rejected)
            .stream("orders".parse().unwrap())
            .error("it's 5 > 3".parse().unwrap())
            .since_ms(1_795_324_222_249)
            .attempts(">=3".parse().unwrap())
            .field("data.id=7".parse().unwrap());
        assert_eq!(
            much.to_string(),
            r"--reason rejected --stream orders --error 'it'\''s 5 > 3' --since 2026-11-22T05:10:22.249Z --attempts '>=3' --where data.id=7"
        );
    }
}
