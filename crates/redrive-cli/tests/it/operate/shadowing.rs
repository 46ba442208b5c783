//! `redrive dlq shadow`: dead letters through a handler; what is told of them, and that nothing is written.

use serde_json::{Value, json};

use super::rig::{Rig, Running, assert_fails, keys, sorted};

/// Six dead letters: four of `orders` that redrive gave up, one of another system, a tombstone.
async fn queue(rig: &Rig) {
    for (id, n) in [
        ("1000-0", "0"),
        ("1001-0", "1"),
        ("1002-0", "2"),
        ("1003-0", "3"),
    ] {
        let said = [("redrive-id", "17-1")];
        rig.dies("orders:dlq", id, &[b"data", n.as_bytes()], &said)
            .await;
    }
    let flat = [
        "XADD",
        "orders:dlq",
        "1004-0",
        "data",
        "4",
        "original_stream",
        "mails",
        "original_id",
        "18-1",
        "failure_reason",
        "max_retries_exceeded",
        "attempts",
        "3",
        "dlq_timestamp",
        "1000.5",
    ];
    let _: String = rig.ask(&flat).await;
    rig.dies(
        "orders:dlq",
        "1005-0",
        &[],
        &[("redrive-reason", "trimmed")],
    )
    .await;
}

/// What a client says of itself and asks of the server, and what reads; those within scripts stand here too.
const READS: [&str; 14] = [
    "auth",
    "client|setinfo",
    "client|id",
    "command|info",
    "config|resetstat",
    "eval",
    "evalsha",
    "hello",
    "info",
    "ping",
    "select",
    "xlen",
    "xrange",
    "xrevrange",
];

