//! What is done to a queue is recorded: that it begins, before anything is changed, and how it ended.

use super::*;
use crate::audit::{AuditAction, AuditQuery, AuditRecord, AuditState};
use crate::campaign::CampaignName;

async fn three() -> DeadLetterQueue {
    let (queue, _) = queue_of(&vec![letter("orders", "rejected", 0); 3]).await;
    queue
}

fn ann() -> Audit {
    Audit::by("ann@desk").unwrap().because("INC-1").unwrap()
}

async fn told(queue: &DeadLetterQueue) -> Vec<AuditRecord> {
    queue.audit(&AuditQuery::default()).await.unwrap()
}

/// What it is, how it ended, and `selected` and `done`.
fn brief(record: &AuditRecord) -> (&str, Option<AuditOutcome>, u64, u64) {
    let count = |name: &str| record.counts.get(name).copied().unwrap_or(0);
    (
        &record.what,
        record.outcome,
        count("selected"),
        count("done"),
    )
}

const DONE: Option<AuditOutcome> = Some(AuditOutcome::Done);

#[tokio::test(start_paused = true)]
async fn each_operation_says_who_did_it_and_how_many() {
    let queue = three().await.audited(ann());
    let name = CampaignName::new("fix").unwrap();
    let options = ReplayOptions::default().campaign(name.clone());
    let two = Selection::all().limit(2);
    queue.replay_many(&two, &options).await.unwrap();
    let campaign = queue.campaign(&name).await.unwrap().unwrap();
    assert_eq!(
        (campaign.who.as_deref(), campaign.because.as_deref()),
        (Some("ann@desk"), Some("INC-1"))
    );
    assert_eq!(queue.undo(&name).await.unwrap().undone, 2);
    let text = queue.export(&Selection::all()).await.unwrap();
    queue.purge(&Selection::all()).await.unwrap();
    let options = ImportOptions::default().audited(ann()).source("a.jsonl");
    let options = options.into_queue(queue.stream.clone());
    queue
        .broker
        .import(text.as_bytes(), &options)
        .await
        .unwrap();
    let first = queue.list(Page::default()).await.unwrap().dead_letters[0].id;
    queue
        .replay(first, &ReplayOptions::default())
        .await
        .unwrap();

    let records = told(&queue).await;
    let briefly: Vec<_> = records.iter().map(brief).collect();
    assert_eq!(
        briefly,
        [
            ("replay", DONE, 1, 1),
            ("import", DONE, 3, 3),
            ("purge", DONE, 3, 3),
            ("undo", DONE, 2, 2),
            ("replay", DONE, 2, 2),
        ]
    );
    for record in &records {
        assert_eq!(record.who.as_deref(), Some("ann@desk"));
        assert_eq!(record.because.as_deref(), Some("INC-1"));
        assert_eq!(record.op.len(), 16);
        assert!(record.ended_at_ms >= record.at_ms && record.at_ms.is_some());
    }
    let selections = records.iter().map(|record| record.selection.as_deref());
    let by_id = format!("--id {first}");
    assert_eq!(
        selections.collect::<Vec<_>>(),
        [
            Some(by_id.as_str()),
            Some("a.jsonl"),
            Some("--all"),
            None,
            Some("--all --limit 2")
        ]
    );
    let campaigns = records.iter().map(|record| record.campaign.as_deref());
    assert_eq!(
        campaigns.collect::<Vec<_>>(),
        [None, None, None, Some("fix"), Some("fix")]
    );
}

