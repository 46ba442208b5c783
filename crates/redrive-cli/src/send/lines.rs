//! Lines of a stream of bytes, none of them held whole when it is too long.

use std::io::{BufRead, BufReader, Read};

/// Reads lines, and counts them from 1.
pub(super) struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
    longest: usize,
    number: u64,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Without its end: `\n`, `\r\n`, or nothing for the last one.
    Whole(&'a [u8]),
    /// Longer than allowed; the rest of it has not been read.
    TooLong,
}

impl<R: Read> Lines<R> {
    /// Lines of at most so many bytes.
    pub(super) fn new(from: R, longest: usize) -> Self {
        Self {
            from: BufReader::with_capacity(64 * 1024, from),
            line: Vec::new(),
            longest,
            number: 0,
        }
    }

    pub(super) fn next(&mut self) -> std::io::Result<Option<Line<'_>>> {
        self.line.clear();
        // One byte more than is allowed, and two for the end of the line.
        let most = u64::try_from(self.longest).map_or(u64::MAX, |most| most.saturating_add(3));
        let read = (&mut self.from)
            .take(most)
            .read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let line = match self.line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => &self.line,
        };
        Ok(Some(if line.len() > self.longest {
            Line::TooLong
        } else {
            Line::Whole(line)
        }))
    }

    /// The number of the line that was read last; 0 before the first.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes a line may have.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether the next line may have to be waited for: its end is not here yet.
    pub(super) fn may_wait(&self) -> bool {
        !self.from.buffer().contains(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(text: &[u8], longest: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(text, longest);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            match line {
                Line::Whole(line) => all.push(Some(line.to_vec())),
                Line::TooLong => {
                    all.push(None);
                    break;
                }
            }
        }
        assert_eq!(lines.number(), u64::try_from(all.len()).unwrap());
        all
    }

    #[test]
    fn the_end_of_a_line_is_no_part_of_it() {
        let whole = |text: &str| Some(text.as_bytes().to_vec());
        let lines = [
            whole("a"),
            whole("b"),
            whole(""),
            whole("c\rd"),
            whole("e\r"),
        ];
        assert_eq!(read(b"a\nb\r\n\nc\rd\ne\r", 10), lines);
        assert_eq!(read(b"", 10), []);
        assert_eq!(read(b"\n", 10), [whole("")]);
    }

    #[test]
    fn a_line_is_as_long_as_it_may_be_and_no_longer() {
        let whole = |text: &str| Some(text.as_bytes().to_vec());
        for end in ["", "\n", "\r\n"] {
            let text = format!("12345{end}");
            assert_eq!(read(text.as_bytes(), 5), [whole("12345")], "{end:?}");
            let text = format!("123456{end}");
            assert_eq!(read(text.as_bytes(), 5), [None], "{end:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_read_whole() {
        let mut lines = Lines::new(std::io::repeat(b'x'), 1_000_000);
        assert_eq!(lines.next().unwrap(), Some(Line::TooLong));
        assert!(lines.line.capacity() < 3_000_000);
    }
}
