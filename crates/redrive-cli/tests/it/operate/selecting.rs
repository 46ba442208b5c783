//! The selection: each flag, the same for every command, on whatever stands in a queue; and what is refused.

use serde_json::Value;

use super::rig::{FLAT, Rig, assert_fails};

/// In errors, names, and payloads: it clears a screen, turns text around, ends a line.
const EVIL: &str = "\x1b[2J\u{202e}\r\nevil";

/// An id, the fields of the message, and what is said of its death.
type Died<'a> = (&'a str, &'a [&'a [u8]], &'a [(&'a str, &'a str)]);

/// Four of redrive's own, numbered by their ids, one of which is hostile, and one that is not ours.
async fn queue() -> Rig {
    let rig = Rig::start().await;
    let at = |ms: &'static str| ("redrive-dead-at", ms);
    let letters: [Died<'_>; 4] = [
        (
            "1-0",
            &[b"data", br#"{"customer":{"id":7},"n":"7"}"#],
            &[at("946684800000")],
        ),
        (
            "2-0",
            &[
                b"data",
                b"\x81\xa8customer\x81\xa2id\xcb\x40\x1c\0\0\0\0\0\0",
            ],
            &[
                at("978307200000"),
                ("redrive-error", "Timeout after 250ms"),
                ("redrive-error-kind", "Timeout"),
                ("redrive-fingerprint", "fedcba9876543210"),
                ("redrive-attempts", "5"),
                ("redrive-replays", "2"),
                ("redrive-consumer", "worker-2"),
                ("redrive-group", "mailing"),
            ],
        ),
        (
            "3-0",
            &[b"a.b", b"", b"kind", b"refund", b"kind", b"order"],
            &[
                at("1009843200000"),
                ("redrive-reason", "rejected"),
                ("redrive-error", ""),
            ],
        ),
        (
            "4-0",
            &[EVIL.as_bytes(), EVIL.as_bytes(), b"\xff", b"\xfe\0"],
            &[
                at("1041379200000"),
                ("redrive-error", EVIL),
                ("redrive-error-kind", EVIL),
                ("redrive-consumer", EVIL),
                ("redrive-attempts", "99999999999999999999"),
                ("redrive-replays", "-1"),
                ("redrive-fingerprint", EVIL),
            ],
        ),
    ];
    for (id, own, said) in letters {
        rig.dies("orders:dlq", id, own, said).await;
    }
    let _: String = rig
        .ask(&["XADD", "orders:dlq", "1100000000000-0", "data", "null"])
        .await;
    rig
}

/// The numbers of those that are selected, in the order of the list: `9` is the one that is not ours.
async fn selected(rig: &Rig, flags: &[&str]) -> String {
    let mut line = vec![
        "-q", "-o", "json", "dlq", "list", "orders", "--oldest", "--all",
    ];
    line.extend(flags);
    let ended = rig.redrive(&line).await;
    assert!(
        matches!(ended.code, Some(0 | 3)),
        "{flags:?}: {}",
        ended.stderr
    );
    let listed: Value = serde_json::from_str(&ended.stdout).unwrap();
    let ids = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap());
    ids.map(|id| if id.len() > 3 { "9" } else { &id[..1] })
        .collect()
}

