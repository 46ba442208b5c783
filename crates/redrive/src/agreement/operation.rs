//! What may happen in a sequence: operations that name what they are about by its place among what
//! there is, so that a sequence stays meaningful when it is cut short.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::payload::{Body, Text, body, text};
use crate::backend::{Beside, Charge, Failed, Keep, Waits};
use crate::dead_letter::Reason;

/// A choice among what there is: so many places back from the newest.
pub(super) type Pick = usize;

/// One step of a sequence. Hours are even, or multiples of [`DUE_HOURS`](super::room::DUE_HOURS).
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Add(Body),
    Receive {
        seat: usize,
        max: usize,
    },
    Tend {
        seat: usize,
        max: usize,
        from: From,
    },
    /// A large pick is all.
    Age {
        pick: Pick,
        hours: u64,
    },
    AgeDue {
        pick: Pick,
        hours: u64,
    },
    Begin {
        leases: Vec<Hold>,
        by: By,
        beside: Beside,
        nonce: u8,
    },
    /// What else takes four operations that fit each other: one is late or due, is taken over and
    /// runs.
    Rerun {
        seat: usize,
        pick: Pick,
        beside: Beside,
    },
    Renew {
        leases: Vec<Hold>,
        by: By,
    },
    Settle {
        ends: Vec<(Hold, End)>,
        by: By,
    },
    Trim(Pick),
    ForeignRead(usize),
    ForeignClaim(Pick),
    ForeignAck(Pick),
    DropGroup,
    Restore,
    Replay(Vec<(Pick, Keep, Target)>),
    Purge(Vec<Pick>),
    /// By what each is told, and what it is.
    Import(Vec<(u8, Body)>),
    /// The dead-letter queue becomes, or ceases to be, something that is no stream.
    Spoil,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Start,
    Last,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Source,
    Other,
}

/// Which seat acts.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// The one that got the first lease.
    Holder,
    Seat(usize),
}

/// One of the leases that a seat was ever given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) pick: Pick,
    pub(super) among: Among,
    pub(super) twist: Twist,
}

/// Which leases are chosen from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Among {
    /// Those that still hold, where there are any.
    Live,
    All,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Twist {
    Nothing,
    TokenBelow,
    TokenAbove,
    Charge(Charge),
}

#[derive(Clone, Debug)]
pub(super) enum End {
    Ack,
    Retry {
        hours: u64,
        error: Text,
        waits: Waits,
    },
    Defer {
        hours: u64,
        waits: Waits,
    },
    DeadLetter(Reason, Text, Failed),
    Release,
}

