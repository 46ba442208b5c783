//! Each rule is read, judges its number, and what is unknown breaks none.

use super::rules::{FailIf, Judged, NewCause, Number, Unknown, judge, lines};
use redrive::{Broker, GroupState, Rule, Source, Stats};

fn read(text: &str) -> (Number, Rule) {
    match text.parse().unwrap() {
        FailIf::Number(number, rule) => (number, rule),
        FailIf::NewFingerprint => panic!("{text}"),
    }
}

/// The health of a group of which all numbers are known.
async fn healthy() -> Stats {
    let broker = Broker::connect("memory:").await.unwrap();
    let source = Source::new("orders", "billing").unwrap();
    let mut stats = broker.stats(&source).await.unwrap();
    stats.state = GroupState::Ok;
    stats.stream_length = Some(5);
    stats.pending_messages = Some(5);
    stats.waiting = Some(5);
    stats.consumers = Some(5);
    stats.lag = Some(5);
    stats.dlq_length = 5;
    stats.dlq_arrivals = 5;
    stats.dlq_dropped = 5;
    stats.oldest_pending_ms = Some(5_000);
    stats
}

fn judged(text: &str, stats: &Stats) -> Judged {
    let (number, rule) = read(text);
    judge(number, &rule, stats)
}

#[tokio::test]
async fn each_name_is_that_of_its_number() {
    let stats = healthy().await;
    for (name, place) in [
        ("pending", "orders billing"),
        ("pending_messages", "orders billing"),
        ("waiting", "orders billing"),
        ("lag", "orders billing"),
        ("consumers", "orders billing"),
        ("stream_length", "orders"),
        ("dlq_length", "orders:dlq"),
        ("dlq_arrivals", "orders:dlq"),
        ("dlq_dropped", "orders:dlq"),
    ] {
        let broken = Judged::Broken(format!("{name}>=5 in {place}: it is 5"));
        assert_eq!(judged(&format!("{name} >= 5"), &stats), broken);
        assert_eq!(
            judged(&format!("{name}>5"), &stats),
            Judged::Holds,
            "{name}"
        );
    }
    let broken = "oldest_pending>4s in orders billing: it is 5s".to_owned();
    assert_eq!(judged("oldest_pending>4s", &stats), Judged::Broken(broken));
    assert_eq!(judged("oldest_pending>5s", &stats), Judged::Holds);
}

#[tokio::test]
async fn what_is_not_known_breaks_no_rule_and_what_is_not_there_is_not_known() {
    let mut stats = healthy().await;
    stats.lag = None;
    let unknown = |text: &str, why| Judged::Unknown(text.to_owned(), why);
    let uncounted = unknown("lag<100 of orders billing", Unknown::NotCounted);
    assert_eq!(judged("lag<100", &stats), uncounted);
    // With nothing pending nothing is old.
    stats.oldest_pending_ms = None;
    assert!(matches!(
        judged("oldest_pending>1s", &stats),
        Judged::Unknown(_, Unknown::NotCounted)
    ));
    stats.pending_messages = Some(0);
    assert_eq!(judged("oldest_pending>1s", &stats), Judged::Holds);
    // Without a group nothing is known of it; what the stream has itself is.
    (stats.group, stats.state) = (None, GroupState::NoGroup);
    let no_group = unknown("pending<1 of orders", Unknown::NoGroup);
    assert_eq!(judged("pending<1", &stats), no_group);
    assert!(matches!(judged("dlq_length=5", &stats), Judged::Broken(_)));
    assert!(matches!(
        judged("stream_length=5", &stats),
        Judged::Broken(_)
    ));
    (stats.stream_length, stats.state) = (None, GroupState::Missing);
    let no_stream = unknown("stream_length<1 of orders", Unknown::NoStream);
    assert_eq!(judged("stream_length<1", &stats), no_stream);
}

#[test]
fn what_is_no_rule_is_refused_with_what_is_one() {
    for (text, why) in [
        (
            "pendin>3",
            "there is no number \"pendin\"; the names are oldest_pending, pending,",
        ),
        ("pending", "pending is compared with something: pending>100"),
        ("pending>10m", "pending is a number: pending>100"),
        ("pending>5%", "pending is a number"),
        (
            "oldest_pending>10",
            "oldest_pending is a duration: oldest_pending>10m",
        ),
        ("new_fingerprint>0", "new_fingerprint stands alone"),
        ("", "a rule is a name"),
    ] {
        let error = text.parse::<FailIf>().unwrap_err();
        assert!(error.starts_with(why), "{text}: {error}");
    }
    let alone = " new_fingerprint ".parse();
    assert!(matches!(alone, Ok(FailIf::NewFingerprint)));
}

#[test]
fn a_storm_is_a_line_for_each_error_and_no_more_than_twenty() {
    let cause = |n: u64| NewCause {
        fingerprint: format!("{n:016x}"),
        count: n,
        error: Some("x".repeat(1_000)),
    };
    assert!(lines("orders:dlq", Vec::new()).is_empty());
    let told = lines("orders:dlq", (1..=23).map(cause).collect());
    assert_eq!(told.len(), 21);
    assert!(told[0].starts_with("new_fingerprint in orders:dlq: 23 of 0000000000000017: xxx"));
    assert!(told.iter().all(|line| line.len() < 300));
    assert_eq!(told[20], "new_fingerprint in orders:dlq: and 3 more");
}
