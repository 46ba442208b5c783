//! `dlq replay --migrate`: payloads through a command, and what becomes of those that it does not answer.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::rig::{Rig, bytes};

/// A command that notes each process it runs in.
fn counted(folder: &TempDir, command: &str) -> String {
    format!("echo $$ >>{}/processes; {command}", folder.path().display())
}

fn processes(folder: &TempDir) -> usize {
    let noted = std::fs::read_to_string(folder.path().join("processes"));
    noted.unwrap_or_default().lines().count()
}

/// What a replay of all reported, its exit code and what it said.
async fn migrate(rig: &Rig, command: &str) -> (Value, i32, String) {
    let line = [
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "-o",
        "json",
        "--migrate",
        command,
    ];
    let ended = rig.redrive(&line).await;
    let report = serde_json::from_str(&ended.stdout).unwrap();
    (report, ended.code.unwrap(), ended.stderr)
}

/// The payloads behind the first so many entries.
async fn payloads(rig: &Rig, first: usize) -> Vec<Value> {
    let entries = rig.entries("orders").await;
    let payload = |fields: &[Vec<u8>]| serde_json::from_slice(&fields[1]).unwrap();
    entries[first..]
        .iter()
        .map(|(_, fields)| payload(fields))
        .collect()
}

#[tokio::test]
async fn payloads_go_together_through_a_process_that_answers_line_by_line() {
    let rig = Rig::start().await;
    rig.reject(1_500).await;
    let folder = tempfile::tempdir().unwrap();
    let (report, code, said) = migrate(&rig, &counted(&folder, "exec sed 's/}/,\"v\":2}/'")).await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(
        (&report["replayed"], &report["failed"]),
        (&1_500.into(), &0.into())
    );
    // A thousand small ones go together.
    assert_eq!(processes(&folder), 2);
    let expected: Vec<Value> = (0..1_500).map(|n| json!({ "n": n, "v": 2 })).collect();
    assert_eq!(payloads(&rig, 1_500).await, expected);
}

/// A script that reads all of its input takes many payloads for one. It may even say as many lines.
#[tokio::test]
async fn a_command_that_takes_its_input_as_a_whole_is_started_for_each_payload() {
    let rig = Rig::start().await;
    rig.reject(20).await;
    let folder = tempfile::tempdir().unwrap();
    let (report, code, said) = migrate(&rig, &counted(&folder, "x=$(cat); echo \"[$x]\"")).await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(report["replayed"], 20);
    // 20, 10, 5 and 2 together, then each alone: two that are answered alone and not together show
    // what kind of command it is.
    assert_eq!(processes(&folder), 4 + 20);
    let expected: Vec<Value> = (0..20).map(|n| json!([{ "n": n }])).collect();
    assert_eq!(payloads(&rig, 20).await, expected);
}

#[tokio::test]
async fn a_command_that_ends_after_each_answer_is_started_anew() {
    let rig = Rig::start().await;
    rig.reject(5).await;
    let folder = tempfile::tempdir().unwrap();
    let (report, code, said) = migrate(&rig, &counted(&folder, "read -r x; echo \"[$x]\"")).await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(report["replayed"], 5);
    let expected: Vec<Value> = (0..5).map(|n| json!([{ "n": n }])).collect();
    assert_eq!(payloads(&rig, 5).await, expected);
}

/// A second line that came late, of a log say, was read as the answer to the next payload: that
/// payload was lost, and its dead letter replayed with what was another one's.
#[tokio::test]
async fn a_line_that_is_no_answer_is_never_the_answer_to_another_payload() {
    let rig = Rig::start().await;
    rig.reject(6).await;
    let before = rig.everything().await;
    let logging = "while read -r x; do echo \"$x\"; sleep 0.15; echo '{\"level\":\"info\"}'; done";
    let (report, code, _) = migrate(&rig, logging).await;
    assert_eq!((code, &report["failed"]), (1, &6.into()));
    assert_eq!(rig.everything().await, before);
}

#[tokio::test]
async fn what_a_command_leaves_out_stays_and_the_others_go() {
    let rig = Rig::start().await;
    rig.reject(4).await;
    let without = "while read -r x; do case $x in *2}) ;; *) echo \"$x\";; esac; done";
    let (report, code, _) = migrate(&rig, without).await;
    assert_eq!(
        (code, &report["replayed"], &report["failed"]),
        (4, &3.into(), &1.into())
    );
    let error = report["failures"][0]["error"].as_str().unwrap();
    assert!(error.ends_with("ended without an answer"), "{error}");
    let left: Vec<u64> = payloads(&rig, 4)
        .await
        .iter()
        .map(|payload| payload["n"].as_u64().unwrap())
        .collect();
    assert_eq!(left, [0, 1, 3]);
}

