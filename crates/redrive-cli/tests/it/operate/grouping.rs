//! Dead letters in groups: what happened, in a queue that is too long to read.

use redrive_testkit::{Fault, Moment, Proxy, Target};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::rig::{ENVELOPE, FLAT, Rig, Running, assert_fails, keys, sorted};

/// Dead letters of three causes, a day apart, as `redrive run` would have left them.
async fn three_causes() -> Rig {
    let rig = Rig::start().await;
    for (id, error, fingerprint, reason, consumer) in [
        (
            1,
            "bank 10.0.0.1:443 timed out after 3s",
            "aaaaaaaaaaaaaaaa",
            "attempts_exhausted",
            "one",
        ),
        (
            2,
            "no currency in 'EU'",
            "bbbbbbbbbbbbbbbb",
            "rejected",
            "two",
        ),
        (
            3,
            "bank 10.0.0.2:443 timed out after 9s",
            "aaaaaaaaaaaaaaaa",
            "attempts_exhausted",
            "two",
        ),
        (
            4,
            "bank 10.0.0.3:443 timed out after 7s\n  at x",
            "aaaaaaaaaaaaaaaa",
            "attempts_exhausted",
            "two",
        ),
    ] {
        let died = (id * 1_000).to_string();
        let said = [
            ("redrive-error", error),
            ("redrive-fingerprint", fingerprint),
            ("redrive-reason", reason),
            ("redrive-consumer", consumer),
            ("redrive-dead-at", &died),
        ];
        rig.dies("orders:dlq", &format!("{id}-0"), &[b"n", b"1"], &said)
            .await;
    }
    let foreign = ["XADD", "orders:dlq", "5-0", "what", "is this"];
    let _: String = rig.ask(&foreign).await;
    rig
}

#[tokio::test]
async fn groups_tell_the_causes_with_the_busiest_first_and_how_to_go_on() {
    let rig = three_causes().await;
    let before = rig.everything().await;
    let groups = rig.json(&["dlq", "groups", "orders"]).await;
    let groups = groups.as_array().unwrap();
    assert_eq!(groups.len(), 3);
    assert_eq!(
        keys(&groups[0]),
        sorted("key fingerprint count share reason error sample_id first_at last_at")
    );
    assert_eq!(
        groups[0],
        json!({
            "key": "aaaaaaaaaaaaaaaa", "fingerprint": "aaaaaaaaaaaaaaaa", "count": 3, "share": 0.6,
            "reason": "attempts_exhausted", "error": "bank 10.0.0.3:443 timed out after 7s\n  at x",
            "sample_id": "4-0", "first_at": "1970-01-01T00:00:01.000Z", "last_at": "1970-01-01T00:00:04.000Z",
        })
    );
    let foreign = groups
        .iter()
        .find(|group| group["sample_id"] == "5-0")
        .unwrap();
    assert_eq!(
        (&foreign["reason"], &foreign["error"]),
        (&Value::Null, &Value::Null)
    );

    let told = rig.redrive(&["dlq", "groups", "orders"]).await;
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let head = "FINGERPRINT       COUNT  SHARE  FIRST";
    assert!(told.stdout.starts_with(head), "{}", told.stdout);
    let busiest = told.stdout.lines().nth(1).unwrap();
    assert!(
        busiest.starts_with("aaaaaaaaaaaaaaaa  3      60.0%  "),
        "{busiest}"
    );
    assert!(
        busiest.ends_with("4-0     bank 10.0.0.3:443 timed out after 7s"),
        "{busiest}"
    );
    let next = "redrive dlq list orders --fingerprint aaaaaaaaaaaaaaaa";
    assert_eq!(
        told.stderr,
        format!("5 dead letters, 3 groups\nnext: {next}\n")
    );
    // What it says to type next finds just these.
    let words: Vec<&str> = next.split(' ').skip(1).collect();
    assert_eq!(rig.json(&words).await.as_array().unwrap().len(), 3);

    let quiet = rig.redrive(&["dlq", "groups", "orders", "-q"]).await;
    assert_eq!((quiet.stderr.as_str(), quiet.stdout), ("", told.stdout));
    assert_eq!(rig.everything().await, before);
}

