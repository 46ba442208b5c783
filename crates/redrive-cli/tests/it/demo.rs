//! `redrive demo`, on the broker within the process and on a real server.

use std::process::Stdio;
use std::time::Duration;

use redis::RedisError;
use redrive_testkit::{Server, eventually};
use tokio::io::AsyncWriteExt;

use super::redrive;

/// Far more than it takes, on a busy machine too.
const SOON: Duration = Duration::from_secs(60);

/// Every order is accounted for, and what the story promises has happened.
#[track_caller]
fn assert_told(stdout: &str) {
    let last = stdout
        .lines()
        .find(|line| line.contains(" sent = "))
        .unwrap_or_else(|| panic!("no sum at the end:\n{stdout}"));
    assert_eq!(
        last,
        "20 sent = 18 succeeded (2 after a replay) + 1 dead + 1 purged"
    );
    for told in [
        "order  4: fails, the bank did not answer",
        "order  4 (attempt 2): charged",
        "order 13 (attempt 3): fails, wrong currency",
        "order 11: rejected, the total is negative",
        "in the middle of three charges: nothing is handed back",
        "0 pending, 0 waiting for a retry, 4 in",
        "undecodable ",
        "2 replayed, 2 succeeded",
    ] {
        assert!(stdout.contains(told), "not told: {told}\n{stdout}");
    }
    // What the dead worker held was charged by the second one.
    let (_, after) = stdout.split_once("3. A second worker").unwrap();
    for order in 6..=8 {
        let charged = format!("order {order:>2}: charged");
        assert!(after.contains(&charged), "{charged}\n{stdout}");
    }
}

#[test]
fn the_demo_needs_no_server_and_accounts_for_every_order() {
    let ended = redrive(&["demo"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
    assert_told(&ended.stdout);
}

#[tokio::test]
async fn the_demo_on_a_server_kills_a_process_and_leaves_no_key() {
    let server = Server::start().await;
    let url = server.url();
    let ended = tokio::task::spawn_blocking(move || redrive(&["demo", "--url", &url])).await;
    let ended = ended.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_told(&ended.stdout);
    assert!(ended.stdout.contains("Its process is killed"));
    let mut plain = server.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut plain)
        .await
        .unwrap();
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_is_not_there_or_refuses_is_an_error_with_a_hint_and_no_password() {
    let server = Server::builder().requirepass("right").start().await;
    let wrong = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    for (url, code) in [
        ("redis://user:hunter2@127.0.0.1:1", 1),
        (&*wrong, 1),
        ("http://user:hunter2@localhost", 2),
        ("hunter2", 2),
    ] {
        let url = url.to_owned();
        let ended = {
            let url = url.clone();
            tokio::task::spawn_blocking(move || redrive(&["demo", "--url", &url])).await
        };
        let ended = ended.unwrap();
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert!(ended.stderr.contains("\nhint: "), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

/// A demo that was killed left its first worker behind, for ever: nobody was there any more to kill it.
#[tokio::test]
async fn the_worker_of_a_demo_that_was_killed_ends_with_it() {
    let server = Server::start().await;
    let mut worker = tokio::process::Command::new(env!("CARGO_BIN_EXE_redrive"))
        .args(["demo-worker", "--stream", "orders"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = worker.stdin.take().unwrap();
    let url = format!("{}\n", server.url());
    stdin.write_all(url.as_bytes()).await.unwrap();
    let mut plain = server.connect().await;
    eventually(SOON, "a worker at its work", async || {
        let signs: Vec<String> = redis::cmd("KEYS")
            .arg("*:alive:*")
            .query_async(&mut plain)
            .await?;
        match signs.len() {
            1 => Ok(()),
            other => Err(RedisError::from(std::io::Error::other(other.to_string()))),
        }
    })
    .await;
    assert_eq!(worker.try_wait().unwrap(), None);
    drop(stdin);
    let ended = tokio::time::timeout(SOON, worker.wait()).await;
    assert!(ended.expect("it goes on for ever").unwrap().success());
}