/// The commands that the server has seen since they were last forgotten, those that scripts gave too, and
/// forgets them.
async fn seen(rig: &Rig) -> Vec<String> {
    let told: String = rig.ask(&["INFO", "commandstats"]).await;
    let _: String = rig.ask(&["CONFIG", "RESETSTAT"]).await;
    let names = told
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_"));
    let names = names.filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// Nothing but reads came by since the last look.
async fn assert_only_reads(rig: &Rig) {
    let seen = seen(rig).await;
    assert!(
        seen.iter().any(|name| name == "xrange"),
        "it has read: {seen:?}"
    );
    let others: Vec<&String> = seen
        .iter()
        .filter(|name| !READS.contains(&name.as_str()))
        .collect();
    assert!(others.is_empty(), "no reads: {others:?}");
}

/// 0 and 4 pass, 1 is refused, all others fail.
const HANDLER: &str = r#"read n; case $n in 0|4) ;; 1) echo "order 1 is no order" >&2; exit 65;; *) echo "card $n failed" >&2; exit 1;; esac"#;

#[tokio::test]
async fn what_would_pass_and_why_the_rest_would_not_is_told_and_nothing_is_written() {
    let rig = Rig::start().await;
    queue(&rig).await;
    let before = rig.everything().await;
    seen(&rig).await;
    let args = [
        "dlq", "shadow", "orders", "--field", "data", "-o", "json", "--", "sh", "-c", HANDLER,
    ];
    let ended = rig.redrive(&args).await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        keys(&told),
        sorted(
            "selected passed failed refused undecodable deferred unreplayable failures failures_truncated missing \
             unavailable causes other_causes"
        )
    );
    let counts = ["selected", "passed", "failed", "refused", "unreplayable"];
    assert_eq!(
        counts.map(|key| told[key].as_u64().unwrap()),
        [6, 2, 2, 1, 1]
    );
    assert_eq!(told["failures"][0]["id"], "1005-0");
    let causes = told["causes"].as_array().unwrap();
    assert_eq!(causes.len(), 2, "{causes:?}");
    assert_eq!(
        (&causes[0]["count"], &causes[1]["count"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(causes[0]["reason"], "attempts_exhausted");
    assert!(["card 2 failed", "card 3 failed"].contains(&causes[0]["error"].as_str().unwrap()));
    assert_eq!(
        (&causes[1]["error"], &causes[1]["sample_id"]),
        (&json!("order 1 is no order"), &json!("1001-0"))
    );
    assert!(
        ended.stderr.ends_with("error: 4 of 6 would not pass\n"),
        "{}",
        ended.stderr
    );
    assert_only_reads(&rig).await;
    assert!(rig.everything().await == before);

    let table = rig
        .redrive(&[
            "dlq", "shadow", "orders", "--id", "1000-0", "--id", "1001-0", "--field", "data", "--",
            "sh", "-c", HANDLER,
        ])
        .await;
    assert_eq!(table.code, Some(4));
    let head = "selected     2\nwould pass   1\nrefused      1\n\nFINGERPRINT";
    assert!(table.stdout.starts_with(head), "{}", table.stdout);
    let passes = [
        "dlq", "shadow", "orders", "--id", "1000-0", "-q", "--", "true",
    ];
    let passes = rig.redrive(&passes).await;
    assert_eq!(
        (passes.code, passes.stdout, passes.stderr),
        (Some(0), String::new(), String::new())
    );
    assert!(rig.everything().await == before);
}

#[tokio::test]
async fn a_handler_gets_what_a_replay_would_give_it() {
    let rig = Rig::start().await;
    queue(&rig).await;
    let print = "cat; echo \" $REDRIVE_ID $REDRIVE_STREAM $REDRIVE_GROUP $REDRIVE_ATTEMPT $REDRIVE_DEAD_LETTER\"";
    for (id, expected) in [
        ("1002-0", "{\"data\":\"2\"} 17-1 orders billing 1 1002-0\n"),
        (
            "1004-0",
            "{\"data\":\"4\",\"replayed_from_dlq\":\"1004-0\"} 18-1 mails - 1 1004-0\n",
        ),
    ] {
        let args = [
            "dlq",
            "shadow",
            "--dlq",
            "orders:dlq",
            "--id",
            id,
            "-q",
            "--",
            "sh",
            "-c",
            print,
        ];
        let ended = rig.redrive(&args).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), expected));
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_cannot_run_is_said() {
    let rig = Rig::start().await;
    queue(&rig).await;
    let nothing = rig
        .redrive(&[
            "dlq",
            "shadow",
            "orders",
            "--reason",
            "undecodable",
            "--",
            "true",
        ])
        .await;
    assert_eq!(nothing.code, Some(3), "{}", nothing.stderr);
    let no_id = ["dlq", "shadow", "orders", "--id", "1-1", "--", "true"];
    assert_eq!(rig.redrive(&no_id).await.code, Some(3));
    let none = rig.redrive(&["dlq", "shadow", "orders"]).await;
    assert_fails(
        &none,
        2,
        "no handler is given",
        "put a command after --, or name a server with --http",
    );
    let missing = ["dlq", "shadow", "orders", "--", "./no-such-handler"];
    assert_eq!(rig.redrive(&missing).await.code, Some(2));
    let gone = rig
        .redrive(&["dlq", "shadow", "orders", "--http", "http://127.0.0.1:1/"])
        .await;
    assert_eq!(gone.code, Some(1), "{}", gone.stderr);
    assert!(
        gone.stderr
            .contains("error: the handler cannot run: connecting to http://127.0.0.1:1"),
        "{}",
        gone.stderr
    );
}

#[tokio::test]
async fn ctrl_c_ends_the_handlers_and_tells_what_is_known() {
    let rig = Rig::start().await;
    queue(&rig).await;
    let before = rig.everything().await;
    let slow = "read n; echo \"began $n\" >&2; if [ $n != 0 ]; then exec sleep 600; fi";
    let args = [
        "dlq",
        "shadow",
        "orders",
        "--field",
        "data",
        "--limit",
        "3",
        "--concurrency",
        "2",
        "-o",
        "json",
        "--",
        "sh",
        "-c",
        slow,
    ];
    let running: Running = rig.start_redrive(&args);
    // The third only begins when the first has ended.
    running.says("began 2").await;
    running.signal(rustix::process::Signal::INT);
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&told["selected"], &told["passed"]), (&json!(1), &json!(1)));
    assert!(
        ended
            .stderr
            .contains("error: stopped: 1 dead letters were run so far\n"),
        "{}",
        ended.stderr
    );
    assert!(rig.everything().await == before);
}
