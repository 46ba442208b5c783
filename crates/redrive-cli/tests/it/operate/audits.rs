//! Who did what: each operation of the binary is recorded, before it changes anything and when it has ended.

use redrive_testkit::eventually;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::rig::{Rig, SOON, assert_fails, bare, ended, keys, sorted};

const AUDIT: &str = "{orders:dlq}:redrive:audit";

async fn told(rig: &Rig) -> Vec<Value> {
    let told = rig.json(&["dlq", "audit", "orders"]).await;
    told.as_array().unwrap().clone()
}

/// Gives a command that has to do what it is told.
async fn does(rig: &Rig, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let ended = rig.redrive(&words).await;
    assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
}

#[tokio::test]
async fn each_command_that_changes_a_queue_is_recorded_with_its_counts() {
    let rig = Rig::start().await;
    rig.reject(6).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.jsonl");
    let file = file.to_str().unwrap();
    let first = rig.entries("orders:dlq").await[0].0.clone();
    does(&rig, &format!("dlq export orders --to {file}")).await;
    let because = format!("dlq replay orders --id {first} --as ann --because INC-1");
    does(&rig, &because).await;
    does(
        &rig,
        "dlq replay orders --all --limit 2 --campaign fix --yes --as ann",
    )
    .await;
    does(&rig, "dlq undo fix orders --yes --as bob").await;
    does(&rig, "dlq purge orders --reason rejected --yes --as ann").await;
    does(
        &rig,
        &format!("dlq import {file} --yes --again once --as ann"),
    )
    .await;
    let records = told(&rig).await;
    let brief = |one: &Value| {
        json!([
            one["what"],
            one["who"],
            one["state"],
            one["outcome"],
            one["counts"]["selected"],
            one["counts"]["done"]
        ])
    };
    let briefly: Vec<Value> = records.iter().map(brief).collect();
    assert_eq!(
        briefly,
        [
            json!(["import", "ann", "ended", "done", 6, 6]),
            json!(["purge", "ann", "ended", "done", 5, 5]),
            json!(["undo", "bob", "ended", "done", 2, 2]),
            json!(["replay", "ann", "ended", "done", 2, 2]),
            json!(["replay", "ann", "ended", "done", 1, 1]),
        ]
    );
    assert_eq!(
        keys(&records[0]),
        sorted("op what state who because selection campaign at ended_at outcome counts")
    );
    assert_eq!(records[0]["selection"], *file);
    assert_eq!(records[1]["selection"], "--reason rejected");
    assert_eq!(records[3]["campaign"], "fix");
    assert_eq!(records[4]["selection"], format!("--id {first}"));
    assert_eq!(records[4]["because"], "INC-1");
    assert!(records[4]["at"].as_str() <= records[4]["ended_at"].as_str());
    // Two entries of each, and that one the server keeps as the page says.
    let entries = rig.entries(AUDIT).await;
    assert_eq!(entries.len(), 10);
    let text = |value: &str| value.as_bytes().to_vec();
    let op = records[4]["op"].as_str().unwrap();
    let expected = [
        "op",
        op,
        "what",
        "replay",
        "state",
        "began",
        "who",
        "ann",
        "because",
        "INC-1",
        "selection",
        &format!("--id {first}"),
    ];
    assert_eq!(entries[0].1, expected.map(text));
    let table = rig
        .redrive(&["dlq", "audit", "orders", "--limit", "1"])
        .await;
    assert_eq!(table.stdout.lines().count(), 2, "{}", table.stdout);
    for part in ["import", "ann", "done", "6 of 6", file] {
        assert!(table.stdout.contains(part), "{}", table.stdout);
    }
    let purges = ["dlq", "audit", "orders", "--what", "purge", "-o", "jsonl"];
    let purges = rig.redrive(&purges).await;
    assert_eq!(purges.stdout.lines().count(), 1, "{}", purges.stdout);
    // The stream of the audit is none that somebody works on.
    let streams = rig.json(&["stats"]).await;
    let names: Vec<&Value> = streams
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["stream"])
        .collect();
    assert!(
        !names
            .iter()
            .any(|name| name.as_str().unwrap().contains(":redrive:")),
        "{names:?}"
    );
}

