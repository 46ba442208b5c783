//! One of the two that are compared: its broker and its seats, and what they answer in words that
//! the other one uses too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::room::Room;
use crate::backend::{
    Backend, Begun, Beside, Cursor, Delivery, Died, Fence, How, Import, Imported, Keep, Lease,
    Renewed, Replay, Replayed, Seat, Settled, Settlement,
};
use crate::conformance::{Lab, seated};
use crate::error::Error;
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

/// The plain consumer.
pub(super) const FOREIGN: &str = "foreign";

/// A dead letter by the order in which it was first told of: its id is the server's choice.
pub(super) type Letter = usize;

/// An operation with everything in it that it is about.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Add(EntryId, Fields),
    Receive(usize, usize),
    Tend(usize, usize, Cursor),
    Age(EntryId, Duration),
    AgeDue(EntryId, Duration),
    Begin(usize, Vec<Fence>, Beside, String),
    Renew(usize, Vec<Fence>),
    Settle(usize, Vec<(Held, How)>),
    Trim(EntryId),
    ForeignRead(usize),
    ForeignClaim(EntryId),
    ForeignAck(EntryId),
    DropGroup,
    Restore(usize),
    Replay(Vec<(Letter, StreamKey, Fields, Keep)>),
    Purge(Vec<Letter>),
    Import(Vec<(String, Fields)>),
    Spoil,
    Mend,
    Erase,
}

/// A lease that was given, and what a process knows with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) seat: usize,
    pub(super) fence: Fence,
    pub(super) fields: Fields,
    pub(super) tombstone: Option<Letter>,
}

/// What was answered: in words, and what a process goes on with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) said: Vec<String>,
    pub(super) held: Vec<Held>,
    pub(super) cursor: Option<Cursor>,
}

pub(super) struct Side<'a> {
    pub(super) lab: &'a dyn Lab,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) room: &'a Room,
    pub(super) letters: BTreeMap<EntryId, Letter>,
    seats: Vec<Arc<dyn Seat>>,
}

impl<'a> Side<'a> {
    pub(super) async fn new(lab: &'a dyn Lab, room: &'a Room) -> Self {
        let backend = lab.backend();
        let mut seats = Vec::new();
        for membership in room.memberships() {
            seats.push(seated(backend.join(membership).await));
        }
        Self {
            lab,
            backend,
            room,
            letters: BTreeMap::new(),
            seats,
        }
    }

    pub(super) async fn perform(&mut self, act: &Act) -> Answer {
        let mut answer = Answer::default();
        if let Err(error) = self.try_perform(act, &mut answer).await {
            answer.said.push(kind(&error));
        }
        answer
    }

    async fn try_perform(&mut self, act: &Act, answer: &mut Answer) -> Result<(), Error> {
        let Room { source, dlq, .. } = self.room;
        match act {
            Act::Add(id, fields) => {
                let fields = fields.clone();
                self.lab.add_with_id(&source.stream, *id, fields).await;
            }
            Act::Receive(seat, max) => {
                let got = self.seats[*seat].receive(*max, None).await?;
                answer.took(*seat, got);
            }
            Act::Tend(seat, max, cursor) => self.tend(*seat, *max, *cursor, answer).await?,
            Act::Age(id, by) => self.lab.age(source, *id, *by).await,
            Act::AgeDue(id, by) => self.lab.age_due(source, *id, *by).await,
            Act::Begin(seat, fences, beside, nonce) => {
                for begun in self.seats[*seat].begin(fences, *beside, nonce).await? {
                    answer.said.push(self.begun(&begun));
                }
            }
            Act::Renew(seat, fences) => {
                for renewed in self.seats[*seat].renew(fences).await? {
                    answer.said.push(self.renewed(&renewed));
                }
            }
            Act::Settle(seat, ends) => {
                let settlements: Vec<_> = ends.iter().map(|end| self.settlement(end)).collect();
                let settled = self.seats[*seat].settle(&settlements).await?;
                for (settled, (_, how)) in settled.iter().zip(ends) {
                    answer.said.push(self.settled(settled, how));
                }
            }
            Act::Trim(id) => self.lab.trim(&source.stream, *id).await,
            Act::ForeignRead(count) => {
                let read = self.lab.foreign_read(source, FOREIGN, *count).await;
                answer.said.push(format!("{read:?}"));
            }
            Act::ForeignClaim(id) => self.lab.foreign_claim(source, FOREIGN, *id).await,
            Act::ForeignAck(id) => self.lab.foreign_ack(source, *id).await,
            Act::DropGroup => self.lab.drop_group(source).await,
            Act::Restore(seat) => {
                let restored = self.seats[*seat].restore().await?;
                answer.said.push(format!("{restored:?}"));
            }
            Act::Replay(orders) => {
                let orders: Vec<_> = orders.iter().map(|order| self.order(order)).collect();
                for replayed in self.backend.replay(dlq, &orders).await? {
                    answer.said.push(match replayed {
                        Replayed::Refused(error) => kind(&error),
                        told => format!("{told:?}"),
                    });
                }
            }
            Act::Purge(letters) => {
                let ids: Vec<_> = letters.iter().map(|one| self.id_of(*one)).collect();
                let purged = self.backend.purge(dlq, &ids).await?;
                answer.said.push(format!("{purged:?}"));
            }
            Act::Import(orders) => {
                let orders = orders.iter().map(|(receipt, stored)| Import {
                    receipt: receipt.clone(),
                    stored: stored.clone(),
                });
                let orders: Vec<_> = orders.collect();
                for imported in self.backend.import(dlq, &orders).await? {
                    answer.said.push(match imported {
                        Imported::Added(id) => format!("added {}", self.letter(id)),
                        Imported::Already(id) => format!("already {}", self.letter(id)),
                        Imported::Refused(error) => kind(&error),
                    });
                }
            }
            Act::Spoil => self.lab.spoil(dlq).await,
            Act::Erase => {
                self.backend.erase(source, dlq).await?;
                self.lab.drop_stream(&self.room.other).await;
            }
            Act::Mend => self.lab.mend(dlq).await,
        }
        Ok(())
    }

