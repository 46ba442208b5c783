//! `stats`: what it tells of streams and groups, and of those that are not there.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::rig::{Rig, SOON, assert_fails, keys, sorted};

const STATS: &str = "stream group state stream_length pending_messages waiting consumers consumer_list dlq \
    dlq_length dlq_arrivals dlq_dropped last_delivered_id last_entry_id lag lag_exact oldest_pending_ms";

/// Five entries, two of them with a consumer of somebody's, one dead letter of redrive's.
async fn busy() -> Rig {
    let rig = Rig::start().await;
    rig.reject(1).await;
    for n in 1..=4 {
        let id = format!("9999999999999-{n}");
        let _: String = rig.ask(&["XADD", "orders", &id, "n", "1"]).await;
    }
    let read = [
        "XREADGROUP",
        "GROUP",
        "billing",
        "python",
        "COUNT",
        "2",
        "STREAMS",
        "orders",
        ">",
    ];
    let _: redis::Value = rig.ask(&read).await;
    rig
}

/// Spans that pass while a test runs, and the columns that grow with them.
fn ageless(text: &str) -> String {
    let is_span = |word: &str| {
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
        unit.len() < word.len() && ["ms", "s", "m"].contains(&unit)
    };
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(|word| if is_span(word) { "SPAN" } else { word })
            .collect();
        out.push_str(&words.join("  "));
        out.push('\n');
    }
    out
}

