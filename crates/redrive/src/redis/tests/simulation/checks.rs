//! What the server holds, compared with the truth: now and then, and when everything is drained.

use std::collections::{BTreeMap, BTreeSet};

use redis::cmd;
use redrive_testkit::leaked_keys;

use super::Simulation;
use super::truth::{End, Idle, MAX_ATTEMPTS, MAX_CRASHES, Message, Place};
use crate::backend::IdRange;
use crate::dead_letter::Reason;
use crate::message::Fields;
use crate::names::EntryId;
use crate::redis::keys;
use crate::selection::Order;

/// The state of a message as it is stored, as far as it is compared.
struct Stored {
    failures: u32,
    crashes: u32,
    open: u64,
    hint: u64,
    alone: u64,
}

impl Stored {
    fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let numbers: Vec<&str> = text.split(' ').collect();
        let number = |at: usize| -> u64 {
            let negative = || panic!("a strange number in the state {text:?}");
            numbers[at].parse().unwrap_or_else(|_| negative())
        };
        let small = |at: usize| u32::try_from(number(at)).unwrap();
        Self {
            failures: small(0),
            crashes: small(1),
            open: number(2),
            hint: number(3),
            alone: number(6),
        }
    }
}

impl Simulation {
    /// The pending entries list, the state and the due times are what the answers made them.
    pub(super) async fn compare(&mut self) {
        let world = &mut self.world;
        let mut list = world.on_group("XPENDING");
        list.arg("-").arg("+").arg(100_000);
        let rows: Vec<(String, String, u64, u64)> = world.ask(&list).await;
        let state: BTreeMap<String, Vec<u8>> = world
            .ask(cmd("HGETALL").arg(world.keys.state.clone()))
            .await;
        let mut due = cmd("ZRANGE");
        due.arg(&world.keys.due).arg(0).arg(-1);
        let due: BTreeSet<String> = world.ask(&due).await;
        let registry = world.keys.consumers.clone();
        let registered: BTreeSet<String> = world.ask(cmd("HKEYS").arg(registry)).await;
        assert_eq!(registered, self.truth.registered, "the registry");

        let pending = self.truth.ids(Message::is_pending);
        let listed: Vec<EntryId> = rows.iter().map(|row| row.0.parse().unwrap()).collect();
        assert_eq!(listed, pending, "what is pending");
        for (id, owner, idle, count) in rows {
            let message = self.truth.of(id.parse().unwrap());
            let held = (&message.owner, message.count);
            assert_eq!((&owner, count), held, "owner and count of {id}");
            let aged = idle > 1_000_000;
            assert!(
                !aged || message.idle > Idle::Busy,
                "{id} is idle: {message:?}"
            );
            let stored = state.get(&id).map(|text| Stored::read(text));
            assert_eq!(stored.is_some(), message.recorded, "state of {id}");
            let Some(stored) = stored else { continue };
            assert_eq!(
                stored.failures, message.failures,
                "failures of {id}: {message:?}"
            );
            assert_eq!(
                stored.crashes, message.crashes,
                "crashes of {id}: {message:?}"
            );
            let owes = stored.open == count;
            assert_eq!(owes, message.owes(), "open crash of {id}: {message:?}");
            let alone = message.alone.unwrap_or(0);
            assert_eq!(stored.alone, alone, "run alone of {id}: {message:?}");
            let waits = stored.hint == count && due.contains(&id);
            assert_eq!(waits, message.waits(), "due time of {id}: {message:?}");
        }
    }

    /// After everything is drained: nothing lost, nothing twice, nothing left.
    pub(super) async fn conclude(&mut self) {
        self.compare().await;
        for (id, message) in &self.truth.messages {
            judge(*id, message);
        }
        self.compare_dead_letters().await;

        let world = &mut self.world;
        let mut consumers = cmd("XINFO");
        consumers.arg("CONSUMERS");
        consumers
            .arg(world.source.stream.as_str())
            .arg(world.source.group.as_str());
        let left: Vec<BTreeMap<String, redis::Value>> = world.ask(&consumers).await;
        assert!(left.is_empty(), "consumers left behind: {left:?}");
        let allowed = [
            world.source.stream.to_string(),
            world.dlq.to_string(),
            world.keys.meta.clone(),
            world.keys.tombstones.clone(),
            keys::ledger(&world.dlq),
        ];
        let leaked = leaked_keys(&mut world.raw, world.source.stream.as_str(), &allowed).await;
        assert_eq!(leaked.unwrap(), Vec::<String>::new(), "keys left behind");
    }

