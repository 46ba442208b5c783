//! Bulk replays that are interrupted, or meet others: nothing is doubled, nothing is skipped.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::rig::{Rig, Running};

/// A command that passes payloads on; its second process, in the second step, waits until somebody
/// writes to `go`.
fn stopping_half_way(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "cd {folder}; echo >>steps; if [ $(wc -l <steps) -eq 2 ]; then mkfifo go; echo half-way >&2; \
         read -r x <go; fi; exec cat"
    )
}

async fn half_way(rig: &Rig, folder: &Path) -> Running {
    let command = stopping_half_way(folder);
    let line = [
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "-o",
        "json",
        "--migrate",
        &command,
    ];
    let running = rig.start_redrive(&line);
    running.says("half-way").await;
    running
}

/// All payloads that are on the stream a second time, in the order of their numbers.
async fn put_back(rig: &Rig, first: usize) -> Vec<u64> {
    let entries = rig.entries("orders").await;
    let mut numbers: Vec<u64> = entries[first..]
        .iter()
        .map(|(_, fields)| {
            let payload: Value = serde_json::from_slice(&fields[1]).unwrap();
            payload["n"].as_u64().unwrap()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn ctrl_c_ends_a_replay_after_its_step_and_the_same_command_goes_on() {
    let rig = Rig::start().await;
    rig.reject(2_500).await;
    let folder = tempfile::tempdir().unwrap();
    let running = half_way(&rig, folder.path()).await;
    running.signal(Signal::INT);
    running
        .says("ending after this step; once more ends at once")
        .await;
    std::fs::write(folder.path().join("go"), "\n").unwrap();
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("error: stopped: 1100 replayed so far\nhint: the same command goes on"),
        "{}",
        ended.stderr
    );
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&report["selected"], &report["replayed"]),
        (&1_100.into(), &1_100.into())
    );
    assert_eq!(rig.length("orders:dlq").await, 1_400);

    let rest = rig
        .json(&["dlq", "replay", "orders", "--all", "--yes"])
        .await;
    assert_eq!(
        (&rest["replayed"], &rest["already"]),
        (&1_400.into(), &0.into())
    );
    assert_eq!(
        put_back(&rig, 2_500).await,
        (0..2_500).collect::<Vec<u64>>()
    );
    assert_eq!(rig.length("orders:dlq").await, 0);
}

/// The second Ctrl-C was answered with 4 when something had been put back before it.
#[tokio::test]
async fn a_second_ctrl_c_ends_it_at_once_with_130_and_the_same_command_goes_on() {
    let rig = Rig::start().await;
    rig.reject(1_300).await;
    let folder = tempfile::tempdir().unwrap();
    let mut running = half_way(&rig, folder.path()).await;
    running.signal(Signal::INT);
    running.says("once more ends at once").await;
    running.insist(Signal::INT).await;
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("error: ended in the middle of a step\nhint: "),
        "{}",
        ended.stderr
    );
    // What is told is what was known to be done, and the migration is gone with it.
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["replayed"], 1_000);
    assert_eq!(rig.length("orders:dlq").await, 300);
    rig.json(&["dlq", "replay", "orders", "--all", "--yes"])
        .await;
    assert_eq!(
        put_back(&rig, 1_300).await,
        (0..1_300).collect::<Vec<u64>>()
    );
}

#[tokio::test]
async fn sigterm_twice_ends_a_dry_run_with_143_and_nothing_is_changed() {
    let rig = Rig::start().await;
    rig.reject(1_200).await;
    let before = rig.everything().await;
    let folder = tempfile::tempdir().unwrap();
    let command = stopping_half_way(folder.path());
    let line = [
        "dlq",
        "replay",
        "orders",
        "--all",
        "--dry-run",
        "--migrate",
        &command,
    ];
    let mut running = rig.start_redrive(&line);
    running.says("half-way").await;
    running.signal(Signal::TERM);
    running.says("once more ends at once").await;
    running.insist(Signal::TERM).await;
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .ends_with("error: stopped looking; nothing was changed\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(rig.everything().await, before);
}

#[tokio::test]
async fn two_operators_put_each_back_once() {
    let rig = Rig::start().await;
    rig.reject(300).await;
    let line = ["dlq", "replay", "orders", "--all", "--yes", "-o", "json"];
    let operators = [(); 4].map(|()| rig.start_redrive(&line));
    let mut replayed = 0;
    for operator in operators {
        let ended = operator.ended().await;
        // Who comes when all is done finds nothing; who meets another counts its work as done already.
        assert!(
            matches!(ended.code, Some(0 | 3)),
            "{:?} {}",
            ended.code,
            ended.stderr
        );
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        replayed += report["replayed"].as_u64().unwrap();
    }
    assert_eq!(replayed, 300);
    assert_eq!(put_back(&rig, 300).await, (0..300).collect::<Vec<u64>>());
}

/// A report lists a thousand of each, lines tell all of them; the counts are of all.
#[tokio::test]
async fn a_long_report_says_that_its_lists_are_cut_and_lines_are_not() {
    let rig = Rig::start().await;
    rig.reject(1_001).await;
    let line = ["dlq", "replay", "orders", "--all", "--yes", "--keep"];
    let report = rig.json(&line).await;
    assert_eq!(
        (&report["replayed"], &report["new_ids_truncated"]),
        (&1_001.into(), &true.into())
    );
    assert_eq!(report["new_ids"].as_array().unwrap().len(), 1_000);
    let ended = rig.redrive(&[&line[..], &["-o", "jsonl"]].concat()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1_002);
    assert_eq!(lines[1_001]["already"], 1_001);
    let new: Vec<&Value> = lines[..1_000].iter().map(|line| &line["new_id"]).collect();
    assert_eq!(
        new,
        report["new_ids"]
            .as_array()
            .unwrap()
            .iter()
            .collect::<Vec<_>>()
    );
    let again = rig.json(&line).await;
    assert_eq!(
        (&again["already"], &again["new_ids"]),
        (&1_001.into(), &Value::Array(Vec::new()))
    );
}

#[tokio::test]
async fn a_dry_run_of_a_purge_says_what_would_go_and_changes_nothing() {
    let rig = Rig::start().await;
    rig.reject(7).await;
    let before = rig.everything().await;
    let line = [
        "dlq",
        "purge",
        "orders",
        "--reason",
        "rejected",
        "--dry-run",
    ];
    let told = rig.redrive(&line).await;
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let head =
        "a dry run: nothing was changed\n\nthis would purge 7 dead letters of orders:dlq:\n  ";
    assert!(told.stdout.starts_with(head), "{}", told.stdout);
    assert!(told.stdout.ends_with("\n  and 2 more\n"), "{}", told.stdout);
    let report = rig.json(&[&line[..], &["--limit", "6"]].concat()).await;
    assert_eq!(
        (&report["selected"], &report["purged"]),
        (&6.into(), &6.into())
    );
    assert_eq!(report["samples"].as_array().unwrap().len(), 5);
    assert_eq!(rig.everything().await, before);
    let none = ["dlq", "purge", "orders", "--reason", "trimmed", "--dry-run"];
    assert_eq!(rig.redrive(&none).await.code, Some(3));
}
