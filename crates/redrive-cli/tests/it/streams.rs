//! Stdout that is closed or full, and what goes to stderr.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{command, redrive};

/// What prints something, one of each kind.
const PRINTING: [&[&str]; 6] = [
    &["--help"],
    &["config", "show"],
    &["config", "show", "-o", "json"],
    &["config", "show", "-o", "jsonl"],
    &["completions", "zsh"],
    &["man"],
];

#[test]
fn nobody_reading_is_no_failure() {
    for args in PRINTING {
        let mut child = command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
    }
    let mut child = command(&["completions", "zsh"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut first).unwrap();
    assert_eq!(first, "#compdef redrive\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error() {
    for args in PRINTING {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = command(args);
        let output = command.stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?} {stderr}");
        assert!(
            stderr.contains("error: writing to stdout: "),
            "{args:?} {stderr}"
        );
    }
}

#[test]
fn quiet_says_nothing_and_verbose_says_more() {
    let told = |args: &[&str]| redrive(args).succeeded().stderr;
    assert_eq!(told(&["demo", "-q"]), "");
    assert_eq!(told(&["demo", "-q", "-v"]), "");
    let more = told(&["demo", "-v"]);
    assert!(
        more.contains("INFO") && more.contains("processor started"),
        "{more}"
    );
    assert!(!more.contains('\u{1b}'), "no colours where no terminal is");
}
