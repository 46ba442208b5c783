//! Fuzz of replies as they come: bytes, cut anywhere. What is read of them here is what the client library and
//! `wire` make of them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use redis::{RedisError, Value};
use redrive_testkit::{fuzz, fuzz_bytes, pieces};

use super::value::{SECRET, any_value, bulk, nearly_right, read_reply};
use crate::backend::Entry;
use crate::error::Error;
use crate::redis::received::{self, Reading, Shape, Shelf};
use crate::redis::resp::{NoReply, Scan, write_command};
use crate::redis::wire;

/// What a read says: the entries, or nothing but that it failed, and how.
type Said = Result<Result<Vec<Entry>, String>, (redis::ErrorKind, Option<String>)>;

fn said(read: Result<Result<Vec<Entry>, Error>, RedisError>) -> Said {
    match read {
        Ok(read) => Ok(read.map_err(|error| error.to_string())),
        Err(error) => Err((error.kind(), error.detail().map(str::to_owned))),
    }
}

/// As it was before replies were read here.
fn by_the_library(reply: &[u8], shape: Shape) -> Said {
    let value = redis::parse_redis_value(reply).and_then(Value::extract_error);
    said(value.map(|value| received::read(shape, value)))
}

/// What is read of a reply that arrives in pieces which end at these places, and where it ends; without what a server
/// says unasked. `None` before its end has come.
fn by_us(bytes: &[u8], cuts: &[usize], shape: Shape) -> Result<Option<(usize, Said)>, NoReply> {
    let mut shelf = Shelf::default();
    let first = read_in(bytes, cuts, shape, &mut shelf);
    // What the shelf holds by now changes nothing.
    assert_eq!(first, read_in(bytes, cuts, shape, &mut shelf));
    first
}

fn read_in(
    bytes: &[u8],
    cuts: &[usize],
    shape: Shape,
    shelf: &mut Shelf,
) -> Result<Option<(usize, Said)>, NoReply> {
    let mut reading = Reading::new(shelf, shape, |entry| entry);
    let mut begin = 0;
    for place in places(bytes, cuts) {
        while let Some(arrived) = bytes.get(begin..place)
            && let Some(end) = reading.go_on(arrived)?
        {
            let told = reading.end(&arrived[..end]);
            if let Some(told) = told.transpose() {
                return Ok(Some((begin + end, said(told))));
            }
            begin += end;
        }
    }
    Ok(None)
}

/// Where pieces end, the last one with the bytes.
fn places(bytes: &[u8], cuts: &[usize]) -> Vec<usize> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.push(bytes.len());
    places.sort_unstable();
    places
}

