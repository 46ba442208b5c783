//! The incident to practise on: what is in it, that it is asked for, and that all of it can be worked on.

use std::collections::BTreeMap;

use serde_json::Value;

use super::rig::Rig;

const DLQ: &str = "redrive-demo:incident:dlq";

#[tokio::test]
async fn six_causes_are_in_eight_groups_and_all_of_it_can_be_put_back() {
    let rig = Rig::start().await;
    let url = rig.server.url();
    let make = ["demo", "--incident", "--url", url.as_str()];
    // Nobody is there to be asked.
    let ended = rig.redrive(&make).await.failed(2);
    let asked = "this would write 40000 dead letters to redrive-demo:incident:dlq of redis://";
    assert!(ended.stderr.contains(asked), "{}", ended.stderr);
    assert_eq!(rig.everything().await, BTreeMap::new());

    let make = [&make[..], &["--yes"]].concat();
    let made = rig.redrive(&make).await;
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
    let next = format!("  export REDRIVE_URL={url}\n  redrive dlq groups --dlq {DLQ}\n");
    assert!(made.stdout.contains(&next), "{}", made.stdout);

    let groups = rig.json(&["dlq", "groups", "--dlq", DLQ]).await;
    let groups = groups.as_array().unwrap();
    let counts: Vec<u64> = groups
        .iter()
        .map(|group| group["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [32_000, 5_000, 2_000, 800, 70, 60, 60, 10]);
    let reasons = rig
        .json(&["dlq", "groups", "--dlq", DLQ, "--group-by", "reason"])
        .await;
    let reasons: BTreeMap<&str, u64> = (reasons.as_array().unwrap().iter())
        .map(|group| {
            (
                group["key"].as_str().unwrap(),
                group["count"].as_u64().unwrap(),
            )
        })
        .collect();
    let told = [
        ("attempts_exhausted", 39_860),
        ("crash_loop", 10),
        ("rejected", 60),
        ("undecodable", 70),
    ];
    assert_eq!(reasons, BTreeMap::from(told));
    // Of each a sample: it says what a real one says.
    for (group, layout) in groups.iter().zip(["native", "flat", "envelope", "native"]) {
        let id = group["sample_id"].as_str().unwrap();
        let sample = rig.json(&["dlq", "show", id, "--dlq", DLQ]).await;
        assert_eq!(
            (&sample["layout"], &sample["attempts"]),
            (&layout.into(), &3.into())
        );
        assert_ne!(sample["payload"], Value::Null, "{sample}");
    }
    let ledger: BTreeMap<String, u64> = rig
        .ask(&["HGETALL", &format!("{{{DLQ}}}:redrive:ledger")])
        .await;
    assert_eq!(
        ledger,
        BTreeMap::from([("dead_lettered".to_owned(), 40_000)])
    );

    // What is there is not doubled, and not thrown away unasked.
    let ended = rig.redrive(&make).await.failed(1);
    assert!(
        ended
            .stderr
            .contains("there is an incident already: redrive-demo:incident:dlq"),
        "{}",
        ended.stderr
    );
    let all = rig
        .json(&["dlq", "replay", "--dlq", DLQ, "--all", "--yes"])
        .await;
    assert_eq!(
        (&all["replayed"], &all["failed"]),
        (&40_000.into(), &0.into())
    );
    let anew = rig.redrive(&[&make[..], &["--force"]].concat()).await;
    assert_eq!(anew.code, Some(0), "{}", anew.stderr);
    assert_eq!(rig.length(DLQ).await, 40_000);
    let keys: Vec<String> = rig.ask(&["KEYS", "*"]).await;
    assert_eq!(keys.len(), 2, "{keys:?}");
}

#[tokio::test]
async fn without_a_server_its_groups_are_told_and_nothing_is_asked() {
    let rig = Rig::start().await;
    let told = rig.redrive(&["demo", "--incident"]).await;
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""));
    assert!(told.stdout.contains("  32000  80.0%  "), "{}", told.stdout);
    assert!(
        told.stdout.contains("This was in memory, and is gone."),
        "{}",
        told.stdout
    );
    assert_eq!(rig.everything().await, BTreeMap::new());
    rig.redrive(&["demo", "--force"]).await.failed(2);
}
