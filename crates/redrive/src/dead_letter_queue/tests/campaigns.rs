//! Campaigns wait for their canary, stop themselves, and are told to wait and to end, by a clock that the
//! test has in its hand.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::campaign::{Campaign, CampaignName, CampaignState};
use crate::message::Message;
use crate::names::Source;
use crate::outcome::Outcome;
use crate::processor::Processor;

const LONG: Duration = Duration::from_secs(3_600);

fn name() -> CampaignName {
    CampaignName::new("again").unwrap()
}

fn canary() -> ReplayOptions {
    let options = ReplayOptions::default().campaign(name()).canary(20);
    options.abort_if("dead-again>5%".parse().unwrap()).unwrap()
}

async fn work(queue: &DeadLetterQueue, outcome: fn() -> Outcome) {
    Processor::builder(&queue.broker, Source::new("orders", "billing").unwrap())
        .build(move |_: Message<serde_json::Value>| async move { outcome() })
        .unwrap()
        .run_until_idle()
        .await
        .unwrap();
}

async fn told(queue: &DeadLetterQueue) -> Campaign {
    queue.campaign(&name()).await.unwrap().unwrap()
}

fn counts(told: &Campaign) -> [u64; 4] {
    [told.replayed, told.succeeded, told.dead_again, told.waiting]
}

