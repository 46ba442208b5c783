//! gzip and zstd, recognised by their magic numbers and unpacked up to a limit.

use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::form::Unfit;
use super::{Flaw, MOST_BYTES};

/// How a payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// What the bytes say they are.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(super) fn unpack(self, bytes: &[u8]) -> Result<Vec<u8>, Flaw> {
        let mut unpacked = Vec::new();
        match self {
            Self::Gzip => fill(&mut unpacked, MultiGzDecoder::new(bytes))?,
            Self::Zstd => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    frame(&mut rest, &mut unpacked)?;
                }
            }
        }
        Ok(unpacked)
    }

    pub(super) fn pack(self, bytes: &[u8]) -> Result<Vec<u8>, Unfit> {
        match self {
            Self::Gzip => {
                let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
                gzip.write_all(bytes)
                    .and_then(|()| gzip.finish())
                    .map_err(|_| Unfit("gzip fails"))
            }
            Self::Zstd => Ok(compress_to_vec(bytes, CompressionLevel::Fastest)),
        }
    }
}

/// One zstd frame.
fn frame(rest: &mut &[u8], unpacked: &mut Vec<u8>) -> Result<(), Flaw> {
    let mut decoder = FrameDecoder::new();
    // The window is room that is set aside before anything is unpacked.
    decoder.set_max_window_size(MOST_BYTES as u64);
    let mut frame = StreamingDecoder::new_with_decoder(rest, decoder).map_err(|_| Flaw::Other)?;
    fill(unpacked, &mut frame)?;
    let decoder = frame.into_frame_decoder();
    match decoder.get_checksum_from_data() {
        Some(sum) if decoder.get_calculated_checksum() != Some(sum) => Err(Flaw::Other),
        _ => Ok(()),
    }
}

fn fill(unpacked: &mut Vec<u8>, from: impl Read) -> Result<(), Flaw> {
    let room = MOST_BYTES - unpacked.len();
    let read = from.take(room as u64 + 1).read_to_end(unpacked);
    if unpacked.len() > MOST_BYTES {
        return Err(Flaw::TooLarge);
    }
    read.map(drop).map_err(|_| Flaw::Other)
}
