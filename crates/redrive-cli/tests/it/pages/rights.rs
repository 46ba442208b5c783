//! The users of `SECURITY.md` may do all that they are for: the server refuses them nothing.

use redrive_testkit::Server;

use super::page::blocks;
use crate::{Ended, redrive};

/// A name of the page, and the rights behind it.
fn users() -> Vec<(String, String)> {
    let blocks = blocks("SECURITY.md");
    let recipe = blocks.iter().find(|block| block.language == "acl").unwrap();
    let lines = recipe.text.lines();
    lines
        .map(|line| {
            let user = line.strip_prefix("user ").unwrap();
            let name = user.split(' ').next().unwrap();
            (name.to_owned(), user.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_producer_a_worker_and_an_operator_need_what_the_page_gives_them() {
    let mut server = Server::builder();
    let users = users();
    for (_, user) in &users {
        server = server.acl(user);
    }
    let server = server.start().await;
    let mut plain = server.connect().await;
    let [producer, worker, operator] = users.as_slice() else {
        panic!("three users: {users:?}");
    };
    let port = server.port();
    let does = |user: &str, words: &[&str]| -> Ended {
        let url = format!("redis://{user}:a-long-password@127.0.0.1:{port}");
        let mut line = vec!["--url", &url, "-q"];
        line.extend(words);
        let ended = redrive(&line);
        assert_eq!(ended.code, Some(0), "{user} {words:?}: {}", ended.stderr);
        ended
    };
    // An entry of more than 3,990 fields is replayed in a way of its own.
    let many: Vec<String> = (0..4_000).map(|n| format!("\"f{n}\":\"v\"")).collect();
    let many = format!("{{{}}}", many.join(","));
    let _: () = redis::cmd("XGROUP")
        .arg(&["CREATE", "orders", "billing", "0", "MKSTREAM"])
        .query_async(&mut plain)
        .await
        .unwrap();

    for options in [
        &["--backoff", "100ms"][..],
        &["--layout", "flat", "--backoff", "none"],
        &[
            "--layout",
            "envelope",
            "--dlq",
            "orders:dlq",
            "--backoff",
            "none",
        ],
        &[
            "--dlq-limit",
            "1",
            "--dlq-overflow",
            "drop-oldest",
            "--on-ack",
            "delete",
        ],
    ] {
        does(&producer.0, &["send", "orders", "-f", "a=1"]);
        does(&producer.0, &["send", "orders", "--json", &many]);
        does(
            &producer.0,
            &["send", "orders", "--json", "{\"data\":1,\"ts\":2}"],
        );
        // What a worker of another kind has left behind.
        let _: redis::Value = redis::cmd("XREADGROUP")
            .arg(&[
                "GROUP", "billing", "other", "COUNT", "1", "STREAMS", "orders", ">",
            ])
            .query_async(&mut plain)
            .await
            .unwrap();
        let mut run = vec!["run", "orders", "-g", "billing", "--until-idle"];
        run.extend(["--lease", "1s", "--foreign-lease", "1s"]);
        run.extend(options);
        // Longer than a third of the lease: renewed.
        run.extend(["--", "sh", "-c", "sleep 0.5; exit 1"]);
        does(&worker.0, &run);

        let operator = |words: &[&str]| does(&operator.0, words);
        operator(&["stats", "orders"]);
        operator(&["stats", "orders", "-g", "billing"]);
        operator(&["pending", "list", "orders", "-g", "billing"]);
        let listed = operator(&["dlq", "list", "orders", "--limit", "1", "-o", "json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
        let id = listed[0]["id"].as_str().unwrap();
        operator(&["dlq", "show", id, "orders"]);
        operator(&["dlq", "replay", "orders", "--all", "--dry-run"]);
        operator(&["dlq", "replay", "orders", "--id", id, "--keep"]);
        operator(&["dlq", "replay", "orders", "--all", "--yes"]);
        operator(&["dlq", "campaigns", "orders"]);
        does(
            &worker.0,
            &[
                "run",
                "orders",
                "-g",
                "billing",
                "--until-idle",
                "--",
                "true",
            ],
        );
    }
    does(&producer.0, &["send", "orders", "-f", "a=1"]);
    let fails = [
        "run",
        "orders",
        "-g",
        "billing",
        "--until-idle",
        "--max-attempts",
        "1",
        "--",
        "false",
    ];
    does(&worker.0, &fails);
    let campaign = [
        "dlq",
        "replay",
        "orders",
        "--all",
        "--yes",
        "--campaign",
        "rights",
    ];
    does(&operator.0, &campaign);
    does(&operator.0, &["dlq", "undo", "rights", "orders", "--yes"]);
    // What dies again is noted by the worker.
    does(&operator.0, &["dlq", "replay", "orders", "--all", "--yes"]);
    does(&worker.0, &fails);
    does(&operator.0, &["dlq", "campaigns", "orders"]);
    does(&operator.0, &["dlq", "audit", "orders"]);
    // One of more than 3,990 fields is imported in a way of its own.
    let mut large = redis::cmd("XADD");
    large.arg(&["orders:dlq", "*"]);
    for n in 0..4_000 {
        large.arg(n).arg("v");
    }
    let _: String = large.query_async(&mut plain).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export");
    let file = file.to_str().unwrap();
    does(&operator.0, &["dlq", "export", "orders", "--to", file]);
    does(&operator.0, &["dlq", "import", file, "--yes"]);
    does(&operator.0, &["dlq", "purge", "orders", "--all", "--yes"]);
    does(&operator.0, &["trim", "orders", "--dry-run"]);
    does(&operator.0, &["trim", "orders", "--yes"]);

    let refused: Vec<redis::Value> = redis::cmd("ACL")
        .arg("LOG")
        .query_async(&mut plain)
        .await
        .unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}
