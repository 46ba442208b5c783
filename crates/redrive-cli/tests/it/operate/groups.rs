//! `redrive group` and `redrive consumer`: made, looked at, cleared of the dead, removed, and what is said of each.

use serde_json::{Value, json};

use super::rig::{Rig, assert_fails, keys, sorted};

const OF: [&str; 3] = ["orders", "-g", "billing"];

/// Three entries, of which one is pending on a consumer of another kind.
async fn used(rig: &Rig) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(rig.ask(&["XADD", "orders", "*", "n", &n.to_string()]).await);
    }
    let created = rig.json(&[&["group", "create"][..], &OF].concat()).await;
    assert_eq!(created["created"], true);
    read(rig, "python").await;
    ids
}

/// One entry is read by a consumer that is not redrive's.
async fn read(rig: &Rig, consumer: &str) {
    let read = [
        "XREADGROUP",
        "GROUP",
        "billing",
        consumer,
        "COUNT",
        "1",
        "STREAMS",
        "orders",
        ">",
    ];
    let _: redis::Value = rig.ask(&read).await;
}

async fn group(rig: &Rig, verb: &str, more: &[&str]) -> super::super::Ended {
    rig.redrive(&[&["group", verb][..], &OF, more].concat())
        .await
}

#[tokio::test]
async fn a_group_is_created_once_and_where_it_is_told() {
    let rig = Rig::start().await;
    let first: String = rig.ask(&["XADD", "orders", "*", "n", "1"]).await;
    let made = group(&rig, "create", &["--start", "$"]).await;
    assert_eq!((made.code, &*made.stderr), (Some(0), ""));
    assert_eq!(
        made.stdout,
        format!("created        yes\ngoes on after  {first}\n")
    );
    let again = group(&rig, "create", &["-o", "json"]).await;
    assert_eq!(again.code, Some(0));
    assert_eq!(
        again.stderr,
        "the group billing of orders was there already: nothing was changed\n"
    );
    let told: Value = serde_json::from_str(&again.stdout).unwrap();
    let expected = json!({
        "stream": "orders", "group": "billing", "created": false, "stream_created": false,
        "resumed": false, "last_delivered_id": first,
    });
    assert_eq!(told, expected);

    let new = rig.redrive(&["group", "create", "new", "-g", "g"]).await;
    assert_eq!(new.code, Some(0));
    assert_eq!(
        new.stderr,
        "there was no stream new: it was created, empty\n"
    );
    let silent = ["group", "create", "new", "-g", "g2", "-q"];
    let silent = rig.redrive(&silent).await;
    assert_eq!(
        (silent.stdout, silent.stderr),
        (String::new(), String::new())
    );
    let wrong = group(&rig, "create", &["--start", "now"]).await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
}

/// What a group had still to do was passed over by one created anew at `$`.
#[tokio::test]
async fn a_group_that_has_vanished_goes_on_where_it_was_until_it_is_deleted() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let _: u64 = rig.ask(&["XGROUP", "DESTROY", "orders", "billing"]).await;
    let newest: String = rig.ask(&["XADD", "orders", "*", "n", "4"]).await;
    let resumed = rig
        .json(&[&["group", "create"][..], &OF, &["--start", "$"]].concat())
        .await;
    assert_eq!(resumed["resumed"], true);
    assert_ne!(resumed["last_delivered_id"], json!(newest));

    let gone = rig
        .json(&[&["group", "delete"][..], &OF, &["--yes"]].concat())
        .await;
    assert_eq!(
        keys(&gone),
        sorted("stream group existed removed pending kept unread unread_exact alive")
    );
    assert_eq!(
        (&gone["existed"], &gone["kept"]),
        (&json!(true), &json!(true))
    );
    let kept: Vec<String> = rig.ask(&["KEYS", "*:redrive:billing:*"]).await;
    assert_eq!(kept, Vec::<String>::new());
    let anew = rig
        .json(&[&["group", "create"][..], &OF, &["--start", "$"]].concat())
        .await;
    assert_eq!(anew["resumed"], false);
    assert_eq!(anew["last_delivered_id"], json!(newest));
}

