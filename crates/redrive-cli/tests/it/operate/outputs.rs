//! Where the answer goes: a pipe that is closed, a device that is full.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::rig::{Rig, ended};

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let rig = Rig::start().await;
    for n in 1..=2_000 {
        let id = format!("{n}-0");
        let _: String = rig
            .ask(&["XADD", "orders:dlq", &id, "n", &"x".repeat(200)])
            .await;
    }
    for form in ["table", "json", "jsonl"] {
        let line = ["dlq", "list", "orders", "--all", "-o", form];
        let mut command = rig.command(&line);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).await.unwrap();
        assert!(!first.is_empty());
        drop(stdout);
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{form}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !said.contains("error") && !said.contains("panicked"),
            "{form}: {said}"
        );
    }
}

/// Where nothing more can be written.
fn full() -> Stdio {
    if let Ok(device) = File::options().write(true).open("/dev/full") {
        return device.into();
    }
    // Not every system has it: a socket that nobody reads from.
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while ours.write(&[0; 4_096]).is_ok() {}
    std::mem::forget(theirs);
    OwnedFd::from(ours).into()
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    for line in [
        &["dlq", "list", "orders"][..],
        &["dlq", "list", "orders", "-o", "json"],
        &[
            "dlq",
            "show",
            &rig.entries("orders:dlq").await[0].0,
            "orders",
        ],
        &["stats"],
        &["stats", "-o", "json"],
        &["pending", "list", "orders", "-g", "billing", "-o", "json"],
        &["dlq", "replay", "orders", "--all", "--dry-run"],
        &["dlq", "replay", "orders", "--all", "--limit", "1", "--yes"],
        &["dlq", "purge", "orders", "--all", "--limit", "1", "--yes"],
    ] {
        let mut command = rig.command(line);
        command.stdout(full()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let output = child.wait_with_output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line:?}: {said}");
        assert!(
            said.contains("error: writing to stdout: "),
            "{line:?}: {said}"
        );
        assert!(
            said.contains("\nhint: what was done is done"),
            "{line:?}: {said}"
        );
    }
    // Done it was.
    assert_eq!(
        (rig.length("orders:dlq").await, rig.length("orders").await),
        (1, 4)
    );
    let after = ended(&mut rig.command(&["dlq", "list", "orders"])).await;
    assert_eq!(after.code, Some(0), "{}", after.stderr);
}

/// `dlq import -q` printed its report, as did all others, though `-q` is to say nothing but errors.
#[tokio::test]
async fn quiet_commands_say_nothing_of_what_they_did_but_what_they_did_not() {
    let rig = Rig::start().await;
    rig.reject(8).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, again, one) = (path("all.jsonl"), path("again.jsonl"), path("one.json"));
    let told = rig.json(&["dlq", "list", "orders", "--oldest"]).await;
    let ids: Vec<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    for line in [
        &["dlq", "export", "orders", "--to", &file][..],
        &["dlq", "pull", ids[0], "orders", "--to", &one],
        &["dlq", "replay", "orders", "--id", ids[0]],
        &["dlq", "replay", "orders", "--limit", "2", "--all", "--yes"],
        &["dlq", "purge", "orders", "--id", ids[3]],
        &["dlq", "purge", "orders", "--all", "--yes"],
        &["dlq", "import", &file, "--yes", "--again", "x"],
        &["trim", "orders", "--yes"],
    ] {
        let ended = rig.redrive(&[line, &["-q"]].concat()).await;
        assert_eq!(
            (ended.code, &*ended.stdout, &*ended.stderr),
            (Some(0), "", ""),
            "{line:?}"
        );
    }
    assert_eq!(rig.length("orders:dlq").await, 8);

    // A program that asks for the report gets it, and what only looks answers.
    let report = rig
        .json(&["dlq", "export", "orders", "--to", &again, "-q"])
        .await;
    assert_eq!(report["dead_letters"], 8);
    for line in [
        &["dlq", "list", "orders", "-q"][..],
        &["dlq", "groups", "orders", "-q"],
        &["dlq", "replay", "orders", "--all", "--dry-run", "-q"],
        &["dlq", "purge", "orders", "--all", "--dry-run", "-q"],
        &["dlq", "import", &file, "--dry-run", "-q"],
        &["trim", "orders", "--dry-run", "-q"],
    ] {
        let ended = rig.redrive(line).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{line:?}");
        assert!(!ended.stdout.is_empty(), "{line:?}");
    }
    // What was not done is told with its reason.
    let ended = rig
        .redrive(&[
            "dlq",
            "replay",
            "orders",
            "--all",
            "--yes",
            "--set",
            "data.x.y=1",
            "-q",
        ])
        .await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stdout.contains("failed    8\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("    hint: "), "{}", ended.stdout);
}
