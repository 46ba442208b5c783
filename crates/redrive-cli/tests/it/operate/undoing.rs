//! Undoing a campaign: what nobody was given is parked again, and nothing else.

use serde_json::Value;

use super::campaigns::{campaign, counts};
use super::rig::Rig;

#[tokio::test]
async fn undoing_parks_again_what_has_not_started_and_nothing_else() {
    let rig = Rig::start().await;
    rig.reject(5).await;
    let before = rig.entries("orders:dlq").await;
    rig.json(&[
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "--campaign",
        "fix",
    ])
    .await;
    let read = [
        "XREADGROUP",
        "GROUP",
        "billing",
        "plain",
        "COUNT",
        "1",
        "STREAMS",
        "orders",
        ">",
    ];
    let _: redis::Value = rig.ask(&read).await;
    let undo = ["dlq", "undo", "fix", "orders"];
    let asked = rig.redrive(&undo).await;
    assert_eq!(asked.code, Some(2), "{}", asked.stderr);
    assert!(
        asked
            .stderr
            .contains("this would park 4 messages of the campaign fix again, in orders:dlq"),
        "{}",
        asked.stderr
    );
    let all = rig.everything().await;
    let dry = rig
        .redrive(&[&undo[..], &["--dry-run", "-o", "json"]].concat())
        .await;
    assert_eq!(dry.code, Some(4), "{}", dry.stderr);
    let told: Value = serde_json::from_str(&dry.stdout).unwrap();
    assert_eq!((&told["undone"], &told["started"]), (&4.into(), &1.into()));
    assert_eq!(rig.everything().await, all);
    let done = rig.redrive(&[&undo[..], &["--yes"]].concat()).await;
    assert_eq!(done.code, Some(4), "{}", done.stderr);
    assert!(
        done.stderr.contains("error: 1 of 5 not undone"),
        "{}",
        done.stderr
    );
    let parked = rig.entries("orders:dlq").await;
    let fields = |entries: &[(String, Vec<Vec<u8>>)]| -> Vec<Vec<Vec<u8>>> {
        entries.iter().map(|(_, fields)| fields.clone()).collect()
    };
    assert_eq!(fields(&parked), fields(&before[1..]));
    assert_eq!(rig.length("orders").await, 6);
    assert_eq!(counts(&campaign(&rig, "fix").await), [5, 0, 0, 1, 4]);
    let ledger: String = rig
        .ask(&["HGET", "{orders:dlq}:redrive:ledger", "replayed"])
        .await;
    assert_eq!(ledger, "1");
    let again = rig.redrive(&[&undo[..], &["--yes"]].concat()).await;
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert_eq!(rig.length("orders:dlq").await, 4);
}

#[tokio::test]
async fn without_a_window_nothing_is_kept_and_nothing_is_undone() {
    let rig = Rig::start().await;
    rig.reject(2).await;
    rig.json(&[
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "--campaign",
        "fix",
        "--undo-window",
        "none",
    ])
    .await;
    let kept: u64 = rig.ask(&["EXISTS", "{orders:dlq}:redrive:undo:fix"]).await;
    assert_eq!(kept, 0);
    let ended = rig
        .redrive(&["dlq", "undo", "fix", "orders", "--yes", "-o", "json"])
        .await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&told["selected"], &told["not_kept"]),
        (&2.into(), &2.into())
    );
    let hint = "hint: of what is not kept there is no original: it was put back with --undo-window none, or \
                that window is over\n";
    assert!(ended.stderr.ends_with(hint), "{}", ended.stderr);
    assert_eq!(rig.length("orders").await, 4);
}

#[tokio::test]
async fn what_is_no_longer_on_its_stream_is_not_undone_and_says_why() {
    let rig = Rig::start().await;
    rig.reject(2).await;
    let replay = [
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "--campaign",
        "fix",
    ];
    rig.json(&replay).await;
    let _: u64 = rig.ask(&["DEL", "orders"]).await;
    let ended = rig
        .redrive(&["dlq", "undo", "fix", "orders", "--yes", "-o", "json"])
        .await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&told["selected"], &told["gone"]), (&2.into(), &2.into()));
    let hint = "hint: what is gone is no longer on its stream: it was deleted or trimmed there\n";
    assert!(ended.stderr.ends_with(hint), "{}", ended.stderr);
}
