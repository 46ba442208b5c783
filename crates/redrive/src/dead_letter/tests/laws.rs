//! Tests: what holds for whatever bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A name of ours as often as any other: where they meet the user's is where mistakes are.
/// Names that mean something in a layout.
pub(super) fn our_names() -> Vec<&'static str> {
    let native = [
        field::V,
        field::FIELDS,
        field::PACKED,
        field::REASON,
        field::REPLAYS,
        field::REPLAYED_FROM,
        field::CAMPAIGN,
        field::FLAT_REPLAYED_FROM,
        field::DEAD_AT,
    ];
    let flat = field::FLAT.into_iter();
    flat.chain(field::ENVELOPE).chain(native).collect()
}

pub(super) fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..4),
        proptest::sample::select(our_names()).prop_map(|name| name.as_bytes().to_vec()),
    ]
}

pub(super) fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        (0..8_u8).prop_map(|n| n.to_string().into_bytes()),
        Just(b"1712-0".to_vec()),
    ]
}

/// Any entry, and entries in which the pair that marks a native dead letter stands right.
pub(super) fn entry() -> impl Strategy<Value = Fields> {
    (
        vec((name(), value()), 1..12),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut pairs, at, marked)| {
            if marked {
                let at = at.index(pairs.len() + 1);
                let count = at.to_string().into_bytes();
                pairs.insert(at, (field::FIELDS.into(), count));
                pairs.insert(at, (field::V.into(), b"1".to_vec()));
            }
            fields(pairs)
        })
}

/// What an envelope makes of a message's fields.
fn three(user: &Fields) -> Fields {
    let value = |name: &str| user.get(name).unwrap_or_default();
    fields(field::ENVELOPE_USER.map(|name| (name, value(name))))
}

