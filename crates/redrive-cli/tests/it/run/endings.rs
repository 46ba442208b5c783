//! Where messages end: acked, deleted, dead letters in every layout and within limits.

use redrive_testkit::eventually;

use super::{Rig, SOON, totals};

#[tokio::test]
async fn acked_entries_stay_or_go_and_dead_letters_go_where_they_are_sent() {
    let mut rig = Rig::start().await;
    rig.add(5).await;
    let (stream, dlq) = (rig.stream.clone(), format!("{}-elsewhere", rig.stream));
    let handler = rig.script(r#"read -r body; test "$body" != '{"n":"3"}' || exit 65"#);
    let args = [
        "--on-ack", "delete", "--dlq", &*dlq, "--layout", "flat", "--", &handler,
    ];
    let ended = rig.drain(&args).await;
    assert_eq!(totals(&ended), [4, 1, 0, 0, 0, 1, 0], "{}", ended.stderr);
    let left: usize = rig.ask(&["XLEN", &stream]).await;
    assert!(left <= 1, "{left} of 5 entries are left");
    let dead: Vec<(String, Vec<(String, String)>)> = rig.ask(&["XRANGE", &dlq, "-", "+"]).await;
    let names: Vec<&str> = dead[0].1.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "n",
            "original_stream",
            "original_id",
            "failure_reason",
            "attempts",
            "dlq_timestamp"
        ]
    );
    eventually(SOON, "no consumer left", async || {
        rig.consumers().await == 0
    })
    .await;
}

#[tokio::test]
async fn a_full_dead_letter_queue_keeps_messages_pending_or_drops_the_oldest() {
    let mut rig = Rig::start().await;
    rig.add(5).await;
    let args = ["--max-attempts", "1", "--dlq-limit", "2", "--", "false"];
    let ended = rig.drain(&args).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended), [0, 5, 0, 0, 0, 2, 0], "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("is full, at its limit of 2 dead letters"),
        "{}",
        ended.stderr
    );
    assert_eq!((rig.dead().await.len(), rig.pending().await), (2, 3));

    let mut rig = Rig::start().await;
    rig.add(5).await;
    let mut args = args.to_vec();
    args.splice(2..2, ["--dlq-overflow", "drop-oldest"]);
    let ended = rig.drain(&args).await;
    assert_eq!(totals(&ended), [0, 5, 0, 0, 0, 5, 0], "{}", ended.stderr);
    assert_eq!((rig.dead().await.len(), rig.pending().await), (2, 0));
}

#[tokio::test]
async fn envelopes_go_to_their_own_queue() {
    let mut rig = Rig::start().await;
    rig.add_fields(&[(b"data", b"\x2a"), (b"ts", b"1"), (b"trace_id", b"t")])
        .await;
    let ended = rig
        .drain(&[
            "--layout",
            "envelope",
            "--",
            "sh",
            "-c",
            "echo no >&2; exit 65",
        ])
        .await;
    assert_eq!(totals(&ended), [0, 1, 0, 0, 0, 1, 0], "{}", ended.stderr);
    let dead: Vec<(String, Vec<(String, String)>)> =
        rig.ask(&["XRANGE", "sg:stream:dlq", "-", "+"]).await;
    let field = |name: &str| {
        let found = dead[0].1.iter().find(|(known, _)| known == name);
        found.unwrap().1.clone()
    };
    assert_eq!(field("original_stream"), rig.stream);
    assert_eq!(
        (field("error"), field("attempt"), field("data")),
        ("rejected: no".into(), "1".into(), "*".into())
    );
}
