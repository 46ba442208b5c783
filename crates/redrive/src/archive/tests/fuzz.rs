//! Fuzz of the lines of an export: any bytes, and lines with something wrong in them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use redrive_testkit::fuzz_bytes;

use super::{ArchiveReader, exported, pairs};
use crate::names::EntryId;

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let (text, _) = exported(&[(EntryId::new(17, 1), pairs(&[(b"a", b"\xff"), (b"b", b"2")]))]);
    let lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
    let odd = [
        "\"stored\":",
        "[[\"a\",\"b\"]]",
        "{\"base64\":\"/w==\"}",
        "{\"base64\":\"é\"}",
        "{}",
        "[",
        "null",
        "\"check\":\"\"",
        "{\"redrive_export\":",
        "1e999",
        "\"\\ud800\"",
        "\"dlq\":\"q\"",
        "\"id\":\"1-1\"",
        ",",
    ];
    prop_oneof![
        2 => vec(any::<u8>(), 0..60),
        4 => (select(lines), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut line, at, byte)| {
            let at = at.index(line.len());
            line[at] = byte;
            line
        }),
        4 => vec(select(odd.to_vec()), 0..8).prop_map(|parts| parts.concat().into_bytes()),
    ]
}

/// Whatever the lines: each is a dead letter whose check fits, the footer, or an error of a line; and
/// what is not whole is no archive.
#[test]
fn fuzz_of_the_lines_of_an_export() {
    let read = |bytes: &[u8]| {
        let lines = bytes.split(|byte| *byte == b'\n');
        Some(lines.map(<[u8]>::to_vec).collect())
    };
    let cases = vec(pieces(), 0..5);
    fuzz_bytes("lines of an export", &cases, read, |lines| {
        let mut reader = ArchiveReader::new();
        let mut whole = true;
        for line in &lines {
            match reader.line(line) {
                Ok(Some(one)) => prop_assert!(!one.dead_letter.stored().is_empty()),
                Ok(None) => {}
                Err(error) => {
                    whole = false;
                    prop_assert!(error.cure().is_some(), "{}", error);
                }
            }
        }
        prop_assert_eq!(reader.lines(), lines.len() as u64);
        if let Ok(archive) = reader.finish() {
            prop_assert!(whole || archive.dead_letters <= lines.len() as u64);
        }
        Ok(())
    });
}
