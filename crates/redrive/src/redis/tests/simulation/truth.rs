//! What must be true of each message, kept outside Redis and derived from what was asked of the
//! server alone: every answer is compared with it.

use std::collections::{BTreeMap, BTreeSet};

use super::tally::Tally;
use crate::backend::{Delivery, Fence};
use crate::dead_letter::Reason;
use crate::message::Fields;
use crate::names::EntryId;

pub(super) const MAX_ATTEMPTS: u32 = 3;
pub(super) const MAX_CRASHES: u32 = 3;

/// How long an entry has been idle, as far as anybody's rules tell lengths of time apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Idle {
    Busy,
    Lease,
    ForeignLease,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Acked,
    /// A dead letter, a tombstone included.
    Dead(EntryId),
    /// Its tombstone went when its last holder succeeded after all.
    Lifted,
    /// Trimmed, and a plain XCLAIM dropped it unseen: a stated limit of the protocol.
    DroppedByForeign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Unread,
    Pending,
    Ended(End),
}

/// A due time, and the delivery it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) count: u64,
    pub(super) due: bool,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) fields: Fields,
    pub(super) place: Place,
    pub(super) owner: String,
    pub(super) count: u64,
    pub(super) idle: Idle,
    pub(super) trimmed: bool,
    pub(super) waiting: Option<Waiting>,
    /// Failed runs that their holder reported while the delivery was its own, each once.
    pub(super) failures: u32,
    pub(super) last_error: String,
    /// Deliveries that nobody ended, as far as a later begin has seen.
    pub(super) crashes: u32,
    /// Whether redrive has written anything about it. What Redis alone knows counts as one
    /// delivery, however often others delivered it.
    pub(super) recorded: bool,
    /// The charged delivery that nobody has ended.
    pub(super) open: Option<u64>,
    /// The delivery that was booked last as a crash.
    pub(super) booked: Option<u64>,
    /// The delivery that began alone in its process.
    pub(super) alone: Option<u64>,
    /// The delivery for which a verdict has been put off.
    pub(super) doubted: Option<u64>,
    /// The delivery that its own holder put back.
    pub(super) put_back: Option<u64>,
    /// The begin that made the present delivery.
    pub(super) nonce: String,
    /// The deliveries that were run.
    pub(super) runs: BTreeSet<u64>,
    /// Deliveries that may have been booked as a crash, gathered apart from the rules above: their
    /// process was killed, their reply was lost, or their holder lost the lease.
    pub(super) blamed: BTreeSet<u64>,
    /// Lost leases of which the holder learned in time.
    pub(super) forgiven: BTreeSet<u64>,
    /// Whether somebody else ever delivered it: worth one crash, however often.
    pub(super) foreign: bool,
    /// Deliveries whose handler ran, or might have, when its process was killed: gathered apart
    /// from the rules above as well, and so are those of them that ran alone.
    pub(super) killed: BTreeSet<u64>,
    pub(super) killed_alone: BTreeSet<u64>,
    /// Deliveries whose holder was silent for as long as a verdict waits.
    pub(super) silent: BTreeSet<u64>,
    /// Runs that failed and whose report reached the server at least once.
    pub(super) failed_runs: BTreeSet<u64>,
    /// The tombstone that stands for it, as long as its last holder has not resolved it.
    pub(super) stone: Option<EntryId>,
}

/// What a delivery is told of a message that is no longer pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// This tombstone stands for it, and is this delivery's to resolve.
    Stone(EntryId),
    /// One does, and another delivery was the last.
    Lost,
    Gone,
}

impl Message {
    fn new(fields: Fields) -> Self {
        Self {
            fields,
            place: Place::Unread,
            owner: String::new(),
            count: 0,
            idle: Idle::Busy,
            trimmed: false,
            waiting: None,
            failures: 0,
            last_error: String::new(),
            crashes: 0,
            recorded: false,
            open: None,
            booked: None,
            alone: None,
            doubted: None,
            put_back: None,
            nonce: String::new(),
            runs: BTreeSet::new(),
            blamed: BTreeSet::new(),
            forgiven: BTreeSet::new(),
            foreign: false,
            killed: BTreeSet::new(),
            killed_alone: BTreeSet::new(),
            silent: BTreeSet::new(),
            failed_runs: BTreeSet::new(),
            stone: None,
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.place == Place::Pending
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.place, Place::Ended(_))
    }

