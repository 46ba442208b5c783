//! Whatever a server answers is taken apart or refused, and never a panic.

use proptest::collection::vec;
use proptest::prelude::*;
use redis::parse_redis_value;

use super::*;

/// What stands in real answers as often as anything else: where they are nearly right is where mistakes are.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "died",
        "lost",
        "already",
        "gone",
        "taken",
        "orders",
        "1712-0",
        "5-",
        "-1",
        "0",
        "trimmed",
        "rejected",
        "native",
        "flat",
        "name",
        "pending",
        "last-delivered-id",
        "18446744073709551615-18446744073709551615",
        "99999999999999999999",
    ];
    prop_oneof![
        proptest::sample::select(known.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        vec(any::<u8>(), 0..12),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => word().prop_map(Value::BulkString),
        1 => any::<i64>().prop_map(Value::Int),
        1 => Just(Value::Nil),
        1 => Just(Value::Okay),
        1 => "\\PC{0,8}".prop_map(Value::SimpleString),
        1 => any::<f64>().prop_map(Value::Double),
        1 => any::<bool>().prop_map(Value::Boolean),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            4 => vec(inner.clone(), 0..6).prop_map(Value::Array),
            1 => vec(inner.clone(), 0..6).prop_map(Value::Set),
            1 => vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

/// Everything that this module does with an answer.
fn taken_apart(value: &Value) {
    let copy = || value.clone();
    let _ = list(copy(), "a list");
    let _ = text(copy(), "a text");
    let _ = int(copy(), "a number");
    let _ = count(copy(), "a count");
    let _ = id(copy(), "an id");
    let _ = fields(copy());
    let _ = entries(copy());
    let _ = read_reply(copy());
    if let Ok(mut table) = Table::read(copy()) {
        let _ = (
            table.count("pending"),
            table.id("last-delivered-id"),
            table.take("name"),
        );
    }
    if let Ok(items) = list(copy(), "a list") {
        let _ = clock_ms(items.clone());
        for row in rows(copy(), items.len()).unwrap_or_default() {
            let mut row = row;
            let _ = row.died();
            let _ = (row.id(), row.count(), row.text(), row.next());
        }
    }
}

#[test]
#[ignore = "takes five seconds: run by make chaos-ci"]
fn fuzz_wire_never_panics() {
    redrive_testkit::fuzz("wire", &value(), |value| taken_apart(&value));
}

/// From the bytes of a connection on: what the client crate makes of them is taken apart here.
#[test]
#[ignore = "takes five seconds: run by make chaos-ci"]
fn fuzz_wire_bytes_never_panic() {
    let line = prop_oneof!["[*$:+%~_#,(=>-]-?[0-9]{0,2}\r\n", "[a-z0-9-]{0,6}\r\n"];
    let bytes = prop_oneof![
        vec(line, 0..16).prop_map(|lines| lines.concat().into_bytes()),
        vec(any::<u8>(), 0..60),
    ];
    redrive_testkit::fuzz("bytes of a connection", &bytes, |bytes| {
        if let Ok(value) = parse_redis_value(&bytes) {
            taken_apart(&value);
        }
    });
}
