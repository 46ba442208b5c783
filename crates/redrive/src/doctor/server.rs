//! What is wrong with a server as such: it forgets, it evicts, it hangs up, its clocks differ.

use super::facts::{Eviction, Journal, Replica, Told};
use super::finding::{Finding, FindingCode, Place, Severity, span};

/// The usual wait of a blocked read, in seconds: silence up to it is no silence.
const BLOCK_S: u64 = 5;
/// From when on clocks differ, and from when on it is more than a lease of the usual length.
const CLOCK_MS: u64 = 1_000;
const LEASE_MS: u64 = 30_000;

/// A policy that removes keys: all of them, or those that expire.
pub(super) fn eviction(told: &Told<Eviction>) -> Option<Finding> {
    let place = Place::server();
    let Eviction { policy, limit } = match told {
        Told::Yes(eviction) => eviction,
        Told::No(why) => {
            let what = "maxmemory and its policy";
            return Some(Finding::not_checked(place, what, why));
        }
    };
    let of_all = policy.starts_with("allkeys-");
    if !of_all && !policy.starts_with("volatile-") {
        return None;
    }
    let (severity, meaning) = match (of_all, limit) {
        (true, 0) => (
            Severity::Note,
            format!(
                "maxmemory-policy is {policy}, and there is no maxmemory: nothing is removed yet, but once a \
                 limit is set whole streams will be, with all that is pending in them"
            ),
        ),
        (true, limit) => (
            Severity::Critical,
            format!(
                "maxmemory-policy is {policy}: at {limit} bytes the server removes any key without a word, \
                 whole streams and dead-letter queues too, with all that is pending in them"
            ),
        ),
        (false, _) => (
            Severity::Note,
            format!(
                "maxmemory-policy is {policy}: it removes keys that expire. Streams and dead letters do not; of \
                 redrive's keys it may take signs of life and the receipts of replays, without which a replay \
                 that is repeated puts messages back twice"
            ),
        ),
    };
    let cure = [
        "redis-cli",
        "CONFIG",
        "SET",
        "maxmemory-policy",
        "noeviction",
    ];
    Some(Finding::new(FindingCode::EvictionPolicy, severity, place, meaning).cure(cure))
}

/// How much of what was acknowledged is gone when the server dies.
pub(super) fn append_only_file(told: &Told<Journal>) -> Option<Finding> {
    let code = FindingCode::AppendOnlyFile;
    let place = Place::server();
    let journal = match told {
        Told::Yes(journal) => journal,
        Told::No(why) => {
            let what = "whether the server keeps an append-only file";
            return Some(Finding::not_checked(place, what, why));
        }
    };
    if !journal.append_only {
        let meaning = "there is no append-only file: when the server dies, all that was added or acknowledged since \
             its last snapshot is gone, if it takes snapshots at all";
        let finding = Finding::new(code, Severity::Warning, place, meaning);
        return Some(finding.cure(["redis-cli", "CONFIG", "SET", "appendonly", "yes"]));
    }
    match &journal.fsync {
        Told::No(why) => Some(Finding::not_checked(place, "appendfsync", why)),
        Told::Yes(fsync) if fsync == "always" => None,
        Told::Yes(fsync) => {
            let (severity, lost) = if fsync == "everysec" {
                (Severity::Note, "a second or two of what was")
            } else {
                (
                    Severity::Warning,
                    "all of what was not yet written to the disk, though it was",
                )
            };
            let meaning = format!(
                "appendfsync is {fsync}: when the machine dies, {lost} added or acknowledged is gone. Messages are \
                 lost, or run again"
            );
            let finding = Finding::new(code, severity, place, meaning);
            Some(finding.cure(["redis-cli", "CONFIG", "SET", "appendfsync", "always"]))
        }
    }
}

/// A server that hangs up on who is silent for less than a read waits.
pub(super) fn client_timeout(told: &Told<u64>) -> Option<Finding> {
    let place = Place::server();
    let seconds = match told {
        Told::Yes(seconds) => *seconds,
        Told::No(why) => return Some(Finding::not_checked(place, "the time-out of clients", why)),
    };
    if seconds == 0 || seconds > BLOCK_S {
        return None;
    }
    let meaning = format!(
        "the server closes connections that are silent for {seconds} s, and a read waits for {BLOCK_S} s: while one \
         connection of a worker waits, the others are closed on it, over and over, and what was under way there is \
         in doubt"
    );
    let cure = ["redis-cli", "CONFIG", "SET", "timeout", "0"];
    Some(
        Finding::new(
            FindingCode::ClientTimeout,
            Severity::Warning,
            place,
            meaning,
        )
        .cure(cure),
    )
}