    pub(super) fn waits(&self) -> bool {
        self.waiting
            .is_some_and(|waiting| waiting.count == self.count)
    }

    pub(super) fn is_due(&self) -> bool {
        self.waits() && self.waiting.is_some_and(|waiting| waiting.due)
    }

    pub(super) fn past(&self, who: &str, fence: Fence) -> Past {
        match self.stone {
            None => Past::Gone,
            Some(_) if self.owner != who || self.count != fence.token => Past::Lost,
            // What it said before it was trimmed stands on the tombstone.
            Some(_) if fence.is_charged() && self.put_back == Some(fence.token) => Past::Gone,
            Some(stone) => Past::Stone(stone),
        }
    }

    /// Whether the present delivery is a crash if its holder is no more.
    pub(super) fn owes(&self) -> bool {
        !self.recorded || self.open == Some(self.count)
    }

    pub(super) fn crashes_and_open(&self) -> u32 {
        self.crashes + u32::from(self.owes())
    }

    /// Whether its crashes are too many, and the last one is its own.
    pub(super) fn is_guilty(&self) -> bool {
        let last = if self.owes() {
            Some(self.count)
        } else {
            self.booked
        };
        let too_many = self.crashes_and_open() >= MAX_CRASHES;
        too_many && self.alone.is_some() && self.alone == last
    }

    /// Crashes as they are told to who is to run it.
    pub(super) fn crashes_told(&self) -> u32 {
        self.crashes_and_open().min(MAX_CRASHES - 1)
    }

    /// Takes back what a lost lease must not cost its message; answers whether it still could.
    pub(super) fn take_back(&mut self, token: u64) -> bool {
        let booked = self.booked == Some(token);
        let open = self.count == token && self.owes();
        if booked {
            self.crashes -= 1;
            self.booked = None;
        }
        if open {
            self.open = None;
        }
        if booked || open {
            self.recorded = true;
        }
        booked || open
    }
}

/// A dead letter as it must stand in the queue.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) id: EntryId,
    pub(super) reason: Reason,
    pub(super) attempts: u32,
    pub(super) crashes: u32,
    pub(super) error: String,
    /// Whether it holds the message's fields; a tombstone holds none.
    pub(super) whole: bool,
}

#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) messages: BTreeMap<EntryId, Message>,
    pub(super) letters: BTreeMap<EntryId, Letter>,
    /// Redrive's consumers, as far as their registry knows.
    pub(super) registered: BTreeSet<String>,
    /// Those of them that have not been silent for a lease.
    pub(super) alive: BTreeSet<String>,
    /// Those that were killed while the registry did not know them: they woke up after they had
    /// been taken for dead, read, and died before their next claim. Theirs is the fate of
    /// consumers that are not redrive's.
    pub(super) strangers: BTreeSet<String>,
    pub(super) tally: Tally,
}

impl Truth {
    pub(super) fn add(&mut self, id: EntryId, fields: Fields) {
        self.messages.insert(id, Message::new(fields));
    }

    #[track_caller]
    pub(super) fn of(&mut self, id: EntryId) -> &mut Message {
        self.messages.get_mut(&id).expect("a message that we added")
    }

    pub(super) fn ids(&self, which: impl Fn(&Message) -> bool) -> Vec<EntryId> {
        let found = self.messages.iter().filter(|(_, message)| which(message));
        found.map(|(&id, _)| id).collect()
    }

    pub(super) fn pending_on(&self, owner: &str) -> usize {
        self.ids(|m| m.is_pending() && m.owner == owner).len()
    }

    pub(super) fn joined(&mut self, who: &str) {
        let silent: Vec<_> = self.registered.difference(&self.alive).cloned().collect();
        for name in silent {
            if self.pending_on(&name) == 0 {
                self.registered.remove(&name);
            }
        }
        self.registered.insert(who.to_owned());
        self.alive.insert(who.to_owned());
    }

