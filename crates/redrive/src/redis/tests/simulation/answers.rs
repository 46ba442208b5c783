//! What the server may answer to begin, renew and settle, and what each changes.

use super::burials::{OpenCrash, last_error};
use super::truth::{Idle, MAX_ATTEMPTS, MAX_CRASHES, Message, Past, Truth, Waiting};
use crate::backend::{Begun, Beside, Died, Failed, Fence, How, Renewed, Settled, Tended};
use crate::dead_letter::{Layout, Reason};
use crate::names::EntryId;

/// An answer without what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Ok,
    Died,
    Lost,
    Gone,
    Refused,
}

pub(super) fn word(answer: &Settled) -> Word {
    match answer {
        Settled::Done => Word::Ok,
        Settled::Died(_) => Word::Died,
        Settled::Stale => Word::Lost,
        Settled::Gone => Word::Gone,
        Settled::Refused(_) => Word::Refused,
        Settled::Full => unreachable!("there is no limit"),
    }
}

/// One settlement as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) fence: Fence,
    pub(super) tombstone: Option<EntryId>,
    pub(super) how: How,
}

impl Truth {
    pub(super) fn tended(&mut self, who: &str, answer: &Tended) {
        for delivery in &answer.taken {
            self.taken(who, delivery);
        }
        for died in &answer.dead {
            let why = self.may_be_claimed(who, died.id);
            let message = self.of(died.id);
            assert!(why.is_some(), "{} given up too early", died.id);
            if died.reason == Reason::CrashLoop {
                let waited = message.doubted == Some(message.count);
                assert!(waited, "{} was not doubted first", died.id);
            }
            let error = last_error(message, died.reason);
            let letter = self.letter(died, error, Failed::No, OpenCrash::Counts);
            self.buried(died.dead_letter, letter);
            self.tally.saw(match died.reason {
                Reason::Trimmed => "tombstone by claim",
                Reason::CrashLoop => "crash loop",
                _ => "exhausted at claim",
            });
        }
        for id in &answer.doubted {
            let why = self.may_be_claimed(who, *id);
            let message = self.of(*id);
            assert!(why.is_some(), "{id} doubted too early");
            assert!(message.is_guilty() && !message.trimmed, "{message:?}");
            message.doubted = Some(message.count);
            message.recorded = true;
            message.idle = Idle::Busy;
            message.waiting = Some(Waiting {
                count: message.count,
                due: false,
            });
            self.tally.saw("doubted");
        }
        for (id, _) in &answer.refused {
            let message = self.of(*id);
            let used_up = message.failures >= MAX_ATTEMPTS || message.is_guilty();
            assert!(message.trimmed || used_up);
            // Its due time went as it was taken, whether it was due or trimmed while it waited.
            message.waiting = None;
            self.tally.saw("refused");
        }
        self.registered.insert(who.to_owned());
    }

    pub(super) fn begun(
        &mut self,
        who: &str,
        fence: Fence,
        (beside, nonce): (Beside, &str),
        answer: &Begun,
    ) {
        let message = self.of(fence.id);
        let again = message.count == fence.token + 1 && message.nonce == nonce;
        let past = (!message.is_pending()).then(|| message.past(who, fence));
        let expected = if let Some(past) = past {
            past.word()
        } else if message.owner != who {
            Word::Lost
        } else if again {
            Word::Ok
        } else if message.count != fence.token || message.waits() {
            Word::Lost
        } else if message.trimmed || message.failures >= MAX_ATTEMPTS || message.is_guilty() {
            Word::Died
        } else {
            Word::Ok
        };
        let said = match answer {
            Begun::Started { .. } => Word::Ok,
            Begun::Lost => Word::Lost,
            Begun::Gone => Word::Gone,
            Begun::Died(_) => Word::Died,
            Begun::Refused(_) => Word::Refused,
            Begun::Full => unreachable!("there is no limit"),
        };
        assert_answer(said, expected, "begin", fence, message);
        match answer {
            Begun::Started {
                token,
                failures,
                crashes,
            } => {
                if again {
                    self.tally.saw("begin answered again");
                } else {
                    self.start(fence, beside, nonce);
                }
                let message = self.of(fence.id);
                assert_eq!(
                    (*token, *failures, *crashes),
                    (
                        message.count,
                        message.failures,
                        message.crashes.min(MAX_CRASHES - 1)
                    ),
                    "begin of {fence:?}: {message:?}"
                );
            }
            Begun::Died(died) if past.is_some() => {
                assert_eq!(
                    past,
                    Some(Past::Stone(died.dead_letter)),
                    "begin of {fence:?}"
                );
                self.tally.saw("tombstone told again");
            }
            Begun::Died(died) => {
                let error = last_error(message, died.reason);
                let letter = self.letter(died, error, Failed::No, OpenCrash::Counts);
                self.buried(died.dead_letter, letter);
            }
            Begun::Refused(_) => self.tally.saw("refused"),
            Begun::Lost | Begun::Gone | Begun::Full => {}
        }
    }

