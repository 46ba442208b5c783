//! What went wrong in the incident: each cause with what it left.

use redrive::{Fields, Layout, Reason, Source};

use crate::failure::Failure;

/// Where messages were given up: each stream was worked on by another system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// By redrive.
    Orders,
    /// By the first Python system.
    Mails,
    /// By the second Python system.
    Events,
}

impl Place {
    pub(super) const ALL: [Self; 3] = [Self::Orders, Self::Mails, Self::Events];

    pub(super) fn source(self) -> Result<Source, Failure> {
        let (stream, group) = match self {
            Self::Orders => ("redrive-demo:incident:orders", "billing"),
            Self::Mails => ("redrive-demo:incident:mails", "mailer"),
            Self::Events => ("redrive-demo:incident:events", "notifier"),
        };
        Ok(Source::new(stream, group)?)
    }

    pub(super) fn layout(self) -> Layout {
        match self {
            Self::Orders => Layout::Native,
            Self::Mails => Layout::Flat,
            Self::Events => Layout::Envelope,
        }
    }
}

/// Why many died alike.
pub(super) struct Cause {
    pub(super) count: u64,
    pub(super) place: Place,
    pub(super) reason: Reason,
    pub(super) attempts: u32,
    /// When the first and the last died, before now.
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
    /// The last error of an order.
    pub(super) error: fn(u64, &mut Dice) -> String,
    /// The message: of this order, added at this time.
    pub(super) fields: fn(u64, u64, &mut Dice) -> Fields,
}

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// Three layouts of one outage, then five others.
pub(super) const CAUSES: [Cause; 8] = [
    outage(32_000, Place::Orders, refused, order),
    outage(5_000, Place::Mails, nothing, mail),
    outage(2_000, Place::Events, unreachable, event),
    // A producer was deployed that calls a field by another name.
    Cause {
        count: 800,
        place: Place::Orders,
        reason: Reason::AttemptsExhausted,
        attempts: 3,
        from_ms: 50 * MINUTE,
        until_ms: 5 * MINUTE,
        error: |order, dice| {
            let column = 60 + dice.below(9);
            format!("order {order}: missing field `amount_cents` at line 1 column {column}")
        },
        fields: renamed,
    },
    bug(70, Reason::Undecodable, 1, cut_short, cut),
    bug(60, Reason::Rejected, 1, too_much, order),
    bug(60, Reason::AttemptsExhausted, 3, null, order),
    bug(10, Reason::CrashLoop, 0, crashed, order),
];

/// How many dead letters there are.
pub(super) fn all(one_in: u64) -> u64 {
    let counts = CAUSES
        .iter()
        .map(|cause| cause.count.div_ceil(one_in.max(1)));
    counts.sum()
}

const fn outage(
    count: u64,
    place: Place,
    error: fn(u64, &mut Dice) -> String,
    fields: fn(u64, u64, &mut Dice) -> Fields,
) -> Cause {
    Cause {
        count,
        place,
        reason: Reason::AttemptsExhausted,
        attempts: 3,
        from_ms: 3 * HOUR,
        until_ms: HOUR,
        error,
        fields,
    }
}

/// Now and then, all day.
const fn bug(
    count: u64,
    reason: Reason,
    attempts: u32,
    error: fn(u64, &mut Dice) -> String,
    fields: fn(u64, u64, &mut Dice) -> Fields,
) -> Cause {
    Cause {
        count,
        place: Place::Orders,
        reason,
        attempts,
        from_ms: 9 * HOUR,
        until_ms: 2 * MINUTE,
        error,
        fields,
    }
}

fn refused(order: u64, dice: &mut Dice) -> String {
    let (host, waited) = (1 + dice.below(6), dice.below(900));
    format!(
        "order {order}: card service 10.0.4.{host}:8443: connection refused (os error 111) after {waited}ms"
    )
}

/// The flat layout has no place for it.
fn nothing(_: u64, _: &mut Dice) -> String {
    String::new()
}

fn unreachable(order: u64, dice: &mut Dice) -> String {
    let (host, trace) = (1 + dice.below(6), dice.next());
    format!(
        "ConnectError: [Errno 111] Connection refused for url \
         'https://card-{host}.internal:8443/v1/charges/{order}?trace={trace:016x}'"
    )
}

fn cut_short(_: u64, dice: &mut Dice) -> String {
    let column = 30 + dice.below(9);
    format!("field \"data\": EOF while parsing a string at line 1 column {column}")
}

fn too_much(order: u64, dice: &mut Dice) -> String {
    let cents = 100 + dice.below(9_900);
    format!("order {order}: a refund of {cents} cents is more than was paid")
}

fn null(order: u64, dice: &mut Dice) -> String {
    let customer = dice.below(9_000);
    format!(
        "order {order}: TypeError: Cannot read properties of null (reading 'postcode') at \
         /srv/billing/releases/{customer}/address.js:42:17"
    )
}

/// What redrive says itself, of a message without an error of its own.
fn crashed(_: u64, _: &mut Dice) -> String {
    "3 of its deliveries ended with their process, the last while it ran alone".to_owned()
}

fn json(order: u64, amount: &str, dice: &mut Dice) -> String {
    let (customer, cents) = (1_000 + dice.below(9_000), 100 + dice.below(90_000));
    format!(
        "{{\"order\":{order},\"customer\":\"c-{customer}\",\"{amount}\":{cents},\"currency\":\"EUR\"}}"
    )
}

fn order(order: u64, _: u64, dice: &mut Dice) -> Fields {
    Fields::from_iter([("data", json(order, "amount_cents", dice))])
}

fn renamed(order: u64, _: u64, dice: &mut Dice) -> Fields {
    Fields::from_iter([("data", json(order, "amount", dice))])
}

fn cut(order: u64, _: u64, dice: &mut Dice) -> Fields {
    let mut whole = json(order, "amount_cents", dice);
    whole.truncate(30);
    Fields::from_iter([("data", whole)])
}

fn mail(order: u64, _: u64, dice: &mut Dice) -> Fields {
    Fields::from_iter([
        ("type", "task".to_owned()),
        ("action", "send_receipt".to_owned()),
        ("payload", json(order, "amount_cents", dice)),
    ])
}

/// A value of MessagePack: `{"order": …, "text": "paid", "seen": bin}`.
fn event(order: u64, at_ms: u64, dice: &mut Dice) -> Fields {
    let mut data = b"\x83\xa5order\xcf".to_vec();
    data.extend(order.to_be_bytes());
    data.extend(b"\xa4text\xa4paid\xa4seen\xc4\x04\xff");
    let [a, b, c, ..] = dice.next().to_be_bytes();
    data.extend([a, b, c]);
    let (seconds, millis) = (at_ms / 1_000, at_ms % 1_000);
    Fields::from_iter([
        ("data", data),
        ("ts", format!("{seconds}.{millis:03}").into_bytes()),
        (
            "trace_id",
            format!("tr-{:08x}", dice.next() >> 32).into_bytes(),
        ),
    ])
}

/// Numbers that look like chance and are the same each time (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        Self(0x7265_6472_6976_6521)
    }

    /// Those of one dead letter.
    pub(super) fn of(cause: &Cause, number: u64) -> Self {
        let mut dice = Self(cause.from_ms ^ (cause.count << 32) ^ number);
        dice.next();
        dice
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below this.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}