/// Its first line was read as the answer, and the second one as the answer to the next payload:
/// from then on each dead letter got what was another one's.
#[tokio::test]
async fn an_answer_over_several_lines_is_one_answer() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let pretty = "while read -r x; do printf '{\\n  \"was\": %s\\n}\\n' \"$x\"; done";
    let folder = tempfile::tempdir().unwrap();
    let (report, code, said) = migrate(&rig, &counted(&folder, pretty)).await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!((&report["replayed"], processes(&folder)), (&3.into(), 1));
    let expected: Vec<Value> = (0..3).map(|n| json!({ "was": { "n": n } })).collect();
    assert_eq!(payloads(&rig, 3).await, expected);
}

#[tokio::test]
async fn two_answers_to_one_payload_are_none() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let before = rig.everything().await;
    let (report, code, _) = migrate(&rig, "while read -r x; do echo 1; echo 2; done").await;
    assert_eq!((code, &report["failed"]), (1, &3.into()));
    let error = report["failures"][0]["error"].as_str().unwrap();
    assert!(
        error.ends_with("answered something that is not one JSON value"),
        "{error}"
    );
    assert_eq!(rig.everything().await, before);

    // One that is in step at first, and then is not.
    let late = "while read -r x; do echo \"$x\"; case $x in *1}) printf '1\\n2\\n';; esac; done";
    let (report, code, _) = migrate(&rig, late).await;
    assert_eq!(
        (code, &report["replayed"], &report["failed"]),
        (4, &2.into(), &1.into())
    );
    assert_eq!(
        payloads(&rig, 3).await,
        [json!({ "n": 0 }), json!({ "n": 2 })]
    );
}

#[tokio::test]
async fn a_command_that_fails_is_told_with_its_last_words_and_nothing_is_touched() {
    let rig = Rig::start().await;
    rig.reject(2).await;
    let before = rig.everything().await;
    let (report, code, said) =
        migrate(&rig, "echo so >&2; echo '\x1b[31mno jq\x1b[0m' >&2; exit 3").await;
    assert_eq!(code, 1);
    // Together, then each alone; what is between is not passed on.
    for line in ["migrate: so\n", "migrate: \\u{1b}[31mno jq\\u{1b}[0m\n"] {
        assert_eq!(said.matches(line).count(), 3, "{said}");
    }
    assert!(said.ends_with("error: none of 2 replayed\n"), "{said}");
    for failure in report["failures"].as_array().unwrap() {
        let error = failure["error"].as_str().unwrap();
        let why = "its migration failed: the migration command ended with exit status: 3: \
            \\u{1b}[31mno jq\\u{1b}[0m";
        assert!(error.ends_with(why), "{error}");
        assert!(error.contains(failure["id"].as_str().unwrap()), "{error}");
    }
    let (report, code, _) = migrate(&rig, "no-such-command-7").await;
    let error = report["failures"][0]["error"].as_str().unwrap();
    assert!(
        code == 1 && error.contains("exit status: 127") && error.contains("no-such-command-7"),
        "{error}"
    );
    let (report, code, _) = migrate(&rig, "cat >/dev/null").await;
    let error = report["failures"][0]["error"].as_str().unwrap();
    assert!(
        code == 1 && error.ends_with("ended without an answer"),
        "{error}"
    );
    assert_eq!(rig.everything().await, before);
}

#[tokio::test]
async fn what_it_answers_with_junk_stays_and_the_others_go() {
    let rig = Rig::start().await;
    rig.reject(30).await;
    let junk =
        "while read -r x; do case $x in *5}) echo \"sorry, $x\";; *) echo \"$x\";; esac; done";
    let (report, code, said) = migrate(&rig, junk).await;
    assert_eq!((code, said.as_str()), (4, "error: 3 of 30 not replayed\n"));
    assert_eq!(
        (&report["replayed"], &report["failed"]),
        (&27.into(), &3.into())
    );
    let left: Vec<Value> = rig
        .entries("orders:dlq")
        .await
        .iter()
        .map(|(_, fields)| serde_json::from_slice(&fields[1]).unwrap())
        .collect();
    assert_eq!(left, [5, 15, 25].map(|n| json!({ "n": n })));
    let there: Vec<Value> = (0..30)
        .filter(|n| n % 10 != 5)
        .map(|n| json!({ "n": n }))
        .collect();
    assert_eq!(payloads(&rig, 30).await, there);
}