#[tokio::test]
async fn a_delete_says_what_would_be_lost_and_does_nothing_unasked() {
    let rig = Rig::start().await;
    used(&rig).await;
    let before = rig.everything().await;
    let in_use = "1 entry is pending, and 1 consumer lives (python)";
    for consent in [&[][..], &["--yes"]] {
        let refused = group(&rig, "delete", consent).await;
        assert_fails(
            &refused,
            1,
            &format!("the group billing of orders is in use and was not deleted: {in_use}"),
            "stop its workers and wait until nothing is pending; or say --force: what is pending is then run by \
             nobody of this group",
        );
    }
    let refused = group(&rig, "delete", &["--force"]).await;
    assert_fails(
        &refused,
        2,
        "this would delete the group billing of orders with 1 entry that is pending, and there is no terminal \
         to ask",
        "look first, with --dry-run, then say --yes",
    );
    let dry = group(&rig, "delete", &["--dry-run"]).await;
    assert_eq!(dry.code, Some(0));
    let said = format!("a dry run: nothing was changed\nit would stay without --force: {in_use}\n");
    assert_eq!(dry.stderr, said);
    assert_eq!(
        dry.stdout,
        "deleted  no\npending  1\nalive    1\nunread   2\n"
    );
    assert_eq!(rig.everything().await, before);

    let done = group(&rig, "delete", &["--yes", "--force"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(
        done.stderr,
        "1 entry was pending: nobody of this group runs them any more; they are still in orders if nobody trims \
         it\na worker of redrive that still runs creates the group again: stop it, and delete it again\n"
    );
    assert_eq!(
        done.stdout,
        "deleted  yes\npending  1\nalive    1\nunread   2\n"
    );
    assert_eq!(rig.length("orders").await, 3);
    let none = group(&rig, "delete", &["--yes"]).await;
    assert_fails(
        &none,
        3,
        "group not found: billing of the stream orders",
        "the stream has no group: a worker creates the one it is started with",
    );
    let missing = ["group", "delete", "nothing", "-g", "g", "--yes"];
    let missing = rig.redrive(&missing).await;
    assert_eq!(missing.code, Some(3));
    assert!(
        missing
            .stderr
            .starts_with("error: stream not found: nothing\n"),
        "{}",
        missing.stderr
    );
}

/// Of a group that redrive never worked for, on a stream that it never wrote to.
#[tokio::test]
async fn a_group_of_strangers_goes_once_nobody_needs_it() {
    let rig = Rig::start().await;
    let id: String = rig.ask(&["XADD", "theirs", "*", "n", "1"]).await;
    let made = ["XGROUP", "CREATE", "theirs", "old", "0"];
    let _: String = rig.ask(&made).await;
    let before = rig.everything().await;
    let words = ["group", "delete", "theirs", "-g", "old", "--yes"];
    let told = rig.json(&[&words[..], &["--dry-run"]].concat()).await;
    assert_eq!(
        (&told["removed"], &told["kept"]),
        (&json!(false), &json!(false))
    );
    assert!(rig.everything().await == before);
    let told = rig.json(&words).await;
    let expected = json!({
        "stream": "theirs", "group": "old", "existed": true, "removed": true, "pending": 0, "alive": [],
        "kept": false, "unread": 1, "unread_exact": true,
    });
    assert_eq!(told, expected);
    let left: Vec<String> = rig.ask(&["KEYS", "*"]).await;
    assert_eq!(left, ["theirs"]);
    assert_eq!(rig.length("theirs").await, 1, "{id}");
}

#[tokio::test]
async fn groups_are_listed_and_one_is_shown_with_its_consumers() {
    let rig = Rig::start().await;
    let ids = used(&rig).await;
    let listed = rig.json(&["group", "list", "orders"]).await;
    let row = json!({
        "stream": "orders", "group": "billing", "consumers": 1, "pending_messages": 1, "waiting": 0,
        "lag": 2, "lag_exact": true, "oldest_pending_ms": listed[0]["oldest_pending_ms"],
        "last_delivered_id": ids[0],
    });
    assert_eq!(listed, json!([row]));
    let table = rig.redrive(&["group", "list", "orders"]).await;
    let words: Vec<&str> = table.stdout.split_whitespace().collect();
    assert_eq!(words[..4], ["GROUP", "CONSUMERS", "PENDING", "WAITING"]);
    assert!(
        words.contains(&"billing") && words.contains(&&*ids[0]),
        "{words:?}"
    );

    let shown = rig.json(&[&["group", "show"][..], &OF].concat()).await;
    assert_eq!(
        keys(&shown),
        sorted(
            "stream group stream_length pending_messages waiting lag lag_exact oldest_pending_ms \
             last_delivered_id last_entry_id dlq dlq_length dlq_arrivals dlq_dropped consumers consumer_list"
        )
    );
    let one = &shown["consumer_list"][0];
    assert_eq!(
        (&one["name"], &one["pending"]),
        (&json!("python"), &json!(1))
    );
    assert_eq!((&one["own"], &one["alive"]), (&json!(false), &Value::Null));
    let table = group(&rig, "show", &[]).await;
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    for words in ["dead-letter queue    orders:dlq", "WORKER", "not redrive's"] {
        assert!(table.stdout.contains(words), "{words}: {}", table.stdout);
    }

    for (args, error) in [
        (
            ["group", "list", "nothing", "-q"],
            "stream not found: nothing",
        ),
        (
            ["group", "list", "plain", "-q"],
            "the stream plain has no group",
        ),
    ] {
        let _: String = rig.ask(&["XADD", "plain", "*", "n", "1"]).await;
        let ended = rig.redrive(&args).await;
        assert_eq!(ended.code, Some(3));
        assert!(
            ended.stderr.starts_with(&format!("error: {error}\n")),
            "{}",
            ended.stderr
        );
    }
    for verb in ["group", "consumer"] {
        let what = if verb == "group" { "show" } else { "list" };
        let ended = rig.redrive(&[verb, what, "orders", "-g", "x"]).await;
        assert_fails(
            &ended,
            3,
            "group not found: x of the stream orders",
            "its groups are: billing",
        );
    }
}

#[tokio::test]
async fn only_dead_consumers_that_hold_nothing_are_pruned_and_the_others_are_explained() {
    let rig = Rig::start().await;
    used(&rig).await;
    let worker = rig.start_redrive(&[
        "run",
        "orders",
        "-g",
        "billing",
        "--consumer",
        "live",
        "--block",
        "100ms",
        "--",
        "true",
    ]);
    redrive_testkit::eventually(super::rig::SOON, "the worker has done all", async || {
        let told = rig.json(&["stats", "orders", "-g", "billing"]).await;
        told["pending_messages"] == 1 && told["lag"] == 0
    })
    .await;
    let _: u64 = rig
        .ask(&["XGROUP", "CREATECONSUMER", "orders", "billing", "idle"])
        .await;
    let listed = rig.json(&[&["consumer", "list"][..], &OF].concat()).await;
    let names: Vec<(&str, &Value)> = (listed.as_array().unwrap().iter())
        .map(|one| (one["name"].as_str().unwrap(), &one["alive"]))
        .collect();
    assert_eq!(
        names,
        [
            ("idle", &Value::Null),
            ("live", &json!(true)),
            ("python", &Value::Null)
        ]
    );
    assert_eq!(
        keys(&listed[1]),
        sorted("name pending idle_ms own lease_ms alive")
    );

    // Where there is nobody to remove, nobody is asked.
    let recent = rig.json(&[&["consumer", "prune"][..], &OF].concat()).await;
    assert_eq!(recent["removed"], json!([]));
    let args = [&["consumer", "prune"][..], &OF, &["--idle", "0s"]].concat();
    assert_fails(
        &rig.redrive(&args).await,
        2,
        "this would remove 1 consumer of the group billing of orders, on which nothing is pending, and there is \
         no terminal to ask",
        "look first, with --dry-run, then say --yes",
    );
    for dry in [true, false] {
        let mut args = args.clone();
        args.push(if dry { "--dry-run" } else { "--yes" });
        let pruned = rig.redrive(&args).await;
        assert_eq!(pruned.code, Some(0));
        let told = "python holds 1 entry: it is not redrive's; a redrive worker of the group takes them over \
                    once they have been idle for its --foreign-lease, 5m by default\n";
        let first = if dry {
            "a dry run: nothing was changed\n"
        } else {
            ""
        };
        assert_eq!(pruned.stderr, format!("{first}{told}"));
        assert!(
            pruned
                .stdout
                .starts_with("removed      1\n  idle  silent for "),
            "{}",
            pruned.stdout
        );
        assert!(
            pruned
                .stdout
                .ends_with("hold work    1\nalive        1\nseen lately  0\n"),
            "{}",
            pruned.stdout
        );
    }
    let left = rig.json(&[&["consumer", "list"][..], &OF].concat()).await;
    assert_eq!(left.as_array().unwrap().len(), 2);
    // Who lives creates a group again.
    let refused = group(&rig, "delete", &["--yes"]).await;
    assert_eq!(refused.code, Some(1));
    let why = "1 entry is pending, and 2 consumers live (live, python)\n";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    drop(worker);
    let nobody = rig
        .redrive(&["consumer", "prune", "orders", "-g", "nobody"])
        .await;
    assert_eq!(nobody.code, Some(3), "{}", nobody.stderr);
}