    async fn compare_dead_letters(&mut self) {
        let range = IdRange {
            low: EntryId::MIN,
            high: EntryId::MAX,
            order: Order::Oldest,
            limit: 100_000,
        };
        let found = self.world.backend.entries(&self.world.dlq, range).await;
        let found: BTreeMap<_, _> = found
            .unwrap()
            .into_iter()
            .map(|e| (e.id, e.fields))
            .collect();
        let known: Vec<_> = self.truth.letters.keys().copied().collect();
        assert_eq!(
            found.keys().copied().collect::<Vec<_>>(),
            known,
            "dead letters"
        );
        let mut dead = BTreeSet::new();
        for (letter_id, fields) in &found {
            let letter = &self.truth.letters[letter_id];
            let message = &self.truth.messages[&letter.id];
            assert!(dead.insert(letter.id), "two dead letters for {}", letter.id);
            let text = |name: &str| {
                let value = fields.iter().rev().find(|(n, _)| *n == name.as_bytes());
                value.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            };
            let number = |name: &str| text(name).and_then(|n| n.parse::<u32>().ok());
            let id = letter.id.to_string();
            assert_eq!(text("redrive-id"), Some(id.clone()));
            assert_eq!(
                text("redrive-reason").as_deref(),
                Some(letter.reason.as_str()),
                "{id}"
            );
            let counts = (number("redrive-attempts"), number("redrive-crashes"));
            let expected = (Some(letter.attempts), Some(letter.crashes));
            assert_eq!(
                counts, expected,
                "attempts and crashes of {id}: {message:?}"
            );
            assert_eq!(
                text("redrive-error").unwrap_or_default(),
                letter.error,
                "error of {id}"
            );
            let many = number("redrive-fields").unwrap() as usize;
            let user: Fields = fields.pairs().iter().take(many).cloned().collect();
            let whole = if letter.whole {
                message.fields.clone()
            } else {
                Fields::default()
            };
            assert_eq!(user, whole, "bytes of {id}");
            judge_letter(&id, letter.reason, letter.attempts, message);
        }
        let mut count = cmd("HGET");
        count
            .arg(keys::ledger(&self.world.dlq))
            .arg("dead_lettered");
        let counted: Option<usize> = self.world.ask(&count).await;
        assert_eq!(counted.unwrap_or(0), found.len(), "the ledger");
    }
}

/// What holds for a message however it was treated, from counts that none of the rules touch.
fn judge(id: EntryId, message: &Message) {
    match message.place {
        Place::Ended(End::DroppedByForeign | End::Lifted) => assert!(message.trimmed),
        Place::Ended(End::Acked | End::Dead(_)) => {}
        Place::Unread | Place::Pending => panic!("{id} was lost or is stuck: {message:?}"),
    }
    let blamed = message.blamed.difference(&message.forgiven).count();
    assert!(
        message.crashes as usize <= blamed + usize::from(message.foreign),
        "more crashes of {id} than anything explains: {message:?}"
    );
    let failed = u32::try_from(message.failed_runs.len()).unwrap();
    assert!(
        message.failures <= failed,
        "more failures of {id} than runs failed: {message:?}"
    );
    let killed = message.killed.difference(&message.forgiven).count();
    assert!(
        killed <= MAX_CRASHES as usize,
        "{id} was run again after too many crashes: {message:?}"
    );
    assert!(
        message.failed_runs.is_subset(&message.runs),
        "{id} failed without a run"
    );
}

fn judge_letter(id: &str, reason: Reason, attempts: u32, message: &Message) {
    let failed = u32::try_from(message.failed_runs.len()).unwrap();
    assert!(
        attempts <= failed,
        "{id} died of more failures than happened: {message:?}"
    );
    match reason {
        Reason::AttemptsExhausted => assert!(attempts >= MAX_ATTEMPTS, "{id} died early"),
        Reason::Trimmed => assert!(message.trimmed, "{id} was never trimmed"),
        Reason::CrashLoop => {
            let last = message.alone.unwrap();
            assert_eq!(last, message.count, "{id} did not run alone last");
            let killed = message.killed_alone.contains(&last);
            assert!(
                killed || message.silent.contains(&last),
                "nothing happened to {id}: {message:?}"
            );
        }
        _ => {}
    }
}
