//! What cannot be recorded is not done: on a server that does not let a user write the audit, or is full.

use std::collections::BTreeMap;

use redrive::{
    Broker, CampaignName, CampaignState, DeadLetterQueue, Error, ErrorKind, ImportOptions, Message,
    Outcome, Page, Processor, ReplayOptions, Selection, Source,
};
use redrive_testkit::Server;

use super::rig::Rig;

/// A user who may do all but touch the audit.
const CLERK: &str = "clerk on >look %R~* ~orders ~orders:dlq ~{orders}:redrive:* \
     ~{orders:dlq}:redrive:ledger ~{orders:dlq}:redrive:campaign* ~{orders:dlq}:redrive:undo:* \
     ~{orders:dlq}:redrive:imported:* +@all";

async fn everything(rig: &Rig) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for key in rig.ask::<Vec<String>>("KEYS *").await {
        let dump = rig.ask(&format!("DUMP {key}")).await;
        all.insert(key, dump);
    }
    all
}

/// Three dead letters, of which one was put back in a paused campaign, and one in one that runs.
async fn prepared(rig: &Rig) -> CampaignName {
    rig.add(3).await;
    let mut processor = rig
        .builder()
        .build(async |_: Message<u32>| Outcome::dead_letter("no"))
        .unwrap();
    processor.run_until_idle().await.unwrap();
    let name: CampaignName = "fix".parse().unwrap();
    let options = ReplayOptions::default().campaign(name.clone());
    let mut replaying = rig
        .dlq()
        .replaying(&Selection::all().limit(1), &options)
        .await
        .unwrap();
    replaying.step().await.unwrap();
    rig.dlq().pause_campaign(&name).await.unwrap();
    let options = ReplayOptions::default().campaign("runs".parse().unwrap());
    let dlq = rig.dlq();
    let mut replaying = dlq
        .replaying(&Selection::all().limit(1), &options)
        .await
        .unwrap();
    replaying.step().await.unwrap();
    name
}

/// Tries everything, and answers what each was told.
async fn tries(broker: &Broker, queue: &DeadLetterQueue, name: &CampaignName) -> Vec<Error> {
    let (all, options) = (Selection::all(), ReplayOptions::default());
    let first = queue.list(Page::default()).await.unwrap();
    let first = first.dead_letters[0].id;
    let named = ReplayOptions::default().campaign("other".parse().unwrap());
    let goes_on = ReplayOptions::default().campaign(name.clone());
    let runs: CampaignName = "runs".parse().unwrap();
    // Told what it does already it changes nothing, and there is nothing to record.
    let paused = queue.pause_campaign(name).await.unwrap();
    assert_eq!(paused, CampaignState::Paused);
    let export = export_of_another().await;
    let elsewhere = ImportOptions::default().into_queue(queue.stream().clone());
    vec![
        queue.replay(first, &options).await.unwrap_err(),
        queue.replay_many(&all, &options).await.unwrap_err(),
        queue.replay_many(&all, &named).await.unwrap_err(),
        queue
            .replay_many(&Selection::all().limit(1), &goes_on)
            .await
            .unwrap_err(),
        queue.purge(&all).await.unwrap_err(),
        queue.undo(name).await.unwrap_err(),
        queue.pause_campaign(&runs).await.unwrap_err(),
        queue.resume_campaign(name).await.unwrap_err(),
        queue.abort_campaign(name).await.unwrap_err(),
        broker
            .import(export.as_bytes(), &elsewhere)
            .await
            .unwrap_err(),
    ]
}

/// Of another queue, so that nothing of it lies here.
async fn export_of_another() -> String {
    let broker = Broker::connect("memory:").await.unwrap();
    let stream = broker.producer("orders".parse().unwrap());
    stream.send(&1).await.unwrap();
    Processor::builder(&broker, Source::new("orders", "billing").unwrap())
        .build(async |_: Message<u32>| Outcome::dead_letter("no"))
        .unwrap()
        .run_until_idle()
        .await
        .unwrap();
    let queue = broker.dead_letters("orders:dlq".parse().unwrap());
    queue.export(&Selection::all()).await.unwrap()
}

#[tokio::test]
async fn who_may_not_write_the_audit_changes_nothing() {
    let rig = Rig::on(Server::builder().acl(CLERK).start().await).await;
    let name = prepared(&rig).await;
    let before = everything(&rig).await;
    let url = format!("redis://clerk:look@127.0.0.1:{}", rig.server.port());
    let broker = Broker::connect(&url).await.unwrap();
    let queue = broker.dead_letters("orders:dlq".parse().unwrap());
    for error in tries(&broker, &queue, &name).await {
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        let cure = error.cure().unwrap();
        assert!(cure.contains("what is not recorded is not done"), "{cure}");
        assert!(cure.contains("SECURITY.md"), "{cure}");
    }
    assert_eq!(everything(&rig).await, before);
}

#[tokio::test]
async fn where_the_server_is_full_nothing_begins() {
    let rig = Rig::start().await;
    let name = prepared(&rig).await;
    let before = everything(&rig).await;
    let _: String = rig.ask("CONFIG SET maxmemory 1").await;
    for error in tries(&rig.broker, &rig.dlq(), &name).await {
        assert_eq!(error.kind(), ErrorKind::WritesRefused, "{error:?}");
        let cure = error.cure().unwrap();
        assert!(cure.contains("maxmemory"), "{cure}");
    }
    let _: String = rig.ask("CONFIG SET maxmemory 0").await;
    assert_eq!(everything(&rig).await, before);
}
