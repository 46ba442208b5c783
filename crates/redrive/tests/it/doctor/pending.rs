//! Killers in what is pending.

use redrive::{FindingCode, Severity};

use super::{HOUR, orders, sound, the};

#[tokio::test]
async fn ghosts_are_found_whether_trimmed_or_deleted() {
    let rig = sound().await;
    rig.holds(1..=9).await;
    rig.reads("python", 7).await;
    let _: u64 = rig.ask("XTRIM orders MINID 3-0").await;
    let _: u64 = rig.ask("XDEL orders 5-0 8-0").await;
    let found = rig.finds(&orders()).await;
    let ghosts = the(FindingCode::Ghosts, &found);
    assert_eq!(ghosts.severity, Severity::Critical);
    let cure = ghosts.cure.as_ref().unwrap();
    assert_eq!(cure[4..], ["1-0", "2-0", "5-0"]);
    let acked: u64 = rig.ask(&cure[1..].join(" ")).await;
    assert_eq!(acked, 3);
    let found = rig.finds(&orders()).await;
    assert!(
        found.iter().all(|one| one.code != FindingCode::Ghosts),
        "{found:#?}"
    );
}

#[tokio::test]
async fn a_tail_that_nobody_reaches_is_found() {
    let rig = sound().await;
    rig.holds(1..=150).await;
    rig.reads("python", 150).await;
    assert_eq!(rig.told().await, []);
    for id in 1..=150 {
        let (idle, deliveries) = if id <= 100 { (1_000, 9) } else { (HOUR, 1) };
        rig.ages("python", id, idle, deliveries).await;
    }
    let found = rig.finds(&orders()).await;
    let tail = the(FindingCode::UnreachableTail, &found);
    assert_eq!(tail.severity, Severity::Critical);
    assert!(
        tail.meaning
            .contains("50 entries behind them, from 101-0 on"),
        "{}",
        tail.meaning
    );
}

#[tokio::test]
async fn who_holds_work_and_does_not_do_it_is_found() {
    let rig = sound().await;
    rig.holds(1..=9).await;
    // Of redrive's, one without a sign of life; another one that lives is beside it.
    rig.own("gone", 1_000).await;
    rig.own("here", 1_000).await;
    rig.reads("gone", 1).await;
    rig.ages("gone", 1, 60_000, 1).await;
    let _: u64 = rig.ask("DEL {orders}:redrive:billing:alive:gone").await;
    let dead = (
        FindingCode::DeadConsumer,
        Severity::Warning,
        Some("gone".to_owned()),
    );
    assert_eq!(rig.told().await, [dead]);
    // With nobody beside it nobody will do it.
    let _: u64 = rig.ask("DEL {orders}:redrive:billing:alive:here").await;
    let dead = (
        FindingCode::DeadConsumer,
        Severity::Critical,
        Some("gone".to_owned()),
    );
    assert!(rig.told().await.contains(&dead));
}

#[tokio::test]
async fn a_plain_consumer_that_does_not_come_back_to_its_work_is_found() {
    let rig = sound().await;
    rig.holds(1..=9).await;
    rig.reads("python", 2).await;
    rig.ages("python", 1, HOUR, 1).await;
    let stuck = (
        FindingCode::StuckEntries,
        Severity::Warning,
        Some("python".to_owned()),
    );
    assert_eq!(rig.told().await, [stuck]);
}

/// That somebody is silent cannot be set: all patience is taken from the doctor instead.
#[tokio::test]
async fn a_plain_consumer_that_died_with_its_work_is_found() {
    let rig = sound().await;
    rig.holds(1..=9).await;
    rig.reads("python", 2).await;
    let found = rig.finds(&super::impatient()).await;
    let dead = the(FindingCode::DeadConsumer, &found);
    assert_eq!(dead.consumer.as_deref(), Some("python"));
    assert_eq!(dead.severity, Severity::Critical);
}

#[tokio::test]
async fn a_lease_that_is_too_short_is_found() {
    let rig = sound().await;
    rig.holds(1..=9).await;
    rig.own("slow", 1_000).await;
    rig.reads("slow", 1).await;
    rig.ages("slow", 1, 60_000, 1).await;
    let short = (
        FindingCode::ShortLease,
        Severity::Warning,
        Some("slow".to_owned()),
    );
    assert_eq!(rig.told().await, [short]);
}

#[tokio::test]
async fn work_that_plain_consumers_take_from_each_other_is_found() {
    let rig = sound().await;
    rig.holds(1..=9).await;
    rig.reads("python", 2).await;
    rig.ages("python-2", 1, 0, 7).await;
    assert_eq!(
        rig.told().await,
        [(FindingCode::ShortLease, Severity::Warning, None)]
    );
}
