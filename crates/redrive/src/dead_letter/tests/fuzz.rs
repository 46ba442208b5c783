//! Fuzz of the layouts of dead letters: any entry, and written ones with something wrong in them,
//! through reading, showing and putting back.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use redrive_testkit::{fuzz_bytes, pieces};

use super::laws::{entry, name, our_names, value};
use super::*;
use crate::payload::{Found, find};

/// What is done to one field of an entry.
#[derive(Clone, Debug)]
enum Harm {
    Rename(Vec<u8>),
    Change(Vec<u8>),
    Remove,
    Repeat,
    MoveTo(Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        name().prop_map(Harm::Rename),
        value().prop_map(Harm::Change),
        Just(Harm::Remove),
        Just(Harm::Repeat),
        any::<Index>().prop_map(Harm::MoveTo),
    ]
}

fn harmed(stored: &Fields, harms: Vec<(Index, Harm)>) -> Fields {
    let mut pairs = stored.pairs().to_vec();
    for (place, harm) in harms {
        if pairs.is_empty() {
            break;
        }
        let at = place.index(pairs.len());
        match harm {
            Harm::Rename(name) => pairs[at].0 = name.into(),
            Harm::Change(value) => pairs[at].1 = value.into(),
            Harm::Remove => drop(pairs.remove(at)),
            Harm::Repeat => pairs.insert(at, pairs[at].clone()),
            Harm::MoveTo(other) => {
                let pair = pairs.remove(at);
                let there = other.index(pairs.len() + 1);
                pairs.insert(there, pair);
            }
        }
    }
    pairs.into_iter().collect()
}

/// A dead letter as one of the layouts has it, with so much wrong in it.
fn nearly_right() -> impl Strategy<Value = Fields> {
    let layouts = select(Layout::ALL.to_vec());
    let reasons = select(Reason::ALL.to_vec());
    let harms = vec((any::<Index>(), harm()), 0..4);
    let parts = (layouts, reasons, proptest::option::of(entry()), harms);
    parts.prop_map(|(layout, reason, user, harms)| {
        let source = source();
        let about = Obituary {
            reason,
            ..obituary(&source)
        };
        harmed(&compose(layout, user.as_ref(), &about).1, harms)
    })
}

/// Fields as bytes have them, name and value by turns; one byte may stand for a name of ours.
fn fields_of(bytes: &[u8]) -> Option<Fields> {
    let ours = our_names();
    let name = |piece: &[u8]| match piece {
        [number] if usize::from(*number) < ours.len() => ours[usize::from(*number)].into(),
        other => other.to_vec(),
    };
    let pieces = pieces(bytes);
    let (pairs, _) = pieces.as_chunks::<2>();
    let fields = pairs.iter().map(|[n, value]| (name(n), value.clone()));
    Some(fields.collect()).filter(|fields: &Fields| !fields.is_empty())
}

/// Whether each pair of these is one of those, and no more often.
fn within(some: &Fields, all: &Fields) -> bool {
    let mut left = all.pairs().to_vec();
    some.pairs().iter().all(|pair| {
        let at = left.iter().position(|other| other == pair);
        at.map(|at| left.swap_remove(at)).is_some()
    })
}

/// Whether a layout that is not ours has a field of this name.
fn is_of_layout(layout: DeadLetterLayout, name: &[u8]) -> bool {
    match layout {
        DeadLetterLayout::Flat => field::FLAT.iter().any(|ours| name == ours.as_bytes()),
        DeadLetterLayout::Envelope => field::ENVELOPE.iter().any(|ours| name == ours.as_bytes()),
        DeadLetterLayout::Native | DeadLetterLayout::Foreign => false,
    }
}

/// Whatever stands in a dead-letter stream: it is read, shown and put back, or refused, without a
/// panic, and no field that is the user's is lost on the way.
#[test]
fn fuzz_of_dead_letter_layouts_panics_0() {
    let entries = prop_oneof![1 => entry(), 3 => nearly_right()];
    fuzz_bytes("dead-letter layouts", &entries, fields_of, |stored| {
        let letter = read(id(), stored.clone());
        prop_assert_eq!(letter.stored(), &stored);
        prop_assert_eq!(letter.fingerprint.len(), 16);
        let packed = stored.value(field::PACKED.as_bytes()).is_some();
        prop_assert!(packed || within(&letter.fields, &stored));
        if letter.layout == DeadLetterLayout::Foreign {
            prop_assert_eq!(&letter.fields, &stored);
            prop_assert_eq!(default_target(&letter), None);
        }
        // What no layout names is the user's, and still there. A native one says itself where the
        // user's end.
        if letter.layout != DeadLetterLayout::Native && !letter.is_tombstone() {
            let of_user = |fields: &Fields| -> Fields {
                let pairs = fields.pairs().iter();
                let own = pairs.filter(|(name, _)| !is_of_layout(letter.layout, name));
                own.cloned().collect()
            };
            prop_assert_eq!(of_user(&letter.fields), of_user(&stored));
        }
        match find(&letter) {
            Found::Decoded(payload) => {
                let again = payload.replaced(&letter.fields, &payload.form);
                prop_assert!(again.is_ok(), "{:?} does not go back", payload);
            }
            Found::Empty | Found::Undecodable => {}
        }
        match replay_fields(&letter) {
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Refused);
                prop_assert!(error.cure().is_some());
            }
            Ok(back) => {
                prop_assert!(!letter.is_tombstone());
                prop_assert!(!back.is_empty());
                let (user, lineage) = split_lineage(&back);
                if letter.layout == DeadLetterLayout::Native {
                    prop_assert_eq!(user, letter.fields.clone());
                    prop_assert_eq!(lineage.replays, letter.replays.saturating_add(1));
                    prop_assert_eq!(lineage.replayed_from, Some(letter.id));
                }
                dies_again(&back)?;
            }
        }
        Ok(())
    });
}

/// What was put back dies again in any layout and is read as what it was.
fn dies_again(entry: &Fields) -> Result<(), TestCaseError> {
    let source = source();
    for asked in Layout::ALL {
        let (written, stored) = compose(asked, Some(entry), &obituary(&source));
        let letter = read(id(), stored);
        let found = match written {
            Layout::Native => DeadLetterLayout::Native,
            Layout::Flat => DeadLetterLayout::Flat,
            Layout::Envelope => DeadLetterLayout::Envelope,
        };
        prop_assert_eq!(letter.layout, found);
        prop_assert!(!letter.is_tombstone());
        let own = split_lineage(entry).0;
        match written {
            Layout::Native => prop_assert_eq!(&letter.fields, &own),
            Layout::Flat => prop_assert_eq!(&letter.fields, entry),
            Layout::Envelope => prop_assert!(within(entry, &letter.fields)),
        }
    }
    Ok(())
}
