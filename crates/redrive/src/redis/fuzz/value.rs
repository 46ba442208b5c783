//! Replies: any, right ones of each shape, and right ones with something wrong in them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use redis::Value;

/// Stands wherever a payload may: no error may quote it.
pub(super) const SECRET: &str = "hunter2";

pub(super) fn bulk(bytes: impl AsRef<[u8]>) -> Value {
    Value::BulkString(bytes.as_ref().to_vec())
}

/// Bytes that a server may send in any place: payload, ids, numbers, words of ours.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        SECRET,
        "",
        "-",
        "0-0",
        "1712-3",
        "18446744073709551615-18446744073709551615",
        "18446744073709551616-0",
        "-1",
        "+1",
        "9223372036854775807",
        "18446744073709551615",
        "1e400",
        "ok",
        "died",
        "full",
        "lost",
        "refused",
        "added",
        "rejected",
        "native",
        "name",
        "lag",
        "3 1 0 2 - 0 0 1700 an error",
    ];
    prop_oneof![
        4 => select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..12),
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    let int = prop_oneof![
        -3..20_i64,
        any::<i64>(),
        select(vec![i64::MIN, i64::MAX, i64::MAX - 1]),
    ];
    let double = prop_oneof![
        any::<f64>(),
        select(vec![f64::NAN, f64::INFINITY, -1.0, 1.7e12, 1e300]),
    ];
    let error = select(vec![
        "-ERR no such key\r\n",
        "-OOM no\r\n",
        "-\r\n",
        "-X\r\n",
    ]);
    prop_oneof![
        6 => bytes().prop_map(Value::BulkString),
        4 => int.prop_map(Value::Int),
        2 => Just(Value::Nil),
        1 => Just(Value::Okay),
        1 => bytes().prop_map(|text| Value::SimpleString(String::from_utf8_lossy(&text).into())),
        1 => double.prop_map(Value::Double),
        1 => any::<bool>().prop_map(Value::Boolean),
        1 => bytes().prop_map(Value::BigNumber),
        1 => bytes().prop_map(|text| Value::VerbatimString {
            format: redis::VerbatimFormat::Text,
            text: String::from_utf8_lossy(&text).into(),
        }),
        1 => error.prop_map(|error| redis::parse_redis_value(error.as_bytes()).unwrap()),
    ]
}

/// Whatever the client library may hand over.
pub(super) fn any_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 6, |inner| {
        let pairs = vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            4 => vec(inner.clone(), 0..9).prop_map(Value::Array),
            1 => vec(inner.clone(), 0..4).prop_map(Value::Set),
            1 => pairs.clone().prop_map(Value::Map),
            1 => (inner, pairs).prop_map(|(data, attributes)| Value::Attribute {
                data: Box::new(data),
                attributes,
            }),
        ]
    })
}

pub(super) fn id() -> impl Strategy<Value = Value> {
    let part = || prop_oneof![0..5_u64, any::<u64>()];
    (part(), part()).prop_map(|(millis, seq)| bulk(format!("{millis}-{seq}")))
}

fn count() -> impl Strategy<Value = Value> {
    let number = prop_oneof![0..9_i64, 0..=i64::MAX];
    (number, any::<bool>()).prop_map(|(number, as_int)| match as_int {
        true => Value::Int(number),
        false => bulk(number.to_string()),
    })
}

/// Names and values of a message: the secret is in each.
fn fields() -> impl Strategy<Value = Value> {
    let part = vec(any::<u8>(), 0..4).prop_map(|bytes| [SECRET.as_bytes(), &bytes].concat());
    vec((part.clone(), part), 1..5).prop_map(|pairs| {
        Value::Array(
            pairs
                .into_iter()
                .flat_map(|(n, v)| [bulk(n), bulk(v)])
                .collect(),
        )
    })
}

/// The entries of XRANGE.
pub(super) fn entries() -> impl Strategy<Value = Value> {
    vec(
        (id(), fields()).prop_map(|(id, fields)| Value::Array(vec![id, fields])),
        0..4,
    )
    .prop_map(Value::Array)
}

/// XREADGROUP's, as RESP2 and as RESP3 have it.
pub(super) fn read_reply() -> impl Strategy<Value = Value> {
    (entries(), any::<bool>()).prop_map(|(entries, as_map)| match as_map {
        true => Value::Map(vec![(bulk("orders"), entries)]),
        false => Value::Array(vec![Value::Array(vec![bulk("orders"), entries])]),
    })
}

