//! gzip and zstd, recognised by their magic numbers and unpacked up to a limit.

use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::form::Unfit;
use super::{Extent, Flaw, MOST_BYTES};

/// The largest zstd window that is set aside only to show a beginning: what its strongest usual
/// level takes.
const MOST_WINDOW: usize = 8 << 20;

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
        let room = Room {
            most: MOST_BYTES,
            window: MOST_BYTES,
        };
        let mut unpacked = Vec::new();
        self.fill(bytes, &mut unpacked, room)?;
        Ok(unpacked)
    }

    /// No more than so many of the bytes, and whether these are all.
    pub(super) fn begin(self, bytes: &[u8], most: usize) -> Result<(Vec<u8>, Extent), Flaw> {
        let window = MOST_WINDOW;
        let mut unpacked = Vec::new();
        match self.fill(bytes, &mut unpacked, Room { most, window }) {
            Ok(()) => Ok((unpacked, Extent::Whole)),
            Err(Flaw::TooLarge) if unpacked.len() > most => {
                unpacked.truncate(most);
                Ok((unpacked, Extent::Beginning))
            }
            Err(flaw) => Err(flaw),
        }
    }

    fn fill(self, bytes: &[u8], unpacked: &mut Vec<u8>, room: Room) -> Result<(), Flaw> {
        match self {
            Self::Gzip => fill(unpacked, MultiGzDecoder::new(bytes), room)?,
            Self::Zstd => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    frame(&mut rest, unpacked, room)?;
                }
            }
        }
        Ok(())
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

/// How much may be unpacked, and how much may be set aside for what is to come.
#[derive(Clone, Copy)]
struct Room {
    most: usize,
    window: usize,
}

/// One zstd frame.
fn frame(rest: &mut &[u8], unpacked: &mut Vec<u8>, room: Room) -> Result<(), Flaw> {
    let mut decoder = FrameDecoder::new();
    // The window is room that is set aside before anything is unpacked.
    decoder.set_max_window_size(room.window as u64);
    let frame = StreamingDecoder::new_with_decoder(rest, decoder);
    let mut frame = frame.map_err(|error| match error {
        // A look at all of it would set it aside.
        FrameDecoderError::WindowSizeTooBig { requested, .. } if requested <= MOST_BYTES as u64 => {
            Flaw::TooLarge
        }
        _ => Flaw::Other,
    })?;
    fill(unpacked, &mut frame, room)?;
    let decoder = frame.into_frame_decoder();
    match decoder.get_checksum_from_data() {
        Some(sum) if decoder.get_calculated_checksum() != Some(sum) => Err(Flaw::Other),
        _ => Ok(()),
    }
}

fn fill(unpacked: &mut Vec<u8>, from: impl Read, room: Room) -> Result<(), Flaw> {
    let left = room.most - unpacked.len();
    let read = from.take(left as u64 + 1).read_to_end(unpacked);
    if unpacked.len() > room.most {
        return Err(Flaw::TooLarge);
    }
    read.map(drop).map_err(|_| Flaw::Other)
}