/// Idle times and due times are the server's: where a replica with another clock takes over, all
/// that is held seems to have been silent for long, or for no time.
pub(super) fn clocks(told: &Told<Vec<Replica>>) -> Vec<Finding> {
    let replicas = match told {
        Told::Yes(replicas) => replicas,
        Told::No(why) => {
            let what = "the replicas and their clocks";
            return vec![Finding::not_checked(Place::server(), what, why)];
        }
    };
    replicas.iter().filter_map(clock).collect()
}

fn clock(replica: &Replica) -> Option<Finding> {
    let place = Place::server();
    let name = &replica.name;
    let ahead_ms = match &replica.ahead_ms {
        Told::Yes(ahead_ms) => *ahead_ms,
        Told::No(why) => {
            let what = format!("the clock of the replica {name}");
            return Some(Finding::not_checked(place, &what, why));
        }
    };
    let apart = ahead_ms.unsigned_abs();
    if apart < CLOCK_MS {
        return None;
    }
    let severity = if apart < LEASE_MS {
        Severity::Warning
    } else {
        Severity::Critical
    };
    let apart = span(apart);
    let meaning = if ahead_ms > 0 {
        format!(
            "the clock of the replica {name} is {apart} ahead of the primary's: when it takes over, what is held seems \
             to have been silent for that long, and others take it over and run it a second time"
        )
    } else {
        format!(
            "the clock of the replica {name} is {apart} behind the primary's: when it takes over, what waits or was \
             left behind waits for that much longer"
        )
    };
    // Which service keeps the time is the machine's affair.
    Some(Finding::new(
        FindingCode::ReplicaClock,
        severity,
        place,
        meaning,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<T>(value: T) -> Told<T> {
        Told::Yes(value)
    }

    fn severity(finding: Option<Finding>) -> Option<Severity> {
        finding.map(|finding| finding.severity)
    }

    #[test]
    fn a_policy_is_as_bad_as_what_it_can_take() {
        let judged = |policy: &str, limit| {
            severity(eviction(&of(Eviction {
                policy: policy.to_owned(),
                limit,
            })))
        };
        assert_eq!(judged("noeviction", 1), None);
        assert_eq!(judged("allkeys-lru", 1), Some(Severity::Critical));
        assert_eq!(judged("allkeys-random", 0), Some(Severity::Note));
        assert_eq!(judged("volatile-ttl", 1), Some(Severity::Note));
        let hidden = eviction(&Told::No("no".to_owned())).unwrap();
        assert_eq!(hidden.code, FindingCode::NotChecked);
    }

    #[test]
    fn a_journal_is_as_bad_as_what_a_crash_takes() {
        let judged = |append_only, fsync: &str| {
            let fsync = of(fsync.to_owned());
            severity(append_only_file(&of(Journal { append_only, fsync })))
        };
        assert_eq!(judged(true, "always"), None);
        assert_eq!(judged(true, "everysec"), Some(Severity::Note));
        assert_eq!(judged(true, "no"), Some(Severity::Warning));
        assert_eq!(judged(false, "always"), Some(Severity::Warning));
        let fsync = Told::No("no".to_owned());
        let half = append_only_file(&of(Journal {
            append_only: true,
            fsync,
        }))
        .unwrap();
        assert_eq!(half.code, FindingCode::NotChecked);
    }

    #[test]
    fn a_timeout_counts_up_to_the_usual_block() {
        for (seconds, bad) in [(0, false), (1, true), (5, true), (6, false), (300, false)] {
            assert_eq!(client_timeout(&of(seconds)).is_some(), bad, "{seconds}");
        }
    }

    #[test]
    fn clocks_are_told_apart_both_ways_and_silence_is_said() {
        let replica = |ahead_ms| Replica {
            name: "10.0.0.2:6379".to_owned(),
            ahead_ms,
        };
        let all = [
            of(999),
            of(-999),
            of(1_000),
            of(-600_000),
            Told::No("no".to_owned()),
        ];
        let found = clocks(&of(all.map(replica).to_vec()));
        let told: Vec<_> = found.iter().map(|one| (one.code, one.severity)).collect();
        assert_eq!(
            told,
            [
                (FindingCode::ReplicaClock, Severity::Warning),
                (FindingCode::ReplicaClock, Severity::Critical),
                (FindingCode::NotChecked, Severity::Note),
            ]
        );
        assert!(
            found[1].meaning.contains("10 min behind"),
            "{}",
            found[1].meaning
        );
    }
}
