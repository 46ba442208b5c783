//! `redrive doctor`: what it prints, how it ends, and that `--fix` mends what it says and nothing else.

use redrive_testkit::Server;
use serde_json::{Value, json};

use super::super::pages::page;
use super::rig::{Rig, assert_fails, bare, ended, keys, sorted};

const KEYS: &str = "code severity stream group consumer meaning cure fixable fixed";

/// A server that keeps what it acknowledges.
async fn sound() -> Rig {
    Rig::with(Server::builder().appendonly()).await
}

/// A stream of three entries and a group that has done with them.
async fn healthy() -> Rig {
    let rig = sound().await;
    for id in ["1-0", "2-0", "3-0"] {
        let _: String = rig.ask(&["XADD", "orders", id, "n", "1"]).await;
    }
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "billing", "0"])
        .await;
    let read = "XREADGROUP GROUP billing python STREAMS orders >";
    let read: Vec<&str> = read.split(' ').collect();
    let _: redis::Value = rig.ask(&read).await;
    let _: u64 = rig
        .ask(&["XACK", "orders", "billing", "1-0", "2-0", "3-0"])
        .await;
    rig
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    let rig = healthy().await;
    for line in [
        &["doctor"][..],
        &["doctor", "orders"],
        &["doctor", "orders", "-g", "billing"],
    ] {
        let ended = rig.redrive(line).await;
        assert_eq!(ended.code, Some(0), "{line:?}: {}", ended.stdout);
        assert_eq!(
            (ended.stdout.as_str(), ended.stderr.as_str()),
            ("", "nothing found\n")
        );
    }
    assert_eq!(rig.json(&["doctor"]).await, json!([]));
    // In memory there is no server to look at.
    let memory = ended(&mut bare(&["doctor", "--url", "memory:"])).await;
    assert_eq!(
        (memory.code, memory.stderr.as_str()),
        (Some(0), "nothing found\n")
    );
}

#[tokio::test]
async fn what_is_found_is_told_with_its_cure_and_ends_with_4() {
    let rig = healthy().await;
    let evicts = ["CONFIG", "SET", "maxmemory", "1gb"];
    let _: String = rig.ask(&evicts).await;
    let evicts = ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"];
    let _: String = rig.ask(&evicts).await;
    let _: String = rig.ask(&["CONFIG", "SET", "appendfsync", "everysec"]).await;
    let told = rig.redrive(&["doctor", "orders"]).await;
    assert_eq!(
        (told.code, told.stderr.as_str()),
        (Some(4), "1 critical, 1 note\n")
    );
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!(lines[0], "critical  eviction-policy");
    // It names the server, and not how to get in.
    let port = rig.server.port().to_string();
    let cure =
        format!("  cure: redis-cli -h 127.0.0.1 -p {port} CONFIG SET maxmemory-policy noeviction");
    assert_eq!(lines[2], cure);
    assert_eq!(lines[4], "note      append-only-file");

    let told = rig.redrive(&["-o", "json", "doctor", "orders"]).await;
    assert_eq!(told.code, Some(4));
    let all: Vec<Value> = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(all.len(), 2);
    let first = &all[0];
    assert_eq!(keys(first), sorted(KEYS));
    assert_eq!(
        first["cure"],
        json!([
            "redis-cli",
            "-h",
            "127.0.0.1",
            "-p",
            port,
            "CONFIG",
            "SET",
            "maxmemory-policy",
            "noeviction"
        ])
    );
    assert_eq!(
        (&first["stream"], &first["fixable"], &first["fixed"]),
        (&Value::Null, &json!(false), &json!(false))
    );
    let told = rig.redrive(&["-o", "jsonl", "-q", "doctor"]).await;
    assert_eq!((told.stdout.lines().count(), told.stderr.as_str()), (2, ""));

    // A note is no reason to fail.
    let _: String = rig
        .ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await;
    let told = rig.redrive(&["doctor"]).await;
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), "1 note\n"));
}

