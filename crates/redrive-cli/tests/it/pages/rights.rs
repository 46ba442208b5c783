//! The users of `SECURITY.md` may do all that they are for: the server refuses them nothing.

use redrive_testkit::Server;

use crate::operate::rig::Rig;
use crate::operate::users::recipes;
use crate::{Ended, redrive};

/// All that a viewer is for.
fn looks(viewer: &dyn Fn(&[&str]) -> Ended, id: &str) {
    for words in [
        &["stats", "orders"][..],
        &["stats", "orders", "-g", "billing"],
        &["pending", "list", "orders", "-g", "billing"],
        &["group", "list", "orders"],
        &["group", "show", "orders", "-g", "billing"],
        &["consumer", "list", "orders", "-g", "billing"],
        &["consumer", "prune", "orders", "-g", "billing", "--dry-run"],
        &["group", "delete", "orders", "-g", "billing", "--dry-run"],
        &["dlq", "list", "orders", "--all"],
        &["dlq", "list", "orders", "--id", id],
        &["dlq", "groups", "orders"],
        &["dlq", "show", id, "orders"],
        &["dlq", "pull", id, "orders", "--to", "-"],
        &["dlq", "export", "orders"],
        &["dlq", "shadow", "orders", "--id", id, "--", "true"],
        &["dlq", "replay", "orders", "--all", "--dry-run"],
        &["dlq", "purge", "orders", "--all", "--dry-run"],
    ] {
        viewer(words);
    }
}

/// All that an operator does with groups.
fn keeps_groups(operator: &dyn Fn(&[&str]) -> Ended) {
    for words in [
        &["group", "create", "orders", "-g", "audit", "--start", "$"][..],
        &["group", "list", "orders"],
        &["group", "show", "orders", "-g", "audit"],
        &["consumer", "list", "orders", "-g", "billing"],
        &[
            "consumer", "prune", "orders", "-g", "billing", "--idle", "0s", "--yes",
        ],
        &["group", "delete", "orders", "-g", "audit", "--dry-run"],
        &["group", "delete", "orders", "-g", "audit", "--yes"],
    ] {
        operator(words);
    }
}

/// What a viewer asks for is refused with what it lacks, and nothing has changed.
#[tokio::test]
async fn a_viewer_changes_nothing_whatever_it_asks_for() {
    let (_, viewer) = recipes().pop().unwrap();
    let rig = Rig::on(Server::builder().acl(&viewer).start().await).await;
    rig.reject(3).await;
    let other = ["XGROUP", "CREATECONSUMER", "orders", "billing", "idle"];
    let _: u64 = rig.ask(&other).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export");
    let file = file.to_str().unwrap();
    let kept = rig
        .redrive(&["dlq", "export", "orders", "--to", file])
        .await;
    assert_eq!(kept.code, Some(0), "{}", kept.stderr);
    let imported_elsewhere = ["dlq", "import", file, "--yes", "--dlq", "orders"];
    let before = rig.everything().await;
    let port = rig.server.port();
    let url = format!("redis://orders-viewer:a-long-password@127.0.0.1:{port}");
    for words in [
        &["dlq", "replay", "orders", "--all", "--yes"][..],
        &["dlq", "replay", "orders", "--all", "--keep", "--yes"],
        &["dlq", "purge", "orders", "--all", "--yes"],
        &imported_elsewhere,
        &["trim", "orders", "--yes"],
        &["send", "orders", "-f", "a=1"],
        &[
            "run",
            "orders",
            "-g",
            "billing",
            "--until-idle",
            "--",
            "true",
        ],
        &["group", "create", "orders", "-g", "new"],
        &[
            "group", "delete", "orders", "-g", "billing", "--force", "--yes",
        ],
        &[
            "consumer", "prune", "orders", "-g", "billing", "--idle", "0s", "--yes",
        ],
    ] {
        let ended = rig.redrive(&[&["--url", &url][..], words].concat()).await;
        assert_eq!(ended.code, Some(1), "{words:?}: {}", ended.stderr);
        let said = &ended.stderr;
        assert!(
            said.contains("error: permission denied while ") && said.contains("hint: "),
            "{words:?}: {said}"
        );
        // Which right is missing, also where the server does not say so of a script; and whose.
        let (_, right) = said.split_once("no permissions to run the '").unwrap();
        let (right, _) = right.split_once("' command").unwrap();
        let lacks = [
            "get",
            "xadd",
            "xdel",
            "hset",
            "set",
            "scan",
            "xgroup|create",
            "xgroup|destroy",
            "xgroup|delconsumer",
        ];
        assert!(lacks.contains(&right), "{words:?}: {said}");
        assert!(
            said.contains("ACL of the user orders-viewer") || said.contains("this user's ACL"),
            "{words:?}: {said}"
        );
        assert!(
            rig.everything().await == before,
            "{words:?} changed something"
        );
    }
}

#[tokio::test]
async fn each_user_may_do_all_that_the_page_gives_it_for() {
    let mut server = Server::builder();
    let users = recipes();
    for (_, user) in &users {
        server = server.acl(user);
    }
    let server = server.start().await;
    let mut plain = server.connect().await;
    let [producer, worker, operator, viewer] = users.as_slice() else {
        panic!("four users: {users:?}");
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
        looks(&|words| does(&viewer.0, words), id);
        operator(&["dlq", "show", id, "orders"]);
        operator(&["dlq", "replay", "orders", "--all", "--dry-run"]);
        operator(&["dlq", "replay", "orders", "--id", id, "--keep"]);
        operator(&["dlq", "replay", "orders", "--all", "--yes"]);
        operator(&["dlq", "campaigns", "orders"]);
        does(&viewer.0, &["dlq", "campaigns", "orders"]);
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
    for (user, _) in [viewer, operator, viewer] {
        does(user, &["dlq", "campaigns", "orders"]);
    }
    for (user, _) in [operator, viewer] {
        does(user, &["dlq", "audit", "orders"]);
    }
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
    keeps_groups(&|words| does(&operator.0, words));
    does(&operator.0, &["trim", "orders", "--yes"]);

    let refused: Vec<redis::Value> = redis::cmd("ACL")
        .arg("LOG")
        .query_async(&mut plain)
        .await
        .unwrap();
    // As the page says: what a viewer finds out of a campaign it may not note, and goes on without.
    let is_note = |entry: &&redis::Value| {
        let entry = format!("{entry:?}");
        ["orders-viewer", "\"lua", "\"hset"]
            .iter()
            .all(|part| entry.contains(part))
    };
    let refused: Vec<_> = refused.iter().filter(|entry| !is_note(entry)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
