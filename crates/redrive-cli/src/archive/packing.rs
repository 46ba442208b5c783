//! gzip and zstd: packed as it comes, unpacked as it is asked for, neither held whole.

use std::io::{self, BufRead, BufReader, Cursor, Error, ErrorKind, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// What goes into one frame of zstd: it is packed at once.
const FRAME: usize = 1 << 20;

/// The largest window of a frame that is unpacked: room that is set aside because a header says so.
const WINDOW: u64 = 128 << 20;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// What the name of a file asks for: `.gz`, `.zst`, anything else as it is.
    pub(crate) fn of_name(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// What the first bytes say. No line of an export begins so.
    fn of_bytes(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// Packs what is written into it.
pub(crate) enum Packer<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Zstd { to: W, waiting: Vec<u8> },
}

impl<W: Write> Packer<W> {
    pub(crate) fn new(packing: Packing, to: W) -> Self {
        match packing {
            Packing::Plain => Self::Plain(to),
            Packing::Gzip => Self::Gzip(GzEncoder::new(to, Compression::default())),
            Packing::Zstd => Self::Zstd {
                to,
                waiting: Vec::new(),
            },
        }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.write_all(bytes),
            Self::Gzip(to) => to.write_all(bytes),
            Self::Zstd { to, waiting } => {
                waiting.extend_from_slice(bytes);
                if waiting.len() < FRAME {
                    return Ok(());
                }
                let frame = frame(waiting);
                waiting.clear();
                to.write_all(&frame)
            }
        }
    }

    /// Packs the rest.
    pub(crate) fn end(self) -> io::Result<W> {
        match self {
            Self::Plain(to) => Ok(to),
            Self::Gzip(to) => to.finish(),
            Self::Zstd { mut to, waiting } => {
                to.write_all(&frame(&waiting))?;
                Ok(to)
            }
        }
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// What is in there, unpacked where its first bytes say that it is packed.
pub(crate) fn unpacked(mut from: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut head = Vec::new();
    // A pipe gives less than was asked for.
    from.by_ref().take(4).read_to_end(&mut head)?;
    let packing = Packing::of_bytes(&head);
    let whole = BufReader::with_capacity(1 << 16, Cursor::new(head).chain(from));
    Ok(match packing {
        Packing::Plain => Box::new(whole),
        Packing::Gzip => Box::new(BufReader::new(MultiGzDecoder::new(whole))),
        Packing::Zstd => Box::new(BufReader::new(Frames::Between(whole))),
    })
}

/// Frames of zstd, one after another.
enum Frames<R: BufRead> {
    Between(R),
    Within(Box<StreamingDecoder<R, FrameDecoder>>),
    Broken,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Broken) {
                Self::Broken => return Err(damaged()),
                Self::Between(mut from) => {
                    if from.fill_buf()?.is_empty() {
                        *self = Self::Between(from);
                        return Ok(0);
                    }
                    let mut decoder = FrameDecoder::new();
                    decoder.set_max_window_size(WINDOW);
                    let frame = StreamingDecoder::new_with_decoder(from, decoder);
                    *self = Self::Within(Box::new(frame.map_err(|_| damaged())?));
                }
                Self::Within(mut frame) => {
                    let read = frame.read(into).map_err(|_| damaged())?;
                    if read > 0 {
                        *self = Self::Within(frame);
                        return Ok(read);
                    }
                    let (from, decoder) = frame.into_parts();
                    let sum = decoder.get_checksum_from_data();
                    if sum.is_some() && sum != decoder.get_calculated_checksum() {
                        return Err(damaged());
                    }
                    *self = Self::Between(from);
                }
            }
        }
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::InvalidData, "zstd: cut or damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Vec<u8> {
        // More than a frame of zstd.
        let mut text = Vec::new();
        while text.len() < FRAME + FRAME / 8 {
            text.extend_from_slice(format!("{{\"n\":{}}}\n", text.len()).as_bytes());
        }
        text
    }

    fn packed(packing: Packing, text: &[u8]) -> Vec<u8> {
        let mut packer = Packer::new(packing, Vec::new());
        for part in text.chunks(100_000) {
            packer.add(part).unwrap();
        }
        packer.end().unwrap()
    }

    fn read(packed: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        unpacked(Cursor::new(packed))?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn what_is_packed_is_smaller_and_comes_back() {
        let text = text();
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let packed = packed(packing, &text);
            if packing != Packing::Plain {
                assert!(
                    packed.len() < text.len() / 2,
                    "{packing:?}: {}",
                    packed.len()
                );
            }
            assert!(read(packed).unwrap() == text, "{packing:?}");
        }
    }

    #[test]
    fn what_is_packed_and_cut_is_an_error_or_lacks_its_end() {
        let text = b"{\"a\":1}\n".repeat(40);
        for packing in [Packing::Gzip, Packing::Zstd] {
            let whole = packed(packing, &text);
            for end in 1..whole.len() {
                match read(whole[..end].to_vec()) {
                    Err(error) => assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::UnexpectedEof
                                | ErrorKind::InvalidData
                                | ErrorKind::InvalidInput
                        ),
                        "{packing:?} {end}: {error:?}"
                    ),
                    Ok(read) => assert!(read.len() < text.len(), "{packing:?} {end}"),
                }
            }
        }
    }

    #[test]
    fn the_name_of_a_file_says_how_it_is_packed() {
        for (name, packing) in [
            ("a.jsonl", Packing::Plain),
            ("a.jsonl.gz", Packing::Gzip),
            ("gz", Packing::Plain),
            ("a.zst", Packing::Zstd),
        ] {
            assert_eq!(Packing::of_name(Path::new(name)), packing, "{name}");
        }
    }
}
