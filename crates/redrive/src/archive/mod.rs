//! Dead letters as lines of text, and lines of text as dead letters: pure, no file is opened here.

mod line;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::read::{Archive, ArchiveReader, ArchivedDeadLetter};
pub(crate) use self::write::Writer;

/// The version of the form. Higher ones are refused by name, not by what in them is strange.
const VERSION: u32 = 1;

/// With what the last line of an export begins: how it is told from a dead letter.
const FOOTER: &[u8] = b"{\"redrive_export\":";

/// Bytes as hex digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
