//! Help, versions and mistakes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{command, ended, redrive};

#[test]
fn the_version_is_told() {
    let ended = redrive(&["--version"]);
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.stdout,
        concat!("redrive ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn help_tells_the_commands() {
    insta::assert_snapshot!("help", redrive(&["--help"]).stdout);
    insta::assert_snapshot!("help-demo", redrive(&["demo", "--help"]).stdout);
}

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_two_examples() {
    let mut left = vec![Vec::new()];
    let mut seen = 0;
    while let Some(names) = left.pop() {
        let mut args: Vec<&str> = names.iter().map(String::as_str).collect();
        args.push("--help");
        let help = redrive(&args).succeeded().stdout;
        let inside = listed(&help);
        if inside.is_empty() {
            seen += 1;
            let (_, examples) = help
                .split_once("Examples:\n")
                .unwrap_or_else(|| panic!("{names:?} has no examples:\n{help}"));
            let begins = format!("  redrive {}", names.join(" "));
            let examples = examples
                .lines()
                .filter(|line| line.starts_with("  redrive "));
            let (own, others): (Vec<_>, Vec<_>) =
                examples.partition(|line| line.starts_with(&begins));
            assert!(own.len() >= 2, "{names:?}: {own:?} {others:?}");
        }
        for name in inside {
            left.push([&names[..], &[name]].concat());
        }
    }
    assert!(seen >= 5, "{seen} commands: this walk walks nowhere");
}

#[test]
fn mistakes_are_told_with_a_way_out() {
    let said = |args: &[&str]| redrive(args).failed(2);
    said(&["dmo"]).says("unknown command \"dmo\"\nhint: did you mean demo?\n");
    said(&["confg", "show"]).says("did you mean config?");
    said(&["demo", "--incident-report"]).says("unknown argument \"--incident-report\"");
    said(&["config", "show", "--outptu", "json"]).says("did you mean --output?");
    said(&["completions"]).says("missing: <SHELL>\nhint: see `redrive completions --help`");
    said(&["-o", "xml", "demo"]).says("cannot be \"xml\": it is one of table, json, jsonl");
    said(&["demo", "--url"]).says("a value is missing for --url <URL>");
    said(&["demo", "now"]).says("\"now\"");
    said(&["--url", "a", "--url", "b", "demo"]).says("more than once");
    for args in [&[][..], &["config"]] {
        let ended = said(args).says("error: a command is missing");
        assert!(ended.stdout.is_empty());
        assert!(ended.stderr.contains("Usage: "), "{}", ended.stderr);
    }
    said(&["send", "s"]).says("missing: ");
    said(&["send", "", "-"]).says("<STREAM>");
}

#[test]
fn what_is_hidden_is_neither_listed_nor_suggested() {
    for args in [
        &["--help"][..],
        &["demo-worke"],
        &["dmo"],
        &["demo_worker"],
        &["referenc"],
    ] {
        let ended = redrive(args);
        for text in [&ended.stdout, &ended.stderr] {
            assert!(!text.contains("demo-worker"), "{args:?} {text}");
            assert!(!text.contains("reference"), "{args:?} {text}");
        }
    }
}

#[test]
fn what_was_typed_steers_no_terminal() {
    for word in [
        &b"\x1b[31mred"[..],
        b"demo\x1b]0;title\x07",
        b"--\x1b[2J",
        b"x\n\nhint: run `rm`",
        b"\xff\xfe",
        b"--output=\xff",
        "\u{202e}txt".as_bytes(),
    ] {
        let ended = ended(&mut command(&[OsStr::from_bytes(word), OsStr::new("demo")])).failed(2);
        let lines: Vec<&str> = ended.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{:?}", ended.stderr);
        assert!(!ended.stderr.contains(['\u{1b}', '\u{7}', '\u{202e}']));
    }
    // What is no text is taken where bytes are taken, and is a mistake elsewhere.
    let config = OsStr::from_bytes(b"--config=/nowhere/\xff");
    let ended = ended(&mut command(&[config, OsStr::new("demo")])).failed(2);
    assert!(ended.stderr.contains("/nowhere/"), "{}", ended.stderr);
}

/// Some commands said only that a name was invalid while it was read, others how it is written.
#[test]
fn a_wrong_name_or_id_is_told_how_it_is_written_by_every_command() {
    for (line, why) in [
        (
            &["run", "", "-g", "g", "--", "true"][..],
            "a stream needs a name",
        ),
        (
            &["run", "s", "-g", "", "--", "true"],
            "a group needs a name",
        ),
        (
            &["run", "s", "-g", "g", "--start", "x", "--", "true"],
            "such as 1712-0",
        ),
        (&["send", "", "-f", "a=1"], "a stream needs a name"),
        (&["stats", ""], "a stream needs a name"),
        (&["pending", "list", "s", "-g", ""], "a group needs a name"),
        (&["dlq", "list", "--dlq", ""], "a stream needs a name"),
        (&["dlq", "show", "12x", "s"], "such as 1712-0"),
        (
            &["dlq", "replay", "s", "--id", "1-1", "--target", ""],
            "a stream needs a name",
        ),
        (
            &["dlq", "purge", "s", "--reason", "x"],
            "the reasons are attempts_exhausted",
        ),
    ] {
        redrive(line).failed(2).says(why);
    }
}