#[tokio::test]
async fn what_is_not_there_or_cannot_be_asked_is_told_apart() {
    let rig = sound().await;
    let hint = "check its name, the server and the number of the database";
    let told = rig.redrive(&["doctor", "orders"]).await;
    assert_fails(&told, 3, "stream not found: orders", hint);
    let told = rig.redrive(&["doctor", "-g", "billing"]).await;
    assert_eq!(told.code, Some(2), "{}", told.stderr);
    let gone = rig.server.url();
    drop(rig);
    let told = ended(&mut bare(&["doctor", "--url", &gone])).await;
    assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""));
}

/// All that the server holds but these keys, byte for byte.
async fn but(rig: &Rig, left_out: &[&str]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = rig.everything().await.into_iter();
    all.filter(|(key, _)| !left_out.iter().any(|out| key == out.as_bytes()))
        .collect()
}

#[tokio::test]
async fn fix_creates_a_group_that_was_named_and_changes_nothing_else() {
    let rig = healthy().await;
    let _: String = rig.ask(&["XADD", "others", "1-0", "n", "1"]).await;
    let before = (but(&rig, &[]).await, rig.entries("orders").await);
    let fix = ["doctor", "orders", "-g", "shipping", "--fix"];

    // Nobody is there to be asked.
    let told = rig.redrive(&fix).await;
    assert_eq!(told.code, Some(2), "{}", told.stderr);
    assert!(
        told.stderr.contains("this would mend 1 finding"),
        "{}",
        told.stderr
    );
    assert_eq!(but(&rig, &[]).await, before.0);

    // Without a name no group is invented.
    let told = rig.redrive(&["doctor", "others", "--fix", "--yes"]).await;
    assert_eq!(told.code, Some(4), "{}", told.stderr);
    assert!(
        told.stderr
            .starts_with("there is nothing that --fix can mend\n")
    );
    assert_eq!(but(&rig, &[]).await, before.0);

    let told = rig.redrive(&[&fix[..], &["--yes"]].concat()).await;
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert_eq!(
        told.stderr,
        "missing-group orders shipping: the group was created\n1 critical\n"
    );
    let groups: Vec<Vec<redis::Value>> = rig.ask(&["XINFO", "GROUPS", "orders"]).await;
    assert_eq!(groups.len(), 2);
    let mut of_others = before.0;
    of_others.retain(|(key, _)| key != b"orders");
    assert_eq!(but(&rig, &["orders"]).await, of_others);
    assert_eq!(rig.entries("orders").await, before.1);
    let pending: (u64, redis::Value, redis::Value, redis::Value) =
        rig.ask(&["XPENDING", "orders", "billing"]).await;
    assert_eq!(pending.0, 0);

    // The new one begins with the first entry.
    let read = "XREADGROUP GROUP shipping p COUNT 1 STREAMS orders >";
    let read: Vec<&str> = read.split(' ').collect();
    let read: Vec<(String, Vec<(String, redis::Value)>)> = rig.ask(&read).await;
    assert_eq!(read[0].1[0].0, "1-0");
}

#[tokio::test]
async fn fix_removes_consumers_that_are_gone_and_changes_nothing_else() {
    let rig = healthy().await;
    let create = |name: String| {
        let rig = &rig;
        async move {
            let words = ["XGROUP", "CREATECONSUMER", "orders", "billing", &name];
            let _: u64 = rig.ask(&words).await;
        }
    };
    for n in 0..3 {
        create(format!("old-{n}")).await;
    }
    let _: String = rig.ask(&["XADD", "orders", "4-0", "n", "1"]).await;
    let read = "XREADGROUP GROUP billing holds STREAMS orders >";
    let read: Vec<&str> = read.split(' ').collect();
    let _: redis::Value = rig.ask(&read).await;
    let _: String = rig.ask(&["XADD", "others", "1-0", "n", "1"]).await;
    let others = but(&rig, &["orders"]).await;
    let entries = rig.entries("orders").await;

    let line = [
        "-o", "json", "doctor", "orders", "-g", "billing", "--silent", "1ms", "--fix", "--yes",
    ];
    let told = rig.redrive(&line).await;
    let all: Vec<Value> = serde_json::from_str(&told.stdout).unwrap();
    let leaked = all.iter().find(|one| one["code"] == "leaked-consumers");
    assert_eq!(leaked.unwrap()["fixed"], json!(true), "{}", told.stdout);
    assert!(
        told.stderr.contains("leaked-consumers orders billing: "),
        "{}",
        told.stderr
    );
    let consumers: Vec<Vec<redis::Value>> =
        rig.ask(&["XINFO", "CONSUMERS", "orders", "billing"]).await;
    let text = |value: &redis::Value| redis::from_redis_value::<String>(value.clone()).unwrap();
    let names: Vec<String> = consumers.iter().map(|one| text(&one[1])).collect();
    assert_eq!(names, ["holds"]);
    assert_eq!(rig.entries("orders").await, entries);
    assert_eq!(but(&rig, &["orders"]).await, others);
    let pending: Vec<(String, String, u64, u64)> = rig
        .ask(&["XPENDING", "orders", "billing", "-", "+", "9"])
        .await;
    let pending: Vec<_> = pending.iter().map(|row| (&*row.0, &*row.1)).collect();
    assert_eq!(pending, [("4-0", "holds")]);
}