fn died() -> impl Strategy<Value = Vec<Value>> {
    let reasons = ["attempts_exhausted", "crash_loop", "rejected", "trimmed"];
    let layouts = ["native", "flat", "envelope"];
    let row = (
        id(),
        select(reasons.to_vec()),
        id(),
        select(layouts.to_vec()),
        count(),
    );
    row.prop_map(|(id, reason, letter, layout, dropped)| {
        vec![
            bulk("died"),
            id,
            bulk(reason),
            letter,
            bulk(layout),
            dropped,
        ]
    })
}

/// Rows of the scripts, and those of XPENDING and of a claim.
pub(super) fn rows() -> impl Strategy<Value = Value> {
    let words = [
        "ok", "already", "lost", "gone", "full", "missing", "added", "already",
    ];
    let word = (select(words.to_vec()), id(), count(), count(), count());
    let word = word.prop_map(|(word, id, a, b, c)| match word {
        "ok" => vec![bulk(word), a, b, c],
        word => vec![bulk(word), id],
    });
    let pending = (id(), count(), count())
        .prop_map(|(id, idle, deliveries)| vec![id, bulk("consumer_1"), idle, deliveries]);
    let taken = (id(), count(), count(), count(), fields());
    let taken = taken
        .prop_map(|(id, token, failed, crashed, fields)| vec![id, token, failed, crashed, fields]);
    let row = prop_oneof![word, died(), pending, taken];
    vec(row.prop_map(Value::Array), 0..4).prop_map(Value::Array)
}

/// XINFO's.
pub(super) fn table() -> impl Strategy<Value = Value> {
    let names = [
        "name",
        "length",
        "entries-added",
        "last-generated-id",
        "pending",
        "consumers",
        "last-delivered-id",
        "lag",
        "idle",
    ];
    let value = prop_oneof![count(), id(), Just(Value::Nil)];
    (vec((select(names.to_vec()), value), 0..9), any::<bool>()).prop_map(|(pairs, as_map)| {
        let mut pairs = pairs.into_iter().map(|(name, value)| (bulk(name), value));
        match as_map {
            true => Value::Map(pairs.collect()),
            false => Value::Array(pairs.by_ref().flat_map(|(n, v)| [n, v]).collect()),
        }
    })
}

/// TIME's.
pub(super) fn time() -> impl Strategy<Value = Value> {
    vec(count(), 2).prop_map(Value::Array)
}

/// What is done to one place of a reply.
#[derive(Clone, Debug)]
enum Harm {
    Replace(Value),
    Remove,
    Repeat,
    Wrap,
}

/// A right reply of any shape with something wrong in a few places.
pub(super) fn nearly_right() -> impl Strategy<Value = Value> {
    let right = prop_oneof![read_reply(), entries(), rows(), table(), time()];
    let harm = prop_oneof![
        4 => any_value().prop_map(Harm::Replace),
        2 => Just(Harm::Remove),
        1 => Just(Harm::Repeat),
        1 => Just(Harm::Wrap),
    ];
    (right, vec((any::<Index>(), harm), 0..3)).prop_map(|(mut value, harms)| {
        for (place, harm) in harms {
            let place = place.index(places(&value));
            harmed(&mut value, place, &harm);
        }
        value
    })
}

/// How many values there are in one, itself counted. Only lists are gone into.
fn places(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(places).sum::<usize>(),
        _ => 1,
    }
}

fn harmed(value: &mut Value, place: usize, harm: &Harm) {
    let Value::Array(items) = value else {
        return replaced(value, harm);
    };
    let Some(mut left) = place.checked_sub(1) else {
        return replaced(value, harm);
    };
    for at in 0..items.len() {
        let inside = places(&items[at]);
        if left >= inside {
            left -= inside;
            continue;
        }
        match harm {
            Harm::Remove if left == 0 => drop(items.remove(at)),
            Harm::Repeat if left == 0 => items.insert(at, items[at].clone()),
            _ => harmed(&mut items[at], left, harm),
        }
        return;
    }
}

fn replaced(value: &mut Value, harm: &Harm) {
    *value = match harm {
        Harm::Replace(other) => other.clone(),
        Harm::Remove => Value::Nil,
        Harm::Repeat | Harm::Wrap => Value::Array(vec![std::mem::take(value)]),
    };
}