#[tokio::test]
async fn every_flag_selects_and_a_repeated_one_widens() {
    let rig = queue().await;
    for (flags, expected) in [
        (&[][..], "12349"),
        (&["--error", "card declined"], "1"),
        (&["--error", "declined", "--error", "after"], "12"),
        (&["--error", EVIL], "4"),
        (&["--error-regex", "(?i)^timeout after [0-9]+ms$"], "2"),
        (
            &["--error-regex", r"\x1b\[2J", "--error-regex", "card"],
            "14",
        ),
        (&["--error-kind", "Timeout"], "2"),
        (&["--error-kind", EVIL, "--error-kind", "timeout"], "134"),
        (&["--fingerprint", "0123"], "13"),
        (&["--fingerprint", "FEDCBA9876543210"], "2"),
        (&["--consumer", "worker-2"], "2"),
        (&["--consumer", EVIL], "4"),
        (&["--group", "mailing", "--group", "billing"], "1234"),
        (&["--since", "2001-01-01T00:00:00Z"], "2349"),
        (&["--since", "2001-01-01T01:00:00.001+01:00"], "349"),
        (&["--before", "2001-01-01T00:00:00Z"], "1"),
        (
            &[
                "--since",
                "2001-01-01T00:00:00Z",
                "--before",
                "2002-01-01T00:00:00Z",
            ],
            "2",
        ),
        (
            &[
                "--since",
                "2002-01-01T00:00:00Z",
                "--since",
                "2003-01-01T00:00:00Z",
            ],
            "349",
        ),
        (&["--since", "2h"], ""),
        (&["--before", "2h"], "12349"),
        (&["--attempts", "3"], "13"),
        (&["--attempts", ">=4", "--attempts", "<1"], "2"),
        (&["--replays", "<=1"], "134"),
        (&["--replays", "2"], "2"),
        (&["--where", "data.customer.id=7"], "12"),
        (&["--where", "data.customer.id=7.0", "--attempts", "5"], "2"),
        (&["--where", "data.n=7"], ""),
        (&["--where", "data.n=\"7\"", "--where", "kind=order"], "13"),
        (&["--where", "\"a.b\"="], "3"),
        (&["--where", "data=null"], "9"),
        (&["--where", &format!("{}={EVIL}", Value::from(EVIL))], "4"),
        (
            &[
                "--where",
                "data.customer={\"id\":7}",
                "--error",
                "card",
                "--reason",
                "attempts_exhausted",
            ],
            "1",
        ),
        (&["--where", "kind=refund", "--reason", "trimmed"], ""),
    ] {
        assert_eq!(selected(&rig, flags).await, expected, "{flags:?}");
    }
}

#[tokio::test]
async fn what_is_selected_is_what_is_purged_and_put_back() {
    let rig = queue().await;
    let would = rig
        .json(&[
            "dlq",
            "replay",
            "orders",
            "--error-regex",
            "^Timeout",
            "--dry-run",
        ])
        .await;
    assert_eq!(
        (&would["selected"], &would["samples"][0]["id"]),
        (&1.into(), &"2-0".into())
    );
    let report = rig
        .json(&[
            "dlq",
            "replay",
            "orders",
            "--where",
            "data.customer.id=7",
            "--attempts",
            "3",
            "--yes",
        ])
        .await;
    assert_eq!(report["replayed"], 1);
    let report = rig
        .json(&[
            "dlq",
            "purge",
            "orders",
            "--before",
            "2001-06-01T00:00:00Z",
            "--yes",
        ])
        .await;
    assert_eq!(
        (&report["selected"], &report["purged"]),
        (&1.into(), &1.into())
    );
    assert_eq!(selected(&rig, &[]).await, "349");
    let refused = rig
        .redrive(&["dlq", "purge", "orders", "--error", EVIL])
        .await;
    assert_fails(
        &refused,
        2,
        "this would purge 1 dead letter of orders:dlq, and there is no terminal to ask",
        "look first, with `redrive dlq list` and the same selection, then say --yes",
    );
    assert_eq!(selected(&rig, &[]).await, "349");
}

