//! Tests: dead letters as the two Python systems left them on a real server.
//!
//! `tests/interop/*.resp` are dumps of those streams as commands, the bytes of a wire.

use super::*;

/// The entries that a dump adds to a stream.
fn added(dump: &[u8], stream: &str) -> Vec<(EntryId, Fields)> {
    commands(dump)
        .into_iter()
        .filter(|command| command[0] == "XADD" && command[1] == stream)
        .map(|command| {
            let pairs = command[3..].chunks_exact(2);
            let fields = pairs
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect();
            (EntryId::from_bytes(&command[2]).unwrap(), fields)
        })
        .collect()
}

fn commands(mut dump: &[u8]) -> Vec<Vec<Bytes>> {
    let mut commands = Vec::new();
    while !dump.is_empty() {
        let arguments = header(&mut dump, b'*');
        let command = (0..arguments).map(|_| {
            let length = header(&mut dump, b'$');
            let (value, rest) = dump.split_at(length);
            dump = rest.strip_prefix(b"\r\n").unwrap();
            Bytes::copy_from_slice(value)
        });
        commands.push(command.collect());
    }
    commands
}

fn header(dump: &mut &[u8], kind: u8) -> usize {
    let end = dump.windows(2).position(|two| two == b"\r\n").unwrap();
    let (line, rest) = dump.split_at(end);
    *dump = &rest[2..];
    assert_eq!(line[0], kind);
    std::str::from_utf8(&line[1..]).unwrap().parse().unwrap()
}

fn letters(entries: Vec<(EntryId, Fields)>) -> Vec<DeadLetter> {
    entries
        .into_iter()
        .map(|(id, fields)| read(id, fields))
        .collect()
}

fn source_entry(entries: &[(EntryId, Fields)], letter: &DeadLetter) -> Fields {
    let original = letter.original_id.unwrap();
    let found = entries.iter().find(|(id, _)| *id == original);
    found.unwrap().1.clone()
}

const FLAT: &[u8] = include_bytes!("../../../tests/interop/flat.resp");
const ENVELOPE: &[u8] = include_bytes!("../../../tests/interop/envelope.resp");

#[test]
fn the_first_systems_dead_letters_are_flat_and_replay_to_what_they_were() {
    let stream = added(FLAT, "agent_events");
    assert_eq!(stream.len(), 10);
    let letters = letters(added(FLAT, "agent_events:dlq"));
    let originals: Vec<String> = letters
        .iter()
        .map(|letter| letter.original_id.unwrap().to_string())
        .collect();
    assert_eq!(originals, ["1795324222250-1", "1795324222250-4"]);

    for letter in &letters {
        assert_eq!(letter.layout, DeadLetterLayout::Flat);
        assert_eq!(default_target(letter).unwrap().as_str(), "agent_events");
        assert_eq!(letter.reason, Some(Reason::AttemptsExhausted));
        assert_eq!((&letter.error, letter.attempts), (&None, Some(3)));
        assert_eq!(letter.dead_at_ms, Some(1_795_324_222_404));
        assert!(!letter.is_tombstone());

        let was = source_entry(&stream, letter);
        assert_eq!(letter.fields, was);
        let mark = fields([("replayed_from_dlq", letter.id.to_string())]);
        assert_eq!(replay_fields(letter).unwrap(), joined(&[&was, &mark]));
    }
    assert_eq!(
        letters[0].fields.get("data"),
        Some(&br#"{"n": 4, "why": "downstream 503"}"#[..])
    );
    assert_eq!(
        letters[1].fields.get("note"),
        Some(&b"has spaces\nand a line break"[..])
    );
}

/// What that system replayed itself dies here and is replayed again: one mark, the new one.
#[test]
fn a_mark_of_the_first_system_is_replaced() {
    let stream = added(FLAT, "agent_events");
    let (id, replayed) = stream.last().unwrap();
    assert_eq!(id.to_string(), "1795324222405-3");
    assert!(replayed.get("replayed_from_dlq").is_some());
    assert_eq!(replayed.get("payload"), Some(&b""[..]));

    let source = source();
    let (layout, stored) = compose(Layout::Flat, Some(replayed), &obituary(&source));
    assert_eq!(layout, Layout::Flat);
    let letter = read(*id, stored);
    assert!(letter.replayed_from.is_some());
    let back = replay_fields(&letter).unwrap();
    let marks = back.iter().filter(|(name, _)| name == b"replayed_from_dlq");
    assert_eq!(marks.count(), 1);
    assert_eq!(
        back.get("replayed_from_dlq"),
        Some(id.to_string().as_bytes())
    );
    assert_eq!(back.len(), replayed.len());
}

/// The same entry that dies here of the same error makes the same bytes as theirs.
fn envelopes_are_written_as_they_were(letters: &[DeadLetter]) {
    for letter in letters {
        let source = Source::new(letter.stream.as_ref().unwrap().as_str(), "group").unwrap();
        let about = Obituary {
            id: letter.original_id.unwrap(),
            error: letter.error.as_deref().unwrap(),
            failures: letter.attempts.unwrap(),
            ..obituary(&source)
        };
        let was = source_entry(&added(ENVELOPE, source.stream.as_str()), letter);
        let (layout, written) = compose(Layout::Envelope, Some(&was), &about);
        assert_eq!(layout, Layout::Envelope);
        assert_eq!(&written, letter.stored());
    }
}

#[test]
fn the_second_systems_dead_letters_are_envelopes() {
    let letters = letters(added(ENVELOPE, "sg:stream:dlq"));
    let expected = [
        ("KeyError: 'user_id'", "sg:stream:inbound", 3),
        (
            "HTTPStatusError: Server error '503",
            "sg:stream:outbound",
            3,
        ),
        ("ExtraData: ", "sg:stream:inbound", 4),
        (
            "ValidationError: 1 validation error for Envelope\n",
            "sg:stream:inbound",
            3,
        ),
        ("ValueError: empty payload", "sg:stream:outbound", 3),
    ];
    assert_eq!(letters.len(), expected.len());
    for (letter, (error, stream, attempts)) in letters.iter().zip(expected) {
        assert_eq!(letter.layout, DeadLetterLayout::Envelope);
        assert!(
            letter.error.as_ref().unwrap().starts_with(error),
            "{letter:?}"
        );
        assert_eq!(default_target(letter).unwrap().as_str(), stream);
        assert_eq!(letter.reason, Some(Reason::AttemptsExhausted));
        assert_eq!(letter.attempts, Some(attempts));
        assert!(!letter.is_tombstone());

        let was = source_entry(&added(ENVELOPE, stream), letter);
        let part = |name: &'static str| (name, was.value(name.as_bytes()).cloned());
        let back = replay_fields(letter);
        if error.starts_with("ValueError") {
            assert_eq!(back.unwrap_err().kind(), ErrorKind::Refused);
        } else {
            let expected = [part("data"), part("ts"), part("trace_id")];
            let expected = expected.map(|(name, value)| (name, value.unwrap_or_default()));
            assert_eq!(back.unwrap(), fields(expected));
        }
    }
    envelopes_are_written_as_they_were(&letters);
    let fingerprints: std::collections::HashSet<_> =
        letters.iter().map(|letter| &letter.fingerprint).collect();
    assert_eq!(fingerprints.len(), 5);
    // Bytes, not text: MessagePack with a binary value inside.
    assert!(std::str::from_utf8(letters[0].fields.get("data").unwrap()).is_err());
    assert_eq!(letters[3].fields.get("ts"), Some(&b""[..]));
}
