//! `dlq replay` and `dlq purge`: what goes where, what is left alone, and what is said.

use serde_json::{Value, json};

use super::rig::{Rig, assert_fails, bytes, keys, sorted};

const REPORT: &str = "campaign selected replayed already skipped failed failures failures_truncated new_ids new_ids_truncated \
    already_ids already_ids_truncated";

/// Selected, replayed, already, skipped, failed.
fn counts(report: &Value) -> [u64; 5] {
    ["selected", "replayed", "already", "skipped", "failed"]
        .map(|name| report[name].as_u64().unwrap())
}

#[tokio::test]
async fn one_goes_back_to_its_stream_without_a_question_and_leaves_the_queue() {
    let rig = Rig::start().await;
    rig.dies(
        "orders:dlq",
        "1000000000001-0",
        &[b"data", b"{\"n\":1}", b"data", b"\xff\x00"],
        &[],
    )
    .await;
    let report = rig
        .json(&["dlq", "replay", "orders", "--id", "1000000000001-0"])
        .await;
    let timed = format!("{REPORT} elapsed_ms per_second");
    assert_eq!(keys(&report), sorted(&timed));
    assert!(report["elapsed_ms"].as_u64() > Some(0));
    let (new, fields) = rig.last("orders").await;
    let expected = json!({
        "campaign": null, "selected": 1, "replayed": 1, "already": 0, "skipped": 0, "failed": 0, "failures": [],
        "failures_truncated": false, "new_ids": [new], "new_ids_truncated": false,
        "already_ids": [], "already_ids_truncated": false,
        "elapsed_ms": report["elapsed_ms"], "per_second": report["per_second"],
    });
    assert_eq!(report, expected);
    let mut wanted: Vec<Vec<u8>> = vec![
        b"data".to_vec(),
        b"{\"n\":1}".to_vec(),
        b"data".to_vec(),
        b"\xff\x00".to_vec(),
    ];
    wanted.extend(bytes(&[
        "redrive-replayed-from",
        "1000000000001-0",
        "redrive-replays",
        "1",
    ]));
    assert_eq!(fields, wanted);
    assert_eq!(rig.length("orders:dlq").await, 0);
}

#[tokio::test]
async fn asked_again_it_is_answered_already_with_exit_0_and_nothing_is_added() {
    let rig = Rig::start().await;
    rig.dies("orders:dlq", "1000000000001-0", &[b"n", b"1"], &[])
        .await;
    let line = ["dlq", "replay", "orders", "--id", "1000000000001-0"];
    let first = rig.json(&line).await;
    let before = rig.everything().await;
    let again = rig.json(&line).await;
    assert_eq!(
        (counts(&first), counts(&again)),
        ([1, 1, 0, 0, 0], [1, 0, 1, 0, 0])
    );
    assert_eq!(again["new_ids"], json!([]));
    assert_eq!(again["already_ids"], first["new_ids"]);
    assert_eq!(rig.everything().await, before);
    let ended = rig.redrive(&line).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stdout,
        format!(
            "selected  1\nreplayed  0\nalready   1\nskipped   0\nfailed    0\n  \
            put back before as {}\n",
            first["new_ids"][0].as_str().unwrap()
        )
    );
}

#[tokio::test]
async fn it_goes_to_another_stream_where_one_is_named() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let report = rig
        .json(&[
            "dlq", "replay", "orders", "--all", "--target", "repaired", "--yes",
        ])
        .await;
    assert_eq!(counts(&report), [3, 3, 0, 0, 0]);
    assert_eq!(rig.length("repaired").await, 3);
    assert_eq!(
        (rig.length("orders").await, rig.length("orders:dlq").await),
        (3, 0)
    );
    let new: Vec<String> = rig
        .entries("repaired")
        .await
        .into_iter()
        .map(|entry| entry.0)
        .collect();
    assert_eq!(report["new_ids"], json!(new));
}

