//! `dlq replay --rate`: on a real server, in real time, by the ids that the server gives.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::rig::{Rig, assert_fails};

/// When each entry behind the first so many was added, in ms.
async fn added(rig: &Rig, first: usize) -> Vec<u64> {
    let entries = rig.entries("orders").await;
    let ms = |id: &str| id.split('-').next().unwrap().parse().unwrap();
    entries[first..].iter().map(|(id, _)| ms(id)).collect()
}

/// Generous: this machine does other things as well. The library's own tests are exact.
#[tokio::test]
async fn two_hundred_a_second_are_put_back_in_the_time_that_they_take() {
    let rig = Rig::start().await;
    rig.reject(800).await;
    let line = [
        "dlq", "replay", "orders", "--all", "--yes", "--rate", "200/s",
    ];
    let report = rig.json(&line).await;
    assert_eq!(report["replayed"], 800);
    let elapsed = report["elapsed_ms"].as_u64().unwrap();
    assert!((3_800..8_000).contains(&elapsed), "{elapsed} ms");
    let per_second = report["per_second"].as_f64().unwrap();
    assert!((100.0..=211.0).contains(&per_second), "{per_second}");
    let times = added(&rig, 800).await;
    println!("{elapsed} ms, {per_second} a second");
    // Never more in a second than a second's worth and a tenth.
    for (n, from) in times.iter().enumerate() {
        let within = times[n..].iter().take_while(|at| **at < from + 1_000);
        assert!(within.count() <= 225, "from the {n}th on");
    }
}

#[tokio::test]
async fn ctrl_c_while_it_waits_ends_it_at_once_and_the_same_command_goes_on() {
    let rig = Rig::start().await;
    rig.reject(4).await;
    let line = [
        "dlq", "replay", "orders", "--all", "--yes", "--rate", "1/m", "-o", "jsonl",
    ];
    let running = rig.start_redrive(&line);
    running.says("\"outcome\":\"replayed\"").await;
    let asked = Instant::now();
    running.signal(Signal::INT);
    let ended = running.ended().await;
    assert!(
        asked.elapsed() < Duration::from_secs(20),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let told =
        "error: stopped: 1 replayed so far\nhint: the same command goes on where this one ended";
    assert!(ended.stderr.starts_with(told), "{}", ended.stderr);
    let last = ended.stdout.lines().last().unwrap();
    let counts: Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (&counts["selected"], &counts["replayed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(rig.length("orders:dlq").await, 3);
    let rest = rig
        .json(&["dlq", "replay", "orders", "--all", "--yes"])
        .await;
    assert_eq!(
        (&rest["replayed"], &rest["already"]),
        (&3.into(), &0.into())
    );
}

#[tokio::test]
async fn a_table_tells_how_long_it_took_and_a_dry_run_how_long_it_would_take() {
    let rig = Rig::start().await;
    rig.reject(30).await;
    let line = ["dlq", "replay", "orders", "--all", "--rate", "60/m"];
    let dry = rig.redrive(&[&line[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(
        dry.stdout.contains("\ntakes     30.0 s at 60/m\n"),
        "{}",
        dry.stdout
    );
    let ended = rig
        .redrive(&[
            "dlq", "replay", "orders", "--all", "--yes", "--rate", "1000/s",
        ])
        .await;
    let took = ended.stdout.lines().last().unwrap();
    assert!(
        took.starts_with("took      ") && took.ends_with(" a second of 1000/s"),
        "{took}"
    );
}

#[tokio::test]
async fn a_rate_that_is_none_is_told_with_how_one_is_written() {
    let rig = Rig::start().await;
    let ended = rig
        .redrive(&["dlq", "replay", "orders", "--all", "--rate", "fast"])
        .await;
    let error = "--rate <RATE> cannot be \"fast\": a rate is written like 200/s, or 12/m for so many in a minute";
    assert_fails(&ended, 2, error, "see `redrive dlq replay --help`");
}