#[tokio::test]
async fn names_steer_no_terminal_and_are_typed_only_where_they_can_be() {
    let rig = sound().await;
    let hostile = "or\u{1b}[2Jders\n; rm -rf ~";
    let _: String = rig.ask(&["XADD", hostile, "1-0", "n", "1"]).await;
    let _: String = rig.ask(&["XADD", "it's", "1-0", "n", "1"]).await;
    let told = rig.redrive(&["doctor"]).await;
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    for text in [&told.stdout, &told.stderr] {
        assert!(
            !text.contains('\u{1b}') && !text.contains("\n; rm"),
            "{text:?}"
        );
    }
    assert!(
        told.stdout
            .contains(r"redrive run 'it'\''s' -g GROUP -- COMMAND")
    );
    assert!(told.stdout.contains("a name in it cannot be typed"));
    let all = rig.json(&["doctor"]).await;
    assert_eq!(all[0]["cure"].as_array().unwrap().len(), 7, "{all}");
}

/// The rights that the page about security gives to whoever calls the doctor are all it needs.
#[tokio::test]
async fn an_operator_with_the_rights_of_the_page_is_told_everything() {
    let blocks = page::blocks("SECURITY.md");
    let recipe = blocks.iter().find(|block| block.language == "acl").unwrap();
    let lines = recipe.text.lines();
    let operator = lines
        .filter_map(|line| line.strip_prefix("user orders-operator "))
        .next()
        .unwrap();
    let page = page::text("SECURITY.md");
    let more = page
        .split("`redrive doctor` wants ")
        .nth(1)
        .and_then(|rest| rest.split('`').nth(1))
        .unwrap();
    let server = Server::builder()
        .appendonly()
        .acl(&format!("plain {operator}"))
        .acl(&format!("asking {operator} {more}"))
        .start()
        .await;
    let rig = Rig::on(server).await;
    let _: String = rig.ask(&["XADD", "orders", "1-0", "n", "1"]).await;
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "billing", "0"])
        .await;
    let port = rig.server.port();
    let doctor = async |user: &str, words: &[&str]| {
        let url = format!("redis://{user}:a-long-password@127.0.0.1:{port}");
        let line = [
            &["doctor", "orders", "-o", "json", "-q", "--url", &url],
            words,
        ]
        .concat();
        let told = ended(&mut bare(&line)).await;
        assert_eq!(told.code, Some(0), "{user}: {}{}", told.stdout, told.stderr);
        serde_json::from_str::<Vec<Value>>(&told.stdout).unwrap()
    };
    assert_eq!(doctor("asking", &[]).await, [] as [Value; 0]);
    // Without them it says what it could not look at.
    let told = doctor("plain", &[]).await;
    assert!(
        told.iter().all(|one| one["code"] == "not-checked"),
        "{told:#?}"
    );
    assert!(told.len() >= 4, "{told:#?}");
    let fix = ["-g", "shipping", "--fix", "--yes"];
    let told = doctor("asking", &fix).await;
    assert_eq!(told[0]["fixed"], json!(true), "{told:#?}");
}