#[tokio::test]
async fn what_campaigns_are_told_is_recorded_and_their_own_end() {
    let rig = Rig::start().await;
    rig.reject(30).await;
    let line = [
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "--campaign",
        "fix",
        "--rate",
        "10/s",
        "--as",
        "ann",
    ];
    let running = rig.start_redrive(&line);
    eventually(SOON, "some are put back", async || {
        rig.length("orders").await > 30
    })
    .await;
    // Told what it does already nothing is changed, and nothing recorded.
    for verb in ["resume", "pause", "pause", "resume", "abort", "abort"] {
        does(
            &rig,
            &format!("dlq {verb} fix orders --as bob --because stop"),
        )
        .await;
    }
    let aborted = running.ended().await;
    assert_eq!(aborted.code, Some(4), "{}", aborted.stderr);
    // Refused: it has ended.
    let again = rig.redrive(&["dlq", "pause", "fix", "orders"]).await;
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    let records = told(&rig).await;
    let briefly: Vec<_> = records
        .iter()
        .map(|one| [&one["what"], &one["who"], &one["outcome"]].map(|text| text.as_str().unwrap()))
        .collect();
    assert_eq!(
        briefly,
        [
            ["abort", "bob", "done"],
            ["resume", "bob", "done"],
            ["pause", "bob", "done"],
            ["replay", "ann", "stopped"],
        ]
    );
    let replayed = rig.length("orders").await - 30;
    assert_eq!(records[3]["counts"]["done"], replayed);
    let campaigns = rig.json(&["dlq", "campaigns", "orders"]).await;
    assert_eq!(campaigns[0]["who"], "ann");
}

#[tokio::test]
async fn what_is_killed_has_begun_and_not_ended_and_what_it_did_is_a_fact() {
    let rig = Rig::start().await;
    rig.reject(40).await;
    let line = [
        "dlq", "replay", "orders", "--all", "--yes", "--rate", "20/s",
    ];
    let mut running = rig.start_redrive(&line);
    eventually(SOON, "some are put back", async || {
        rig.length("orders").await > 44
    })
    .await;
    running.insist(Signal::KILL).await;
    let records = told(&rig).await;
    assert_eq!(records.len(), 1);
    let one = &records[0];
    assert_eq!(
        (&one["state"], &one["outcome"]),
        (&"began".into(), &Value::Null)
    );
    assert_eq!(
        (&one["counts"], &one["ended_at"]),
        (&Value::Null, &Value::Null)
    );
    let table = rig.redrive(&["dlq", "audit", "orders"]).await;
    assert!(table.stdout.contains("not ended"), "{}", table.stdout);
}

#[tokio::test]
async fn what_is_stopped_says_so() {
    let rig = Rig::start().await;
    rig.reject(40).await;
    let line = [
        "dlq", "replay", "orders", "--all", "--yes", "--rate", "20/s",
    ];
    let running = rig.start_redrive(&line);
    eventually(SOON, "some are put back", async || {
        rig.length("orders").await > 44
    })
    .await;
    running.signal(Signal::INT);
    let stopped = running.ended().await;
    assert_eq!(stopped.code, Some(4), "{}", stopped.stderr);
    let records = told(&rig).await;
    assert_eq!(records[0]["outcome"], "stopped");
    let replayed = rig.length("orders").await - 40;
    assert_eq!(records[0]["counts"]["done"], replayed);
    // How many are selected in all it had not found out.
    let table = rig.redrive(&["dlq", "audit", "orders"]).await;
    let so_far = format!("{replayed} so far");
    assert!(table.stdout.contains(&so_far), "{}", table.stdout);
}

