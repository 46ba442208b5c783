//! Campaigns: they wait for their canary, stop themselves, are killed, paused and aborted, and their
//! numbers stay true.

use std::time::Duration;

use redrive::{Broker, Layout, Message, Outcome, Processor, Source};
use redrive_testkit::eventually;
use rustix::process::Signal;
use serde_json::Value;

use super::rig::{Rig, SOON, assert_fails};

/// Handles all there is, and answers how many died.
async fn work(rig: &Rig, layout: Layout, outcome: fn(u64) -> Outcome) -> u64 {
    let broker = Broker::connect(&rig.url_for(&["run"])).await.unwrap();
    let mut processor = Processor::builder(&broker, Source::new("orders", "billing").unwrap())
        .block(Duration::from_millis(100))
        .layout(layout)
        .dead_letters("orders:dlq".parse().unwrap())
        .build(
            move |message: Message<Value>| async move { outcome(message["n"].as_u64().unwrap()) },
        )
        .unwrap();
    processor.run_until_idle().await.unwrap().dead_lettered
}

fn dies(_: u64) -> Outcome {
    Outcome::dead_letter("still no currency")
}

fn passes(_: u64) -> Outcome {
    Outcome::Ack
}

pub(super) async fn campaign(rig: &Rig, name: &str) -> Value {
    let line = ["dlq", "campaigns", "orders", "--campaign", name];
    let mut told = rig.json(&line).await;
    told.as_array_mut().unwrap().remove(0)
}

#[track_caller]
pub(super) fn counts(campaign: &Value) -> [u64; 5] {
    ["replayed", "succeeded", "dead_again", "waiting", "undone"]
        .map(|name| campaign[name].as_u64().unwrap())
}

#[tokio::test]
async fn a_canary_that_dies_again_stops_the_campaign_and_the_rest_is_untouched() {
    let rig = Rig::start().await;
    rig.reject(30).await;
    let rest = rig.entries("orders:dlq").await.split_off(20);
    let line = [
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "-o",
        "json",
        "--campaign",
        "fix",
        "--canary",
        "20",
        "--abort-if",
        "dead-again > 5%",
    ];
    let running = rig.start_redrive(&line);
    running
        .says("the canary of fix: of 20 0 succeeded, 0 died again, 20 wait for their outcome")
        .await;
    assert_eq!(work(&rig, Layout::Native, dies).await, 20);
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let told = campaign(&rig, "fix").await;
    assert_eq!(told["fingerprints"].as_array().unwrap().len(), 1);
    let fingerprint = told["fingerprints"][0]["fingerprint"].as_str().unwrap();
    // It stops with the first of them that are too many, while others are still running.
    let said = "error: the campaign fix stopped itself: ";
    let (_, said) = ended.stderr.split_once(said).expect(&ended.stderr);
    let end = format!(
        " of {fingerprint})\nhint: the rest is untouched; `redrive dlq list orders --fingerprint \
         {fingerprint}` shows what died again"
    );
    assert!(
        said.contains(" of 20 died again (") && said.contains(&end),
        "{said}"
    );
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&report["campaign"], &report["replayed"]),
        (&"fix".into(), &20.into())
    );
    assert_eq!(rig.entries("orders:dlq").await[..10], rest);
    assert_eq!(rig.length("orders:dlq").await, 30);
    let told = campaign(&rig, "fix").await;
    assert_eq!(counts(&told), [20, 0, 20, 0, 0]);
    assert_eq!(
        (&told["state"], &told["selection"]),
        (&"stopped".into(), &"--all".into())
    );
    assert_fails(
        &rig.redrive(&line).await,
        1,
        "refused while going on with the campaign fix, which is stopped",
        "a campaign that was ended does not go on: give this one another name",
    );
}

#[tokio::test]
async fn a_campaign_that_works_ends_with_as_many_succeeded_as_replayed() {
    let rig = Rig::start().await;
    rig.reject(30).await;
    let running = rig.start_redrive(&[
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "--campaign",
        "fix",
        "--canary",
        "5",
        "--abort-if",
        "dead-again>5%",
        "--rate",
        "1000/s",
    ]);
    running.says("the canary of fix: of 5").await;
    assert_eq!(rig.length("orders:dlq").await, 25);
    assert_eq!(work(&rig, Layout::Native, passes).await, 0);
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("campaign  fix\n"), "{}", ended.stdout);
    assert_eq!(work(&rig, Layout::Native, passes).await, 0);
    let told = campaign(&rig, "fix").await;
    assert_eq!(counts(&told), [30, 30, 0, 0, 0]);
    assert_eq!(
        (&told["state"], &told["selected"]),
        (&"done".into(), &30.into())
    );
    assert_eq!(told["canary"], 5);
    assert_eq!(rig.length("orders:dlq").await, 0);
}