fn reason() -> impl Strategy<Value = Reason> {
    proptest::sample::select(Reason::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn reading_never_fails_and_replaying_never_panics(entry in entry()) {
        let letter = read(id(), entry.clone());
        prop_assert_eq!(letter.stored(), &entry);
        prop_assert_eq!(letter.fingerprint.len(), 16);
        if let Ok(back) = replay_fields(&letter) {
            prop_assert!(!back.is_empty());
        }
        let (user, lineage) = split_lineage(&entry);
        prop_assert!(!user.is_empty());
        prop_assert_eq!(user.len() == entry.len(), lineage == Lineage::default());
    }

    #[test]
    fn hostile_packed_bytes_are_fields_or_stay_raw(packed in vec(0..3_u8, 0..200)) {
        let stored = fields([
            (field::V, b"1".to_vec()),
            (field::FIELDS, b"0".to_vec()),
            (field::PACKED, packed.clone()),
        ]);
        let letter = read(id(), stored);
        prop_assert!(!letter.is_tombstone());
        prop_assert!(letter.fields.size() <= packed.len() + field::PACKED.len());
    }

    #[test]
    fn what_is_written_native_is_read_back(
        user in entry(),
        reason in reason(),
        error in "\\PC{0,30}",
        kind in proptest::option::of("[A-Za-z:]{1,12}"),
        (failures, crashes, dead_at_us) in (any::<u64>(), any::<u64>(), any::<u64>()),
        first_at_ms in any::<Option<u64>>(),
        consumer in "\\PC{1,12}",
    ) {
        let source = source();
        let fingerprint = crate::fingerprint::fingerprint(kind.as_deref(), &error);
        let about = Obituary {
            reason,
            error: &error,
            error_kind: kind.as_deref(),
            fingerprint: &fingerprint,
            failures,
            crashes,
            consumer: &consumer,
            first_at_ms,
            dead_at_us,
            ..obituary(&source)
        };
        let (own, lineage) = split_lineage(&user);
        let letter = read(id(), compose(Layout::Native, Some(&user), &about).1);
        prop_assert_eq!(letter.layout, DeadLetterLayout::Native);
        prop_assert_eq!(&letter.fields, &own);
        prop_assert_eq!(letter.stream, Some(source.stream.clone()));
        prop_assert_eq!(letter.group, Some(source.group.clone()));
        prop_assert_eq!(letter.original_id, Some(about.id));
        prop_assert_eq!(letter.reason, Some(reason));
        prop_assert_eq!(letter.error.unwrap_or_default(), error);
        prop_assert_eq!(letter.error_kind, kind);
        prop_assert_eq!(letter.fingerprint, fingerprint);
        prop_assert_eq!((letter.attempts, letter.crashes), (Some(failures), Some(crashes)));
        prop_assert_eq!(letter.consumer, Some(consumer));
        prop_assert_eq!(letter.first_at_ms, first_at_ms);
        prop_assert_eq!(letter.dead_at_ms, Some(dead_at_us / 1000));
        prop_assert_eq!(letter.replays, lineage.replays);
        prop_assert_eq!(letter.replayed_from, lineage.replayed_from);
        prop_assert_eq!(letter.campaign, lineage.campaign);
        prop_assert_eq!(letter.body, Body::Whole);
    }

    #[test]
    fn whatever_layout_is_asked_the_written_one_is_read_and_nothing_is_lost(user in entry()) {
        let source = source();
        for asked in [Layout::Flat, Layout::Envelope] {
            let (written, stored) = compose(asked, Some(&user), &obituary(&source));
            let letter = read(id(), stored);
            prop_assert!(!letter.is_tombstone());
            match written {
                Layout::Flat => {
                    prop_assert_eq!(letter.layout, DeadLetterLayout::Flat);
                    prop_assert_eq!(&letter.fields, &user);
                }
                Layout::Envelope => {
                    prop_assert_eq!(letter.layout, DeadLetterLayout::Envelope);
                    prop_assert_eq!(&letter.fields, &three(&user));
                }
                Layout::Native => {
                    prop_assert_eq!(letter.layout, DeadLetterLayout::Native);
                    prop_assert_eq!(&letter.fields, &split_lineage(&user).0);
                }
            }
        }
    }

    /// Its three fields go through death and replay, whatever the error says and however often.
    #[test]
    fn an_envelope_is_read_back(
        parts in vec(proptest::option::of(value()), 3),
        reason in reason(),
        error in "(trimmed: |rejected: )?\\PC{0,9}",
        failures in any::<u64>(),
    ) {
        let source = source();
        let named = field::ENVELOPE_USER.into_iter().zip(&parts);
        let user = fields(named.filter_map(|(name, value)| Some((name, value.clone()?))));
        let about = Obituary { reason, error: &error, failures, ..obituary(&source) };
        let (written, stored) = compose(Layout::Envelope, Some(&user), &about);
        let letter = read(id(), stored);
        prop_assert_eq!(letter.is_tombstone(), user.is_empty() && letter.reason == Some(Reason::Trimmed));
        if written == Layout::Native {
            prop_assert!(user.get("data").is_none_or(<[u8]>::is_empty));
            prop_assert_eq!(&letter.fields, &user);
            return Ok(());
        }
        prop_assert_eq!(letter.layout, DeadLetterLayout::Envelope);
        prop_assert_eq!(letter.attempts, Some(failures.max(1)));
        if !letter.is_tombstone() {
            prop_assert_eq!(&letter.fields, &three(&user));
        }
        if reason != Reason::AttemptsExhausted {
            prop_assert_eq!(letter.reason, Some(reason));
            prop_assert_eq!(letter.error.unwrap_or_default(), error);
        }
    }

    /// Through death and replay again and again the user's fields are the same.
    #[test]
    fn the_user_fields_survive_any_number_of_deaths(user in entry(), deaths in 1..4_u32) {
        let source = source();
        let (own, before) = split_lineage(&user);
        let mut entry = user;
        for _ in 0..deaths {
            let letter = read(id(), compose(Layout::Native, Some(&entry), &obituary(&source)).1);
            entry = replay_fields(&letter).unwrap();
        }
        let (left, lineage) = split_lineage(&entry);
        prop_assert_eq!(left, own);
        prop_assert_eq!(lineage.replays, before.replays + deaths);
        prop_assert_eq!(lineage.replayed_from, Some(id()));
    }
}
