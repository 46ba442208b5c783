//! Which errors are the same error: their text without what varies, hashed.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use sha2::{Digest, Sha256};

/// How much of an error's first line is looked at, in bytes: errors are untrusted input.
const LINE_LIMIT: usize = 8 * 1024;

/// The fingerprint of an error: 16 hex digits, the same for errors that differ only in ids,
/// numbers, quoted strings, paths and URL queries.
///
/// The first 8 bytes of SHA-256 over `1\n` (the version of the rules), the kind (empty when there
/// is none), `\n` and the [normalised](normalise) error. `fingerprint_examples.tsv` defines it.
pub(crate) fn fingerprint(kind: Option<&str>, error: &str) -> String {
    let hash = Sha256::new()
        .chain_update("1\n")
        .chain_update(kind.unwrap_or_default())
        .chain_update("\n")
        .chain_update(normalise(error))
        .finalize();
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Fingerprints, of which the last is known: in an outage the same error comes again and again.
#[derive(Debug, Default)]
pub(crate) struct Fingerprints {
    kind: Option<String>,
    error: String,
    /// Empty before the first.
    last: String,
}

impl Fingerprints {
    /// As [`fingerprint`].
    pub(crate) fn of(&mut self, kind: Option<&str>, error: &str) -> String {
        if self.last.is_empty() || self.kind.as_deref() != kind || self.error != error {
            self.last = fingerprint(kind, error);
            self.kind = kind.map(str::to_owned);
            error.clone_into(&mut self.error);
        }
        self.last.clone()
    }
}

/// The first line of an error that is not blank, trimmed, cut at 8 KiB, with a placeholder for
/// each UUID, hex ≥ 8, number, quoted string, path and URL query, replaced in this order.
///
/// - Eight or more decimal digits alone are a number, not hex: a counter that gains its eighth
///   digit must not change the fingerprint.
/// - A unit of time belongs to its number, so `950ms` and `1.2s` are the same.
/// - The path of a URL is kept, it names the endpoint; what varies in it is mostly ids, and those
///   are gone by then.
pub(crate) fn normalise(error: &str) -> String {
    let line = error.trim_start().lines().next().unwrap_or_default();
    let line = clip(line, LINE_LIMIT).trim_end();
    let line = UUID.replace_all(line, "<uuid>");
    let line = WORD.replace_all(&line, |found: &Captures<'_>| hex_or_itself(&found[0]));
    let line = NUMBER.replace_all(&line, "<n>");
    let line = QUOTED.replace_all(&line, "<str>");
    let line = PATH.replace_all(&line, |found: &Captures<'_>| match found.name("path") {
        Some(_) => Cow::Borrowed("<path>"),
        None => Cow::Owned(found[0].to_owned()),
    });
    QUERY.replace_all(&line, "$before?<query>").into_owned()
}

/// The longest beginning of a text that fits into so many bytes.
pub(crate) fn clip(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn hex_or_itself(word: &str) -> String {
    let marked = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let digits = marked.unwrap_or(word);
    let is_hex = digits.len() >= 8
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (marked.is_some() || digits.bytes().any(|byte| byte.is_ascii_alphabetic()));
    if is_hex { "<hex>" } else { word }.to_owned()
}

#[expect(
    clippy::expect_used,
    reason = "the patterns are constants, and every test of this file compiles all of them"
)]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

static UUID: LazyLock<Regex> =
    LazyLock::new(|| pattern("(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));

/// `\b` would not do: it sees no boundary in `consumer_1a2b3c4d`.
static WORD: LazyLock<Regex> = LazyLock::new(|| pattern("[0-9A-Za-z]+"));

/// The repetition of durations is bounded: unbounded, `1s1s1s…x` would cost its square.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?x)
          0[xX][0-9a-fA-F]+
        | (?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|μs|ms|s|m|h|d)){1,4}\b
        | [0-9]+(?:\.[0-9]+)*(?:[eE][+-]?[0-9]+)?",
    )
});