/// The bug: one that was not answered cost a process for each of the hundred beside it. With one in
/// a hundred bad, ten thousand payloads were ten thousand processes.
#[tokio::test]
async fn one_per_cent_of_bad_payloads_does_not_cost_a_process_for_each() {
    const MANY: u32 = 10_000;
    let rig = Rig::start().await;
    rig.reject(MANY).await;
    let folder = tempfile::tempdir().unwrap();
    // As a line-by-line command that has no answer to some, and says why.
    let picky = "exec sed '/[0-9]*37}/d'";
    let started = std::time::Instant::now();
    let (report, code, _) = migrate(&rig, &counted(&folder, picky)).await;
    let bad: Vec<u32> = (0..MANY).filter(|n| n % 100 == 37).collect();
    assert_eq!(code, 4);
    assert_eq!(
        (&report["replayed"], &report["failed"]),
        (&(MANY - 100).into(), &bad.len().into())
    );
    let many = processes(&folder);
    println!(
        "{many} processes for {MANY} payloads in {:?}",
        started.elapsed()
    );
    // About twice the logarithm of a hundred for each that is bad.
    assert!(many < 2_000, "{many} processes");
    let left = rig.entries("orders:dlq").await;
    let left_of = |fields: &[Vec<u8>]| serde_json::from_slice::<Value>(&fields[1]).unwrap();
    let named: Vec<&Value> = report["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    let ids: Vec<&String> = left.iter().map(|(id, _)| id).collect();
    assert_eq!(named, ids);
    let left: Vec<Value> = left.iter().map(|(_, fields)| left_of(fields)).collect();
    let expected: Vec<Value> = bad.iter().map(|n| json!({ "n": n })).collect();
    assert_eq!(left, expected);
    let good: Vec<Value> = (0..MANY)
        .filter(|n| n % 100 != 37)
        .map(|n| json!({ "n": n }))
        .collect();
    assert_eq!(payloads(&rig, MANY as usize).await, good);
}

/// A command that is wrong for all fails for all, and costs hardly more than a process for each.
#[tokio::test]
async fn a_command_that_answers_nothing_is_not_tried_again_and_again() {
    let rig = Rig::start().await;
    rig.reject(300).await;
    let folder = tempfile::tempdir().unwrap();
    let (report, code, _) = migrate(&rig, &counted(&folder, "exit 3")).await;
    assert_eq!((code, &report["failed"]), (1, &300.into()));
    assert!(processes(&folder) < 400, "{} processes", processes(&folder));
}

/// Larger than what a pipe holds, and read by a command that takes its time with it.
#[tokio::test]
async fn a_large_payload_passes() {
    let rig = Rig::start().await;
    let large = format!("[\"{}\"]", "x".repeat(3_000_000));
    rig.dies("orders:dlq", "1-0", &[b"data", large.as_bytes()], &[])
        .await;
    rig.dies("orders:dlq", "2-0", &[b"data", large.as_bytes()], &[])
        .await;
    let (report, code, said) = migrate(&rig, "cat").await;
    assert_eq!((code, said.as_str()), (0, ""), "{report}");
    assert_eq!(rig.last("orders").await.1[1], large.as_bytes());
    // One that has seen enough need not read all of it.
    rig.dies("orders:dlq", "3-0", &[b"data", large.as_bytes()], &[])
        .await;
    let (_, code, said) = migrate(&rig, "head -c 1 >/dev/null; echo '\"short\"'").await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(
        rig.last("orders").await.1[..2],
        bytes(&["data", "\"short\""])
    );
}

#[tokio::test]
async fn what_no_payload_can_be_made_of_is_refused_before_the_command_is_asked() {
    let rig = Rig::start().await;
    rig.dies("orders:dlq", "1-0", &[], &[("redrive-reason", "trimmed")])
        .await;
    rig.dies("orders:dlq", "2-0", &[b"data", b""], &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let (report, code, _) = migrate(&rig, &counted(&folder, "cat")).await;
    assert_eq!((code, &report["failed"]), (1, &2.into()));
    assert_eq!(processes(&folder), 0);
    assert_eq!(rig.length("orders:dlq").await, 2);
}