    async fn tend(
        &mut self,
        seat: usize,
        max: usize,
        cursor: Cursor,
        answer: &mut Answer,
    ) -> Result<(), Error> {
        let round = self.seats[seat].tend(max, cursor).await?;
        answer.took(seat, round.taken);
        for died in &round.dead {
            answer.said.push(self.died(died));
        }
        for id in &round.doubted {
            answer.said.push(format!("{id} doubted"));
        }
        for id in &round.kept {
            answer.said.push(format!("{id} kept"));
        }
        for (id, error) in &round.refused {
            answer.said.push(format!("{id} {}", kind(error)));
        }
        // Hours: nothing that the clock does meanwhile changes them.
        let next = round.next_due.map(|next| next.as_secs() / 3600);
        answer
            .said
            .push(format!("next {:?} due in {next:?} h", round.cursor));
        answer.cursor = round.cursor;
        Ok(())
    }

    fn settlement(&self, (held, how): &(Held, How)) -> Settlement {
        let Fence { id, token, charge } = held.fence;
        Settlement {
            lease: Lease {
                tombstone: held.tombstone.map(|letter| self.id_of(letter)),
                ..Lease::new(id, token, charge)
            },
            fields: held.fields.clone(),
            how: how.clone(),
        }
    }

    fn order(&self, (letter, target, fields, keep): &(Letter, StreamKey, Fields, Keep)) -> Replay {
        Replay {
            dead_letter: self.id_of(*letter),
            target: target.clone(),
            fields: fields.clone(),
            keep: *keep,
            campaign: None,
        }
    }

    fn begun(&mut self, begun: &Begun) -> String {
        match begun {
            Begun::Died(died) => self.died(died),
            Begun::Refused(error) => kind(error),
            told => format!("{told:?}"),
        }
    }

    fn renewed(&mut self, renewed: &Renewed) -> String {
        match renewed {
            Renewed::Trimmed { tombstone, .. } => format!("trimmed {}", self.letter(*tombstone)),
            Renewed::Refused(error) => kind(error),
            told => format!("{told:?}"),
        }
    }

    fn settled(&mut self, settled: &Settled, how: &How) -> String {
        match settled {
            // Acks are batched, and the server answers a number: who was late cannot be told.
            Settled::Done | Settled::Gone if *how == How::Ack => "acked".to_owned(),
            Settled::Died(died) => self.died(died),
            Settled::Refused(error) => kind(error),
            told => format!("{told:?}"),
        }
    }

    fn died(&mut self, died: &Died) -> String {
        let letter = self.letter(died.dead_letter);
        let Died {
            id,
            reason,
            layout,
            dropped,
            ..
        } = died;
        format!("{id} {reason:?}: {layout:?} letter {letter}, {dropped} dropped")
    }

    fn letter(&mut self, id: EntryId) -> Letter {
        let next = self.letters.len();
        *self.letters.entry(id).or_insert(next)
    }

    fn id_of(&self, letter: Letter) -> EntryId {
        let mut letters = self.letters.iter();
        let found = letters.find(|(_, known)| **known == letter);
        // One that was never told of is one that nobody has.
        found.map_or(EntryId::new(1, 1), |(id, _)| *id)
    }
}

impl Answer {
    fn took(&mut self, seat: usize, deliveries: Vec<Delivery>) {
        for one in deliveries {
            self.said.push(format!(
                "{:?} failures {} crashes {}",
                one.lease, one.failures, one.crashes
            ));
            self.held.push(Held {
                seat,
                fence: one.lease.fence,
                fields: one.fields,
                tombstone: None,
            });
        }
    }
}

pub(super) fn kind(error: &Error) -> String {
    format!("error {:?}", error.kind())
}
