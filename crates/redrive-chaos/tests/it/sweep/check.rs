//! What must be true at the end of a case, whatever was done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use redrive_testkit::eventually;

use super::case::{Harm, Strike};
use super::step::Step;
use super::world::{DLQ, GROUP, STREAM, World};

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is handled, in so many runs.
    Done(usize),
    /// One dead letter, for this reason, after so many runs.
    Dead(&'static str, usize),
    /// Trimmed while it ran, and handled: nothing is left of it. A worker that dies with it takes the only copy along,
    /// and leaves a tombstone.
    TrimmedAndDone,
    /// Trimmed: one dead letter that says so, after so many runs.
    Trimmed(usize),
    /// It stays pending: the queue is full.
    Kept,
    /// It is handled, in no more runs than these: another message ends the process while it runs. Where the process is
    /// killed as well when it runs for the last time, alone, it looks guilty.
    DoneWithin(usize),
    /// Somebody else says that it is done: no dead letter, whatever its run comes to.
    Acked,
    /// It is handled, and nothing is said of how often it runs.
    DoneAtLast,
}

/// What may be left in the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing that belongs to a group at work.
    Drained,
    /// A group with pending messages, and what it needs.
    InUse,
}

type Entries = Vec<(String, Vec<(String, redis::Value)>)>;

