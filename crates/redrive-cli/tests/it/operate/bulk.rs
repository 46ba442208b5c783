//! Bulk replays that are interrupted, or meet others: nothing is doubled, nothing is skipped.

use std::collections::BTreeMap;
use std::path::Path;

use redrive_testkit::{Armed, Fault, Moment, Proxy, Target};
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::rig::{Rig, Running, SOON};

const REPLAY: [&str; 7] = ["dlq", "replay", "orders", "--all", "--yes", "-o", "json"];

/// A command that passes payloads on. Its second process starts another one, and neither ends: as long as
/// one of them lives, `alive` is open.
fn stopping_half_way(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "cd {folder}; echo >>steps; if [ $(wc -l <steps) -eq 2 ]; then exec 9>alive; mkfifo never; \
         (read -r x <never) & echo half-way >&2; wait; fi; exec cat"
    )
}

/// Both processes of [`stopping_half_way`], which are gone when it is over.
struct Migrating(JoinHandle<std::io::Result<Vec<u8>>>);

impl Migrating {
    fn in_folder(folder: &Path) -> Self {
        let alive = folder.join("alive");
        let made = std::process::Command::new("mkfifo").arg(&alive).status();
        assert!(made.unwrap().success());
        Self(tokio::task::spawn_blocking(move || std::fs::read(alive)))
    }

    async fn are_gone(self) {
        let Ok(read) = timeout(SOON, self.0).await else {
            panic!("they live on");
        };
        assert_eq!(read.unwrap().unwrap(), b"");
    }
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

/// What the server holds but the record of who did what, which says how this one ended.
async fn all_but_the_record(rig: &Rig) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = rig.everything().await;
    all.retain(|key, _| !key.ends_with(b":redrive:audit"));
    all
}

/// It waited until the command had answered all of its step, be it for an hour.
#[tokio::test]
async fn ctrl_c_while_payloads_are_migrated_ends_it_at_once_and_the_same_command_goes_on() {
    let rig = Rig::start().await;
    rig.reject(2_500).await;
    let folder = tempfile::tempdir().unwrap();
    let migrating = Migrating::in_folder(folder.path());
    let command = stopping_half_way(folder.path());
    let flags = ["--campaign", "july", "--migrate", &command];
    let running = rig.start_redrive(&[&REPLAY[..], &flags].concat());
    running.says("half-way").await;
    let before = all_but_the_record(&rig).await;
    running.signal(Signal::INT);
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_eq!(
        ended.stderr,
        "migrate: half-way\nerror: stopped: 1000 replayed so far\nhint: the same command goes on where \
         this one ended: nothing is done twice; with --campaign july as this campaign\n"
    );
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&report["selected"], &report["replayed"], &report["failed"]),
        (&1_000.into(), &1_000.into(), &0.into())
    );
    migrating.are_gone().await;
    assert_eq!(all_but_the_record(&rig).await, before);
    assert_eq!(rig.length("orders:dlq").await, 1_500);

    let rest = rig
        .json(&["dlq", "replay", "orders", "--all", "--yes"])
        .await;
    assert_eq!(
        (&rest["replayed"], &rest["already"]),
        (&1_500.into(), &0.into())
    );
    assert_eq!(
        put_back(&rig, 2_500).await,
        (0..2_500).collect::<Vec<u64>>()
    );
    assert_eq!(rig.length("orders:dlq").await, 0);
}

#[tokio::test]
async fn sigterm_while_a_dry_run_migrates_ends_it_at_once_with_143_and_nothing_is_changed() {
    let rig = Rig::start().await;
    rig.reject(1_200).await;
    let before = rig.everything().await;
    let folder = tempfile::tempdir().unwrap();
    let migrating = Migrating::in_folder(folder.path());
    let command = stopping_half_way(folder.path());
    let line = ["dlq", "replay", "orders", "--all", "--dry-run", "--migrate"];
    let running = rig.start_redrive(&[&line[..], &[&command]].concat());
    running.says("half-way").await;
    running.signal(Signal::TERM);
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
    assert_eq!(
        ended.stderr,
        "migrate: half-way\nerror: stopped looking; nothing was changed\n"
    );
    migrating.are_gone().await;
    assert_eq!(rig.everything().await, before);
}

/// A replay of which the third hundred is being put back.
async fn putting_back(rig: &Rig, proxy: &Proxy) -> (Running, Armed) {
    let third = Target::nth("EVALSHA replay", 3);
    let held = proxy.arm(third, Moment::Executed, Fault::Hold);
    let mut command = rig.command(&REPLAY);
    let running = Running::start({
        command.env("REDRIVE_URL", rig.through(proxy, &REPLAY));
        command
    });
    timeout(SOON, held.struck()).await.unwrap();
    (running, held)
}

#[tokio::test]
async fn ctrl_c_while_some_are_put_back_ends_it_after_its_step_and_the_same_command_goes_on() {
    let rig = Rig::start().await;
    rig.reject(1_300).await;
    let proxy = Proxy::in_front_of(&rig.server);
    let (running, held) = putting_back(&rig, &proxy).await;
    running.signal(Signal::INT);
    running
        .says("ending after this step; once more ends at once")
        .await;
    held.go_on();
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    // A step has as many as were read meanwhile.
    let done = report["replayed"].as_u64().unwrap();
    assert!((300..=600).contains(&done), "{report}");
    let told = format!("error: stopped: {done} replayed so far\nhint: the same command goes on");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    assert_eq!(report["selected"], done);
    assert_eq!(rig.length("orders:dlq").await, 1_300 - done);

    let rest = rig.json(&REPLAY[..5]).await;
    assert_eq!(
        (&rest["replayed"], &rest["already"]),
        (&(1_300 - done).into(), &0.into())
    );
    assert_eq!(
        put_back(&rig, 1_300).await,
        (0..1_300).collect::<Vec<u64>>()
    );
}

/// The second Ctrl-C was answered with 4 when something had been put back before it.
#[tokio::test]
async fn a_second_ctrl_c_ends_it_at_once_with_130_and_the_same_command_goes_on() {
    let rig = Rig::start().await;
    rig.reject(1_300).await;
    let proxy = Proxy::in_front_of(&rig.server);
    let (mut running, held) = putting_back(&rig, &proxy).await;
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
    // What is told is what was known to be done.
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let told = report["replayed"].as_u64().unwrap();
    let left = rig.length("orders:dlq").await;
    assert!(told >= 100 && told < 1_300 - left, "{report} {left}");
    drop(held);
    rig.json(&REPLAY[..5]).await;
    assert_eq!(
        put_back(&rig, 1_300).await,
        (0..1_300).collect::<Vec<u64>>()
    );
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