/// Looks for the end of a reply while it arrives in pieces that end at these places.
fn found(bytes: &[u8], cuts: &[usize]) -> Result<Option<usize>, NoReply> {
    let mut scan = Scan::default();
    for place in places(bytes, cuts) {
        if let Some(end) = scan.end(&bytes[..place])? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

fn line(to: &mut Vec<u8>, kind: char, text: impl std::fmt::Display) {
    to.extend_from_slice(format!("{kind}{text}\r\n").as_bytes());
}

fn blob(to: &mut Vec<u8>, kind: char, bytes: &[u8]) {
    line(to, kind, bytes.len());
    to.extend_from_slice(bytes);
    to.extend_from_slice(b"\r\n");
}

/// What a server sends to say this; in RESP3 or, where there is a way, in RESP2.
fn sent(value: &Value, resp3: bool, to: &mut Vec<u8>) {
    let mut list = |kind, items: &[Value]| {
        line(to, kind, items.len());
        items.iter().for_each(|item| sent(item, resp3, to));
    };
    match value {
        Value::Array(items) => list('*', items),
        Value::Set(items) => list('~', items),
        Value::Push { data, .. } => {
            line(to, '>', data.len() + 1);
            blob(to, '$', b"invalidate");
            data.iter().for_each(|item| sent(item, resp3, to));
        }
        Value::Map(pairs) => {
            line(to, '%', pairs.len());
            for (key, value) in pairs {
                sent(key, resp3, to);
                sent(value, resp3, to);
            }
        }
        Value::Attribute { data, attributes } => {
            line(to, '|', attributes.len());
            for (key, value) in attributes {
                sent(key, resp3, to);
                sent(value, resp3, to);
            }
            sent(data, resp3, to);
        }
        Value::Nil if resp3 => line(to, '_', ""),
        Value::Nil => line(to, '*', -1),
        Value::Int(number) => line(to, ':', number),
        Value::BulkString(bytes) => blob(to, '$', bytes),
        Value::Okay => line(to, '+', "OK"),
        Value::SimpleString(text) => line(to, '+', text),
        Value::Double(number) => line(to, ',', number),
        Value::Boolean(yes) => line(to, '#', if *yes { 't' } else { 'f' }),
        Value::BigNumber(digits) => line(to, '(', String::from_utf8_lossy(digits)),
        Value::VerbatimString { text, .. } => blob(to, '=', format!("txt:{text}").as_bytes()),
        Value::ServerError(error) => line(to, '-', format!("{} no", error.code())),
        other => panic!("not sent by anybody: {other:?}"),
    }
}

/// Bytes of a reply with what comes behind it, some of them changed; and where it is cut.
fn replies() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    let values = prop_oneof![3 => read_reply(), 2 => nearly_right(), 1 => any_value()];
    let noise = select(vec![
        "\r",
        "\n",
        "\r\n",
        "$",
        "*",
        "-1",
        "0",
        "$-1\r\n",
        "*-1\r\n",
        "_\r\n",
        "%1\r\n",
        "|1\r\n",
        ">1\r\n",
        "99999999999999999999",
        "$2147483648\r\n",
        "*1000000000\r\n",
        "$+3\r\nabc\r\n",
        "-ERR no\r\n",
        "+OK\r\n",
        "=7\r\ntxt:abc\r\n",
        "!5\r\nERR n\r\n",
    ]);
    let harm = option::weighted(0.4, (any::<Index>(), 0..6_usize, noise));
    let behind = select(vec!["", "", "+OK\r\n", "$", ">1\r\n+x\r\n"]);
    let cuts = vec(any::<usize>(), 0..6);
    (values, any::<bool>(), harm, behind, cuts).prop_map(|(value, resp3, harm, behind, cuts)| {
        let mut bytes = Vec::new();
        sent(&value, resp3, &mut bytes);
        if let Some((place, gone, noise)) = harm {
            let place = place.index(bytes.len() + 1);
            let end = (place + gone).min(bytes.len());
            bytes.splice(place..end, noise.bytes());
        }
        bytes.extend_from_slice(behind.as_bytes());
        (bytes, cuts)
    })
}

/// However a reply is cut: its end is found where it is, and what is read of it is what the client library would
/// have said. What is none is said to be none, without quoting it.
#[test]
fn fuzz_of_replies_read_from_bytes_says_what_the_library_says() {
    let read = |bytes: &[u8]| {
        let mut pieces = pieces(bytes).into_iter();
        let reply = pieces.next()?;
        let cuts = pieces.next().unwrap_or_default();
        Some((reply, cuts.into_iter().map(usize::from).collect()))
    };
    fuzz_bytes("replies", &replies(), read, |(bytes, cuts)| {
        for shape in [Shape::Streams, Shape::Entries] {
            says_what_the_library_says(&bytes, &cuts, shape)?;
        }
        Ok(())
    });
}

fn says_what_the_library_says(
    bytes: &[u8],
    cuts: &[usize],
    shape: Shape,
) -> Result<(), TestCaseError> {
    let found_end = found(bytes, cuts);
    prop_assert_eq!(found_end, found(bytes, &[]), "cut at {:?}", cuts);
    if let Ok(Some(end)) = found_end {
        prop_assert!(end <= bytes.len());
        prop_assert_eq!(
            by_the_library(&bytes[..end], shape),
            by_the_library(bytes, shape)
        );
    } else {
        prop_assert!(by_the_library(bytes, shape).is_err());
    }
    let mut begin = 0;
    // Said unasked.
    while bytes[begin..].first() == Some(&b'>')
        && let Ok(Some(end)) = found(&bytes[begin..], &[])
        && let Ok(Value::Push { .. }) = redis::parse_redis_value(&bytes[begin..])
    {
        begin += end;
    }
    let rest = &bytes[begin..];
    let theirs = by_the_library(rest, shape);
    match by_us(bytes, cuts, shape) {
        Ok(Some((end, ours))) => {
            prop_assert_eq!(found(rest, &[]), Ok(Some(end - begin)));
            prop_assert_eq!(ours, theirs);
        }
        none => {
            prop_assert!(theirs.is_err(), "{:?}", theirs);
            prop_assert_eq!(none.map(drop), found(rest, &[]).map(drop));
        }
    }
    Ok(())
}

/// A right reply is read here, not handed to the library: all entries in both protocols, and what follows is left.
#[test]
fn fuzz_of_right_replies_finds_every_entry() {
    let cases = (read_reply(), any::<bool>(), vec(any::<usize>(), 0..4));
    fuzz("right replies", &cases, |(reply, resp3, cuts)| {
        let mut bytes = Vec::new();
        sent(&reply, resp3, &mut bytes);
        let whole = bytes.len();
        bytes.extend_from_slice(b"+NEXT\r\n");
        prop_assert_eq!(found(&bytes, &cuts), Ok(Some(whole)));
        let known = wire::read_reply(reply).unwrap();
        let shape = Shape::Streams;
        prop_assert_eq!(
            by_us(&bytes, &cuts, shape),
            Ok(Some((whole, Ok(Ok(known)))))
        );
        for cut in 0..whole {
            prop_assert_eq!(found(&bytes[..cut], &[]), Ok(None));
            prop_assert_eq!(by_us(&bytes[..cut], &cuts, shape), Ok(None));
        }
        Ok(())
    });
}

/// So are the entries of a range, which stand in no stream.
#[test]
fn fuzz_of_right_ranges_finds_every_entry() {
    let cases = (read_reply(), any::<bool>(), vec(any::<usize>(), 0..4));
    fuzz("right ranges", &cases, |(reply, resp3, cuts)| {
        let known = wire::read_reply(reply).unwrap();
        let row = |entry: &Entry| {
            let fields = entry.fields.iter();
            let words = fields.flat_map(|(name, value)| [bulk(name), bulk(value)]);
            let id = bulk(entry.id.to_string());
            Value::Array(vec![id, Value::Array(words.collect())])
        };
        let mut bytes = Vec::new();
        let range = Value::Array(known.iter().map(row).collect());
        sent(&range, resp3, &mut bytes);
        let whole = bytes.len();
        bytes.extend_from_slice(b"+NEXT\r\n");
        let shape = Shape::Entries;
        prop_assert_eq!(
            by_us(&bytes, &cuts, shape),
            Ok(Some((whole, Ok(Ok(known)))))
        );
        for cut in 0..whole {
            prop_assert_eq!(by_us(&bytes[..cut], &cuts, shape), Ok(None));
        }
        Ok(())
    });
}

/// A command is read by a server as it was written.
#[test]
fn fuzz_of_commands_keeps_every_word() {
    let words = vec(vec(any::<u8>(), 0..20), 1..6);
    fuzz("commands", &words, |words| {
        let mut ours = Vec::new();
        let parts: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        write_command(&mut ours, &parts);
        let mut theirs = redis::Cmd::new();
        words.iter().for_each(|word| _ = theirs.arg(word));
        prop_assert_eq!(ours, theirs.get_packed_command());
        Ok(())
    });
}

#[test]
fn what_lies_about_its_length_takes_no_memory_and_is_none() {
    let deep = "*1\r\n".repeat(200);
    for lie in [
        "$1073741825\r\n",
        "*1073741825\r\n",
        "$9223372036854775807\r\n",
        "*9223372036854775807\r\n",
        "%9223372036854775807\r\n",
        "%-1\r\n",
        "=-1\r\n",
        "$3\r\nabcde",
        "hunter2",
        &deep,
    ] {
        assert_eq!(found(lie.as_bytes(), &[]), Err(NoReply), "{lie}");
        assert_eq!(
            by_us(lie.as_bytes(), &[], Shape::Streams),
            Err(NoReply),
            "{lie}"
        );
    }
    let endless = vec![b'+'; 2 << 20];
    assert_eq!(found(&endless, &[]), Err(NoReply));
    // A list of a thousand million values that never come.
    assert_eq!(found(b"*1000000000\r\n$1\r\na\r\n", &[]), Ok(None));
    let secret = format!("*1\r\n${}\r\n{SECRET}\r\n", SECRET.len());
    let Ok(Some((_, Ok(Err(error))))) = by_us(secret.as_bytes(), &[], Shape::Streams) else {
        panic!("not read as one to something else");
    };
    assert!(!error.contains(SECRET), "{error}");
}

/// The whole of a large reply is not looked at again with each piece that arrives.
#[test]
fn a_reply_that_comes_in_many_pieces_is_looked_at_once() {
    let value = Value::Array((0..20_000).map(|n| bulk(format!("{n:0100}"))).collect());
    let mut bytes = Vec::new();
    sent(&value, false, &mut bytes);
    let cuts: Vec<usize> = (0..bytes.len()).step_by(64).collect();
    // An entry of as many fields.
    let Value::Array(items) = &value else { return };
    let entry = Value::Array(vec![bulk("1-1"), Value::Array(items.clone())]);
    let reply = Value::Map(vec![(bulk("orders"), Value::Array(vec![entry]))]);
    let mut large = Vec::new();
    sent(&reply, true, &mut large);
    // Anew for each of 34,000 pieces, it would be a minute and more.
    let begun = std::time::Instant::now();
    assert_eq!(found(&bytes, &cuts), Ok(Some(bytes.len())));
    let known = wire::read_reply(reply).unwrap();
    assert_eq!(
        by_us(&large, &cuts, Shape::Streams),
        Ok(Some((large.len(), Ok(Ok(known)))))
    );
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
}
