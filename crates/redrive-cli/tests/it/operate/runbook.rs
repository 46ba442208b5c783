//! The runbook: each command in it is run, and answers what stands there.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::rig::Rig;

const PAGE: &str = include_str!("../../../../../docs/runbook.md");

/// A command of the page, and what it answers there; `None` where it says nothing about that.
type Step<'a> = (&'a str, Option<String>);

/// The commands of a section, in their order.
fn section(title: &str) -> Vec<Step<'_>> {
    let (_, text) = PAGE.split_once(&format!("\n## {title}\n")).unwrap();
    let text = text.split("\n## ").next().unwrap();
    let mut steps: Vec<Step<'_>> = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        let (kind, lines) = block.split_once('\n').unwrap();
        for line in lines.lines() {
            match (kind, line.strip_prefix("$ "), steps.last_mut()) {
                ("console", Some(command), _) => steps.push((command, Some(String::new()))),
                ("console", None, Some((_, Some(answer)))) => {
                    answer.push_str(line);
                    answer.push('\n');
                }
                ("sh", None, _) => steps.push((line, None)),
                wrong => panic!("{wrong:?} in a block"),
            }
        }
    }
    assert!(!steps.is_empty());
    steps
}

/// Without what differs from run to run: spans of time, and the columns that grow with them.
fn timeless(text: &str) -> String {
    let word = |word: &str| {
        let inner = word.trim_matches(['(', ')']);
        let unit = inner.trim_start_matches(|c: char| c.is_ascii_digit());
        if unit.len() < inner.len() && ["ms", "s", "m", "h", "d"].contains(&unit) {
            word.replace(inner, "SPAN")
        } else if word.starts_with("replay-2") {
            "CAMPAIGN".to_owned()
        } else {
            word.to_owned()
        }
    };
    let line = |line: &str| {
        line.split_whitespace()
            .map(word)
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.trim_end()
        .lines()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Without the ids of an incident, which is made at another time each time; those of the other walks
/// are what the tests gave.
fn ids(text: &str) -> String {
    let id = regex::Regex::new(r"\b\d{13}-\d+\b").unwrap();
    let ours = |found: &regex::Captures<'_>| match &found[0] {
        given if given.starts_with("179532422") => given.to_owned(),
        _ => "ID".to_owned(),
    };
    id.replace_all(text, ours).into_owned()
}

/// Runs the commands as a shell does, in this folder, and compares what they answer.
async fn follow(steps: &[Step<'_>], url: &str, folder: &Path) {
    let binary = Path::new(env!("CARGO_BIN_EXE_redrive"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", binary.parent().unwrap().display());
    let address = url.strip_prefix("redis://").unwrap();
    for (command, answer) in steps {
        assert!(command.starts_with("redrive "), "{command}");
        let help = if answer.is_none() { " --help" } else { "" };
        // Help stands before what is a handler's.
        let line = match command.split_once(" -- ") {
            Some((ours, theirs)) => format!("{ours}{help} -- {theirs}"),
            None => format!("{command}{help}"),
        };
        let output = Command::new("sh")
            .args(["-c", &format!("{line} 2>&1")])
            .current_dir(folder)
            .env_clear()
            .env("PATH", &path)
            .env("REDRIVE_URL", url)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let told = told.replace(address, "127.0.0.1:6379");
        // Macs number it otherwise.
        let told = told.replace("(os error 61)", "(os error 111)");
        match answer {
            None => assert_eq!(output.status.code(), Some(0), "{command}: {told}"),
            Some(answer) => {
                let [told_so, shown] = [&*told, answer].map(|text| ids(&timeless(text)));
                assert_eq!(told_so, shown, "$ {command}\n{told}");
            }
        }
    }
}

/// Eight orders: one is done, four are dead, two are pending, one is new.
async fn incident(folder: &Path) -> Rig {
    let rig = Rig::start().await;
    for n in 0..8 {
        let id = format!("179532422{n}000-0");
        let order = format!("{{\"order\":{n}}}");
        let _: String = rig.ask(&["XADD", "orders", &id, "data", &order]).await;
    }
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "billing", "0"])
        .await;
    let read = |consumer: &'static str, count: &'static str| {
        [
            "XREADGROUP",
            "GROUP",
            "billing",
            consumer,
            "COUNT",
            count,
            "STREAMS",
            "orders",
            ">",
        ]
    };
    let _: redis::Value = rig.ask(&read("worker-3", "6")).await;
    for n in 0..5 {
        let id = format!("179532422{n}000-0");
        let _: u64 = rig.ask(&["XACK", "orders", "billing", &id]).await;
    }
    let idle = [
        "XCLAIM",
        "orders",
        "billing",
        "worker-3",
        "0",
        "1795324225000-0",
        "IDLE",
        "2820000",
        "JUSTID",
    ];
    let _: Vec<String> = rig.ask(&idle).await;

    let busy = "card service answered 503";
    for (n, own, reason, error) in [
        (1, &b"{\"order\":1}"[..], "attempts_exhausted", busy),
        (2, b"{\"order\":2}", "rejected", "no currency"),
        (
            3,
            b"\xff\x00",
            "undecodable",
            "field \"data\": expected value at line 1 column 1",
        ),
        (4, b"{\"order\":4}", "attempts_exhausted", busy),
    ] {
        let original = format!("179532422{n}000-0");
        let id = if n == 4 {
            "1795324222405-0".to_owned()
        } else {
            format!("1795324222{n}00-0")
        };
        let said = [
            ("redrive-id", &*original),
            ("redrive-reason", reason),
            ("redrive-error", error),
            ("redrive-error-kind", "exit"),
            ("redrive-fingerprint", "9f2c41d07be8a635"),
            (
                "redrive-attempts",
                if reason == "attempts_exhausted" {
                    "3"
                } else {
                    "1"
                },
            ),
            ("redrive-consumer", "billing-1"),
            ("redrive-first-at", "1795324219118"),
            ("redrive-dead-at", "1795324222405"),
        ];
        rig.dies("orders:dlq", &id, &[b"data", own], &said).await;
    }
    let ledger = ["HSET", "{orders:dlq}:redrive:ledger", "dead_lettered", "4"];
    let _: u64 = rig.ask(&ledger).await;
    // Of redrive's own, one that failed and waits.
    std::fs::write(folder.join("busy.sh"), format!("echo {busy} >&2; exit 1")).unwrap();
    let line = [
        "run",
        "orders",
        "-g",
        "billing",
        "--consumer",
        "billing-1",
        "--max-batches",
        "1",
        "--batch",
        "1",
        "--block",
        "100ms",
        "--backoff",
        "5m",
        "--foreign-lease",
        "1h",
        "-q",
        "--",
        "sh",
    ];
    let script = folder.join("busy.sh");
    let ended = rig
        .redrive(&[&line[..], &[script.to_str().unwrap()]].concat())
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    rig
}

#[tokio::test]
async fn the_dead_letter_queue_is_growing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = incident(folder.path()).await;
    let steps = section("The dead-letter queue is growing");
    follow(&steps, &rig.server.url(), folder.path()).await;
    assert_eq!(
        (rig.length("orders:dlq").await, rig.length("orders").await),
        (0, 11)
    );
}

#[tokio::test]
async fn a_worker_is_stuck() {
    let folder = tempfile::tempdir().unwrap();
    let rig = incident(folder.path()).await;
    let program = format!(
        "cat >'{0}/draft' && chmod 755 '{0}/draft' && mv '{0}/draft' '{0}/bill.sh'",
        folder.path().display()
    );
    // Written by another process: what this one has open for writing, a fork of it would keep open.
    let written = format!("printf '#!/bin/sh\\nexit 0\\n' | ({program})");
    let written = Command::new("sh")
        .args(["-c", &written])
        .status()
        .await
        .unwrap();
    assert!(written.success());
    let steps = section("A worker is stuck");
    follow(&steps, &rig.server.url(), folder.path()).await;
}

#[tokio::test]
async fn redis_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let steps = section("Redis is unreachable");
    let (back, away): (Vec<Step<'_>>, Vec<Step<'_>>) = steps
        .into_iter()
        .partition(|(command, _)| command.contains("ordres"));
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    follow(&away, &format!("redis://{closed}"), folder.path()).await;
    let rig = incident(folder.path()).await;
    follow(&back, &rig.server.url(), folder.path()).await;
}

/// The walk of the page, and that the books are right at its end.
#[tokio::test]
async fn an_incident_to_practise_on() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start().await;
    let url = rig.server.url();
    let made = rig
        .redrive(&["demo", "--incident", "--url", &url, "--yes"])
        .await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let steps = section("An incident to practise on");
    follow(&steps, &url, folder.path()).await;
    let dlq = "redrive-demo:incident:dlq";
    let orders = rig.length("redrive-demo:incident:orders").await;
    assert_eq!((rig.length(dlq).await, orders), (7_130, 32_800));
    let ledger: std::collections::BTreeMap<String, u64> = (rig)
        .ask(&["HGETALL", "{redrive-demo:incident:dlq}:redrive:ledger"])
        .await;
    let told: Vec<(&str, u64)> = ledger
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(
        told,
        [
            ("dead_lettered", 40_000),
            ("purged", 70),
            ("replayed", 32_800)
        ]
    );
}