#[tokio::test]
async fn the_health_of_a_group_has_every_key() {
    let rig = busy().await;
    let mut stats = rig.json(&["stats", "orders", "-g", "billing"]).await;
    assert_eq!(keys(&stats), sorted(STATS));
    let consumer = &mut stats["consumer_list"][0];
    assert_eq!(keys(consumer), ["idle_ms", "name", "pending"]);
    for idle in [
        consumer["idle_ms"].take(),
        stats["oldest_pending_ms"].take(),
    ] {
        assert!(idle.as_u64().unwrap() < 120_000, "{idle}");
    }
    let expected = json!({
        "stream": "orders", "group": "billing", "state": "ok", "stream_length": 5,
        "pending_messages": 2, "waiting": 0, "consumers": 1,
        "consumer_list": [{ "name": "python", "pending": 2, "idle_ms": null }],
        "dlq": "orders:dlq", "dlq_length": 1, "dlq_arrivals": 1, "dlq_dropped": 0,
        "last_delivered_id": "9999999999999-2", "last_entry_id": "9999999999999-4", "lag": 2,
        "lag_exact": true, "oldest_pending_ms": null,
    });
    assert_eq!(stats, expected);
    let ended = rig.redrive(&["stats", "orders", "-g", "billing"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!("group", ageless(&ended.stdout));
}

#[tokio::test]
async fn a_stream_is_told_by_group_and_nothing_by_stream() {
    let rig = busy().await;
    let _: String = rig.ask(&["XGROUP", "CREATE", "orders", "audit", "0"]).await;
    let _: String = rig.ask(&["XADD", "alone", "1-0", "n", "1"]).await;
    let _: String = rig.ask(&["SET", "text", "1"]).await;
    let told = |stats: &Value| -> Vec<(String, Value, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let one = |one: &Value| {
            (
                text(&one["stream"]),
                one["group"].clone(),
                text(&one["state"]),
            )
        };
        stats.as_array().unwrap().iter().map(one).collect()
    };
    let row =
        |stream: &str, group: Value, state: &str| (stream.to_owned(), group, state.to_owned());
    let groups = [
        row("orders", "audit".into(), "ok"),
        row("orders", "billing".into(), "ok"),
    ];
    assert_eq!(told(&rig.json(&["stats", "orders"]).await), groups);
    let all = rig.json(&["stats"]).await;
    // The dead-letter queue stands beside its stream, not for itself.
    let [audit, billing] = groups;
    assert_eq!(
        told(&all),
        [row("alone", Value::Null, "no_group"), audit, billing]
    );
    for stats in all.as_array().unwrap() {
        assert_eq!(keys(stats), sorted(STATS));
    }
    assert_eq!(
        (&all[0]["pending_messages"], &all[0]["lag"]),
        (&Value::Null, &Value::Null)
    );
    let ended = rig.redrive(&["stats", "-o", "jsonl"]).await;
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    let ended = rig.redrive(&["stats"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!("overview", ageless(&ended.stdout));
}

#[tokio::test]
async fn what_is_missing_is_missing_and_not_empty() {
    let rig = Rig::start().await;
    let ended = rig.redrive(&["stats"]).await;
    let hint = "check the server and the number of the database in --url";
    assert_fails(&ended, 3, "there is no stream in this database", hint);
    let _: String = rig.ask(&["XADD", "orders", "1-0", "n", "1"]).await;
    let hint = "check its name, and the server and the number of the database in --url";
    for line in [
        &["stats", "ordres", "-o", "json"][..],
        &["stats", "ordres", "-g", "billing", "-o", "json"],
    ] {
        let ended = rig.redrive(line).await;
        assert_fails(&ended, 3, "stream not found: ordres", hint);
        let stats: Value = serde_json::from_str(&ended.stdout).unwrap();
        let stats = stats.get(0).unwrap_or(&stats);
        assert_eq!(keys(stats), sorted(STATS));
        assert_eq!(
            (&stats["state"], &stats["stream_length"]),
            (&"missing".into(), &Value::Null)
        );
    }
    let ended = rig
        .redrive(&["stats", "orders", "-g", "billing", "-o", "json"])
        .await;
    let hint =
        "`redrive stats STREAM` lists its groups; a worker creates the one it is started with";
    assert_fails(
        &ended,
        3,
        "group not found: billing of the stream orders",
        hint,
    );
    let stats: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&stats["state"], &stats["stream_length"]),
        (&"no_group".into(), &1.into())
    );
    // A stream without a group is one that nobody reads yet: no mistake.
    assert_eq!(rig.json(&["stats", "orders"]).await[0]["state"], "no_group");
}

#[tokio::test]
async fn another_dead_letter_queue_is_counted_where_it_is_named() {
    let rig = busy().await;
    rig.dies("graveyard", "1-0", &[b"n", b"1"], &[]).await;
    rig.dies("graveyard", "2-0", &[b"n", b"1"], &[]).await;
    let stats = rig
        .json(&["stats", "orders", "-g", "billing", "--dlq", "graveyard"])
        .await;
    assert_eq!(
        (&stats["dlq"], &stats["dlq_length"]),
        (&"graveyard".into(), &2.into())
    );
    assert_eq!(stats["dlq_arrivals"], 0);
}

#[tokio::test]
async fn a_watch_looks_again_through_an_outage_and_ends_with_ctrl_c() {
    let rig = busy().await;
    let line = [
        "stats", "orders", "-g", "billing", "--watch", "--every", "50ms", "-o", "jsonl",
    ];
    let watch = rig.start_redrive(&line);
    watch.says("\"stream_length\":5").await;
    let _: String = rig.ask(&["XADD", "orders", "*", "n", "1"]).await;
    watch.says("\"stream_length\":6").await;
    rig.server.kill9().await;
    watch.says("error: server unreachable").await;
    rig.server.restart().await;
    watch.says("\"state\":\"missing\"").await;
    watch.signal(Signal::INT);
    let ended = watch.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in ended.stdout.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    let sleeping = rig.start_redrive(&["stats", "--watch", "--every", "1h", "-o", "json"]);
    sleeping.says("[]\n").await;
    sleeping.signal(Signal::TERM);
    let ended = tokio::time::timeout(SOON, sleeping.ended()).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn a_watch_may_begin_before_its_server() {
    let rig = Rig::start().await;
    let watch =
        |rig: &Rig| rig.start_redrive(&["stats", "--watch", "--every", "50ms", "-o", "jsonl"]);
    rig.server.kill9().await;
    let gone = watch(&rig);
    gone.says("error: server unreachable").await;
    gone.signal(Signal::INT);
    let ended = tokio::time::timeout(SOON, gone.ended()).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let early = watch(&rig);
    early.says("error: server unreachable").await;
    rig.server.restart().await;
    let broker = redrive::Broker::connect(&rig.url_for(&["run"]))
        .await
        .unwrap();
    let producer = broker.producer("orders".parse().unwrap());
    producer.send(&1).await.unwrap();
    early.says("\"stream\":\"orders\"").await;
    early.signal(Signal::INT);
    let ended = tokio::time::timeout(SOON, early.ended()).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // What no server cures is said once.
    let url = ["stats", "--watch", "--url", "http://127.0.0.1"];
    assert_eq!(rig.redrive(&url).await.code, Some(2));
}

#[tokio::test]
async fn a_dead_letter_queue_counts_for_itself() {
    let rig = Rig::start().await;
    rig.dies("sg:stream:dlq", "1-0", &[b"n", b"1"], &[]).await;
    rig.dies("sg:stream:dlq", "2-0", &[b"n", b"1"], &[]).await;
    let _: String = rig.ask(&["XADD", "alone", "1-0", "n", "1"]).await;
    let ended = rig.redrive(&["stats"]).await;
    let rows: Vec<Vec<&str>> = ended
        .stdout
        .lines()
        .skip(1)
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    let row = |cells: [&'static str; 10]| cells.to_vec();
    assert_eq!(
        rows,
        [
            row(["alone", "-", "no group", "1", "-", "-", "-", "-", "-", "-"]),
            row([
                "sg:stream:dlq",
                "-",
                "dead letters",
                "2",
                "-",
                "-",
                "-",
                "-",
                "-",
                "2"
            ]),
        ]
    );
    // For programs nothing is guessed from a name.
    let stats = rig.json(&["stats", "sg:stream:dlq"]).await;
    assert_eq!(stats[0]["state"], "no_group");
}

/// Each group had the count of the queue that they share beside it: three dead letters looked like nine.
#[tokio::test]
async fn dead_letters_of_a_queue_that_groups_share_are_counted_once() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    for group in ["audit", "mail"] {
        let _: String = rig.ask(&["XGROUP", "CREATE", "orders", group, "$"]).await;
    }
    for line in [&["stats"][..], &["stats", "orders"]] {
        let ended = rig.redrive(line).await;
        let dead: Vec<&str> = (ended.stdout.lines().skip(1))
            .map(|row| row.rsplit("  ").next().unwrap())
            .collect();
        assert_eq!(dead, ["3", "as above", "as above"], "{}", ended.stdout);
    }
    // A program is told which queue it is.
    let all = rig.json(&["stats", "orders"]).await;
    for group in all.as_array().unwrap() {
        assert_eq!(
            (&group["dlq"], &group["dlq_length"]),
            (&json!("orders:dlq"), &json!(3))
        );
    }
}