/// They begin with two messages in one's hands: from nothing most would not get far.
pub(super) fn sequences() -> impl Strategy<Value = Vec<Operation>> {
    (body(), body(), 0..3_usize, vec(operation(), 1..=40)).prop_map(|(one, two, seat, then)| {
        let mut all = vec![Operation::Add(one), Operation::Add(two)];
        all.push(Operation::Receive { seat, max: 2 });
        all.extend(then);
        all
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation as Op;
    let seat = || 0..3_usize;
    prop_oneof![
        35 => body().prop_map(Op::Add),
        45 => (seat(), 1..4_usize).prop_map(|(seat, max)| Op::Receive { seat, max }),
        40 => (seat(), select(vec![1, 2, 100]), from())
            .prop_map(|(seat, max, from)| Op::Tend { seat, max, from }),
        50 => (pick(), select(vec![2, 4, 6, 10, 16, 32]))
            .prop_map(|(pick, hours)| Op::Age { pick, hours }),
        30 => (pick(), select(vec![4, 8, 12])).prop_map(|(pick, hours)| Op::AgeDue { pick, hours }),
        50 => (leases(), by(), beside(), 0..2_u8)
            .prop_map(|(leases, by, beside, nonce)| Op::Begin { leases, by, beside, nonce }),
        110 => (seat(), pick(), beside())
            .prop_map(|(seat, pick, beside)| Op::Rerun { seat, pick, beside }),
        40 => (leases(), by()).prop_map(|(leases, by)| Op::Renew { leases, by }),
        120 => (ends(), by()).prop_map(|(ends, by)| Op::Settle { ends, by }),
        25 => pick().prop_map(Op::Trim),
        10 => (1..3_usize).prop_map(Op::ForeignRead),
        8 => pick().prop_map(Op::ForeignClaim),
        8 => pick().prop_map(Op::ForeignAck),
        3 => Just(Op::DropGroup),
        30 => Just(Op::Restore),
        15 => vec((pick(), keep(), target()), 1..4).prop_map(Op::Replay),
        8 => vec(pick(), 1..4).prop_map(Op::Purge),
        8 => vec((0..4_u8, body()), 1..4).prop_map(Op::Import),
        2 => Just(Op::Spoil),
    ]
}

impl Operation {
    /// The operations that this one stands for.
    pub(super) fn parts(&self) -> Vec<Self> {
        let Self::Rerun { seat, pick, beside } = *self else {
            return vec![self.clone()];
        };
        let lease = Hold {
            pick: 0,
            among: Among::Live,
            twist: Twist::Nothing,
        };
        vec![
            Self::Age { pick, hours: 32 },
            Self::AgeDue { pick, hours: 12 },
            Self::Tend {
                seat,
                max: 100,
                from: From::Start,
            },
            Self::Begin {
                leases: vec![lease],
                by: By::Holder,
                beside,
                nonce: 2,
            },
        ]
    }
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![3 => 0..3_usize, 1 => 0..20_usize]
}

fn beside() -> impl Strategy<Value = Beside> {
    select(vec![Beside::Others, Beside::Nobody])
}

fn from() -> impl Strategy<Value = From> {
    select(vec![From::Start, From::Last])
}

fn keep() -> impl Strategy<Value = Keep> {
    select(vec![Keep::Remove, Keep::Remove, Keep::Copy])
}

fn target() -> impl Strategy<Value = Target> {
    select(vec![Target::Source, Target::Source, Target::Other])
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![7 => Just(By::Holder), 1 => (0..3_usize).prop_map(By::Seat)]
}

fn hold() -> impl Strategy<Value = Hold> {
    let twist = prop_oneof![
        16 => Just(Twist::Nothing),
        1 => Just(Twist::TokenBelow),
        1 => Just(Twist::TokenAbove),
        2 => select(vec![Charge::Fresh, Charge::TakenOver, Charge::Begun]).prop_map(Twist::Charge),
    ];
    let among = prop_oneof![3 => Just(Among::Live), 1 => Just(Among::All)];
    (pick(), among, twist).prop_map(|(pick, among, twist)| Hold { pick, among, twist })
}

fn leases() -> impl Strategy<Value = Vec<Hold>> {
    prop_oneof![2 => vec(hold(), 1..2), 1 => vec(hold(), 2..5)]
}

fn ends() -> impl Strategy<Value = Vec<(Hold, End)>> {
    prop_oneof![2 => vec((hold(), end()), 1..2), 1 => vec((hold(), end()), 2..5)]
}

fn end() -> impl Strategy<Value = End> {
    let hours = || select(vec![0, 4, 8]);
    let reason = select(vec![
        Reason::AttemptsExhausted,
        Reason::Rejected,
        Reason::Undecodable,
        Reason::CrashLoop,
    ]);
    let failed = select(vec![Failed::Yes, Failed::No]);
    let waits = || prop_oneof![3 => Just(Waits::InTheGroup), 1 => Just(Waits::WithHolder)];
    prop_oneof![
        2 => Just(End::Ack),
        6 => (hours(), text(), waits())
            .prop_map(|(hours, error, waits)| End::Retry { hours, error, waits }),
        3 => (hours(), waits()).prop_map(|(hours, waits)| End::Defer { hours, waits }),
        3 => (reason, text(), failed)
            .prop_map(|(reason, error, failed)| End::DeadLetter(reason, error, failed)),
        3 => Just(End::Release),
    ]
}
