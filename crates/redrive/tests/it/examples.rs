//! The examples, run as they are.

use std::path::PathBuf;
use std::process::Command;

/// Built together with the tests, beside them.
fn example(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let target = here.ancestors().nth(2).unwrap();
    target.join("examples").join(name)
}

#[track_caller]
fn run(name: &str) -> String {
    let output = Command::new(example(name)).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_examples_do_what_they_say() {
    assert_eq!(run("service"), "19 succeeded, 4 retried, 1 dead letters\n");
    assert_eq!(run("state"), "123 by a struct\n246 by both\n");
    let said = run("dead_letters");
    assert!(said.starts_with("2 shipped\n"), "{said}");
    assert!(
        said.ends_with("2 replayed, 1 shipped\n2 purged\n"),
        "{said}"
    );
}
