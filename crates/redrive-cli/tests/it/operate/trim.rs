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

/// It was said to have not acknowledged the entry, as if it were there: nobody found it in `XINFO GROUPS`.
#[tokio::test]
async fn a_group_that_has_vanished_is_said_to_have_and_how_it_is_forgotten() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let _: u64 = rig.ask(&["XGROUP", "DESTROY", "orders", "billing"]).await;
    let _: String = rig.ask(&["XADD", "orders", "*", "n", "4"]).await;
    let _: String = rig.ask(&["XGROUP", "CREATE", "orders", "audit", "$"]).await;
    let later: String = rig.ask(&["XADD", "orders", "*", "n", "5"]).await;
    rig.json(&["trim", "orders", "--yes"]).await;
    // Where it is known to have come.
    let would = rig.json(&["trim", "orders", "--dry-run"]).await;
    assert_eq!(
        (&would["removed"], &would["held_by_group"]),
        (&json!(0), &json!("billing"))
    );
    let from = would["held_by_id"].as_str().unwrap();
    let again = rig.redrive(&["trim", "orders"]).await;
    let vanished = format!(
        "there is nothing to remove: the group billing has vanished, and is not known to have done {from}, \
         where a worker creates it again; who knows that it will not come back forgets it with \
         `redrive group delete`\n"
    );
    assert_eq!((again.code, again.stderr), (Some(0), vanished));

    let forget = ["group", "delete", "orders", "-g", "billing", "--yes", "-q"];
    assert_eq!(rig.redrive(&forget).await.code, Some(0));
    let did = rig.redrive(&["trim", "orders", "--yes", "-q"]).await;
    assert_eq!((did.code, &*did.stderr), (Some(0), ""));
    assert_eq!(rig.length("orders").await, 1);
    let held = rig.redrive(&["trim", "orders"]).await;
    let audit =
        format!("there is nothing to remove: the group audit has not acknowledged {later}\n");
    assert_eq!(held.stderr, audit);
}