#[tokio::test]
async fn a_kept_one_stays_in_the_queue_and_is_copied_once() {
    let rig = Rig::start().await;
    rig.reject(2).await;
    let queue = rig.entries("orders:dlq").await;
    let line = ["dlq", "replay", "orders", "--all", "--keep", "--yes"];
    assert_eq!(counts(&rig.json(&line).await), [2, 2, 0, 0, 0]);
    assert_eq!(counts(&rig.json(&line).await), [2, 0, 2, 0, 0]);
    assert_eq!(rig.entries("orders:dlq").await, queue);
    assert_eq!(rig.length("orders").await, 4);
    let ledger = ["HGETALL", "{orders:dlq}:redrive:ledger"];
    let ledger: Vec<(String, u64)> = rig.ask(&ledger).await;
    assert_eq!(ledger, [("dead_lettered".to_owned(), 2)]);
}

#[tokio::test]
async fn what_has_been_replayed_too_often_is_left_out_and_counted() {
    let rig = Rig::start().await;
    for (n, replays) in ["0", "4", "5", "9"].iter().enumerate() {
        let id = format!("{}-0", n + 1);
        rig.dies(
            "orders:dlq",
            &id,
            &[b"n", b"1"],
            &[("redrive-replays", replays)],
        )
        .await;
    }
    let replayed = async |more: &[&str]| {
        let line = [
            &["dlq", "replay", "orders", "--all", "--yes", "-o", "json"],
            more,
        ]
        .concat();
        let ended = rig.redrive(&line).await;
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        (ended.code.unwrap(), counts(&report), ended.stderr)
    };
    let hint = "hint: 2 were left out: replayed 5 times before, or more; --replays '>=5' lists them, a higher \
        --max-replays takes them\n";
    let dry = replayed(&["--dry-run"]).await;
    assert_eq!(
        dry,
        (
            4,
            [4, 2, 0, 2, 0],
            format!("error: 2 of 4 would not be replayed\n{hint}")
        )
    );
    assert_eq!(replayed(&["--max-replays", "1"]).await.1, [4, 1, 0, 3, 0]);
    let usual = replayed(&[]).await;
    assert_eq!(
        usual,
        (
            4,
            [3, 1, 0, 2, 0],
            format!("error: 2 of 3 not replayed\n{hint}")
        )
    );
    let none = replayed(&[]).await;
    assert_eq!(
        none,
        (
            1,
            [2, 0, 0, 2, 0],
            format!("error: none of 2 replayed\n{hint}")
        )
    );
    assert_eq!(replayed(&["--max-replays", "10"]).await.1, [2, 2, 0, 0, 0]);
    assert_eq!(rig.length("orders").await, 4);
}

#[tokio::test]
async fn what_cannot_go_back_stays_and_is_named_and_the_others_go() {
    let rig = Rig::start().await;
    rig.dies("orders:dlq", "1-0", &[b"n", b"1"], &[]).await;
    rig.dies("orders:dlq", "2-0", &[], &[("redrive-reason", "trimmed")])
        .await;
    let _: String = rig
        .ask(&["XADD", "orders:dlq", "3-0", "what", "ever"])
        .await;
    let left = rig.entries("orders:dlq").await.split_off(1);
    let line = ["dlq", "replay", "orders", "--all", "--yes"];
    let ended = rig
        .redrive(&[&line[..], &["--campaign", "monday"]].concat())
        .await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(4), "error: 2 of 3 not replayed\n")
    );
    insta::assert_snapshot!("partly", ended.stdout);
    assert_eq!(rig.entries("orders:dlq").await, left);
    assert_eq!(rig.length("orders").await, 1);

    let ended = rig
        .redrive(&["dlq", "replay", "orders", "--all", "--yes", "-o", "json"])
        .await;
    assert_eq!(ended.code, Some(1));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let failures = report["failures"].as_array().unwrap();
    let ids: Vec<&Value> = failures.iter().map(|failure| &failure["id"]).collect();
    assert_eq!(ids, ["2-0", "3-0"]);
    for failure in failures {
        assert_eq!(keys(failure), ["error", "hint", "id"]);
        assert!(failure["hint"].is_string(), "{failure}");
    }
    // A stream of our choice cures the one that does not say where it came from.
    let cured = [
        "dlq", "replay", "orders", "--id", "3-0", "--target", "orders",
    ];
    assert_eq!(counts(&rig.json(&cured).await), [1, 1, 0, 0, 0]);
    assert_eq!(rig.last("orders").await.1[..2], bytes(&["what", "ever"]));
}

