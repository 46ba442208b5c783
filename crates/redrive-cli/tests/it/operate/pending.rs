//! `pending list`: what was delivered and is not done.

use std::time::Duration;

use redrive::{Broker, Message, Outcome, Processor, Source};
use serde_json::{Value, json};

use super::rig::{Rig, assert_fails, keys, sorted};

const PENDING: &str =
    "id consumer own idle_ms deliveries failures crashes due_in_ms first_failed_at error";

#[tokio::test]
async fn what_is_pending_is_listed_with_why_and_when_it_is_due() {
    let rig = Rig::start().await;
    for id in ["1-0", "2-0", "3-0"] {
        let _: String = rig.ask(&["XADD", "orders", id, "n", "1"]).await;
    }
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "billing", "0"])
        .await;
    let read = [
        "XREADGROUP",
        "GROUP",
        "billing",
        "python",
        "COUNT",
        "1",
        "STREAMS",
        "orders",
        ">",
    ];
    let _: redis::Value = rig.ask(&read).await;
    let broker = Broker::connect(&rig.url_for(&["run"])).await.unwrap();
    let mut processor = Processor::builder(&broker, Source::new("orders", "billing").unwrap())
        .consumer("ours".parse().unwrap())
        .block(Duration::from_millis(50))
        .codec(redrive::Raw)
        .build(async |_: Message<redrive::Fields>| {
            Outcome::retry_after("the bank is closed", Duration::from_secs(3_600))
        })
        .unwrap();
    processor.run_batches(1).await.unwrap();

    let listed = rig
        .json(&["pending", "list", "orders", "-g", "billing"])
        .await;
    let listed = listed.as_array().unwrap();
    let ids: Vec<&Value> = listed.iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, ["1-0", "2-0", "3-0"]);
    for row in listed {
        assert_eq!(keys(row), sorted(PENDING));
    }
    let mut theirs = listed[0].clone();
    assert!(theirs["idle_ms"].take().is_u64());
    let expected = json!({
        "id": "1-0", "consumer": "python", "own": false, "idle_ms": null, "deliveries": 1,
        "failures": null, "crashes": null, "due_in_ms": null, "first_failed_at": null, "error": null,
    });
    assert_eq!(theirs, expected);
    let ours = &listed[1];
    assert_eq!(
        (&ours["failures"], &ours["crashes"]),
        (&1.into(), &0.into())
    );
    assert_eq!(ours["error"], "the bank is closed");
    assert!(
        (3_000_000..=3_600_000).contains(&ours["due_in_ms"].as_u64().unwrap()),
        "{ours}"
    );
    let instant = ours["first_failed_at"].as_str().unwrap();
    assert!(instant.len() == 24 && instant.ends_with('Z'), "{instant}");

    let ended = rig
        .redrive(&["pending", "list", "orders", "-g", "billing"])
        .await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(0), "3 of 3 pending\n")
    );
    let headings: Vec<&str> = ended
        .stdout
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let expected = "ID CONSUMER IDLE DELIVERIES FAILURES CRASHES DUE IN ERROR";
    assert_eq!(headings.join(" "), expected);
    assert!(
        ended.stdout.contains("the bank is closed"),
        "{}",
        ended.stdout
    );
    let ended = rig
        .redrive(&[
            "pending", "list", "orders", "-g", "billing", "--limit", "2", "-o", "jsonl",
        ])
        .await;
    assert_eq!(
        (ended.stdout.lines().count(), ended.stderr.as_str()),
        (2, "")
    );
}

#[tokio::test]
async fn fifty_are_listed_unless_said_otherwise_and_all_page_by_page() {
    let rig = Rig::start().await;
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "billing", "0", "MKSTREAM"])
        .await;
    for n in 1..=2_100 {
        let id = format!("{n}-0");
        let _: String = rig.ask(&["XADD", "orders", &id, "n", "1"]).await;
    }
    let read = [
        "XREADGROUP",
        "GROUP",
        "billing",
        "python",
        "STREAMS",
        "orders",
        ">",
    ];
    let _: redis::Value = rig.ask(&read).await;
    let line = ["pending", "list", "orders", "-g", "billing"];
    for (more, expected) in [
        (&[][..], 50),
        (&["--limit", "1500"], 1_500),
        (&["--all"], 2_100),
    ] {
        let listed = rig.json(&[&line[..], more].concat()).await;
        let ids: Vec<&Value> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &row["id"])
            .collect();
        let first: Vec<Value> = (1..=expected).map(|n| format!("{n}-0").into()).collect();
        assert!(ids.into_iter().eq(&first), "{more:?}");
    }
    let ended = rig.redrive(&line).await;
    assert_eq!(
        (ended.stdout.lines().count(), ended.stderr.as_str()),
        (51, "50 of 2100 pending\n")
    );
}

/// The list failed with its count, which asks more than a list needs.
#[tokio::test]
async fn a_dead_letter_queue_that_is_none_does_not_spoil_the_list() {
    let rig = Rig::start().await;
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "billing", "0", "MKSTREAM"])
        .await;
    let _: String = rig.ask(&["XADD", "orders", "1-0", "n", "1"]).await;
    let read = [
        "XREADGROUP",
        "GROUP",
        "billing",
        "python",
        "STREAMS",
        "orders",
        ">",
    ];
    let _: redis::Value = rig.ask(&read).await;
    let _: String = rig.ask(&["SET", "orders:dlq", "1"]).await;
    for form in ["table", "json"] {
        let ended = rig
            .redrive(&["pending", "list", "orders", "-g", "billing", "-o", form])
            .await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.contains("1-0"), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn a_group_that_has_nothing_pending_is_empty_and_one_that_is_not_there_is_nothing() {
    let rig = Rig::start().await;
    let line = ["pending", "list", "orders", "-g", "billing"];
    let ended = rig.redrive(&line).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .starts_with("error: stream not found: orders\n"),
        "{}",
        ended.stderr
    );
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "mailing", "0", "MKSTREAM"])
        .await;
    let ended = rig.redrive(&line).await;
    let hint = "its groups are: mailing";
    assert_fails(
        &ended,
        3,
        "group not found: billing of the stream orders",
        hint,
    );
    assert_eq!(ended.stdout, "");
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "billing", "0"])
        .await;
    assert_eq!(rig.json(&line).await, json!([]));
    let ended = rig.redrive(&line).await;
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(0), "", "0 of 0 pending\n")
    );
}

/// Stats failed there, and the last line was `0 of ? pending`.
#[tokio::test]
async fn a_server_without_memory_tells_how_many_there_are() {
    let rig = Rig::start().await;
    let _: String = rig.ask(&["XADD", "orders", "*", "n", "1"]).await;
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "billing", "0"])
        .await;
    let _: String = rig.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let listed = rig
        .redrive(&["pending", "list", "orders", "-g", "billing"])
        .await;
    assert_eq!(
        (listed.code, &listed.stderr[..]),
        (Some(0), "0 of 0 pending\n")
    );
    let stats = rig.redrive(&["stats", "orders", "-g", "billing"]).await;
    assert_eq!(stats.code, Some(0), "{}", stats.stderr);
}
