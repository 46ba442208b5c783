//! Commands as handlers: what they get, what their ends mean, and that nothing of them stays.

use std::time::{Duration, Instant};

use redrive_testkit::eventually;

use super::{Rig, all_gone, pids, totals, write_script};
use crate::redrive;

#[test]
fn help_says_all_options_with_their_defaults() {
    let help = redrive(&["run", "--help"]);
    assert_eq!(help.code, Some(0));
    insta::assert_snapshot!("help-run", help.stdout);
    let examples = help.stdout.split("Examples:").nth(1).unwrap();
    assert_eq!(examples.matches("redrive run").count(), 2);
}

/// The numbers of the whole: every message ends, and is counted once.
#[tokio::test]
async fn a_thousand_messages_of_which_ten_always_fail() {
    let mut rig = Rig::start().await;
    rig.add(1_000).await;
    let handler =
        rig.script(r#"read -r body; case $body in *00'"}') echo "bad $body" >&2; exit 1;; esac"#);
    let ended = rig.drain(&["--", &handler]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended), [990, 30, 20, 0, 0, 10, 0]);
    assert_eq!(rig.pending().await, 0);
    let dead = rig.dead().await;
    assert_eq!(dead.len(), 10);
    for fields in dead {
        let has = |name: &str, value: &str| {
            let pair = (name.to_owned(), value.to_owned());
            assert!(fields.contains(&pair), "{pair:?} in {fields:?}");
        };
        has("redrive-reason", "attempts_exhausted");
        has(
            "redrive-error",
            &format!("bad {{\"n\":\"{}\"}}", fields[0].1),
        );
        has("redrive-error-kind", "exit 1");
        has("redrive-attempts", "3");
    }
    assert_eq!(rig.consumers().await, 0);
}

