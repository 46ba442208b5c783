//! Two thousand dead letters put back by operators that are harmed: two thousand messages, each once.

use redrive_testkit::Proxy;
use rustix::process::Signal;
use serde_json::Value;

use super::rig::{Rig, Running, ended};

const MANY: u64 = 2_000;
const REPLAY: [&str; 7] = ["dlq", "replay", "orders", "--all", "--yes", "-o", "json"];

/// Every payload is on the stream a second time, no more and no less, and nothing is left.
async fn each_is_back_once(rig: &Rig) {
    let entries = rig.entries("orders").await;
    let mut back: Vec<u64> = entries[MANY as usize..]
        .iter()
        .map(|(_, fields)| {
            let payload: Value = serde_json::from_slice(&fields[1]).unwrap();
            payload["n"].as_u64().unwrap()
        })
        .collect();
    back.sort_unstable();
    assert_eq!(back, (0..MANY).collect::<Vec<u64>>());
    assert_eq!(rig.length("orders:dlq").await, 0);
    let ledger: u64 = rig
        .ask(&["HGET", "{orders:dlq}:redrive:ledger", "replayed"])
        .await;
    assert_eq!(ledger, MANY);
}

async fn rig() -> Rig {
    let rig = Rig::start().await;
    rig.reject(u32::try_from(MANY).unwrap()).await;
    rig
}

/// The same command, until there is nothing left: what it says each time is what it did.
async fn until_done(rig: &Rig, url: &str, more: &[&str]) -> u64 {
    let mut replayed = 0;
    // Where one command in four is cut off, three have to get through before anything is asked again: two that
    // connect, one that asks what the server can do. Of the tries 0.42 get in. From there on whatever is asked
    // is asked six times, each time but the first on a new connection: 0.25 * (1 - 0.42)^5, one in sixty, has no
    // answer even so, and 2,000 take about fifty questions. So of those that get in every second comes to the end,
    // one try in five. That none of 50 does has a probability of 0.8^50, 1 in 70,000, if each had to begin anew; it
    // goes on where the last one ended.
    for _ in 0..50 {
        let mut command = rig.command(&[&REPLAY[..], more].concat());
        let ended = ended(command.env("REDRIVE_URL", url)).await;
        if let Ok(report) = serde_json::from_str::<Value>(&ended.stdout) {
            assert_eq!(report["failed"], 0, "{report}");
            replayed += report["replayed"].as_u64().unwrap();
        }
        match ended.code {
            Some(0 | 3) => return replayed,
            // It gave up on a server that it could not reach, and says so.
            Some(1 | 4) => assert!(ended.stderr.contains("error: "), "{}", ended.stderr),
            code => panic!("{code:?}: {}", ended.stderr),
        }
    }
    panic!("it does not come to an end: {replayed} so far");
}

#[tokio::test]
async fn replies_that_are_lost_at_random_double_nothing_and_lose_nothing() {
    for (seed, more) in [
        (7, &[][..]),
        (8, &["--rate", "5000/s", "--set", "data.v=2"]),
    ] {
        let rig = rig().await;
        let proxy = Proxy::in_front_of(&rig.server);
        proxy.reset_at_random(4, seed);
        let replayed = until_done(&rig, &rig.through(&proxy, &REPLAY), more).await;
        proxy.reset_at_random(0, seed);
        assert!(
            proxy.random_resets() > 5,
            "{} resets",
            proxy.random_resets()
        );
        each_is_back_once(&rig).await;
        // A report that was lost with its run is all that can be missing.
        assert!(replayed <= MANY, "{replayed}");
    }
}

/// Waits until it has put some back, or has ended.
async fn begun(rig: &Rig, running: &Running, before: u64) {
    let at_most = before.saturating_sub(50);
    redrive_testkit::eventually(super::rig::SOON, "some are put back", async || {
        match rig.length("orders:dlq").await {
            left if left <= at_most || running.has_ended() => Ok(()),
            left => Err(left),
        }
    })
    .await;
}

#[tokio::test]
async fn killed_ten_times_it_puts_each_back_once() {
    let rig = rig().await;
    for kill in 1..=10 {
        let before = rig.length("orders:dlq").await;
        let mut running = rig.start_redrive(&[&REPLAY[..], &["--rate", "2000/s"]].concat());
        begun(&rig, &running, before).await;
        assert!(!running.has_ended(), "it ended before kill {kill}");
        running.insist(Signal::KILL).await;
    }
    assert!(rig.length("orders:dlq").await > 0);
    let url = rig.url_for(&REPLAY);
    until_done(&rig, &url, &[]).await;
    each_is_back_once(&rig).await;
}

#[tokio::test]
async fn interrupted_anywhere_the_same_command_goes_on_and_the_reports_add_up() {
    let rig = rig().await;
    let mut replayed = 0;
    for more in [
        &["--rate", "2000/s"][..],
        &["--migrate", "cat"],
        &["--rate", "1500/s", "--migrate", "cat"],
        &["--set", "data.v=2", "--rate", "1000/s"],
        &[],
    ] {
        let before = rig.length("orders:dlq").await;
        let running = rig.start_redrive(&[&REPLAY[..], more].concat());
        begun(&rig, &running, before).await;
        running.signal(Signal::INT);
        let ended = running.ended().await;
        // It may have come to its end meanwhile.
        let code = ended.code.unwrap();
        assert!(matches!(code, 0 | 3 | 4 | 130), "{code}: {}", ended.stderr);
        if code == 4 {
            assert!(
                ended.stderr.contains("the same command goes on"),
                "{}",
                ended.stderr
            );
        }
        let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
        replayed += report["replayed"].as_u64().unwrap_or_default();
    }
    let url = rig.url_for(&REPLAY);
    replayed += until_done(&rig, &url, &[]).await;
    each_is_back_once(&rig).await;
    assert_eq!(replayed, MANY);
}

/// Eight at once, over connections that break: together they put each back once.
#[tokio::test]
async fn eight_operators_with_lost_replies_put_each_back_once() {
    let rig = rig().await;
    let proxy = Proxy::in_front_of(&rig.server);
    proxy.reset_at_random(10, 3);
    let url = rig.through(&proxy, &REPLAY);
    let one = || until_done(&rig, &url, &[]);
    let told = tokio::join!(one(), one(), one(), one(), one(), one(), one(), one());
    assert!(proxy.random_resets() > 0);
    each_is_back_once(&rig).await;
    println!("told {told:?}, {} resets", proxy.random_resets());
}
