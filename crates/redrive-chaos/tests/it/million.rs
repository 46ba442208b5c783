//! A dead-letter queue of a million: searched, listed, counted and grouped, in little memory, and the server is never kept for long.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use redis::Value;
use tokio::io::AsyncReadExt;

use crate::arena::{Arena, DLQ};
use crate::crew::redrive;
use crate::size::size;

/// What the process may take.
const MOST_KIB: u64 = 100 << 10;
/// How long one command may keep the server.
const LONGEST: Duration = Duration::from_millis(10);
/// How often a command that took longer is repeated. Where it was the machine that was busy, one of these takes less.
const AGAIN: usize = 10;

/// Adds dead letters with payloads of 100 bytes, of which one in a thousand is of customer 7.
const FILL: &str = "
    for n = ARGV[1], ARGV[2] do
      local payload = '{\"customer\":{\"id\":' .. n % 1000 .. '},\"n\":' .. n .. ',\"note\":\"'
      payload = payload .. string.rep('x', 98 - #payload) .. '\"}'
      redis.call('XADD', KEYS[1], '*', 'data', payload, 'redrive-v', 1, 'redrive-fields', 1,
        'redrive-stream', 'orders', 'redrive-group', 'billing', 'redrive-id', n .. '-0',
        'redrive-reason', 'attempts_exhausted', 'redrive-error', 'card ' .. n .. ' declined',
        'redrive-error-kind', 'Declined', 'redrive-fingerprint', string.format('%016x', n),
        'redrive-attempts', 3, 'redrive-crashes', 0, 'redrive-consumer', 'worker-1',
        'redrive-first-at', '1700000000000', 'redrive-dead-at', 1700000000000 + n)
    end";

/// What came of one command.
struct Done {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
    /// The most memory it had.
    peak_kib: u64,
    took: Duration,
}

impl Done {
    fn lines(&self) -> usize {
        self.stdout.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// Runs the real binary, and watches its memory.
async fn watched(arena: &Arena, words: &[&str]) -> Done {
    let began = Instant::now();
    let mut command = redrive(&arena.server.url(), words);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let (mut from, mut said) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = tokio::spawn(async move {
        let mut all = Vec::new();
        from.read_to_end(&mut all).await.map(|_| all)
    });
    let stderr = tokio::spawn(async move {
        let mut all = String::new();
        said.read_to_string(&mut all).await.map(|_| all)
    });
    // The kernel keeps the peak, so looking now and then misses only what grew in the last moment.
    let mut peak_kib = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended.unwrap(),
            _ = tick.tick() => {
                let status = std::fs::read_to_string(&status).unwrap_or_default();
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let word = line.and_then(|line| line.split_whitespace().next());
                peak_kib = word.map_or(peak_kib, |word| word.parse().unwrap());
            }
        }
    };
    Done {
        code: ended.code(),
        stdout: stdout.await.unwrap().unwrap(),
        stderr: stderr.await.unwrap().unwrap(),
        peak_kib,
        took: began.elapsed(),
    }
}

/// The commands that the server was kept by for longer than it may, each with how long it took.
async fn slow(arena: &Arena) -> Vec<(Duration, Vec<Vec<u8>>)> {
    let rows: Vec<Vec<Value>> = arena.ask("SLOWLOG GET 100000").await;
    let read = |row: Vec<Value>| {
        let micros: u64 = redis::from_redis_value(row[2].clone()).unwrap();
        let words: Vec<Vec<u8>> = redis::from_redis_value(row[3].clone()).unwrap();
        (Duration::from_micros(micros), words)
    };
    rows.into_iter().map(read).collect()
}

/// Whether this command takes too long each time.
async fn is_slow(arena: &Arena, words: &[Vec<u8>]) -> bool {
    let mut redis = arena.redis.clone();
    let _: Value = arena.ask("SLOWLOG RESET").await;
    for _ in 0..AGAIN {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(&word[..]);
        }
        let _: Value = command.query_async(&mut redis).await.unwrap();
    }
    let again = slow(arena).await;
    again.iter().filter(|(_, again)| again == words).count() == AGAIN
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn million_dead_letters_are_searched_in_little_memory_and_keep_the_server_for_moments() {
    let many: u64 = size(30_000, 1_000_000);
    let arena = Arena::start().await;
    let mut redis = arena.redis.clone();
    let fill = redis::Script::new(FILL);
    for from in (1..=many).step_by(1_000) {
        let _: Value = (fill.key(DLQ).arg(from).arg(from + 999))
            .invoke_async(&mut redis)
            .await
            .unwrap();
    }
    assert_eq!(arena.ask::<u64>(&format!("XLEN {DLQ}")).await, many);
    for words in [
        format!("CONFIG SET slowlog-log-slower-than {}", LONGEST.as_micros()),
        "CONFIG SET slowlog-max-len 100000".to_owned(),
        "SLOWLOG RESET".to_owned(),
        "CONFIG RESETSTAT".to_owned(),
    ] {
        let _: Value = arena.ask(&words).await;
    }

    let few = usize::try_from(many / 1_000).unwrap();
    let half = many / 2;
    let regex = format!("^card {half} ");
    let listing = ["dlq", "list", "orders", "-o", "jsonl", "--all"];
    for (what, more, lines) in [
        ("by payload", &["--where", "data.customer.id=7"][..], few),
        (
            "by error, newest first",
            &["--error-regex", &regex, "--newest"],
            1,
        ),
        ("nothing", &["--consumer", "nobody", "--oldest"], 0),
        (
            "all",
            &["--error", "declined"],
            usize::try_from(many).unwrap(),
        ),
    ] {
        let done = watched(&arena, &[&listing[..], more].concat()).await;
        let Done { peak_kib, took, .. } = done;
        println!(
            "million: {what}: {} of {many} in {took:.1?}, {peak_kib} KiB at most",
            done.lines()
        );
        let code = if lines == 0 { 3 } else { 0 };
        assert_eq!(
            (done.code, done.lines()),
            (Some(code), lines),
            "{what}: {}",
            done.stderr
        );
        assert!(
            peak_kib > 0 && peak_kib < MOST_KIB,
            "{what}: {peak_kib} KiB"
        );
    }
    // The usual list, and the count before a question, which nobody is there to answer.
    let done = watched(&arena, &["dlq", "list", "orders", "--attempts", ">=3"]).await;
    println!(
        "million: list in {:.1?}, {} KiB at most",
        done.took, done.peak_kib
    );
    assert_eq!((done.code, done.lines()), (Some(0), 51), "{}", done.stderr);
    assert!(
        done.stderr.starts_with(&format!("50 of {many} that match")),
        "{}",
        done.stderr
    );
    assert!(done.peak_kib < MOST_KIB, "{} KiB", done.peak_kib);
    let done = watched(
        &arena,
        &["dlq", "purge", "orders", "--where", "data.customer.id=7"],
    )
    .await;
    println!(
        "million: count in {:.1?}, {} KiB at most",
        done.took, done.peak_kib
    );
    let told =
        format!("error: this would purge {few} dead letters of {DLQ}, and there is no terminal");
    assert!(
        done.code == Some(2) && done.stderr.starts_with(&told),
        "{}",
        done.stderr
    );
    assert!(done.peak_kib < MOST_KIB, "{} KiB", done.peak_kib);

    // Each a cause of its own, the worst there is: the busiest, and a row for all others. And all of one.
    for (by, rows) in [("fingerprint", 10_001), ("error-kind", 1)] {
        let groups = ["dlq", "groups", "orders", "--group-by", by, "-o", "jsonl"];
        let done = watched(&arena, &groups).await;
        println!(
            "million: groups by {by} in {:.1?}, {} KiB at most",
            done.took, done.peak_kib
        );
        assert_eq!(
            (done.code, done.lines()),
            (Some(0), rows),
            "{}",
            done.stderr
        );
        assert!(done.peak_kib < MOST_KIB, "{} KiB", done.peak_kib);
    }

    let stats: String = arena.ask("INFO commandstats").await;
    let calls: BTreeMap<&str, &str> = stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'))
        .collect();
    println!("million: evalsha {}", calls["evalsha"]);
    // The server's clock runs on while somebody else has the processor: what is slow because of its work is slow again.
    let suspects = slow(&arena).await;
    let mut convicted = Vec::new();
    for (took, words) in &suspects {
        let name = String::from_utf8_lossy(&words[0]).to_ascii_uppercase();
        if !["EVALSHA", "EVAL", "XRANGE", "XREVRANGE", "XLEN"].contains(&&*name) {
            println!("million: {name} took {took:.1?}, and is none of ours");
            continue;
        }
        if is_slow(&arena, words).await {
            convicted.push((name, *took));
        }
    }
    println!(
        "million: {} commands took longer than {LONGEST:?} on this machine, {} of them {AGAIN} times more",
        suspects.len(),
        convicted.len()
    );
    assert!(convicted.is_empty(), "{convicted:?}");
}