#[tokio::test]
async fn a_command_gets_the_body_and_what_is_known_beside_it() {
    let mut rig = Rig::start().await;
    let id = rig
        .add_fields(&[(b"b", "é".as_bytes()), (b"a", b"1\n2")])
        .await;
    let twice = rig.add_fields(&[(b"a", b"1"), (b"a", b"\xff")]).await;
    let (seen, stream) = (rig.path("seen"), rig.stream.clone());
    let handler = rig.script(&format!(
        r#"body=$(cat)
           printf '%s\n' "$0 $1 $REDRIVE_ID $REDRIVE_STREAM $REDRIVE_GROUP $REDRIVE_ATTEMPT $body" >>{}
           test "$REDRIVE_ATTEMPT" = 2"#,
        seen.display()
    ));
    let ended = rig
        .drain(&["--concurrency", "1", "--", &handler, "an argument"])
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended), [2, 2, 2, 0, 0, 0, 0]);
    let seen = std::fs::read_to_string(seen).unwrap();
    let mut lines: Vec<&str> = seen.lines().collect();
    lines.sort_unstable();
    let mut expected = Vec::new();
    for (id, body) in [
        (&id, r#"{"b":"é","a":"1\n2"}"#),
        (&twice, r#"{"fields":[["a","1"],["a",{"base64":"/w=="}]]}"#),
    ] {
        for attempt in 1..=2 {
            expected.push(format!(
                "{handler} an argument {id} {stream} g {attempt} {body}"
            ));
        }
    }
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn one_field_is_given_as_its_bytes_and_as_none_where_it_is_missing() {
    let mut rig = Rig::start().await;
    let bytes: Vec<u8> = (0..=255).collect();
    rig.add_fields(&[(b"n", b"1"), (b"raw", &bytes)]).await;
    rig.add_fields(&[(b"n", b"2")]).await;
    let seen = rig.path("seen");
    let handler = rig.script(&format!("cat >>{0}; echo end >>{0}", seen.display()));
    let ended = rig
        .drain(&["--field", "raw", "--concurrency", "1", "--", &handler])
        .await;
    assert_eq!(totals(&ended), [2, 0, 0, 0, 0, 0, 0], "{}", ended.stderr);
    let expected = [&bytes[..], b"end\nend\n"].concat();
    assert_eq!(std::fs::read(seen).unwrap(), expected);
}

/// The death of a command is the failure of its message, never a crash of the worker: nothing is in
/// quarantine for it, and what runs beside it goes on.
#[tokio::test]
async fn a_command_killed_by_a_signal_is_a_failed_attempt_and_no_crash_of_the_worker() {
    for signal in ["KILL", "SEGV", "ABRT"] {
        let mut rig = Rig::start().await;
        rig.add(20).await;
        let handler = rig.script(&format!(
            r#"read -r body; case $body in *'"7"'*) kill -{signal} $$;; esac"#
        ));
        let args = ["--max-crashes", "2", "--", &*handler];
        let ended = rig.drain(&args).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(totals(&ended), [19, 3, 2, 0, 0, 1, 0], "{}", ended.stderr);
        assert!(!ended.stderr.contains("starts alone"), "{}", ended.stderr);
        let dead = rig.dead().await.remove(0);
        for (name, value) in [
            ("redrive-reason", "attempts_exhausted"),
            ("redrive-attempts", "3"),
            ("redrive-crashes", "0"),
        ] {
            let pair = (name.to_owned(), value.to_owned());
            assert!(dead.contains(&pair), "{pair:?} in {dead:?}");
        }
    }
}

/// How a handler ended, and what of that is in the dead letter: reason, error, kind, failures.
#[tokio::test]
async fn every_end_has_its_verdict_and_its_error() {
    for (script, reason, error, kind, failures) in [
        (
            "echo one >&2; echo two >&2; echo >&2; echo out; exit 65",
            "rejected",
            "two",
            "exit 65",
            1,
        ),
        ("exit 65", "rejected", "exit status 65", "exit 65", 1),
        ("exit 1", "attempts_exhausted", "exit status 1", "exit 1", 2),
        (
            "printf 'no newline' >&2; exit 127",
            "attempts_exhausted",
            "no newline",
            "exit 127",
            2,
        ),
        (
            "kill -KILL $$",
            "attempts_exhausted",
            "killed by SIGKILL",
            "SIGKILL",
            2,
        ),
        (
            "echo oops >&2; kill -SEGV $$",
            "attempts_exhausted",
            "oops",
            "SIGSEGV",
            2,
        ),
        (
            "sleep 60",
            "attempts_exhausted",
            "timed out after 300ms",
            "timeout",
            2,
        ),
    ] {
        let mut rig = Rig::start().await;
        rig.add(1).await;
        let handler = rig.script(script);
        let args = ["--timeout", "300ms", "--max-attempts", "2", "--", &*handler];
        let ended = rig
            .drain(if script == "sleep 60" {
                &args
            } else {
                &args[2..]
            })
            .await;
        assert_eq!(ended.code, Some(0), "{script}: {}", ended.stderr);
        assert_eq!(
            totals(&ended),
            [0, failures, failures - 1, 0, 0, 1, 0],
            "{script}"
        );
        let dead = rig.only_dead().await;
        let found = ["reason", "error", "error-kind"].map(|name| dead(&format!("redrive-{name}")));
        assert_eq!(found, [reason, error, kind], "{script}");
    }
}

#[tokio::test]
async fn a_time_out_ends_the_whole_process_group_also_what_ignores_sigterm() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let file = rig.path("pids");
    let handler = rig.script(&format!(
        r#"trap '' TERM; sleep 600 & echo $! >>{0}; (trap '' TERM; while :; do sleep 600; done) & echo $! >>{0}
           echo $$ >>{0}; while :; do sleep 600; done"#,
        file.display()
    ));
    let start = Instant::now();
    let ended = rig
        .drain(&["--timeout", "500ms", "--max-attempts", "1", "--", &handler])
        .await;
    let took = start.elapsed();
    assert_eq!(totals(&ended), [0, 1, 0, 0, 0, 1, 0], "{}", ended.stderr);
    assert!(
        took >= Duration::from_millis(5_500),
        "SIGKILL came early: {took:?}"
    );
    // The dead letter is written after the group is gone, not before.
    let pids = pids(&file, 3).await;
    assert!(!pids.iter().any(|pid| super::is_alive(pid)), "{pids:?}");
    assert_eq!(rig.only_dead().await("redrive-error-kind"), "timeout");
}

/// The shell ends at SIGTERM, what it has started does not: the group is more than its leader.
#[tokio::test]
async fn what_outlives_the_leader_of_its_group_is_killed_too() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let file = rig.path("pids");
    let handler = rig.script(&format!(
        "(trap '' TERM; while :; do sleep 600; done) & echo $! >>{0}; echo $$ >>{0}; wait",
        file.display()
    ));
    let args = ["--timeout", "500ms", "--max-attempts", "1", "--", &handler];
    let ended = rig.drain(&args).await;
    assert_eq!(totals(&ended), [0, 1, 0, 0, 0, 1, 0], "{}", ended.stderr);
    all_gone(&pids(&file, 2).await).await;
}

#[tokio::test]
async fn sigterm_is_enough_where_it_is_heeded_and_an_exit_0_after_it_is_no_success() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let file = rig.path("pids");
    let handler = rig.script(&format!(
        "trap 'exit 0' TERM; sleep 600 & echo $! >>{0}; echo $$ >>{0}; wait",
        file.display()
    ));
    let start = Instant::now();
    let ended = rig
        .drain(&["--timeout", "300ms", "--max-attempts", "1", "--", &handler])
        .await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(totals(&ended), [0, 1, 0, 0, 0, 1, 0], "{}", ended.stderr);
    all_gone(&pids(&file, 2).await).await;
}