#[tokio::test(start_paused = true)]
async fn what_campaigns_are_told_is_recorded_and_what_is_refused_is_not() {
    let (queue, _) = queue_of(&vec![letter("orders", "rejected", 0); 300]).await;
    let name = CampaignName::new("fix").unwrap();
    let options = ReplayOptions::default().campaign(name.clone());
    let mut replaying = queue.replaying(&Selection::all(), &options).await.unwrap();
    replaying.step().await.unwrap();
    assert_eq!(
        queue.undo(&name).await.unwrap_err().kind(),
        ErrorKind::Refused
    );
    let other = CampaignName::new("other").unwrap();
    assert!(queue.pause_campaign(&other).await.is_err());
    // Told what it does already it changes nothing, and that is not recorded.
    queue.resume_campaign(&name).await.unwrap();
    queue.pause_campaign(&name).await.unwrap();
    queue.pause_campaign(&name).await.unwrap();
    queue.resume_campaign(&name).await.unwrap();
    queue.abort_campaign(&name).await.unwrap();
    queue.abort_campaign(&name).await.unwrap();
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(replaying.step().await.unwrap(), None);
    // An ended one does not go on, and is told nothing more.
    assert!(queue.resume_campaign(&name).await.is_err());
    assert!(queue.replaying(&Selection::all(), &options).await.is_err());
    let records = told(&queue).await;
    let briefly: Vec<_> = records.iter().map(brief).collect();
    assert_eq!(
        briefly,
        [
            ("abort", DONE, 0, 0),
            ("resume", DONE, 0, 0),
            ("pause", DONE, 0, 0),
            ("replay", Some(AuditOutcome::Stopped), 100, 100),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_and_what_finds_nothing_records_nothing() {
    let queue = three().await;
    let (all, options) = (Selection::all(), ReplayOptions::default());
    let mut dry = queue.dry_run(&all, &options).await.unwrap();
    while dry.step().await.unwrap().is_some() {}
    let none = Selection::all().reason(Reason::Undecodable);
    let named = CampaignName::new("fix").unwrap();
    let campaign = ReplayOptions::default().campaign(named.clone());
    queue.replay_many(&none, &campaign).await.unwrap();
    queue.purge(&none).await.unwrap();
    let unknown = Selection::ids([EntryId::new(1, 1), EntryId::new(2, 2)]);
    queue.replay_many(&unknown, &campaign).await.unwrap();
    queue.purge(&unknown).await.unwrap();
    assert!(queue.replay(EntryId::new(1, 1), &options).await.is_err());
    let own = ReplayOptions::default().target(queue.stream.clone());
    assert!(queue.replay_many(&all, &own).await.is_err());
    assert_eq!(told(&queue).await, []);
    assert!(queue.campaign(&named).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_half_way_has_begun_and_not_ended() {
    let (queue, _) = queue_of(&vec![letter("orders", "rejected", 0); 300]).await;
    let mut purging = queue.purging(&Selection::all()).await.unwrap();
    assert_eq!(told(&queue).await, []);
    purging.step().await.unwrap();
    drop(purging);
    let mut replaying = queue
        .replaying(&Selection::all(), &ReplayOptions::default())
        .await
        .unwrap();
    replaying.step().await.unwrap();
    let records = told(&queue).await;
    let states: Vec<_> = records
        .iter()
        .map(|one| (one.what.as_str(), one.state))
        .collect();
    assert_eq!(
        states,
        [("replay", AuditState::Began), ("purge", AuditState::Began)]
    );
    // Ended before its time it says so, once.
    replaying.end(AuditOutcome::Stopped).await;
    replaying.end(AuditOutcome::Done).await;
    let records = told(&queue).await;
    assert_eq!(
        brief(&records[0]),
        ("replay", Some(AuditOutcome::Stopped), 100, 100)
    );
    assert_eq!(records.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn two_operators_are_two_operations() {
    let queue = three().await;
    let bob = queue.clone().audited(Audit::by("bob").unwrap());
    let queue = queue.audited(ann());
    let two = [Selection::all().limit(1), Selection::all()];
    queue.purge(&two[0]).await.unwrap();
    bob.purge(&two[1]).await.unwrap();
    let records = told(&queue).await;
    let who: Vec<_> = records
        .iter()
        .map(|one| (one.who.as_deref().unwrap(), one.counts["done"]))
        .collect();
    assert_eq!(who, [("bob", 2), ("ann@desk", 1)]);
    assert_ne!(records[0].op, records[1].op);
    let one = AuditQuery::default().limit(1).what(AuditAction::Purge);
    assert_eq!(queue.audit(&one).await.unwrap(), records[..1]);
}

/// More than are read in one go, and as many as are kept.
#[tokio::test(start_paused = true)]
async fn a_long_audit_is_read_to_its_end() {
    let queue = three().await;
    for _ in 0..600 {
        let mut recording = recording::Recording::of(&queue, AuditAction::Purge);
        recording.begin().await.unwrap();
        recording.end(AuditOutcome::Done, &[]).await;
    }
    let query = AuditQuery::default().limit(10_000);
    let records = queue.audit(&query).await.unwrap();
    assert_eq!(records.len(), 600);
    assert!(records.iter().all(|one| one.state == AuditState::Ended));
}