#[tokio::test]
async fn groups_are_by_whatever_is_asked_for_of_what_is_selected() {
    let rig = three_causes().await;
    let counts = async |words: &[&str]| {
        let groups = rig
            .json(&[&["dlq", "groups", "orders"], words].concat())
            .await;
        let groups: Vec<(Value, u64)> = groups
            .as_array()
            .unwrap()
            .iter()
            .map(|group| (group["key"].clone(), group["count"].as_u64().unwrap()))
            .collect();
        groups
    };
    let some = |key: &str, count| (Value::from(key), count);
    let nothing = (Value::Null, 1);
    for (words, told) in [
        (
            &["--group-by", "reason"][..],
            vec![
                some("attempts_exhausted", 3),
                nothing.clone(),
                some("rejected", 1),
            ],
        ),
        (
            &["--group-by", "stream"],
            vec![some("orders", 4), nothing.clone()],
        ),
        (
            &["--group-by", "error-kind"],
            vec![some("timeout", 4), nothing.clone()],
        ),
        (
            &["--group-by", "consumer"],
            vec![some("two", 3), nothing.clone(), some("one", 1)],
        ),
        (
            &["--group-by", "reason", "--stream", "orders"],
            vec![some("attempts_exhausted", 3), some("rejected", 1)],
        ),
        // The newest of the queue, not the busiest of the groups.
        (
            &["--limit", "2"],
            vec![some("5a0a2b76858bf8cc", 1), some("aaaaaaaaaaaaaaaa", 1)],
        ),
        (
            &["--limit", "2", "--oldest"],
            vec![some("bbbbbbbbbbbbbbbb", 1), some("aaaaaaaaaaaaaaaa", 1)],
        ),
    ] {
        let mut counted = counts(words).await;
        let mut told = told;
        for groups in [&mut counted, &mut told] {
            groups.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), key.to_string()));
        }
        assert_eq!(counted, told, "{words:?}");
    }
    for (words, next) in [
        (
            ["--group-by", "reason"],
            "redrive dlq list --dlq orders:dlq --reason attempts_exhausted",
        ),
        (
            ["--group-by", "stream"],
            "redrive dlq list --dlq orders:dlq --stream orders",
        ),
        (
            ["--group-by", "consumer"],
            "redrive dlq show 4-0 --dlq orders:dlq",
        ),
    ] {
        let told = rig
            .redrive(&[&["dlq", "groups", "--dlq", "orders:dlq"][..], &words].concat())
            .await;
        assert!(
            told.stderr.ends_with(&format!("\nnext: {next}\n")),
            "{}",
            told.stderr
        );
        let words: Vec<&str> = next.split(' ').skip(1).collect();
        rig.json(&words).await;
    }
}

/// The two Python systems store no fingerprint.
#[tokio::test]
async fn what_two_other_systems_left_is_grouped_too() {
    for (dump, queue) in [(FLAT, "agent_events:dlq"), (ENVELOPE, "sg:stream:dlq")] {
        let rig = Rig::loaded(dump).await;
        let listed = rig.json(&["dlq", "list", "--dlq", queue, "--all"]).await;
        let groups = rig.json(&["dlq", "groups", "--dlq", queue]).await;
        let counts = groups
            .as_array()
            .unwrap()
            .iter()
            .map(|group| group["count"].as_u64().unwrap());
        assert_eq!(counts.sum::<u64>(), rig.length(queue).await);
        for letter in listed.as_array().unwrap() {
            let group = groups
                .as_array()
                .unwrap()
                .iter()
                .find(|group| group["key"] == letter["fingerprint"]);
            assert!(group.is_some(), "{letter}");
        }
    }
}

#[tokio::test]
async fn no_group_is_exit_3_and_what_is_no_queue_is_an_error() {
    let rig = three_causes().await;
    let ended = rig
        .redrive(&[
            "dlq", "groups", "orders", "--reason", "trimmed", "-o", "json",
        ])
        .await;
    assert_eq!(ended.stdout, "[]\n");
    let hint = "`redrive dlq list` without filters shows what is there";
    assert_fails(&ended, 3, "no dead letter in orders:dlq matches", hint);
    let ended = rig.redrive(&["dlq", "groups", "mails"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""));
    assert!(
        ended
            .stderr
            .starts_with("error: no dead letters in mails:dlq\nhint: "),
        "{}",
        ended.stderr
    );
    let ended = rig.redrive(&["dlq", "groups"]).await;
    assert!(ended.failed(2).stderr.contains("which dead-letter queue?"));
    let ended = rig
        .redrive(&["dlq", "groups", "orders", "--group-by", "colour"])
        .await;
    ended.failed(2);
    let _: () = rig.ask(&["SET", "mails:dlq", "1"]).await;
    let ended = rig.redrive(&["dlq", "groups", "mails"]).await;
    assert_eq!(ended.stdout, "");
    ended.failed(1).says("mails:dlq");
}

