//! `redrive bench`: small, for what is measured on a busy machine says nothing; but all of it runs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use redrive_testkit::{Server, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{command, redrive};

/// So little that no target can be looked at.
const SMALL: [&str; 5] = ["bench", "--one-in", "500", "--rounds", "1"];

const ROWS: [(&str, &[&str]); 12] = [
    (
        "drain",
        &[
            "drain-one",
            "drain-all",
            "drain-raw-two",
            "drain-raw-task",
            "drain-two",
            "drain-three",
        ],
    ),
    ("payloads", &["drain-1k", "drain-16k", "drain-json"]),
    ("latency", &["latency-p50", "latency-p99"]),
    ("recovery", &["recovery-10k", "recovery-100k"]),
    ("dead-letters", &["dead-letters"]),
    ("replay", &["replay", "replay-100k"]),
    ("bulk", &["bulk"]),
    ("waiting", &["waiting"]),
    ("idle", &["idle-core", "idle-commands"]),
    ("memory", &["memory"]),
    ("binary", &["version", "size"]),
    ("handlers", &["command", "http"]),
];

async fn keys(server: &Server) -> Vec<String> {
    let mut plain = server.connect().await;
    let keys = redis::cmd("KEYS").arg("*").query_async(&mut plain).await;
    keys.unwrap()
}

/// Measures on this server; answers what was told of it.
async fn measured(server: &Server, more: &[&str]) -> Value {
    let mut args: Vec<String> = SMALL.iter().map(|arg| (*arg).to_owned()).collect();
    args.extend([
        "--url".to_owned(),
        server.url(),
        "-o".to_owned(),
        "json".to_owned(),
    ]);
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    let run = move || {
        let path = std::env::var_os("PATH").unwrap();
        super::ended(command(&args).env("PATH", path))
    };
    let ended = tokio::task::spawn_blocking(run).await.unwrap().succeeded();
    serde_json::from_str(&ended.stdout).unwrap()
}

#[tokio::test]
async fn every_part_measures_beside_a_raw_loop_and_leaves_no_key() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let chart = folder.path().join("bench.svg");
    let told = measured(&server, &["--chart", chart.to_str().unwrap()]).await;

    let rows = told["rows"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    let expected: Vec<&str> = ROWS.iter().flat_map(|(_, rows)| *rows).copied().collect();
    assert_eq!(names, expected);
    for row in rows {
        assert!(row["value"].is_f64(), "{row}");
        if row["unit"] == "× raw" {
            assert!(row["raw"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["redrive"].as_f64().unwrap() > 0.0, "{row}");
        }
        // A debug build proves nothing, and says so; what has no target has no verdict.
        let verdict = if row["target"].is_null() {
            "none"
        } else {
            "invalid"
        };
        assert_eq!(row["verdict"], verdict, "{row}");
    }
    assert_eq!(told["optimised"], false);
    let drain = rows.iter().find(|row| row["name"] == "drain-one").unwrap();
    // A read of many and an ack of many: far less than a command for each message.
    let commands = drain["cost"]["commands"].as_f64().unwrap();
    assert!(commands > 0.0 && commands < 0.5, "{drain}");

    let svg = std::fs::read_to_string(chart).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.contains(">drain-one<"),
        "{svg}"
    );
    assert_eq!(keys(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_database_that_somebody_uses_is_refused_and_never_cleared() {
    let server = Server::start().await;
    let mut plain = server.connect().await;
    let () = redis::cmd("SET")
        .arg("mine")
        .arg(1)
        .query_async(&mut plain)
        .await
        .unwrap();
    let url = server.url();
    let refused = tokio::task::spawn_blocking(move || redrive(&["bench", "--url", &url])).await;
    refused
        .unwrap()
        .failed(1)
        .says("the database holds keys: 1");

    let told = measured(&server, &["--force", "--only", "replay"]).await;
    assert_eq!(told["rows"][0]["name"], "replay");
    assert_eq!(keys(&server).await, ["mine"]);
}

/// A URL from the environment or the configuration file is where somebody works.
#[tokio::test]
async fn only_a_url_on_the_command_line_is_measured_else_a_server_of_its_own() {
    let args = [&SMALL[..], &["--only", "replay", "-o", "json"]].concat();
    let run = move || {
        let path = std::env::var_os("PATH").unwrap();
        let mut command = command(&args);
        command.env("PATH", path);
        super::ended(command.env("REDRIVE_URL", "redis://127.0.0.1:1"))
    };
    let ended = tokio::task::spawn_blocking(run).await.unwrap().succeeded();
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(told["rows"][0]["name"], "replay");
}

#[tokio::test]
async fn an_interrupted_bench_leaves_no_key() {
    let server = Server::start().await;
    let mut child = command(&["bench", "--url", &server.url(), "--only", "recovery"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    eventually(Duration::from_secs(60), "a key of the bench", async || {
        !keys(&server).await.is_empty()
    })
    .await;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let waited = tokio::task::spawn_blocking(move || {
        let said: Vec<String> = BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .collect();
        (child.wait().unwrap(), said)
    });
    let (status, said) = waited.await.unwrap();
    assert_eq!(status.code(), Some(130), "{said:?}");
    assert_eq!(keys(&server).await, Vec::<String>::new());
}

#[test]
fn what_cannot_be_measured_is_refused_with_a_hint() {
    redrive(&["bench", "--url", "rediss://:hunter2@localhost"])
        .failed(2)
        .says("TLS and sentinels are not measured");
    redrive(&["bench", "--url", "redis://localhost", "--server", "x"]).failed(2);
    // No PATH: nothing to start.
    redrive(&["bench"])
        .failed(1)
        .says("neither redis-server nor valkey-server");
    redrive(&["bench", "--server", "/no/such/server"])
        .failed(2)
        .says("is not a file");
}
