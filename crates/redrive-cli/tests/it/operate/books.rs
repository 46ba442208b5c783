//! The books of a queue: what redrive did, what others did, and whether it adds up.

use serde_json::json;

use super::rig::{Rig, assert_fails};

const QUEUE: &str = "orders:dlq";

#[tokio::test]
async fn the_books_tell_what_redrive_did_and_what_others_did() {
    let rig = Rig::start().await;
    rig.reject(6).await;
    let stats = ["dlq", "stats", "orders"];
    let all = json!({
        "dlq": QUEUE, "dead_lettered": 6, "imported": 0, "replayed": 0, "purged": 0, "spilled": 0,
        "dropped": 0, "kept": 6, "foreign_in": 0, "foreign_out": 0, "balanced": true,
    });
    assert_eq!(rig.json(&stats).await, all);

    let ids: Vec<String> = rig
        .entries(QUEUE)
        .await
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    rig.json(&["dlq", "replay", "orders", "--id", &ids[0], "--yes"])
        .await;
    rig.json(&["dlq", "purge", "orders", "--id", &ids[1], "--yes"])
        .await;
    for _ in 0..3 {
        let _: String = rig.ask(&["XADD", QUEUE, "*", "a", "foreign one"]).await;
    }
    let _: u64 = rig.ask(&["XDEL", QUEUE, &ids[2]]).await;
    let told = rig.json(&stats).await;
    let numbers = ["replayed", "purged", "kept", "foreign_in", "foreign_out"].map(|key| &told[key]);
    assert_eq!(numbers, [1, 1, 6, 3, 1]);
    assert_eq!(told["balanced"], true);

    let table = rig.redrive(&["dlq", "stats", "--dlq", QUEUE]).await;
    assert_eq!((table.code, &*table.stderr), (Some(0), ""));
    for row in [
        "dlq                orders:dlq",
        "dead-lettered      6",
        "added by others    3",
        "removed by others  1",
        "adds up            yes",
    ] {
        assert!(table.stdout.contains(row), "{}", table.stdout);
    }
}

#[tokio::test]
async fn books_that_cannot_be_right_are_said_and_end_with_one() {
    let rig = Rig::start().await;
    rig.reject(2).await;
    let _: u64 = rig.ask(&["DEL", QUEUE]).await;
    let ended = rig.redrive(&["dlq", "stats", "orders", "-o", "json"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&told["balanced"], &told["foreign_in"]),
        (&json!(false), &json!(null))
    );
    assert!(
        ended.stderr.contains(
            "error: the ledger of orders:dlq does not add up: 2 that it says are there are not"
        ),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
}

#[tokio::test]
async fn what_has_no_books_is_said() {
    let rig = Rig::start().await;
    let ended = rig.redrive(&["dlq", "stats", "orders"]).await;
    assert_fails(
        &ended,
        3,
        "no dead-letter queue orders:dlq",
        "if that is not the queue that you mean, name it with --dlq; on another server or database, with --url",
    );
    let ended = rig
        .redrive(&["dlq", "stats", "orders", "--dlq", QUEUE])
        .await;
    assert_fails(
        &ended,
        2,
        "the books are of a whole queue, not of what came from one stream",
        "name the queue alone: --dlq NAME",
    );
    let _: bool = rig.ask(&["SET", QUEUE, "no stream"]).await;
    let ended = rig.redrive(&["dlq", "stats", "orders"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}
