//! Killers in groups, in their consumers, and in how long a stream is.

use std::time::Duration;

use redrive::{Checkup, ErrorKind, FindingCode, Fixed, Message, Outcome, RetryPolicy, Severity};
use redrive_testkit::eventually;

use super::{billing, impatient, orders, sound, the};
use crate::SOON;
use crate::rig::{Worker, stream};

#[tokio::test]
async fn a_missing_group_is_found_and_created_where_nothing_is_skipped() {
    let rig = sound().await;
    let nothing = rig.broker.examine(&orders()).await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::NotFound);
    for id in 1..=3 {
        let _: String = rig.ask(&format!("XADD orders {id}-0 data {id}")).await;
    }
    assert_eq!(
        rig.told().await,
        [(FindingCode::MissingGroup, Severity::Warning, None)]
    );
    let all = rig.finds(&Checkup::of_everything()).await;
    assert_eq!(
        the(FindingCode::MissingGroup, &all).severity,
        Severity::Note
    );

    let checkup = Checkup::of_group(billing());
    let found = rig.finds(&checkup).await;
    let missing = the(FindingCode::MissingGroup, &found);
    assert_eq!(
        (missing.severity, missing.fixable()),
        (Severity::Critical, true)
    );
    assert_eq!(rig.broker.fix(missing).await.unwrap(), Fixed::GroupCreated);
    assert_eq!(rig.broker.fix(missing).await.unwrap(), Fixed::Nothing);
    assert_eq!(rig.finds(&checkup).await, []);

    // It had done with two of them when it vanished.
    let processor = rig
        .builder()
        .build(async |message: Message<u32>| match *message {
            3 => Outcome::retry("not yet"),
            _ => Outcome::Ack,
        });
    let mut processor = processor.unwrap();
    processor.run_batches(2).await.unwrap();
    let _: u64 = rig.ask("XGROUP DESTROY orders billing").await;
    // Met on the way it is found, and created only where it is named.
    let met = rig.finds(&orders()).await;
    let met = the(FindingCode::MissingGroup, &met);
    assert_eq!((met.severity, met.fixable()), (Severity::Critical, false));
    let found = rig.finds(&checkup).await;
    let vanished = the(FindingCode::MissingGroup, &found);
    assert!(
        vanished.meaning.starts_with("redrive has worked"),
        "{}",
        vanished.meaning
    );
    rig.broker.fix(vanished).await.unwrap();
    rig.reads("python", 9).await;
    let again = rig.pending().await;
    assert!(again.iter().any(|row| row.0 == "3-0"), "{again:?}");
}

#[tokio::test]
async fn a_group_that_stands_where_it_should_not_is_found() {
    let rig = sound().await;
    rig.holds(1..=4).await;
    let _: String = rig.ask("XGROUP CREATE orders ahead 99-0").await;
    let _: String = rig.ask("XGROUP CREATE orders late $").await;
    let _: String = rig.ask("XGROUP CREATE orders middle 2-0").await;
    let found = rig.finds(&orders()).await;
    let of = |code| the(code, &found).group.as_ref().unwrap().as_str();
    assert_eq!(of(FindingCode::GroupAhead), "ahead");
    let unread = found
        .iter()
        .filter(|one| one.code == FindingCode::UnreadEntries);
    let unread: Vec<&str> = unread
        .map(|one| one.group.as_ref().unwrap().as_str())
        .collect();
    assert_eq!(unread, ["late", "middle"]);
    assert_eq!(of(FindingCode::Lag), "middle");
    let worse = found.iter().filter(|one| one.severity > Severity::Note);
    assert_eq!(worse.count(), 1, "{found:#?}");
}

