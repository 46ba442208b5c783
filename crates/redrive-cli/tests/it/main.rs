//! The binary, as a stranger meets it.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod demo;
mod operate;
mod run;
mod usage;

use std::process::{Command, Stdio};

/// What the binary said and how it ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn redrive(args: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_redrive"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