    fn start(&mut self, fence: Fence, beside: Beside, nonce: &str) {
        let message = self.of(fence.id);
        let crashed = message.owes();
        if crashed {
            message.crashes += 1;
            message.booked = Some(fence.token);
        }
        message.recorded = true;
        message.count += 1;
        message.open = Some(message.count);
        message.alone = (beside == Beside::Nobody).then_some(message.count);
        message.put_back = None;
        message.idle = Idle::Busy;
        nonce.clone_into(&mut message.nonce);
        if crashed {
            self.tally.saw("crash booked");
        }
    }

    pub(super) fn renewed(&mut self, who: &str, fence: Fence, answer: &Renewed) {
        let message = self.of(fence.id);
        let past = (!message.is_pending()).then(|| message.past(who, fence));
        let expected = if let Some(past) = past {
            past.word()
        } else if message.owner != who || message.count != fence.token {
            Word::Lost
        } else if message.trimmed && !(fence.is_charged() && message.put_back == Some(fence.token))
        {
            Word::Died
        } else {
            Word::Ok
        };
        let said = match answer {
            Renewed::Held => Word::Ok,
            Renewed::Lost => Word::Lost,
            Renewed::Gone => Word::Gone,
            Renewed::Trimmed { .. } => Word::Died,
            Renewed::Refused(_) => Word::Refused,
        };
        assert_answer(said, expected, "renewal", fence, message);
        match answer {
            Renewed::Held if message.trimmed => {}
            Renewed::Held => {
                message.idle = Idle::Busy;
                // It was only slow.
                if fence.is_charged() && message.owes() && message.waits() {
                    message.waiting = None;
                    message.doubted = None;
                    self.tally.saw("came back");
                }
            }
            Renewed::Lost | Renewed::Gone if past.is_some() => {
                message.blamed.insert(fence.token);
            }
            Renewed::Trimmed { tombstone, .. } if past.is_some() => {
                assert_eq!(past, Some(Past::Stone(*tombstone)), "renewal of {fence:?}");
                self.tally.saw("tombstone told again");
            }
            Renewed::Lost => self.lost(fence),
            Renewed::Trimmed { tombstone, .. } => {
                let died = Died {
                    id: fence.id,
                    reason: Reason::Trimmed,
                    dead_letter: *tombstone,
                    layout: Layout::Native,
                    dropped: 0,
                };
                let open = OpenCrash::of(fence);
                let error = message.last_error.clone();
                let letter = self.letter(&died, error, Failed::No, open);
                self.buried(*tombstone, letter);
                self.tally.saw("tombstone by renewal");
            }
            Renewed::Refused(_) => self.tally.saw("refused"),
            Renewed::Gone => {
                message.blamed.insert(fence.token);
            }
        }
    }

    fn lost(&mut self, fence: Fence) {
        self.tally.saw("lost lease");
        if !fence.is_charged() {
            return;
        }
        let message = self.of(fence.id);
        if message.take_back(fence.token) {
            message.forgiven.insert(fence.token);
            self.tally.saw("crash taken back");
        } else {
            message.blamed.insert(fence.token);
        }
    }

