//! Fuzz of what the server answers, and of the URLs that lead to it.

mod reply;
mod url;
mod value;

use proptest::prelude::*;
use redis::Value;
use redrive_testkit::{fuzz, fuzz_bytes};

use super::wire::{self, Row, Table};
use super::{group, look, replay, seat};
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::StreamKey;
use value::{SECRET, any_value, bulk, entries, nearly_right, read_reply};

/// Takes a reply apart in every way that there is, and gives back what each way says against it.
fn walk(reply: &Value) -> Vec<Error> {
    let target = StreamKey::new("orders").unwrap();
    let mut said = Vec::new();
    let mut hear = |answer: Result<(), Error>| said.extend(answer.err());
    let list = || wire::list(reply.clone(), "a reply").unwrap_or_default();

    hear(wire::bytes(reply.clone(), "bytes").map(drop));
    hear(wire::text(reply.clone(), "a text").map(drop));
    hear(wire::int(reply.clone(), "a number").map(drop));
    hear(wire::count(reply.clone(), "a count").map(drop));
    hear(wire::id(reply.clone(), "an id").map(drop));
    hear(wire::list(reply.clone(), "a list").map(drop));
    hear(wire::clock_ms(list()).map(drop));
    hear(wire::fields(reply.clone()).map(drop));
    hear(wire::entries(reply.clone()).map(drop));
    hear(wire::read_reply(reply.clone()).map(drop));
    hear(wire::rows(reply.clone(), list().len()).map(drop));
    let mut parts = list().into_iter();
    _ = group::read_mark(parts.next(), parts.next(), parts.next());

    for row in std::iter::once(reply.clone()).chain(list()) {
        hear(Table::read(row.clone()).map(|mut table| {
            _ = (
                table.take("name"),
                table.count("lag"),
                table.id("last-delivered-id"),
            );
        }));
        hear(Row::read(row.clone()).and_then(|mut row| row.died().map(drop)));
        hear(Row::read(row.clone()).and_then(|mut row| {
            drop((row.id()?, row.count()?, row.text()?));
            Ok(())
        }));
        hear(Row::read(row.clone()).and_then(|row| replay::read(row, &target).map(drop)));
        hear(seat::taken(row.clone()).map(drop));
        hear(look::Row::read(row.clone()).map(drop));
        drop((look::State::read(row.clone()), look::score(row)));
    }
    said
}

/// What must be true of every error about a reply.
fn is_about_a_reply(error: &Error) -> Result<(), TestCaseError> {
    prop_assert_eq!(error.kind(), ErrorKind::Protocol, "{:?}", error);
    let told = format!("{error} {error:?}");
    prop_assert!(!told.contains(SECRET), "{}", told);
    Ok(())
}

/// Whatever a server answers: nothing panics, and what is wrong is said without quoting it.
#[test]
fn fuzz_of_wire_parser_panics_0() {
    let replies = prop_oneof![1 => any_value(), 2 => nearly_right()];
    let read = |bytes: &[u8]| redis::parse_redis_value(bytes).ok();
    fuzz_bytes("the wire parser", &replies, read, |reply| {
        walk(&reply).iter().try_for_each(is_about_a_reply)
    });
}

/// The pairs of a right list of fields, as they are.
fn pairs(value: &Value) -> Fields {
    let Value::Array(items) = value else {
        panic!("no fields: {value:?}");
    };
    let bytes = |value: &Value| match value {
        Value::BulkString(bytes) => bytes.clone(),
        other => panic!("no bytes: {other:?}"),
    };
    let pairs = items
        .chunks(2)
        .map(|pair| (bytes(&pair[0]), bytes(&pair[1])));
    pairs.collect()
}

/// What the server sends of messages arrives whole, in order, in both protocols.
#[test]
fn fuzz_of_wire_parser_loses_no_field() {
    let of_stream = |reply: &Value| match reply {
        Value::Map(streams) => streams[0].1.clone(),
        Value::Array(streams) => match &streams[0] {
            Value::Array(stream) => stream[1].clone(),
            other => panic!("no stream: {other:?}"),
        },
        other => panic!("no streams: {other:?}"),
    };
    let replies = (read_reply(), entries());
    fuzz("what a read brings", &replies, |(reply, range)| {
        let both = [
            (of_stream(&reply), wire::read_reply(reply)),
            (range.clone(), wire::entries(range)),
        ];
        for (sent, read) in both {
            let Value::Array(sent) = sent else {
                panic!("no entries: {sent:?}");
            };
            let read = read.unwrap();
            prop_assert_eq!(read.len(), sent.len());
            for (read, sent) in read.into_iter().zip(sent) {
                let Value::Array(sent) = sent else {
                    panic!("no entry: {sent:?}");
                };
                prop_assert_eq!(bulk(read.id.to_string()), sent[0].clone());
                prop_assert_eq!(read.fields, pairs(&sent[1]));
            }
        }
        Ok(())
    });
}

/// The state of a message, as the scripts keep it: read as written, the error with its spaces; what
/// is no state is none.
#[test]
fn fuzz_of_state_texts_panics_0() {
    let numbers = (any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>());
    let harm = proptest::option::of((any::<prop::sample::Index>(), any::<u8>()));
    let states = (numbers, "[-a-z0-9]{1,8}", "\\PC{0,20}", harm);
    fuzz("state texts", &states, |(numbers, nonce, error, harm)| {
        let (failures, crashes, hint, first) = numbers;
        let text = format!("{failures} {crashes} 1 {hint} {nonce} 0 0 {first} {error}");
        let mut bytes = text.into_bytes();
        if let Some((place, byte)) = harm {
            let place = place.index(bytes.len());
            bytes[place] = byte;
            drop(look::State::read(bulk(&bytes)));
            drop(look::State::read(bulk(&bytes[..place])));
            return Ok(());
        }
        let Some(read) = look::State::read(bulk(&bytes)) else {
            return Err(TestCaseError::fail("a state is not read"));
        };
        prop_assert_eq!(
            (read.failures, read.crashes, read.hint),
            (failures, crashes, hint)
        );
        prop_assert_eq!(read.first_failure_ms.unwrap_or_default(), first);
        prop_assert_eq!(read.error.unwrap_or_default(), error);
        Ok(())
    });
}