/// As if its command had been killed three minutes ago.
async fn says_who_goes_on(rig: &Rig) {
    let script = "redis.call('HSET', KEYS[1], 'seen-at', (redis.call('TIME')[1] - 190) * 1000)";
    let key = "{orders:dlq}:redrive:campaign:fix";
    let before: Option<String> = rig.ask(&["HGET", key, "seen-at"]).await;
    let lately = rig.redrive(&["dlq", "campaigns", "orders"]).await;
    assert!(!lately.stdout.contains("no sign"), "{}", lately.stdout);
    let _: redis::Value = rig.ask(&["EVAL", script, "1", key]).await;
    let goes_on = "no sign of its command for 3m: `redrive dlq replay orders --all --campaign fix --rate \
                   20/s` goes on with it, with the --set, --patch and --migrate that it had\n";
    let told = rig.redrive(&["dlq", "campaigns", "orders"]).await;
    let standing = "running (no sign of its command for 3m)";
    assert!(told.stdout.contains(standing), "{}", told.stdout);
    assert_eq!(told.stderr, format!("fix: {goes_on}"));
    let told = rig.redrive(&["dlq", "resume", "fix", "orders"]).await;
    assert_eq!(
        (told.code, told.stdout.as_str(), told.stderr.as_str()),
        (Some(0), "fix is running already\n", goes_on)
    );
    let told = campaign(rig, "fix").await;
    assert_eq!(told["state"], "running");
    let _: u64 = rig
        .ask(&["HSET", key, "seen-at", before.as_deref().unwrap()])
        .await;
}

#[tokio::test]
async fn a_campaign_that_is_killed_goes_on_where_it_was_and_its_numbers_stay_true() {
    let rig = Rig::start().await;
    rig.reject(40).await;
    let slow = [
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "--campaign",
        "fix",
        "--rate",
        "20/s",
    ];
    let mut running = rig.start_redrive(&slow);
    eventually(SOON, "some are put back", async || {
        rig.length("orders").await > 44
    })
    .await;
    running.insist(Signal::KILL).await;
    says_who_goes_on(&rig).await;
    let before = rig.length("orders").await - 40;
    let told = campaign(&rig, "fix").await;
    assert_eq!(counts(&told), [before, 0, 0, before, 0]);
    assert_eq!(told["state"], "running");
    // What dies again, or for the first time, after it began is not its own.
    let dead = work(&rig, Layout::Native, |n| {
        if n % 2 == 0 { dies(n) } else { passes(n) }
    })
    .await;
    let ended = rig.redrive(&slow[..7]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(rig.length("orders").await, 80);
    assert_eq!(work(&rig, Layout::Native, passes).await, 0);
    let told = campaign(&rig, "fix").await;
    assert_eq!(counts(&told), [40, 40 - dead, dead, 0, 0]);
    assert_eq!(
        (&told["state"], &told["selected"]),
        (&"done".into(), &40.into())
    );
    assert_eq!(rig.length("orders:dlq").await, dead);
    let mut numbers: Vec<Vec<u8>> = rig.entries("orders").await[40..]
        .iter()
        .map(|(_, fields)| fields[1].clone())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 40);
}

#[tokio::test]
async fn a_campaign_waits_while_it_is_paused_and_goes_on_when_it_is_resumed() {
    let rig = Rig::start().await;
    rig.reject(30).await;
    let running = rig.start_redrive(&[
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "--campaign",
        "fix",
        "--rate",
        "10/s",
    ]);
    eventually(SOON, "some are put back", async || {
        rig.length("orders").await > 30
    })
    .await;
    let told = rig.redrive(&["dlq", "pause", "fix", "orders"]).await;
    assert_eq!(
        (told.code, &*told.stdout),
        (Some(0), "fix is paused\n"),
        "{}",
        told.stderr
    );
    running
        .says("the campaign fix is paused; `redrive dlq resume fix orders` lets it go on")
        .await;
    assert!(rig.length("orders:dlq").await > 0);
    let told = rig.json(&["dlq", "resume", "fix", "orders"]).await;
    assert_eq!(
        told,
        serde_json::json!({"campaign": "fix", "before": "paused", "state": "running"})
    );
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(rig.length("orders").await, 60);
    assert_fails(
        &rig.redrive(&["dlq", "pause", "fix", "orders"]).await,
        1,
        "refused while telling the campaign fix, which is done",
        "it has ended: what it has not put back needs a campaign of another name",
    );
    assert_fails(
        &rig.redrive(&["dlq", "pause", "other", "orders"]).await,
        3,
        "campaign not found: other, in orders:dlq",
        "`redrive dlq campaigns` lists them; they are remembered for 30 days",
    );
}

#[tokio::test]
async fn an_aborted_campaign_ends_between_its_steps_whatever_its_rate() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let running = rig.start_redrive(&[
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "--campaign",
        "fix",
        "--rate",
        "1/m",
    ]);
    eventually(SOON, "one is put back", async || {
        rig.length("orders").await == 4
    })
    .await;
    let told = rig.redrive(&["dlq", "abort", "fix", "orders"]).await;
    assert_eq!(
        (told.code, &*told.stdout),
        (Some(0), "fix is aborted\n"),
        "{}",
        told.stderr
    );
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let said = "error: the campaign fix was aborted: 1 replayed so far\n";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert_eq!(rig.length("orders:dlq").await, 2);
}

