//! What messages carry and what their failures say: all that dead letters are made of.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::backend::Fault;
use crate::message::Fields;
use crate::names::EntryId;

/// What went wrong in a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    Plain,
    /// An error without words.
    Empty,
    /// Words without a kind.
    Unsorted,
    /// Line breaks, spaces at both ends, a zero byte.
    Strange,
    /// More than a state keeps.
    Long,
    /// What an envelope says of a tombstone.
    Trimmed,
}

/// The fields of an entry.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Numbered,
    Many(usize),
    Pairs(Vec<(Vec<u8>, Vec<u8>)>),
    /// Pairs, and a mark of a native dead letter that says where it stands.
    Marked(Vec<(Vec<u8>, Vec<u8>)>),
    /// Pairs, and what a replay puts behind them, or nearly so.
    Replayed {
        user: Vec<(Vec<u8>, Vec<u8>)>,
        from: &'static str,
        replays: &'static str,
        campaign: Option<&'static str>,
    },
}

impl Text {
    pub(super) fn fault(self) -> Box<Fault> {
        let error = match self {
            Self::Plain | Self::Unsorted => "no route".to_owned(),
            Self::Empty => String::new(),
            Self::Strange => " no\nway\0\u{2028} ".to_owned(),
            Self::Trimmed => "trimmed: no".to_owned(),
            Self::Long => format!("x{}", "€ \n".repeat(400)),
        };
        Box::new(Fault {
            error,
            kind: (!matches!(self, Self::Unsorted)).then(|| "Kind".to_owned()),
            fingerprint: "0123456789abcdef".to_owned(),
        })
    }
}

impl Body {
    pub(super) fn fields(&self, id: EntryId) -> Fields {
        let mut pairs: Vec<(Bytes, Bytes)> = Vec::new();
        let mut add = |name: &[u8], value: &[u8]| {
            pairs.push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
        };
        match self {
            Self::Numbered => add(b"number", id.seq().to_string().as_bytes()),
            Self::Many(count) => (0..*count).for_each(|n| add(b"f", n.to_string().as_bytes())),
            Self::Pairs(user) => user.iter().for_each(|(name, value)| add(name, value)),
            Self::Marked(user) => {
                user.iter().for_each(|(name, value)| add(name, value));
                add(b"redrive-v", b"1");
                add(b"redrive-fields", user.len().to_string().as_bytes());
            }
            Self::Replayed {
                user,
                from,
                replays,
                campaign,
            } => {
                user.iter().for_each(|(name, value)| add(name, value));
                add(b"redrive-replayed-from", from.as_bytes());
                add(b"redrive-replays", replays.as_bytes());
                if let Some(campaign) = campaign {
                    add(b"redrive-campaign", campaign.as_bytes());
                }
            }
        }
        pairs.into_iter().collect()
    }
}

pub(super) fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        4 => Just(Text::Plain),
        1 => Just(Text::Empty),
        1 => Just(Text::Unsorted),
        1 => Just(Text::Strange),
        1 => Just(Text::Long),
        1 => Just(Text::Trimmed),
    ]
}

/// The names that mean something in a dead letter: where they meet the user's is where mistakes
/// are.
const OURS: [&str; 21] = [
    "original_stream",
    "original_id",
    "failure_reason",
    "attempts",
    "dlq_timestamp",
    "replayed_from_dlq",
    "data",
    "ts",
    "trace_id",
    "redrive-v",
    "redrive-fields",
    "redrive-stream",
    "redrive-reason",
    "redrive-error",
    "redrive-fingerprint",
    "redrive-attempts",
    "redrive-first-at",
    "redrive-replays",
    "redrive-replayed-from",
    "redrive-campaign",
    "redrive-packed",
];

fn pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let name = prop_oneof![
        vec(any::<u8>(), 0..3),
        select(OURS.to_vec()).prop_map(|name| name.as_bytes().to_vec()),
    ];
    let value = prop_oneof![
        vec(any::<u8>(), 0..6),
        (0..4_u8).prop_map(|n| n.to_string().into_bytes()),
        Just(b"1712-0".to_vec()),
    ];
    (name, value)
}

/// One of the fields of an envelope's message.
fn part() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let name = select(vec!["data", "data", "ts", "trace_id"]);
    let name = name.prop_map(|name| name.as_bytes().to_vec());
    (name, vec(any::<u8>(), 0..4))
}

pub(super) fn body() -> impl Strategy<Value = Body> {
    let from = select(vec![
        "1712-0",
        "1712",
        "01712-0",
        "18446744073709551615-18446744073709551615",
        "18446744073709551616-0",
        "1712-0\n",
        "",
    ]);
    let from = prop_oneof![2 => Just("1712-0"), 1 => from];
    let replays = select(vec!["0", "007", "-1", "4294967296", "1\0", ""]);
    let replays = prop_oneof![2 => Just("1"), 1 => Just("4294967295"), 1 => replays];
    let campaign = select(vec![None, None, Some("spring"), Some("")]);
    prop_oneof![
        200 => Just(Body::Numbered),
        100 => vec(pair(), 1..5).prop_map(Body::Pairs),
        40 => vec(pair(), 0..4).prop_map(Body::Marked),
        100 => (vec(pair(), 0..3), from, replays, campaign).prop_map(
            |(user, from, replays, campaign)| Body::Replayed { user, from, replays, campaign }
        ),
        60 => vec(part(), 1..4).prop_map(Body::Pairs),
        1 => select(vec![3_900, 3_901, 4_100]).prop_map(Body::Many),
    ]
}