#[tokio::test]
async fn the_other_layouts_are_selected_by_what_they_say() {
    let rig = Rig::loaded(FLAT).await;
    let count = async |flags: &[&str]| {
        let mut line = vec!["-q", "-o", "jsonl", "dlq", "list", "agent_events", "--all"];
        line.extend(flags);
        rig.redrive(&line).await.stdout.lines().count()
    };
    let all = count(&[]).await;
    assert!(all > 1);
    assert_eq!(
        count(&["--since", "2026-11-22T05:10:22.404Z", "--where", "data.n=4"]).await,
        1
    );
    assert_eq!(count(&["--attempts", ">=0"]).await, all);
    assert_eq!(count(&["--replays", ">=0"]).await, 0);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_flag_place_and_cure() {
    let rig = Rig::start().await;
    let path = "it is PATH=VALUE, such as data.customer.id=7";
    let time =
        "a time is written like 2026-11-22T05:10:22Z (RFC 3339), or as how long ago: 90m, 2h, 1d";
    for (flags, error) in [
        (
            &["--where", "data..id=7"][..],
            format!("--where <PATH=VALUE> cannot be \"data..id=7\": at character 6: a part is empty; write \"\" for a name that is; {path}"),
        ),
        (
            &["--where", "data.id"],
            format!("--where <PATH=VALUE> cannot be \"data.id\": at character 8: there is no = behind the path; {path}"),
        ),
        (
            &["--error-regex", "a(b"],
            "--error-regex <REGEX> cannot be \"a(b\": unclosed group at character 2; write \\ before what is meant as it is, such as \\( or \\[".to_owned(),
        ),
        (
            &["--error-regex", "(?:a{1000}){1000}"],
            "--error-regex <REGEX> cannot be \"(?:a{1000}){1000}\": it would take more than 1 MiB; repeat less, or look for a shorter part".to_owned(),
        ),
        (&["--error", ""], "--error <TEXT> cannot be \"\": it is empty, and an empty text stands in every error; give a part of the error's text".to_owned()),
        (&["--error-kind", ""], "--error-kind <KIND> cannot be \"\": it must be at least one character".to_owned()),
        (&["--consumer", ""], "--consumer <NAME> cannot be \"\": a consumer needs a name of at least one character".to_owned()),
        (
            &["--fingerprint", "012"],
            "--fingerprint <HEX> cannot be \"012\": a fingerprint has 16 hex digits; give all of them, or at least the first 4".to_owned(),
        ),
        (
            &["--attempts", "=>3"],
            "--attempts <N> cannot be \"=>3\": a number is written like 3, '>=3', '>3', '<=3' or '<3', without spaces".to_owned(),
        ),
        (
            &["--since", "2026-11-22"],
            format!("--since <TIME> cannot be \"2026-11-22\": {time}; the time of day is missing: T00:00:00Z"),
        ),
        (
            &["--before", "soon"],
            format!("--before <TIME> cannot be \"soon\": {time}; this is neither"),
        ),
    ] {
        for verb in ["list", "replay", "purge"] {
            let mut line = vec!["dlq", verb, "orders"];
            line.extend(flags);
            let hint = format!("see `redrive dlq {verb} --help`");
            assert_fails(&rig.redrive(&line).await, 2, &error, &hint);
        }
    }
    let ended = rig
        .redrive(&["dlq", "list", "orders", "--since", "1h", "--before", "2h"])
        .await;
    assert_fails(
        &ended,
        2,
        "the time of --since is not before that of --before: nothing can match",
        "of two spans the longer one is --since: --since 2h --before 1h",
    );
    // Whatever is typed steers nothing.
    let evil = format!("{EVIL}=({EVIL}");
    for flag in [
        "--where",
        "--error-regex",
        "--fingerprint",
        "--attempts",
        "--since",
        "--before",
        "--replays",
    ] {
        let ended = rig.redrive(&["dlq", "list", "orders", flag, &evil]).await;
        assert!(
            !ended.stderr.contains(['\x1b', '\r', '\u{202e}']),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.lines().count() == 2, "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_number_that_is_a_string_in_the_payload_is_hinted_at() {
    let rig = queue().await;
    let ended = rig
        .redrive(&["dlq", "list", "orders", "--where", "data.n=7"])
        .await;
    assert_fails(
        &ended,
        3,
        "no dead letter in orders:dlq matches",
        "--where data.n=7 is about JSON; where it is a string, quote the value: --where 'data.n=\"7\"'",
    );
}

/// Who may read the queue and run no scripts reads all of it, in smaller pages.
#[tokio::test]
async fn a_user_without_scripts_can_look() {
    let rig = Rig::start().await;
    for n in 1..=25 {
        let _: String = rig
            .ask(&["XADD", "orders:dlq", &format!("{n}-0"), "n", "1"])
            .await;
    }
    let user = "viewer on >secret resetkeys ~orders:dlq -@all +xrange +xrevrange +xlen";
    let mut words = vec!["ACL", "SETUSER"];
    words.extend(user.split(' '));
    let _: String = rig.ask(&words).await;
    let url = format!("redis://viewer:secret@127.0.0.1:{}", rig.server.port());
    for order in ["--oldest", "--newest"] {
        let ended = rig
            .redrive(&[
                "--url", &url, "-o", "jsonl", "dlq", "list", "orders", "--where", "n=1", order,
            ])
            .await;
        assert_eq!(
            (ended.code, ended.stdout.lines().count()),
            (Some(0), 25),
            "{}",
            ended.stderr
        );
    }
}