#[tokio::test]
async fn a_large_stdin_that_is_not_read_or_closed_early_is_no_error() {
    let mut rig = Rig::start().await;
    let large = vec![b'x'; 4 << 20];
    for script in [
        "true",
        "exec <&-; sleep 0.2",
        "head -c 1000 >/dev/null",
        "test $(wc -c) = 4194304",
    ] {
        rig.add_fields(&[(b"data", &large)]).await;
        let handler = rig.script(script);
        let ended = rig.drain(&["--field", "data", "--", &handler]).await;
        assert_eq!(ended.code, Some(0), "{script}: {}", ended.stderr);
        assert_eq!(
            totals(&ended),
            [1, 0, 0, 0, 0, 0, 0],
            "{script}: {}",
            ended.stderr
        );
    }
}

/// 8 MiB in one line, and 16 handlers that print at once.
#[tokio::test]
async fn output_is_passed_on_whole_whatever_its_length() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let handler = rig.script("head -c 8388608 /dev/zero | tr '\\0' x >&2; echo >&2; exit 65");
    let ended = rig.drain(&["--", &handler]).await;
    let printed = ended.stderr.lines().filter(|line| line.starts_with('x'));
    assert_eq!(printed.map(str::len).sum::<usize>(), 8 << 20);
    assert_eq!(rig.only_dead().await("redrive-error"), "x".repeat(8_192));

    let mut rig = Rig::start().await;
    rig.add(16).await;
    let handler = rig.script(
        "n=$REDRIVE_ID; i=0; while [ $i -lt 200 ]; do printf '%s' \"<$n\"; echo \" $n>\"; i=$((i+1)); done",
    );
    let ended = rig.drain(&["--", &handler]).await;
    assert_eq!(totals(&ended)[0], 16, "{}", ended.stderr);
    let mut whole = 0;
    for line in ended.stderr.lines().filter(|line| line.contains('<')) {
        let (first, second) = line.split_once(' ').unwrap();
        assert_eq!(
            first.trim_start_matches('<'),
            second.trim_end_matches('>'),
            "{line}"
        );
        whole += 1;
    }
    assert_eq!(whole, 16 * 200);
}

#[tokio::test]
async fn a_process_left_behind_with_the_pipes_open_holds_up_nothing_and_lives() {
    let mut rig = Rig::start().await;
    rig.add(3).await;
    let file = rig.path("pids");
    let handler = rig.script(&format!("sleep 600 & echo $! >>{}", file.display()));
    let start = Instant::now();
    let ended = rig.drain(&["--", &handler]).await;
    assert_eq!(totals(&ended)[0], 3, "{}", ended.stderr);
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    for pid in pids(&file, 3).await {
        assert!(super::is_alive(&pid));
        super::kill(&pid);
    }
}

/// The program is taken away and put back: until then nothing is charged and nothing is lost, and
/// the log says it once.
#[tokio::test]
async fn a_handler_that_vanishes_later_is_waited_for() {
    let mut rig = Rig::start().await;
    let path = rig.path("handler.sh");
    let handler = rig.script("exit 0");
    let run = rig.run(&[
        "-v",
        "--concurrency",
        "1",
        "--max-attempts",
        "1",
        "-o",
        "json",
        "--",
        &handler,
    ]);
    run.says("processor started").await;
    std::fs::remove_file(&path).unwrap();
    rig.add(50).await;
    run.says("handler cannot run").await;
    let stream = rig.stream.clone();
    eventually(super::SOON, "some probes", async || {
        let probes = run.said().matches(" deferred ").count();
        if probes >= 4 { Ok(()) } else { Err(probes) }
    })
    .await;
    assert!(rig.dead().await.is_empty());
    write_script(&path, "exit 0");
    run.says("handler runs again").await;
    eventually(super::SOON, "all handled", async || {
        let unread: Vec<Vec<(String, redis::Value)>> = redis::cmd("XINFO")
            .arg("GROUPS")
            .arg(&stream)
            .query_async(&mut rig.plain.clone())
            .await
            .unwrap();
        let lag = unread[0]
            .iter()
            .find(|(name, _)| name == "lag")
            .unwrap()
            .1
            .clone();
        match rig.pending().await {
            0 if lag == redis::Value::Int(0) => Ok(()),
            pending => Err(format!("{pending} pending, lag {lag:?}")),
        }
    })
    .await;
    run.signal(rustix::process::Signal::TERM);
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let totals = totals(&ended);
    assert_eq!((totals[0], totals[1], totals[5]), (50, 0, 0), "{totals:?}");
    assert_eq!(
        ended.stderr.matches("handler cannot run").count(),
        1,
        "{}",
        ended.stderr
    );
    assert_eq!(
        ended.stderr.matches("handler runs again").count(),
        1,
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("No such file or directory"),
        "{}",
        ended.stderr
    );
}