#[tokio::test]
async fn what_dies_again_in_a_layout_without_lineage_is_found_in_the_queue() {
    let rig = Rig::start().await;
    let broker = Broker::connect(&rig.url_for(&["run"])).await.unwrap();
    let producer = broker.producer("orders".parse().unwrap());
    let messages: Vec<Value> = (0..4).map(|n| serde_json::json!({ "n": n })).collect();
    producer.send_all(&messages).await.unwrap();
    assert_eq!(work(&rig, Layout::Flat, dies).await, 4);
    let report = rig
        .json(&[
            "dlq",
            "replay",
            "orders",
            "--all",
            "--yes",
            "--campaign",
            "fix",
        ])
        .await;
    assert_eq!(report["replayed"], 4);
    let half = |n: u64| if n < 2 { dies(n) } else { passes(n) };
    assert_eq!(work(&rig, Layout::Flat, half).await, 2);
    for _ in 0..2 {
        let told = campaign(&rig, "fix").await;
        assert_eq!(counts(&told), [4, 2, 2, 0, 0]);
    }
    // It is noted: also when the dead letters are gone.
    rig.json(&["dlq", "purge", "orders", "--all", "--yes"])
        .await;
    assert_eq!(counts(&campaign(&rig, "fix").await), [4, 2, 2, 0, 0]);
}

#[tokio::test]
async fn a_bulk_replay_names_itself_and_another_selection_does_not_go_on_with_it() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let report = rig.json(&[
        "dlq", "replay", "orders", "--reason", "rejected", "--limit", "2", "--yes",
    ]);
    let name = report.await["campaign"].as_str().unwrap().to_owned();
    let digits = name.chars().filter(char::is_ascii_digit).count();
    assert!(name.starts_with("replay-2") && digits >= 14, "{name}");
    let put_back = rig.last("orders").await.1;
    assert_eq!(
        put_back[put_back.len() - 2..],
        [b"redrive-campaign".to_vec(), name.clone().into()]
    );
    let ended = rig
        .redrive(&[
            "dlq",
            "replay",
            "orders",
            "--all",
            "--yes",
            "--campaign",
            &name,
        ])
        .await;
    let error = format!(
        "refused while going on with the campaign {name}, which is about another selection: --reason rejected --limit 2"
    );
    assert_fails(
        &ended,
        1,
        &error,
        "it goes on with the selection that it began with, times written as instants; for another one \
         take another name",
    );
    // The limit is that of the campaign, however often its command is run.
    let line = [
        "dlq",
        "replay",
        "orders",
        "--reason",
        "rejected",
        "--limit",
        "2",
        "--yes",
        "--campaign",
        &name,
    ];
    assert_eq!(rig.redrive(&line).await.code, Some(3));
    assert_eq!(rig.length("orders:dlq").await, 1);
    let last = rig.entries("orders:dlq").await.remove(0).0;
    let single = rig.json(&["dlq", "replay", "orders", "--id", &last]).await;
    assert!(single["campaign"].is_null(), "{single}");
    let table = rig.redrive(&["dlq", "campaigns", "orders"]).await;
    assert!(
        table.stdout.contains(&name) && table.stdout.contains("done"),
        "{}",
        table.stdout
    );
}

#[tokio::test]
async fn a_campaign_that_is_told_nonsense_is_refused_before_anything_is_done() {
    let rig = Rig::start().await;
    rig.reject(1).await;
    for (flags, error) in [
        (&["--canary", "5"][..], "--canary without --abort-if"),
        (
            &["--abort-if", "pending>5%"],
            "--abort-if: invalid value while reading when a campaign is to stop",
        ),
        (
            &["--abort-if", "dead-again>5m"],
            "--abort-if: invalid value while reading when a campaign is to stop",
        ),
        (
            &["--abort-if", "dead-again>101%"],
            "compared by > or >=, more than nothing and no more than 100%",
        ),
        (
            &["--abort-if", "dead-again"],
            "a rule is a name, a comparison and a value",
        ),
        (
            &["--campaign", "two words"],
            "--campaign <NAME> cannot be \"two words\": it is made of 1 to 64 letters",
        ),
        (&["--undo-window", "0s"], "--undo-window"),
    ] {
        let ended = rig
            .redrive(&[&["dlq", "replay", "orders", "--all", "--yes"][..], flags].concat())
            .await;
        assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(error), "{flags:?}: {}", ended.stderr);
    }
    assert_eq!(rig.length("orders:dlq").await, 1);
    let none = rig.redrive(&["dlq", "campaigns", "orders"]).await;
    assert_eq!(none.code, Some(3), "{}", none.stderr);
}
