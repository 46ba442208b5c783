//! `redrive trim`: what every group has acknowledged goes; asking first, and saying why nothing went.

use serde_json::json;

use super::rig::{Rig, assert_fails, keys};

/// 30 entries, of which the group has acknowledged the first 20 and holds two.
async fn used(rig: &Rig) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(rig.ask(&["XADD", "orders", "*", "n", &n.to_string()]).await);
    }
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "billing", "0"])
        .await;
    let read = [
        "XREADGROUP",
        "GROUP",
        "billing",
        "c",
        "COUNT",
        "22",
        "STREAMS",
        "orders",
        ">",
    ];
    let _: redis::Value = rig.ask(&read).await;
    let mut ack = vec!["XACK", "orders", "billing"];
    ack.extend(ids[..20].iter().map(String::as_str));
    assert_eq!(rig.ask::<u64>(&ack).await, 20);
    ids
}

#[tokio::test]
async fn what_is_done_goes_and_the_group_that_holds_back_is_named() {
    let rig = Rig::start().await;
    let ids = used(&rig).await;
    let would = rig.json(&["trim", "orders", "--dry-run"]).await;
    let expected = json!({
        "stream": "orders", "removed": 20, "left": 10, "first_id": ids[0],
        "held_by_group": "billing", "held_by_id": ids[20],
    });
    assert_eq!(would, expected);
    assert_eq!(rig.length("orders").await, 30);
    let did = rig.json(&["trim", "orders", "--yes"]).await;
    assert_eq!(keys(&did), keys(&expected));
    assert_eq!((&did["removed"], &did["left"]), (&json!(20), &json!(10)));
    assert_eq!(
        (&did["first_id"], &did["held_by_id"]),
        (&json!(ids[20]), &json!(ids[20]))
    );
    assert_eq!(rig.length("orders").await, 10);
    // Nothing more may go: that is said, and no failure.
    let again = rig.redrive(&["trim", "orders"]).await;
    assert_eq!(again.code, Some(0));
    let why = format!(
        "there is nothing to remove: the group billing has not acknowledged {}\n",
        ids[20]
    );
    assert_eq!(again.stderr, why);
    assert!(
        again
            .stdout
            .starts_with("removed        0\nleft           10\n"),
        "{}",
        again.stdout
    );
}

#[tokio::test]
async fn without_a_terminal_it_asks_for_yes() {
    let rig = Rig::start().await;
    used(&rig).await;
    let refused = rig.redrive(&["trim", "orders"]).await;
    assert_fails(
        &refused,
        2,
        "this would remove 20 entries of orders, which every group has acknowledged, and there is no \
         terminal to ask",
        "look first, with --dry-run, then say --yes",
    );
    assert_eq!(rig.length("orders").await, 30);
}

#[tokio::test]
async fn a_missing_stream_is_3_and_one_without_a_group_keeps_everything() {
    let rig = Rig::start().await;
    let missing = rig.redrive(&["trim", "orders", "--yes"]).await;
    assert_eq!(missing.code, Some(3));
    assert!(
        missing
            .stderr
            .starts_with("error: stream not found: orders\n"),
        "{}",
        missing.stderr
    );
    let _: String = rig.ask(&["XADD", "orders", "*", "n", "1"]).await;
    let kept = rig
        .redrive(&["trim", "orders", "--yes", "-o", "json"])
        .await;
    assert_eq!(kept.code, Some(0));
    assert!(
        kept.stderr
            .contains("without a group nobody has said what is done"),
        "{}",
        kept.stderr
    );
    assert_eq!(rig.length("orders").await, 1);
}