    pub(super) fn left(&mut self, who: &str) {
        self.alive.remove(who);
        if self.pending_on(who) == 0 {
            self.registered.remove(who);
        } else {
            self.registered.insert(who.to_owned());
        }
    }

    /// A first delivery, to whomever.
    pub(super) fn read(&mut self, who: &str, id: EntryId, fields: &Fields) {
        let message = self.of(id);
        assert_eq!(message.place, Place::Unread, "{id} was read twice");
        assert_eq!(message.fields, *fields, "{id} was read with other bytes");
        message.place = Place::Pending;
        message.owner = who.to_owned();
        message.count = 1;
        message.idle = Idle::Busy;
        message.open = Some(1);
    }

    /// A claim that was executed, whether or not its answer arrived.
    pub(super) fn taken(&mut self, who: &str, delivery: &Delivery) {
        let id = delivery.lease.fence.id;
        let why = self.may_be_claimed(who, id);
        let message = self.of(id);
        assert!(why.is_some(), "{id} was claimed too early: {message:?}");
        assert!(!message.trimmed, "{id} was claimed although it is trimmed");
        assert!(
            message.failures < MAX_ATTEMPTS,
            "{id} was claimed although its attempts are used up"
        );
        assert_eq!(delivery.lease.fence.token, message.count, "count of {id}");
        assert_eq!(delivery.failures, message.failures, "failures of {id}");
        assert_eq!(
            delivery.crashes,
            message.crashes_told(),
            "crashes of {id}: {message:?}"
        );
        assert!(
            !message.is_guilty(),
            "{id} was claimed although it is guilty"
        );
        assert_eq!(delivery.fields, message.fields, "bytes of {id}");
        message.owner = who.to_owned();
        message.waiting = None;
        message.idle = Idle::Busy;
        self.tally.saw(why.unwrap_or_default());
    }

    /// Why a claim may touch a message, if it may: nothing else explains another run.
    pub(super) fn may_be_claimed(&self, who: &str, id: EntryId) -> Option<&'static str> {
        let message = self.messages.get(&id)?;
        let enough = if message.owner == who || self.registered.contains(&message.owner) {
            Idle::Lease
        } else {
            Idle::ForeignLease
        };
        if !message.is_pending() {
            None
        } else if message.is_due() {
            Some("claimed when due")
        } else if message.waits() && !message.trimmed {
            None
        } else if message.idle >= enough {
            Some("claimed after the lease")
        } else {
            None
        }
    }

    /// Writes down a new dead letter: one for each death, and never for one that has ended.
    pub(super) fn buried(&mut self, letter_id: EntryId, letter: Letter) {
        let id = letter.id;
        let message = self.of(id);
        assert!(message.is_pending(), "{id} died twice: {message:?}");
        if letter.reason == Reason::Trimmed {
            assert!(message.trimmed, "{id} is said to be trimmed and is not");
        }
        if letter.reason == Reason::AttemptsExhausted {
            assert!(
                letter.attempts >= MAX_ATTEMPTS,
                "{id} died early: {message:?}"
            );
        }
        if letter.reason == Reason::CrashLoop {
            assert!(message.is_guilty(), "{id} is innocent: {message:?}");
            assert!(message.owes(), "{id} is no longer open: {message:?}");
        }
        message.place = Place::Ended(End::Dead(letter_id));
        message.stone = (!letter.whole).then_some(letter_id);
        let before = self.letters.insert(letter_id, letter);
        assert!(before.is_none(), "the dead letter {letter_id} came twice");
    }

    /// A plain `XACK`, by whomever.
    pub(super) fn acked(&mut self, id: EntryId) {
        let message = self.of(id);
        if message.is_pending() {
            message.place = Place::Ended(End::Acked);
        }
    }

    /// The ack of one of redrive's, which takes a tombstone away that stands for its message.
    pub(super) fn succeeded(&mut self, id: EntryId) {
        let message = self.of(id);
        if message.is_pending() {
            message.place = Place::Ended(End::Acked);
        } else if let Some(stone) = message.stone.take() {
            message.place = Place::Ended(End::Lifted);
            self.letters.remove(&stone);
            self.tally.saw("tombstone lifted by an ack");
        }
    }
}