/// Whoever stops it has what it has counted, and is told that it is not all.
#[tokio::test]
async fn ctrl_c_prints_what_is_counted_so_far_and_says_so() {
    let rig = Rig::start().await;
    rig.reject(600).await;
    let proxy = Proxy::in_front_of(&rig.server);
    for form in ["json", "table"] {
        // The second page; the first one is asked for by its text as well, when nobody has asked before.
        let held = proxy.arm(
            Target::nth("EVALSHA page", 2),
            Moment::Executed,
            Fault::Hold,
        );
        let url = rig.through(&proxy, &["dlq", "groups"]);
        let line = ["dlq", "groups", "orders", "-o", form, "--url", &url];
        let running = Running::start(rig.command(&line));
        redrive_testkit::eventually(super::rig::SOON, "it is held", async || held.has_struck())
            .await;
        running.signal(Signal::INT);
        running.says("ending after this step").await;
        held.go_on();
        let ended = running.ended().await;
        let error = "error: stopped: 200 of 600 dead letters looked at; the groups are of these alone\nhint: ";
        assert!(ended.stderr.contains(error), "{}", ended.stderr);
        assert_eq!(ended.code, Some(130));
        if form == "json" {
            let groups: Value = serde_json::from_str(&ended.stdout).unwrap();
            assert_eq!(
                (&groups[0]["count"], &groups[0]["share"]),
                (&200.into(), &1.0.into())
            );
        } else {
            assert!(ended.stdout.contains("  200    100%  "), "{}", ended.stdout);
        }
    }
    // A server that goes away is no answer.
    let _ = proxy.arm(
        Target::nth("EVALSHA page", 2),
        Moment::Executed,
        Fault::Close,
    );
    proxy.refuse();
    let ended = rig
        .redrive(&[
            "dlq",
            "groups",
            "orders",
            "-o",
            "json",
            "--url",
            &rig.through(&proxy, &["dlq", "groups"]),
        ])
        .await;
    assert_eq!(ended.stdout, "");
    ended.failed(1);
}

/// A million causes are told in bounds: the busiest, and how many the others are.
#[tokio::test]
async fn more_causes_than_anybody_reads_are_counted_together() {
    let rig = Rig::start().await;
    let fill = "for n = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], n .. '-1', 'n', '1', 'redrive-v', '1', \
                'redrive-fields', '1', 'redrive-error', 'e', 'redrive-fingerprint', string.format('%016x', n % 30000)) end";
    let _: redis::Value = rig.ask(&["EVAL", fill, "1", "orders:dlq", "30010"]).await;
    let groups = rig.json(&["dlq", "groups", "orders"]).await;
    let groups = groups.as_array().unwrap();
    assert_eq!(groups.len(), 10_001);
    let sum: u64 = groups
        .iter()
        .map(|group| group["count"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 30_010);
    let others = groups.last().unwrap();
    for unknown in [
        "key",
        "fingerprint",
        "reason",
        "error",
        "sample_id",
        "first_at",
        "last_at",
    ] {
        assert_eq!(others[unknown], Value::Null, "{unknown}");
    }
    assert!(others["count"].as_u64().unwrap() >= 20_000, "{others}");
    let told = rig.redrive(&["dlq", "groups", "orders"]).await;
    assert_eq!(told.stdout.lines().count(), 52);
    assert!(told.stdout.contains("\n(others)"), "{}", told.stdout);
    assert!(
        told.stderr
            .contains("30010 dead letters, more than 10000 groups: "),
        "{}",
        told.stderr
    );
    let told = rig
        .redrive(&["dlq", "groups", "orders", "--all", "-q"])
        .await;
    assert_eq!(told.stdout.lines().count(), 10_002);
}
