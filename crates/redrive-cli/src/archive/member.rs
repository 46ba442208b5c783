//! The members of a spill file: one packed with its length in its header, and the file walked by these.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};

/// The subfield of a member's header that holds its length: so the next one is found by seeking.
const LENGTH: [u8; 2] = *b"RD";
/// The fixed part of a header, the length of the extra field, and that field as it is written here.
const HEADER: usize = 10 + 2 + 12;
/// With what every member begins, the extra field announced: gzip, deflate, `FEXTRA`.
const MAGIC: [u8; 4] = [0x1f, 0x8b, 8, 4];
const ANY_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// One gzip member, its own length in its header.
pub(super) fn packed(export: &[u8]) -> io::Result<Vec<u8>> {
    let mut extra = vec![LENGTH[0], LENGTH[1], 8, 0];
    extra.extend([0; 8]);
    let empty = Vec::with_capacity(export.len() / 4);
    let mut packer = GzBuilder::new()
        .extra(extra)
        .write(empty, Compression::default());
    packer.write_all(export)?;
    let mut member = packer.finish()?;
    let length = (member.len() as u64).to_le_bytes();
    let place = member
        .get_mut(HEADER - 8..HEADER)
        .ok_or_else(|| io::Error::other("packing made no header"))?;
    place.copy_from_slice(&length);
    Ok(member)
}

/// Where the last whole member ends.
pub(super) fn whole_up_to(file: &File, start: u64, length: u64) -> io::Result<u64> {
    let mut at = start;
    while at < length {
        match next(file, at, length)? {
            // Of the last one also its bytes are read.
            Some(end) if end == length => {
                return match unpacked(file, at, length)? {
                    Some(end) if end == length => Ok(length),
                    // It says that it is whole, and is not: no crash does that.
                    _ => Err(damaged(at, "it does not end where it says")),
                };
            }
            Some(end) => at = end,
            None => return Ok(at),
        }
    }
    Ok(at)
}

/// Where the member that begins here ends; `None` where the file ends before it does.
fn next(file: &File, at: u64, length: u64) -> io::Result<Option<u64>> {
    let mut from = file;
    from.seek(SeekFrom::Start(at))?;
    let mut header = Vec::with_capacity(HEADER);
    from.take(HEADER as u64).read_to_end(&mut header)?;
    if !header.iter().zip(ANY_MAGIC).all(|(is, magic)| *is == magic) {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            format!(
                "it is not what was spilled: at byte {at} no gzip member begins; name another file, or move this one away"
            ),
        ));
    }
    if header.len() < HEADER {
        return match header.get(3) {
            // Of another maker; it may be that short.
            Some(flags) if flags & 4 == 0 => unpacked(file, at, length),
            _ => Ok(None),
        };
    }
    let own = header.starts_with(&MAGIC)
        && header.get(10..16) == Some(&[12, 0, LENGTH[0], LENGTH[1], 8, 0]);
    let told = header
        .get(HEADER - 8..)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_le_bytes);
    match told.filter(|_| own) {
        Some(told) if told > HEADER as u64 => Ok(at.checked_add(told).filter(|end| *end <= length)),
        _ => unpacked(file, at, length),
    }
}

/// The same by unpacking it.
fn unpacked(file: &File, at: u64, length: u64) -> io::Result<Option<u64>> {
    let mut from = file;
    from.seek(SeekFrom::Start(at))?;
    let mut member = GzDecoder::new(BufReader::new(from.take(length - at)));
    match io::copy(&mut member, &mut io::sink()) {
        Ok(_) => {
            let rest = member.into_inner();
            let left = rest.buffer().len() as u64 + rest.get_ref().limit();
            Ok(Some(length - left))
        }
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(damaged(at, error)),
    }
}

fn damaged(at: u64, why: impl std::fmt::Display) -> io::Error {
    let text = format!(
        "the member at byte {at} is damaged ({why}): move the file away, `redrive dlq import --salvage` reads \
         what is whole"
    );
    io::Error::new(ErrorKind::InvalidData, text)
}