/// A campaign over fifty that has put back its canary and waits.
async fn waiting() -> (DeadLetterQueue, Replaying) {
    let (queue, _) = queue_of(&vec![letter("orders", "rejected", 0); 50]).await;
    let mut replaying = queue.replaying(&Selection::all(), &canary()).await.unwrap();
    let stepping = async { while replaying.step().await.unwrap().is_some() {} };
    assert!(timeout(LONG, stepping).await.is_err(), "it does not wait");
    assert_eq!(replaying.report().replayed, 20);
    assert_eq!(queue.length().await.unwrap(), 30);
    let watch = replaying.campaign().unwrap().now();
    assert!(matches!(watch, CampaignStep::Canary(told) if told.waiting == 20));
    (queue, replaying)
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_dies_again_stops_the_campaign() {
    let (queue, mut replaying) = waiting().await;
    work(&queue, || Outcome::dead_letter("still no currency")).await;
    assert_eq!(replaying.step().await.unwrap(), None);
    assert_eq!(replaying.report().replayed, 20);
    let ended = replaying.campaign().unwrap().now();
    let CampaignStep::Ended(CampaignState::Stopped, Some(known)) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(counts(&known), [20, 0, 20, 0]);
    assert_eq!(known.fingerprints.len(), 1);
    assert_eq!(told(&queue).await.state, CampaignState::Stopped);
    assert_eq!(queue.length().await.unwrap(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_passes_lets_the_rest_go() {
    let (queue, mut replaying) = waiting().await;
    work(&queue, || Outcome::Ack).await;
    while replaying.step().await.unwrap().is_some() {}
    assert_eq!(counts(&told(&queue).await), [50, 20, 0, 30]);
    work(&queue, || Outcome::Ack).await;
    let told = told(&queue).await;
    assert_eq!(
        (told.state, counts(&told)),
        (CampaignState::Done, [50, 50, 0, 0])
    );
}

/// Also what is no more than the canary is waited for, and what dies again is not counted twice when
/// its dead letter is gone.
#[tokio::test(start_paused = true)]
async fn a_campaign_that_is_all_canary_waits_for_its_outcome() {
    let (queue, _) = queue_of(&vec![letter("orders", "rejected", 0); 5]).await;
    let mut replaying = queue.replaying(&Selection::all(), &canary()).await.unwrap();
    let stepping = async { while replaying.step().await.unwrap().is_some() {} };
    assert!(timeout(LONG, stepping).await.is_err(), "it does not wait");
    work(&queue, || Outcome::dead_letter("still no currency")).await;
    assert_eq!(replaying.step().await.unwrap(), None);
    assert_eq!(queue.purge(&Selection::all()).await.unwrap().purged, 5);
    let told = told(&queue).await;
    assert_eq!(
        (told.state, counts(&told)),
        (CampaignState::Stopped, [5, 0, 5, 0])
    );
}

#[tokio::test(start_paused = true)]
async fn a_campaign_is_paused_resumed_and_aborted_between_its_steps() {
    let (queue, _) = queue_of(&vec![letter("orders", "rejected", 0); 700]).await;
    let options = ReplayOptions::default().campaign(name());
    let mut replaying = queue.replaying(&Selection::all(), &options).await.unwrap();
    replaying.step().await.unwrap();
    assert_eq!(
        queue.pause_campaign(&name()).await.unwrap(),
        CampaignState::Running
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(
        timeout(LONG, replaying.step()).await.is_err(),
        "it does not wait"
    );
    assert_eq!(replaying.campaign().unwrap().now(), CampaignStep::Paused);
    assert_eq!(
        queue.resume_campaign(&name()).await.unwrap(),
        CampaignState::Paused
    );
    assert!(replaying.step().await.unwrap().is_some());
    assert_eq!(
        queue.abort_campaign(&name()).await.unwrap(),
        CampaignState::Running
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(replaying.step().await.unwrap(), None);
    assert_eq!(queue.length().await.unwrap(), 100);
    let error = queue.resume_campaign(&name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let again = queue
        .replaying(&Selection::all(), &options)
        .await
        .unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Refused);
}

#[tokio::test(start_paused = true)]
async fn undoing_is_refused_while_it_runs_and_takes_back_what_has_not_started() {
    let (queue, _) = queue_of(&vec![letter("orders", "rejected", 0); 250]).await;
    let options = ReplayOptions::default().campaign(name());
    let mut replaying = queue.replaying(&Selection::all(), &options).await.unwrap();
    replaying.step().await.unwrap();
    assert_eq!(
        queue.undo(&name()).await.unwrap_err().kind(),
        ErrorKind::Refused
    );
    while replaying.step().await.unwrap().is_some() {}
    let mut dry = queue.dry_undo(&name()).await.unwrap();
    while dry.step().await.unwrap().is_some() {}
    assert_eq!(dry.report().undone, 250);
    assert_eq!(queue.length().await.unwrap(), 0);
    let report = queue.undo(&name()).await.unwrap();
    assert_eq!(
        (report.selected, report.undone, report.new_ids.len()),
        (250, 250, 250)
    );
    assert_eq!(queue.length().await.unwrap(), 250);
    assert_eq!(told(&queue).await.undone, 250);
    // After its window nothing is kept.
    let options = options
        .undo_window(LONG)
        .campaign(CampaignName::new("later").unwrap());
    queue
        .replay_many(&Selection::all(), &options)
        .await
        .unwrap();
    tokio::time::advance(2 * LONG).await;
    let report = queue
        .undo(&CampaignName::new("later").unwrap())
        .await
        .unwrap();
    assert_eq!((report.undone, report.not_kept), (0, 250));
}

#[test]
fn a_rule_is_about_what_died_again() {
    for rule in ["pending>5%", "dead-again>5m", "dead-again>5KiB"] {
        let refused = ReplayOptions::default().abort_if(rule.parse().unwrap());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid, "{rule}");
    }
}

#[test]
fn a_rule_that_never_breaks_or_always_does_is_none() {
    for rule in [
        "dead-again>101%",
        "dead-again>100%",
        "dead-again>=100.1%",
        "dead-again>=0",
        "dead-again>=0%",
        "dead-again<5%",
        "dead-again<=3",
        "dead-again=3",
        "dead-again=100%",
    ] {
        let refused = ReplayOptions::default().abort_if(rule.parse().unwrap());
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{rule}");
        assert!(error.cure().unwrap().contains("dead-again>5%"), "{rule}");
    }
    for rule in [
        "dead-again>0",
        "dead-again>0%",
        "dead-again>=1",
        "dead-again>=100%",
        "dead-again>99.9%",
        "dead-again>1000000",
    ] {
        let taken = ReplayOptions::default().abort_if(rule.parse().unwrap());
        assert!(taken.is_ok(), "{rule}");
    }
}