    pub(super) fn settled(&mut self, who: &str, sent: &Sent, answer: &Settled) {
        let (fence, id) = (sent.fence, sent.fence.id);
        if let How::Retry { .. }
        | How::DeadLetter {
            failed: Failed::Yes,
            ..
        } = sent.how
        {
            self.of(id).failed_runs.insert(fence.token);
        }
        if let Some(tombstone) = sent.tombstone {
            return self.resolved(sent, tombstone, answer);
        }
        if sent.how == How::Ack {
            assert_eq!(word(answer), Word::Ok, "ack of {fence:?}");
            let message = self.of(id);
            if message.owner != who || message.count != fence.token {
                message.blamed.insert(fence.token);
                self.tally.saw("success after a lost lease");
            }
            return self.succeeded(id);
        }
        let message = self.of(id);
        let mine = message.owner == who && message.count == fence.token;
        let put_back = message.put_back == Some(fence.token);
        let already = match sent.how {
            // Whoever handed it back: it waits, and needs nothing more than to owe nothing. Taken
            // over since by this seat itself, it is handed back anew.
            How::Release => {
                let waits = message.waiting.is_some_and(|w| w.count == fence.token);
                let waits = waits && message.doubted != Some(fence.token);
                waits || put_back && !mine
            }
            _ => put_back,
        };
        let past = (!message.is_pending()).then(|| message.past(who, fence));
        let expected = if let Some(past) = past {
            past.word()
        } else if already {
            Word::Ok
        } else if !mine {
            Word::Lost
        } else if message.trimmed || matches!(sent.how, How::DeadLetter { .. }) {
            Word::Died
        } else {
            Word::Ok
        };
        let said = word(answer);
        if past.is_some() && said != Word::Died {
            assert_answer(said, expected, "settlement", fence, message);
            if said != Word::Refused {
                message.blamed.insert(fence.token);
            }
            return;
        }
        // Handed back before, by itself or another, and not its own any more: both answers are true.
        if already && !mine && said == Word::Lost && sent.how == How::Release {
            return self.lost(fence);
        }
        // Told before that it is lost, but that reply was lost too, and handed back by others since:
        // the script takes it for put back. Neither answer changes anything.
        if !mine && said == Word::Ok && message.forgiven.contains(&fence.token) {
            return;
        }
        assert_answer(said, expected, "settlement", fence, message);
        match answer {
            Settled::Done if already => {
                if !mine && fence.is_charged() && message.take_back(fence.token) {
                    message.forgiven.insert(fence.token);
                }
                self.tally.saw("put back already");
            }
            Settled::Done => self.put_back(sent),
            Settled::Died(died) => self.died(sent, died),
            Settled::Stale => self.lost(fence),
            Settled::Refused(_) | Settled::Full => self.tally.saw("refused"),
            Settled::Gone => {
                message.blamed.insert(fence.token);
            }
        }
    }

    fn put_back(&mut self, sent: &Sent) {
        let message = self.of(sent.fence.id);
        if let How::Retry { fault, .. } = &sent.how {
            message.failures += 1;
            fault.error.clone_into(&mut message.last_error);
        }
        if sent.fence.is_charged() {
            message.open = None;
            message.put_back = Some(message.count);
        } else {
            // What it owes, even without any record, is written down as it stands.
            message.open = message.owes().then_some(message.count);
        }
        message.recorded = true;
        message.idle = Idle::Busy;
        message.waiting = (!sent.how.keeps()).then_some(Waiting {
            count: message.count,
            due: sent.how == How::Release,
        });
        if sent.how.keeps() {
            self.tally.saw("kept by its holder");
        }
        if sent.how == How::Release {
            self.tally.saw("released");
        }
    }
}

impl Past {
    fn word(self) -> Word {
        match self {
            Self::Stone(_) => Word::Died,
            Self::Lost => Word::Lost,
            Self::Gone => Word::Gone,
        }
    }
}

#[track_caller]
pub(super) fn assert_answer(
    said: Word,
    expected: Word,
    what: &str,
    fence: Fence,
    message: &Message,
) {
    let refused = said == Word::Refused && expected == Word::Died;
    assert!(
        said == expected || refused,
        "{what} of {fence:?} answered {said:?} instead of {expected:?}: {message:?}"
    );
}