#[tokio::test]
async fn json_lines_of_a_replay_are_what_became_of_each_and_the_counts() {
    let rig = Rig::start().await;
    rig.dies("orders:dlq", "1-0", &[b"n", b"1"], &[]).await;
    rig.dies("orders:dlq", "2-0", &[], &[("redrive-reason", "trimmed")])
        .await;
    let ended = rig
        .redrive(&["dlq", "replay", "orders", "--all", "--yes", "-o", "jsonl"])
        .await;
    assert_eq!(ended.code, Some(4));
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    let new = rig.last("orders").await.0;
    let put_back =
        json!({ "id": "1-0", "outcome": "replayed", "new_id": new, "error": null, "hint": null });
    assert_eq!(lines[0], put_back);
    assert_eq!(
        (&lines[1]["id"], &lines[1]["outcome"]),
        (&json!("2-0"), &json!("failed"))
    );
    assert_eq!(lines[1]["new_id"], Value::Null);
    assert!(lines[1]["error"].as_str().unwrap().contains("tombstone"));
    assert!(lines[2]["campaign"].is_string());
    let counted = json!({
        "campaign": lines[2]["campaign"], "selected": 2, "replayed": 1, "already": 0, "skipped": 0, "failed": 1,
        "elapsed_ms": lines[2]["elapsed_ms"], "per_second": lines[2]["per_second"],
    });
    assert_eq!(lines[2], counted);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_touches_nothing() {
    let rig = Rig::start().await;
    rig.reject(7).await;
    rig.dies(
        "orders:dlq",
        "99999999999999-0",
        &[],
        &[("redrive-reason", "trimmed")],
    )
    .await;
    let before = rig.everything().await;
    let dry = [
        "dlq",
        "replay",
        "orders",
        "--all",
        "--dry-run",
        "--migrate",
        "sed -u s/n/m/",
    ];
    let ended = rig.redrive(&[&dry[..], &["-o", "json"]].concat()).await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(4), "error: 1 of 8 would not be replayed\n")
    );
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(keys(&report), sorted(&format!("{REPORT} samples")));
    assert_eq!(counts(&report), [8, 7, 0, 0, 1]);
    assert_eq!(report["new_ids"], json!([]));
    let samples = report["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 5);
    let sample = &samples[2];
    assert_eq!(
        keys(sample),
        sorted("id target before after payload_before payload_after")
    );
    assert_eq!(sample["target"], "orders");
    assert_eq!(sample["before"], json!([["data", "{\"n\":2}"]]));
    let mark = &sample["id"];
    let after = json!([
        ["data", "{\"m\":2}"],
        ["redrive-replayed-from", mark],
        ["redrive-replays", "1"]
    ]);
    assert_eq!(sample["after"], after);
    assert_eq!(
        (&sample["payload_before"], &sample["payload_after"]),
        (&json!({ "n": 2 }), &json!({ "m": 2 }))
    );

    let ended = rig.redrive(&dry).await;
    assert_eq!(ended.code, Some(4));
    for told in [
        "a dry run: nothing was changed\n\nselected  8\nreplayed  7\n",
        "  - {\"n\":0}\n  + {\"m\":0}\n",
    ] {
        assert!(ended.stdout.contains(told), "{}", ended.stdout);
    }
    // One that names a single one, too.
    let id = rig.entries("orders:dlq").await[0].0.clone();
    let ended = rig
        .redrive(&["dlq", "replay", "orders", "--id", &id, "--dry-run"])
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(rig.everything().await, before);
}

