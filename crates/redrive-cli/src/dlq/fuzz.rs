//! Fuzz of the flags that select dead letters.

use clap::{Command, FromArgMatches};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use redrive_testkit::{fuzz_bytes, pieces};

use super::*;
use crate::configuration::usage;

const FLAGS: [&str; 25] = [
    "--id",
    "--reason",
    "--stream",
    "--group",
    "--limit",
    "--error",
    "--error-regex",
    "--error-kind",
    "--fingerprint",
    "--consumer",
    "--since",
    "--before",
    "--attempts",
    "--replays",
    "--where",
    "--oldest",
    "--newest",
    "--all",
    "--id=",
    "--limit=",
    "--",
    "-",
    "--i",
    "--resaon",
    "--error=",
];

fn asks_for_help(word: &str) -> bool {
    word.starts_with("-h") || word.starts_with("--h")
}

/// Words as bytes have them; one byte may stand for a flag.
fn words_of(bytes: &[u8]) -> Option<Vec<String>> {
    let word = |piece: Vec<u8>| match piece[..] {
        [number] if usize::from(number) < FLAGS.len() => Some(FLAGS[usize::from(number)].into()),
        _ => String::from_utf8(piece).ok(),
    };
    let words: Option<Vec<String>> = pieces(bytes).into_iter().map(word).collect();
    words.filter(|words| !words.iter().any(|word| asks_for_help(word)))
}

fn words() -> impl Strategy<Value = Vec<String>> {
    let values = [
        "1712-0",
        "1712",
        "1712-",
        "-1",
        "18446744073709551615-18446744073709551615",
        "18446744073709551616-0",
        "+1-0",
        "٣-0",
        "rejected",
        "trimmed",
        "Rejected",
        "orders",
        "",
        "0",
        "1",
        "99999999999999999999999",
        "a\nb",
        "\u{1b}[2J",
        "\u{202e}",
        "(a+)+$",
        "a(b",
        "0123",
        "0123456789abcdef",
        "2h",
        "2026-11-22T05:10:22.404Z",
        "2026-11-22",
        "1969-12-31T23:59:59-00:01",
        ">=3",
        "<0",
        "data.a.0=1",
        "\"a.b\".c={\"d\":null}",
        "a..b=1",
        "a==1",
        " =",
    ];
    let word = prop_oneof![
        4 => select(FLAGS.to_vec()).prop_map(str::to_owned),
        4 => select(values.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,6}".prop_filter("asks for help", |word| !asks_for_help(word)),
    ];
    // What often goes together.
    let pair = (select(FLAGS[..15].to_vec()), select(values.to_vec()));
    let pair = pair.prop_map(|(flag, value)| vec![flag.to_owned(), value.to_owned()]);
    let some = prop_oneof![1 => word.prop_map(|word| vec![word]), 3 => pair];
    vec(some, 0..5).prop_map(|parts| parts.concat())
}

/// Whatever is typed behind a command that selects: it is read, and means what it means when it is
/// written again from what was read; or it is refused in one line with a cure.
#[test]
fn fuzz_of_selection_flags_panics_0() {
    let command = Select::augment_args(Command::new("redrive").disable_help_flag(true));
    let read = |words: &[String]| {
        let line = std::iter::once("redrive").chain(words.iter().map(String::as_str));
        let mut matches = command.clone().try_get_matches_from(line)?;
        Select::from_arg_matches_mut(&mut matches)
    };
    fuzz_bytes("selection flags", &words(), words_of, |words| {
        let select = match read(&words) {
            Ok(select) => select,
            Err(error) => {
                let Some(failure) = usage::failure(&error) else {
                    return Err(TestCaseError::fail("help that nobody asked for"));
                };
                let (told, hint) = failure.texts();
                prop_assert!(
                    hint.is_some() && !told.contains(['\n', '\u{1b}']),
                    "{}",
                    told
                );
                return Ok(());
            }
        };
        prop_assert!(select.limit != Some(0));
        prop_assert!(!(select.oldest && select.newest));
        prop_assert!(!select.all || select.id.is_empty());
        let again = read(&written(&select));
        let again = again.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(format!("{again:?}"), format!("{select:?}"));
        Ok(())
    });
}

/// The flags that say what this says.
fn written(select: &Select) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |flag: &str, value: &str| words.push(format!("--{flag}={value}"));
    select.id.iter().for_each(|id| say("id", &id.to_string()));
    select
        .reason
        .iter()
        .for_each(|reason| say("reason", reason.as_str()));
    select
        .from_stream
        .iter()
        .for_each(|stream| say("stream", stream.as_str()));
    select
        .group
        .iter()
        .for_each(|group| say("group", group.as_str()));
    say_all("error", &select.error, &mut say);
    say_all("error-regex", &select.error_regex, &mut say);
    say_all("error-kind", &select.error_kind, &mut say);
    say_all("fingerprint", &select.fingerprint, &mut say);
    say_all("consumer", &select.consumer, &mut say);
    say_all("since", &select.since, &mut say);
    say_all("before", &select.before, &mut say);
    say_all("attempts", &select.attempts, &mut say);
    say_all("replays", &select.replays, &mut say);
    say_all("where", &select.field, &mut say);
    select
        .limit
        .iter()
        .for_each(|limit| say("limit", &limit.to_string()));
    for (flag, given) in [
        ("oldest", select.oldest),
        ("newest", select.newest),
        ("all", select.all),
    ] {
        if given {
            words.push(format!("--{flag}"));
        }
    }
    words
}

fn say_all<T: std::fmt::Display>(flag: &str, values: &[T], say: &mut impl FnMut(&str, &str)) {
    for value in values {
        say(flag, &value.to_string());
    }
}