#[tokio::test]
async fn what_only_looks_is_not_recorded_and_an_empty_audit_is_nothing() {
    let rig = Rig::start().await;
    rig.reject(1).await;
    let before = rig.everything().await;
    for line in [
        "dlq replay orders --all --dry-run",
        "dlq purge orders --all --dry-run",
        "dlq list orders",
        "stats orders",
    ] {
        does(&rig, line).await;
    }
    assert_eq!(rig.everything().await, before);
    assert_fails(
        &rig.redrive(&["dlq", "audit", "orders"]).await,
        3,
        "no operation on orders:dlq is recorded",
        "if that is not the queue that you mean, name it with --dlq",
    );
    does(&rig, "dlq purge orders --all --yes").await;
    let undone = ["dlq", "audit", "orders", "--what", "undo"];
    assert_eq!(rig.redrive(&undone).await.code, Some(3));
    let later = ["dlq", "audit", "orders", "--since", "2999-01-01T00:00:00Z"];
    assert_eq!(rig.redrive(&later).await.code, Some(3));
}

#[tokio::test]
async fn the_name_is_that_of_the_flag_the_environment_the_file_or_the_system() {
    let rig = Rig::start().await;
    rig.reject(5).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("redrive.toml");
    std::fs::write(&file, "[dlq.purge]\nas = \"file\"\n").unwrap();
    let file = file.to_str().unwrap();
    let purge = ["dlq", "purge", "orders", "--all", "--limit", "1", "--yes"];
    for (words, variable, user) in [
        (&["--config", file, "--as", "flag"][..], Some("env"), None),
        (&["--config", file], Some("env"), None),
        (&["--config", file], None, None),
        (&[], None, Some("ann")),
        (&[], None, None),
    ] {
        let mut command = rig.command(&[&purge[..], words].concat());
        command.envs(variable.map(|name| ("REDRIVE_AS", name)));
        command.envs(user.map(|name| ("USER", name)));
        let ended = ended(&mut command).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let records = told(&rig).await;
    let who: Vec<&str> = records
        .iter()
        .map(|one| one["who"].as_str().unwrap())
        .collect();
    assert_eq!(who[2..], ["file", "env", "flag"]);
    assert!(who[1].starts_with("ann@") && who[1].len() > 4, "{who:?}");
    assert!(who[0].contains('@'), "{who:?}");
    let mut shown = bare(&["config", "show", "-o", "json"]);
    let shown = ended(shown.env("REDRIVE_AS", "env")).await;
    let rows: Vec<Value> = serde_json::from_str(&shown.stdout).unwrap();
    let row = rows
        .iter()
        .find(|row| row["table"] == "dlq.purge" && row["key"] == "as");
    let row = row.unwrap();
    assert_eq!(
        (&row["value"], &row["place"]),
        (&"env".into(), &"REDRIVE_AS".into())
    );
    for (flag, most) in [("--as", 256), ("--because", 1_024)] {
        let long = "x".repeat(most + 1);
        let line = [&purge[..], &[flag, &long]].concat();
        let refused = rig.redrive(&line).await;
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        let hint = format!("hint: it has 1 to {most} bytes\n");
        assert!(refused.stderr.ends_with(&hint), "{}", refused.stderr);
    }
}

/// Anybody who may write to the server may write anything there.
#[tokio::test]
async fn what_others_wrote_into_the_audit_steers_no_terminal() {
    let rig = Rig::start().await;
    rig.reject(1).await;
    let nasty = "a\u{1b}[2J\nb\u{202e}";
    does(&rig, "dlq purge orders --all --yes").await;
    let strange = [
        "XADD",
        AUDIT,
        "*",
        "op",
        nasty,
        "what",
        nasty,
        "state",
        "ended",
        "who",
        nasty,
        "because",
        nasty,
        "selection",
        nasty,
        "outcome",
        nasty,
        nasty,
        "7",
    ];
    let _: String = rig.ask(&strange).await;
    let none = ["XADD", AUDIT, "*", nasty, nasty];
    let _: String = rig.ask(&none).await;
    for format in ["table", "json", "jsonl"] {
        let shown = rig.redrive(&["dlq", "audit", "orders", "-o", format]).await;
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        let hostile = |c: char| c == '\u{1b}' || c == '\u{202e}';
        assert!(
            !shown.stdout.contains(hostile),
            "{format}: {}",
            shown.stdout
        );
    }
    let records = told(&rig).await;
    assert_eq!(records.len(), 2);
    let strange = records.iter().find(|one| one["op"] == nasty).unwrap();
    assert_eq!(
        (&strange["outcome"], &strange["counts"][nasty]),
        (&Value::Null, &7.into())
    );
}
