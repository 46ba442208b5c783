//! `stats --fail-if`: what is too much is said, once, and ends the command with a code of its own.

use serde_json::Value;

use super::rig::{Rig, assert_fails};

/// Adds so many dead letters of one error at once.
async fn storm(rig: &Rig, many: u32, fingerprint: &str) {
    let script = "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'n', n, 'redrive-v', '1', \
         'redrive-fields', '1', 'redrive-stream', 'orders', 'redrive-reason', 'rejected', 'redrive-error', ARGV[2], \
         'redrive-fingerprint', ARGV[2]) end";
    let many = many.to_string();
    let _: redis::Value = rig
        .ask(&["EVAL", script, "1", "orders:dlq", &many, fingerprint])
        .await;
}

#[tokio::test]
async fn a_broken_rule_is_a_line_beside_the_health_and_exit_5() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let stats = ["stats", "orders", "-g", "billing", "-o", "json"];
    let rules = [
        "--fail-if",
        "dlq_length > 2",
        "--fail-if",
        "consumers<1",
        "--fail-if",
        "pending>0",
    ];
    let broken = rig.redrive(&[&stats[..], &rules].concat()).await;
    assert_eq!(
        (broken.code, broken.stderr.as_str()),
        (
            Some(5),
            "broken: dlq_length>2 in orders:dlq: it is 3\nbroken: consumers<1 in orders billing: it is 0\n"
        )
    );
    let health: Value = serde_json::from_str(&broken.stdout).unwrap();
    assert_eq!(health["dlq_length"], 3);
    let rules = [
        "--fail-if",
        "oldest_pending>10m",
        "--fail-if",
        "dlq_length>3",
    ];
    let fine = rig.redrive(&[&stats[..], &rules].concat()).await;
    assert_eq!((fine.code, fine.stderr.as_str()), (Some(0), ""));
    // Shared by two groups, and said once.
    let _: String = rig.ask(&["XGROUP", "CREATE", "orders", "mails", "0"]).await;
    let shared = rig
        .redrive(&["stats", "orders", "--fail-if", "dlq_length>2"])
        .await;
    assert_eq!(shared.stderr.lines().count(), 1, "{}", shared.stderr);
    let missing = ["stats", "orders", "-g", "none", "--fail-if", "dlq_length>2"];
    let missing = rig.redrive(&missing).await;
    assert_eq!(missing.code, Some(3), "{}", missing.stderr);
    assert!(!missing.stderr.contains("broken"), "{}", missing.stderr);
    let unknown = rig.redrive(&["stats", "--fail-if", "pendin>3"]).await;
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown
            .stderr
            .contains("the names are oldest_pending, pending,"),
        "{}",
        unknown.stderr
    );
    assert_fails(
        &rig.redrive(&["stats", "--fail-if", "pending>3", "--since", "1h"])
            .await,
        2,
        "--since without --fail-if new_fingerprint, or with --watch",
        "it says since when an error is new, where one look has to tell; a watch knows what was there before",
    );
}

#[tokio::test]
async fn an_error_is_new_where_none_of_it_died_before() {
    let rig = Rig::start().await;
    rig.dies("orders:dlq", "1000000000000-0", &[b"n", b"1"], &[])
        .await;
    let _: String = rig.ask(&["XADD", "orders", "*", "n", "1"]).await;
    let look = ["stats", "orders", "--fail-if", "new_fingerprint"];
    let old = rig.redrive(&look).await;
    assert_eq!((old.code, old.stderr.as_str()), (Some(0), ""));
    let long = [&look[..], &["--since", "2001-01-01T00:00:00Z"]].concat();
    assert_eq!(rig.redrive(&long).await.code, Some(5));
    // One more of the same is none.
    storm(&rig, 1, "0123456789abcdef").await;
    assert_eq!(rig.redrive(&look).await.code, Some(0));
    storm(&rig, 7, "feedfeedfeedfeed").await;
    let new = rig.redrive(&look).await;
    assert_eq!(
        (new.code, new.stderr.as_str()),
        (
            Some(5),
            "broken: new_fingerprint in orders:dlq: 7 of feedfeedfeedfeed: feedfeedfeedfeed\n"
        )
    );
}

/// Ten thousand dead letters of one error, and some of thirty others, in one look.
#[tokio::test]
async fn a_watch_ends_at_what_is_new_and_a_storm_is_one_line() {
    let rig = Rig::start().await;
    rig.reject(1).await;
    storm(&rig, 5, "0123456789abcdef").await;
    let watch = [
        "stats", "orders", "--watch", "--every", "200ms", "-o", "jsonl",
    ];
    let rules = ["--fail-if", "new_fingerprint", "--fail-if", "pending>1000"];
    let running = rig.start_redrive(&[&watch[..], &rules].concat());
    running.says("\"dlq_length\":6").await;
    // Known ones end nothing.
    storm(&rig, 5, "0123456789abcdef").await;
    running.says("\"dlq_length\":11").await;
    storm(&rig, 10_000, "feedfeedfeedfeed").await;
    let ended = running.ended().await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (
            Some(5),
            "broken: new_fingerprint in orders:dlq: 10000 of feedfeedfeedfeed: feedfeedfeedfeed\n"
        )
    );
}

#[tokio::test]
async fn a_watch_ends_at_the_first_broken_number_with_nobody_to_ask() {
    let rig = Rig::start().await;
    rig.reject(1).await;
    let watch = [
        "stats",
        "orders",
        "--watch",
        "--every",
        "100ms",
        "-o",
        "jsonl",
        "--fail-if",
        "stream_length>1",
    ];
    let running = rig.start_redrive(&watch);
    running.says("\"stream_length\":1").await;
    let _: String = rig.ask(&["XADD", "orders", "*", "n", "1"]).await;
    let ended = running.ended().await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(5), "broken: stream_length>1 in orders: it is 2\n")
    );
}

#[tokio::test]
async fn many_new_errors_are_twenty_lines_and_one() {
    let rig = Rig::start().await;
    let _: String = rig.ask(&["XADD", "orders", "*", "n", "1"]).await;
    for n in 0..25 {
        storm(&rig, n + 1, &format!("{n:016x}")).await;
    }
    let many = rig
        .redrive(&["stats", "orders", "--fail-if", "new_fingerprint"])
        .await;
    assert_eq!((many.code, many.stderr.lines().count()), (Some(5), 21));
    assert!(
        many.stderr
            .ends_with("broken: new_fingerprint in orders:dlq: and 5 more\n")
    );
}

#[tokio::test]
async fn a_stream_that_lost_its_groups_is_not_judged_in_silence() {
    let rig = Rig::start().await;
    rig.reject(1).await;
    let _: i64 = rig.ask(&["XGROUP", "DESTROY", "orders", "billing"]).await;
    let rules = ["--fail-if", "consumers<1", "--fail-if", "lag>0"];
    let said = "cannot judge consumers<1 of orders: there is no group\n\
                hint: a worker creates the group it is started with; a rule on stream_length or dlq_length \
                needs none\n\
                cannot judge lag>0 of orders: there is no group\n";
    for line in [&["stats", "orders"][..], &["stats"]] {
        let judged = rig.redrive(&[line, &rules].concat()).await;
        assert_eq!((judged.code, judged.stderr.as_str()), (Some(0), said));
    }
    // The stream itself still has its number.
    let length = ["stats", "orders", "--fail-if", "stream_length>0"];
    let length = rig.redrive(&length).await;
    assert_eq!(
        (length.code, length.stderr.as_str()),
        (Some(5), "broken: stream_length>0 in orders: it is 1\n")
    );
}