/// A single quote opens only where no word goes on and closes only where none does, so that
/// `can't` and `workers'` are no quotes. The letter before is Python's (`b'…'`).
static QUOTED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x)
          (?:\b[bru])?"(?:[^"\\]|\\.)*"
        | (?:\b[bru]|\B)'(?:[^'\\]|\\.|'\b)*'\B
        | `[^`]*`
        | “[^”]*”"#,
    )
});

/// The first two alternatives are matched to be passed over: what follows the scheme of a URL,
/// and the slash after a placeholder (`3/5`, `40/s`).
static PATH: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?x)
          ://[^\s]*
        | <[a-z]+>/?
        | (?P<path>
            \B(?:~|\.{1,2})?(?:/(?:[\w.@%+~=\#$&*!-]|<(?:uuid|hex|n|str)>)+)+/?
          | \b[A-Za-z]:(?:[\\/]+(?:[\w.@%+~=\#$&*!-]|<(?:uuid|hex|n|str)>)+)+
          )",
    )
});

static QUERY: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?P<before>://[^\s?]*|<path>)\?(?:<[a-z]+>|[^\s"'`)<>])+"#));

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// kind, error, normalised, fingerprint; `\n` and `\\` in an error are escapes.
    const EXAMPLES: &str = include_str!("fingerprint_examples.tsv");

    #[test]
    fn the_last_one_is_that_of_its_kind_and_error_alone() {
        let mut fingerprints = Fingerprints::default();
        for (kind, error) in [
            (None, "lost"),
            (None, "lost"),
            (Some("io"), "lost"),
            (Some(""), "lost"),
            (Some(""), "found"),
            (None, "lost"),
        ] {
            assert_eq!(fingerprints.of(kind, error), fingerprint(kind, error));
        }
    }

    #[test]
    fn the_examples_define_it() {
        let mut count = 0;
        for row in EXAMPLES.lines().filter(|row| !row.starts_with('#')) {
            let columns: Vec<&str> = row.split('\t').collect();
            let [kind, error, normalised, expected] = columns[..] else {
                panic!("not four columns: {row}");
            };
            let error = error
                .replace(r"\\", "\u{0}")
                .replace(r"\n", "\n")
                .replace('\u{0}', r"\");
            assert_eq!(normalise(&error), normalised, "{error:?}");
            let kind = Some(kind).filter(|kind| !kind.is_empty());
            assert_eq!(fingerprint(kind, &error), expected, "{error:?}");
            count += 1;
        }
        assert!(count >= 30, "{count} examples");
    }

    #[test]
    fn the_kind_tells_errors_of_the_same_text_apart() {
        assert_ne!(fingerprint(None, "no"), fingerprint(Some("Timeout"), "no"));
        assert_eq!(fingerprint(None, "no"), fingerprint(Some(""), "no"));
    }

    #[test]
    fn only_the_beginning_of_a_long_line_counts() {
        let long = |end: &str| format!("{}{end}", "é".repeat(LINE_LIMIT / 2));
        assert_eq!(normalise(&long("a")), normalise(&long("b")));
        assert_eq!(clip("aé", 2), "a");
        assert_eq!(clip("aé", 3), "aé");
    }

    #[test]
    fn hostile_lines_cost_little() {
        let parts = [
            "1s", "1.", "1e", "a", "0x", "'", "\"", "\\", "`", "“", "/", "/a", "://", "<n>",
            "<n>/", "?", "://?", "<path>?a", "' '", "'a", "b'", "C:\\", "1d_", "1234567-", "a'b ",
            "~/", "../", "0.0.", "“'\"`",
        ];
        let start = Instant::now();
        for part in parts {
            let line = part.repeat(LINE_LIMIT.div_ceil(part.len()));
            for line in [line.clone(), format!("{line}x"), format!("x{line}!")] {
                normalise(&line);
                // For all lines together, for a debug build on a busy machine: a square costs
                // seconds for each.
                assert!(start.elapsed() < Duration::from_secs(120), "{part:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_digit_and_no_line_break_is_left(error in "\\PC*|[ -~\n]{0,80}") {
            let normalised = normalise(&error);
            prop_assert!(!normalised.contains(|c: char| c.is_ascii_digit() || c == '\n'));
            prop_assert_eq!(fingerprint(None, &error).len(), 16);
        }
    }
}