/// What was to be retried, and went with its consumer.
#[tokio::test]
async fn what_redrive_began_and_a_deleted_consumer_took_with_it_is_found_and_comes_back() {
    let rig = sound().await;
    rig.add(1).await;
    let later = RetryPolicy::fixed(Duration::from_secs(3_600));
    let processor = rig
        .builder()
        .retry(later)
        .build(async |_: Message<u32>| Outcome::retry("not yet"))
        .unwrap();
    let worker = Worker::start(processor);
    eventually(SOON, "a failure on the books", async || {
        match rig.ask::<u64>("HLEN {orders}:redrive:billing:state").await {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    worker.stop().await;
    let (_, consumer, ..) = rig.pending().await.remove(0);
    let lost: u64 = rig
        .ask(&format!("XGROUP DELCONSUMER orders billing {consumer}"))
        .await;
    assert_eq!(lost, 1);
    let found = rig.finds(&orders()).await;
    let unsettled = the(FindingCode::UnsettledEntries, &found);
    assert_eq!(unsettled.severity, Severity::Warning);
    let cure = unsettled.cure.as_ref().unwrap();
    let _: redis::Value = rig.ask(&cure[1..].join(" ")).await;
    assert_eq!(rig.pending().await.len(), 1);
    let found = rig.finds(&orders()).await;
    let left = found
        .iter()
        .any(|one| one.code == FindingCode::UnsettledEntries);
    assert!(!left, "{found:#?}");
}

#[tokio::test]
async fn leaked_consumers_are_found_and_removed_and_who_holds_work_stays() {
    let rig = sound().await;
    rig.holds(1..=9).await;
    rig.reads("python", 2).await;
    for n in 0..120 {
        let create = format!("XGROUP CREATECONSUMER orders billing old-{n}");
        let _: u64 = rig.ask(&create).await;
    }
    rig.own("redrive", 30_000).await;
    assert_eq!(
        rig.told().await,
        [(FindingCode::ForeignConsumers, Severity::Note, None)]
    );
    let found = rig.finds(&impatient()).await;
    let leaked = the(FindingCode::LeakedConsumers, &found);
    assert_eq!(
        (leaked.severity, leaked.fixable()),
        (Severity::Warning, true)
    );
    let held = rig.pending().await;
    eventually(SOON, "all of them gone", async || {
        rig.broker.fix(leaked).await.unwrap();
        let mut left = rig.consumers().await;
        left.sort();
        if left == ["python", "redrive"] {
            Ok(())
        } else {
            Err(left)
        }
    })
    .await;
    let ids = |rows: &[(String, String, u64, u64)]| -> Vec<String> {
        rows.iter().map(|row| row.0.clone()).collect()
    };
    assert_eq!(ids(&rig.pending().await), ids(&held));
}

#[tokio::test]
async fn a_group_that_nobody_reads_and_that_holds_the_stream_back_is_found() {
    let rig = sound().await;
    rig.add(9).await;
    let _: String = rig.ask("XGROUP CREATE orders billing $").await;
    let _: String = rig.ask("XGROUP CREATE orders forgotten 0").await;
    let leaked = |found: &[redrive::Finding]| {
        found
            .iter()
            .filter(|one| one.code == FindingCode::LeakedGroup)
            .count()
    };
    assert_eq!(leaked(&rig.finds(&orders()).await), 0, "a new one");
    let found = rig.finds(&impatient()).await;
    let group = the(FindingCode::LeakedGroup, &found)
        .group
        .as_ref()
        .unwrap();
    assert_eq!(group.as_str(), "forgotten");
    // Asked for alone, it is judged beside the others all the same.
    let alone = Checkup::of_group(redrive::Source::new("orders", "forgotten").unwrap());
    assert_eq!(leaked(&rig.finds(&alone.silent(Duration::ZERO)).await), 1);
}

#[tokio::test]
async fn workers_that_do_not_agree_are_found() {
    let rig = sound().await;
    rig.holds(1..=2).await;
    rig.own("a", 1_000).await;
    assert_eq!(rig.told().await, []);
    rig.own("b", 30_000).await;
    assert_eq!(
        rig.told().await,
        [(FindingCode::ClashingLimits, Severity::Warning, None)]
    );
}

#[tokio::test]
async fn a_stream_that_nobody_trims_and_one_that_cannot_be_are_found() {
    let rig = sound().await;
    let mut grow = redis::cmd("EVAL");
    grow.arg("for i = 1, 100000 do redis.call('XADD', KEYS[1], i .. '-0', 'n', '1') end")
        .arg(1)
        .arg("orders");
    let mut plain = rig.server.connect().await;
    let _: () = grow.query_async(&mut plain).await.unwrap();
    let _: String = rig.ask("XGROUP CREATE orders billing 100000-0").await;
    let _: u64 = rig.ask("XGROUP CREATECONSUMER orders billing p").await;
    assert_eq!(
        rig.told().await,
        [(FindingCode::Untrimmed, Severity::Warning, None)]
    );
    let trimmed = rig.broker.trim(&stream("orders")).await.unwrap();
    assert_eq!(trimmed.left, 0);
    assert_eq!(rig.told().await, []);

    let _: u64 = rig.ask("DEL orders").await;
    for setting in ["stream-node-max-entries 0", "stream-node-max-bytes 0"] {
        let _: String = rig.ask(&format!("CONFIG SET {setting}")).await;
    }
    let _: () = grow.query_async(&mut plain).await.unwrap();
    let removed: u64 = rig.ask("XTRIM orders MAXLEN ~ 1000").await;
    assert_eq!(removed, 0);
    let found = rig.finds(&orders()).await;
    the(FindingCode::CoarseTrimming, &found);
}