#[tokio::test]
async fn a_purge_removes_what_is_selected_and_nothing_else() {
    let rig = Rig::start().await;
    for id in ["1-0", "2-0", "3-0", "4-0"] {
        let reason = if id == "2-0" {
            "rejected"
        } else {
            "undecodable"
        };
        rig.dies(
            "orders:dlq",
            id,
            &[b"n", b"1"],
            &[("redrive-reason", reason)],
        )
        .await;
    }
    let line = [
        "dlq",
        "purge",
        "orders",
        "--reason",
        "undecodable",
        "--limit",
        "2",
        "--yes",
    ];
    let report = rig.json(&line).await;
    let expected = json!({ "selected": 2, "purged": 2, "missing": [], "missing_truncated": false });
    assert_eq!(report, expected);
    let left = async || -> Vec<String> {
        rig.entries("orders:dlq")
            .await
            .into_iter()
            .map(|entry| entry.0)
            .collect()
    };
    assert_eq!(left().await, ["2-0", "4-0"]);

    let ended = rig
        .redrive(&[
            "dlq", "purge", "orders", "--id", "4-0", "--id", "7-7", "--yes",
        ])
        .await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(4), "error: 1 of 2 not purged\n")
    );
    assert_eq!(ended.stdout, "selected  2\npurged    1\n  7-7  not found\n");
    let ended = rig
        .redrive(&["dlq", "purge", "orders", "--id", "2-0"])
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ledger: u64 = rig
        .ask(&["HGET", "{orders:dlq}:redrive:ledger", "purged"])
        .await;
    assert_eq!((ledger, left().await), (4, vec![]));
}

#[tokio::test]
async fn without_a_terminal_nothing_is_done_unless_yes_is_said() {
    let rig = Rig::start().await;
    rig.reject(7).await;
    let before = rig.everything().await;
    let hint = "look first, with `redrive dlq list` and the same selection, then say --yes";
    for (args, what) in [
        (
            &["replay", "orders", "--all"][..],
            "replay 7 dead letters of orders:dlq",
        ),
        (
            &["replay", "orders", "--all", "--target", "x"],
            "replay, to x, 7 dead letters of orders:dlq",
        ),
        (
            &["replay", "orders", "--all", "--limit", "2"],
            "replay 2 dead letters of orders:dlq",
        ),
        (
            &["purge", "orders", "--reason", "rejected", "--limit", "1"],
            "purge 1 dead letter of orders:dlq",
        ),
    ] {
        let ended = rig.redrive(&[&["dlq"], args].concat()).await;
        let error = format!("this would {what}, and there is no terminal to ask");
        assert_fails(&ended, 2, &error, hint);
    }
    // Where there is nothing, there is nothing to ask.
    for verb in ["replay", "purge"] {
        let ended = rig.redrive(&["dlq", verb, "order", "--all"]).await;
        let hint = "if that is not the queue that you mean, name it with --dlq";
        assert!(ended.stderr.contains(hint), "{}", ended.stderr);
        assert_eq!((ended.code, &*ended.stdout), (Some(3), ""));
        let nobody = ["dlq", verb, "orders", "--consumer", "nobody"];
        let ended = rig.redrive(&nobody).await;
        assert!(
            ended
                .stderr
                .contains("no dead letter in orders:dlq matches")
        );
        assert_eq!(ended.code, Some(3));
    }
    let ended = rig.redrive(&["dlq", "replay", "orders"]).await;
    let hint =
        "name them with --id, narrow them with a filter such as --reason or --where, or say --all";
    assert_fails(&ended, 2, "which dead letters to replay?", hint);
    let ended = rig
        .redrive(&["dlq", "purge", "orders", "--limit", "1", "--yes"])
        .await;
    let hint = format!("{hint}; --limit, --oldest and --newest alone select nothing");
    assert_fails(&ended, 2, "which dead letters to purge?", &hint);
    assert_eq!(rig.everything().await, before);
}
