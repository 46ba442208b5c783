//! Fuzz of the configuration file: any text, and right files with something wrong in them.

use std::ffi::OsString;
use std::path::Path;

use clap::CommandFactory;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use redrive_testkit::fuzz_bytes;

use super::*;

/// A key as the file has it: the commands it stands under, and its name.
type Key = (Vec<String>, String);

fn all_keys(command: &Command, names: &[String], found: &mut Vec<Key>) {
    let own = keys(command, names.is_empty());
    found.extend(own.map(|(key, _)| (names.to_vec(), key)));
    for inside in visible(command) {
        let names = [names, &[inside.get_name().to_owned()]].concat();
        all_keys(inside, &names, found);
    }
}

fn values() -> impl Strategy<Value = String> {
    let usual = [
        "true",
        "false",
        "1",
        "0",
        "-1",
        "5000",
        "1_0",
        "0x1F",
        "1.5",
        "1e9",
        "inf",
        "''",
        "'x'",
        "'1s..5m'",
        "'none'",
        "'30s'",
        "'8MiB'",
        "'json'",
        "'native'",
        "'drop-oldest'",
        "'0-0'",
        "'redis://localhost'",
        "'''\nx'''",
        "\"\\u0000\"",
        "\"a\\nb\"",
        "[]",
        "['a', 'b']",
        "['a', 1]",
        "[[]]",
        "{}",
        "{n = 1}",
        "1979-05-27",
        "'--yes'",
        "'-'",
        "'='",
    ];
    prop_oneof![
        4 => select(usual.to_vec()).prop_map(str::to_owned),
        1 => "'[^'\\n]{0,12}'",
    ]
}

/// A right file but for its values: each command's keys under its name.
fn files(known: Vec<Key>) -> impl Strategy<Value = String> {
    vec((select(known), values()), 0..6).prop_map(|mut set| {
        set.sort();
        set.dedup_by(|later, first| later.0 == first.0);
        let mut text = String::new();
        let mut under: &[String] = &[];
        for ((names, key), value) in &set {
            if names != under {
                text.push_str(&format!("[{}]\n", names.join(".")));
                under = names;
            }
            text.push_str(&format!("{key} = {value}\n"));
        }
        text
    })
}

/// A file with something else in a few places.
fn harmed(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        select(vec![
            "",
            "\n",
            "=",
            "[",
            "]",
            "[[",
            ".",
            ",",
            "'",
            "\"",
            "\"\"\"",
            "#",
            "{",
            "}",
            "\u{feff}",
            "\0",
            "é",
            "\u{1b}",
            "yes = true",
            "_",
            "-",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    (text, vec((any::<Index>(), piece, 0..3_usize), 0..3)).prop_map(|(text, harms)| {
        let mut signs: Vec<char> = text.chars().collect();
        for (place, piece, gone) in harms {
            let from = place.index(signs.len() + 1);
            let to = (from + gone).min(signs.len());
            signs.splice(from..to, piece.chars());
        }
        signs.into_iter().collect()
    })
}

/// Whatever is in the file: it is taken, and then a command line over it is, or it is refused with
/// the line that is wrong and a cure. What it sets are arguments that there are.
#[test]
fn fuzz_of_config_panics_0() {
    let root = crate::Cli::command();
    let mut known = Vec::new();
    all_keys(&root, &[], &mut known);
    let texts = prop_oneof![1 => "[ -~\\n]{0,60}", 4 => harmed(files(known.clone()))];
    let read = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    fuzz_bytes("the configuration file", &texts, read, |text| {
        let settings = match file::read(&root, Path::new("f"), &text) {
            Ok(settings) => settings,
            Err(failure) => {
                let (told, hint) = failure.texts();
                prop_assert!(hint.is_some());
                let line = told
                    .strip_prefix("f:")
                    .and_then(|rest| rest.split(':').next());
                let line = line.and_then(|line| line.parse::<usize>().ok());
                let last = text.matches('\n').count() + 1;
                prop_assert!(
                    line.is_some_and(|line| (1..=last).contains(&line)),
                    "{}",
                    told
                );
                return Ok(());
            }
        };
        let mut command = root.clone();
        for setting in settings {
            prop_assert!(setting.line <= text.lines().count());
            let under = setting.command.iter().try_fold(&command, |inside, name| {
                visible(inside).find(|known| known.get_name() == name)
            });
            let is_there = under.is_some_and(|inside| {
                inside
                    .get_arguments()
                    .any(|known| *known.get_id() == setting.argument)
            });
            prop_assert!(is_there, "{:?} is no argument", setting);
            command = with_default(
                command,
                &setting.command,
                &setting.argument,
                &setting.values,
            );
        }
        let line = ["redrive", "config", "show"].map(OsString::from);
        if let Err(failure) = matches(command, &line) {
            let told = failure.map(|failure| failure.texts().0.to_owned());
            return Err(TestCaseError::fail(format!(
                "a file that was taken is refused: {told:?}"
            )));
        }
        Ok(())
    });
}
