//! The binary, as a stranger meets it.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod bench;
mod completions;
mod configuration;
mod demo;
mod operate;
mod pages;
mod reference;
mod run;
mod send;
mod sentinel;
mod streams;
mod usage;

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

/// What the binary said and how it ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// Fails unless it ended like this, with an error and a hint and no panic.
    #[track_caller]
    fn failed(self, code: i32) -> Self {
        let Self { stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "{stderr}");
        let error = stderr.lines().find(|line| line.starts_with("error: "));
        assert!(error.is_some(), "{stderr}");
        assert!(stderr.contains("\nhint: "), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        self
    }

    #[track_caller]
    fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    #[track_caller]
    fn says(self, what: &str) -> Self {
        assert!(
            self.stderr.contains(what),
            "not said: {what}\n{}",
            self.stderr
        );
        self
    }
}

/// The binary, with nothing of the environment of whoever runs the tests.
fn command(args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
    command.args(args).stdin(Stdio::null()).env_clear();
    command
}

fn redrive(args: &[&str]) -> Ended {
    ended(&mut command(args))
}

fn ended(command: &mut Command) -> Ended {
    fed(command, Vec::new())
}

/// Runs it with this on stdin.
fn fed(command: &mut Command, stdin: Vec<u8>) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    // It may end without having read all of it.
    let feeding = std::thread::spawn(move || to.write_all(&stdin));
    let output = child.wait_with_output().unwrap();
    let _ = feeding.join().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