fn text(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

/// A dead letter, as far as it is looked at.
#[derive(Debug)]
struct Dead {
    of: String,
    reason: String,
}

impl Dead {
    fn read(fields: &[(String, redis::Value)]) -> Self {
        let get = |name: &str| {
            let found = fields.iter().rev().find(|(known, _)| known == name);
            found.map(|(_, value)| text(value))
        };
        let of = get("redrive-id").or(get("original_id"));
        let flat = get("failure_reason").map(|reason| match reason.as_str() {
            "max_retries_exceeded" => "attempts_exhausted".to_owned(),
            _ => reason,
        });
        let envelope = get("error").map(|error| {
            let known = ["rejected", "undecodable", "trimmed", "crash_loop"];
            let named = known
                .iter()
                .find(|name| error.starts_with(&format!("{name}: ")));
            named.map_or("attempts_exhausted", |name| name).to_owned()
        });
        Self {
            of: of.or(get("original_msg_id")).unwrap_or_default(),
            reason: (get("redrive-reason").or(flat).or(envelope)).unwrap_or_default(),
        }
    }
}

impl World<'_> {
    /// Something is as it should be, or the case is a violation.
    pub(super) fn same<T: PartialEq + Debug + ?Sized>(
        &mut self,
        what: &str,
        expected: &T,
        seen: &T,
    ) {
        if expected != seen {
            let what = format!("{what}: expected {expected:?}, seen {seen:?}");
            self.wrong.push(what);
        }
    }

    pub(super) fn insist(&mut self, what: &str, holds: bool, seen: impl Debug) {
        if !holds {
            self.wrong.push(format!("{what}; seen {seen:?}"));
        }
    }

    pub(super) async fn length(&mut self, stream: &str) -> u64 {
        self.ask(&["XLEN", stream]).await
    }

    /// Lets a plain worker finish what is left, then checks all that holds in every scenario.
    pub(super) async fn settle(&mut self, finish: Option<Step>, left: Left) {
        if let Some(finish) = finish {
            if self.was_killed() {
                self.wait_for_the_dead().await;
            }
            self.let_go();
            self.finish(finish).await;
        }
        self.check_fates().await;
        self.check_ledger().await;
        if self.was_late() && left != Left::InUse {
            // It may arrive when whoever sent it has left: then it is there for a lease.
            self.wait_for_the_dead().await;
        }
        self.check_keys(left).await;
    }

    pub(super) fn was_killed(&self) -> bool {
        let mut struck = self.struck.iter();
        struck.any(|index| self.case.strikes[*index].harm.is_kill())
    }

    fn was_late(&self) -> bool {
        let mut struck = self.struck.iter();
        struck.any(|index| self.case.strikes[*index].harm == Harm::Late)
    }

    /// How many were killed between the charge of a run and its start.
    fn charged_in_vain(&self) -> usize {
        let strikes = self.struck.iter().map(|index| &self.case.strikes[*index]);
        let charges = |label: &str| label == "XREADGROUP" || label.ends_with(" begin");
        let in_vain = |strike: &&Strike| {
            strike.harm == Harm::KilledAfter && charges(strike.place.label.as_str())
        };
        strikes.filter(in_vain).count()
    }

    /// Until the signs of life of what was killed are gone: only then it is cleared away.
    async fn wait_for_the_dead(&mut self) {
        let plain = self.plain.clone();
        eventually(Duration::from_secs(20), "no sign of life", async || {
            let mut keys = redis::cmd("KEYS");
            keys.arg("*:alive:*");
            let keys: Vec<String> = keys.query_async(&mut plain.clone()).await.unwrap();
            keys.is_empty()
        })
        .await;
    }

    async fn check_fates(&mut self) {
        let dead: Entries = self.ask(&["XRANGE", DLQ, "-", "+"]).await;
        let dead: Vec<Dead> = dead.iter().map(|(_, fields)| Dead::read(fields)).collect();
        let (mut starts, mut done) = (BTreeMap::new(), BTreeSet::new());
        for line in self.run_lines() {
            if let Some(id) = line.strip_suffix(" start") {
                *starts.entry(id.to_owned()).or_insert(0_usize) += 1;
            } else if let Some(id) = line.strip_suffix(" done") {
                done.insert(id.to_owned());
            }
        }
        let (mut kept, mut convicted) = (0, 0_usize);
        for (id, fate) in self.fates.clone() {
            let runs = starts.get(&id).copied().unwrap_or(0);
            let letters: Vec<&str> = (dead.iter().filter(|dead| dead.of == id))
                .map(|dead| dead.reason.as_str())
                .collect();
            let is_done = done.contains(&id);
            let mut right = match fate {
                Fate::Done(_) | Fate::DoneAtLast => is_done && letters.is_empty(),
                Fate::DoneWithin(most) if letters == ["crash_loop"] => {
                    convicted += 1;
                    // What was charged and killed before it began looks like a run: nobody can tell.
                    runs + self.charged_in_vain() >= most && runs <= most && self.was_killed()
                }
                Fate::DoneWithin(_) => is_done && letters.is_empty(),
                Fate::Dead(reason, _) => letters == [reason],
                Fate::Trimmed(_) => letters == ["trimmed"],
                Fate::TrimmedAndDone if self.was_killed() => {
                    (is_done && letters.is_empty()) || letters == ["trimmed"]
                }
                Fate::TrimmedAndDone => is_done && letters.is_empty(),
                Fate::Kept | Fate::Acked => letters.is_empty(),
            };
            let expected = match fate {
                Fate::Done(runs) | Fate::Dead(_, runs) | Fate::Trimmed(runs) => runs,
                Fate::TrimmedAndDone | Fate::Kept | Fate::Acked => 1,
                Fate::DoneWithin(most) => runs.min(most),
                Fate::DoneAtLast => runs,
            };
            let allowed = expected + self.case.runs_explained();
            // A message that dies must have had its runs: a crash is no failure.
            let needed = match fate {
                Fate::Trimmed(_) => 0,
                _ => expected.min(1),
            };
            let needed = if matches!(fate, Fate::Dead("attempts_exhausted", _)) {
                expected
            } else {
                needed
            };
            right &= (needed..=allowed).contains(&runs);
            if !right {
                let what = format!(
                    "{id} should be {fate:?}; it ran {runs} times, is done: {is_done}, dead letters: {letters:?}"
                );
                self.wrong.push(what);
            }
            self.extra_runs += runs.saturating_sub(expected);
            self.deaths += letters.len();
            kept += u64::from(fate == Fate::Kept);
        }
        let kills = self.struck.len();
        self.insist("a kill convicts one at most", convicted <= kills, convicted);
        let pending = self.pending().await;
        self.same("pending", &kept, &pending);
    }

    async fn pending(&mut self) -> u64 {
        let mut pending = redis::cmd("XPENDING");
        pending.arg(STREAM).arg(GROUP);
        // Without its group nothing is pending.
        let answer: redis::RedisResult<Vec<redis::Value>> =
            pending.query_async(&mut self.plain).await;
        match answer.as_deref() {
            Ok([redis::Value::Int(pending), ..]) => pending.unsigned_abs(),
            _ => 0,
        }
    }

    async fn check_ledger(&mut self) {
        let ledger = format!("{{{DLQ}}}:redrive:ledger");
        let ledger: BTreeMap<String, i64> = self.ask(&["HGETALL", &ledger]).await;
        let kept = self.length(DLQ).await.cast_signed();
        let count = |name: &str| ledger.get(name).copied().unwrap_or(0);
        let came = count("dead_lettered") + count("imported");
        let gone = ["replayed", "purged", "spilled", "dropped"];
        let sum = kept + gone.iter().map(|name| count(name)).sum::<i64>();
        let what = format!("the books balance ({ledger:?} with {kept} kept)");
        self.same(&what, &sum, &came);
    }

    /// The keys that outlive their use for a while.
    async fn expiring(&mut self) -> Vec<String> {
        let keys: Vec<String> = self.ask(&["KEYS", "*"]).await;
        let expire = |key: &String| EXPIRING.iter().any(|part| key.contains(part));
        keys.into_iter().filter(expire).collect()
    }

    async fn check_keys(&mut self, left: Left) {
        if left == Left::InUse {
            return;
        }
        let keys: Vec<String> = self.ask(&["KEYS", "*"]).await;
        let leaked: Vec<String> = keys.into_iter().filter(|key| !may_stay(key)).collect();
        self.same("leaked keys", &Vec::new(), &leaked);
        for key in self.expiring().await {
            let left: i64 = self.ask(&["PTTL", &key]).await;
            self.insist(&format!("{key} expires"), left >= 0, left);
        }
        let mut consumers = redis::cmd("XINFO");
        consumers.arg("CONSUMERS").arg(STREAM).arg(GROUP);
        let consumers: redis::RedisResult<Vec<BTreeMap<String, redis::Value>>> =
            consumers.query_async(&mut self.plain).await;
        let names = consumers.unwrap_or_default().into_iter();
        let names = names.filter_map(|consumer| consumer.get("name").map(text));
        // Not redrive's: it is left alone for an hour.
        let leaked: Vec<String> = names.filter(|name| name != "plain").collect();
        self.same("consumers left behind", &Vec::new(), &leaked);
    }
}

const STAYING: [&str; 3] = [":redrive:g:meta", ":redrive:ledger", ":redrive:audit"];
const EXPIRING: [&str; 5] = [
    ":redrive:g:tombstones",
    ":redrive:replayed:",
    ":redrive:imported:",
    ":redrive:campaign",
    ":redrive:undo:",
];

fn may_stay(key: &str) -> bool {
    let plain = !key.contains(":redrive:");
    plain
        || STAYING
            .iter()
            .chain(&EXPIRING)
            .any(|part| key.contains(part))
}
