//! What a dead letter has to say, whoever wrote it, and how a tombstone is resolved.

use super::answers::{Sent, Word, assert_answer, word};
use super::truth::{End, Letter, Message, Place, Truth};
use crate::backend::{Died, Failed, Fence, How, Settled};
use crate::dead_letter::Reason;
use crate::names::EntryId;

impl Truth {
    pub(super) fn letter(
        &mut self,
        died: &Died,
        error: String,
        failed: Failed,
        open: OpenCrash,
    ) -> Letter {
        let message = self.of(died.id);
        Letter {
            id: died.id,
            reason: died.reason,
            attempts: message.failures + u32::from(failed == Failed::Yes),
            crashes: match open {
                OpenCrash::Counts => message.crashes_and_open(),
                OpenCrash::IsMine => message.crashes,
            },
            error,
            whole: died.reason != Reason::Trimmed,
        }
    }

    pub(super) fn died(&mut self, sent: &Sent, died: &Died) {
        let (failed, said) = last_words(&sent.how);
        let error = said.unwrap_or_else(|| self.of(died.id).last_error.clone());
        if died.reason == Reason::Trimmed {
            assert!(self.of(died.id).trimmed, "{} is not trimmed", died.id);
            self.tally.saw("tombstone by settling");
        } else {
            let How::DeadLetter { reason, .. } = sent.how else {
                unreachable!("{sent:?} made {died:?}")
            };
            assert_eq!(died.reason, reason);
            if reason == Reason::AttemptsExhausted {
                self.tally.saw("exhausted by its holder");
            }
        }
        let mut letter = self.letter(died, error, failed, OpenCrash::of(sent.fence));
        letter.whole = true;
        // It takes the place of the tombstone that its holder had not been told of.
        if let Some(stone) = self.of(died.id).stone.take() {
            self.letters.remove(&stone);
            self.of(died.id).place = Place::Pending;
            self.tally.saw("untold tombstone made whole");
        }
        self.buried(died.dead_letter, letter);
    }

    pub(super) fn resolved(&mut self, sent: &Sent, tombstone: EntryId, answer: &Settled) {
        let id = sent.fence.id;
        let known = self.letters.contains_key(&tombstone);
        let expected = match (known, &sent.how) {
            // Another call, of which this one may be the repetition, has seen to it.
            (false, _) | (true, How::Ack) => Word::Ok,
            (true, _) => Word::Died,
        };
        let message = self.of(id);
        assert_answer(word(answer), expected, "resolution", sent.fence, message);
        match answer {
            Settled::Done if !known => {}
            Settled::Done => {
                message.place = Place::Ended(End::Lifted);
                message.stone = None;
                self.letters.remove(&tombstone);
                self.tally.saw("tombstone lifted");
            }
            Settled::Died(died) => {
                assert_eq!(died.reason, Reason::Trimmed);
                message.place = Place::Pending;
                let stone = self.letters.remove(&tombstone);
                let (failed, said) = last_words(&sent.how);
                let stone = stone.as_ref();
                let before = || stone.map_or_else(String::new, |stone| stone.error.clone());
                let error = said.unwrap_or_else(before);
                let mut letter = self.letter(died, error, failed, OpenCrash::IsMine);
                letter.crashes = stone.map_or(0, |stone| stone.crashes);
                letter.whole = true;
                self.buried(died.dead_letter, letter);
                self.tally.saw("tombstone made whole");
            }
            _ => {}
        }
    }
}

/// The error of a dead letter that no holder wrote.
pub(super) fn last_error(message: &Message, reason: Reason) -> String {
    match reason {
        Reason::CrashLoop if message.last_error.is_empty() => format!(
            "{} of its deliveries ended with their process, the last while it ran alone",
            message.crashes_and_open()
        ),
        _ => message.last_error.clone(),
    }
}

/// Whether its run failed, and what it said; `None` where it said nothing.
fn last_words(how: &How) -> (Failed, Option<String>) {
    match how {
        How::Retry { fault, .. } => (Failed::Yes, Some(fault.error.clone())),
        How::DeadLetter { fault, failed, .. } => (*failed, Some(fault.error.clone())),
        How::Ack | How::Defer { .. } | How::Release => (Failed::No, None),
    }
}

/// Whether the present delivery is one that somebody else left open, or the caller's own.
#[derive(Clone, Copy)]
pub(super) enum OpenCrash {
    Counts,
    IsMine,
}

impl OpenCrash {
    pub(super) fn of(fence: Fence) -> Self {
        if fence.is_charged() {
            Self::IsMine
        } else {
            Self::Counts
        }
    }
}
