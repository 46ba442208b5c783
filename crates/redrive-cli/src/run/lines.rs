//! What a handler prints, cut into lines: passed on whole, the last one kept.

use crate::run::ended::ERROR_LIMIT;

/// A line longer than this is passed on in pieces.
const LONGEST: usize = 64 * 1024;

/// The lines of one stream of a child. Holds no more than a line, and never more than
/// [`LONGEST`] and a chunk.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
    /// What was passed on last was a piece of the line that goes on.
    cut: bool,
    last: Vec<u8>,
}

impl Lines {
    /// Takes what was read. Answers what can be passed on: whole lines, the last of them ended.
    pub(crate) fn take(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.open.extend_from_slice(chunk);
        match self.open.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => self.pass(at + 1),
            None if self.open.len() >= LONGEST => self.pass(self.open.len()),
            None => Vec::new(),
        }
    }

    /// Nothing more comes: answers what is left, ended as a line.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        self.pass(self.open.len())
    }

    /// The last line that was not empty, no more than [`ERROR_LIMIT`] bytes of it.
    pub(crate) fn last(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.last);
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn pass(&mut self, length: usize) -> Vec<u8> {
        let rest = self.open.split_off(length);
        let mut ready = std::mem::replace(&mut self.open, rest);
        if ready.is_empty() {
            return ready;
        }
        self.keep_last(&ready);
        self.cut = !ready.ends_with(b"\n");
        if self.cut {
            ready.push(b'\n');
        }
        ready
    }

    fn keep_last(&mut self, ready: &[u8]) {
        // The rest of a line whose beginning was kept is no line of its own.
        let continued = usize::from(self.cut);
        let lines: Vec<&[u8]> = ready.split(|byte| *byte == b'\n').skip(continued).collect();
        let found = lines.iter().rev().map(|line| line.trim_ascii());
        if let Some(line) = found.into_iter().find(|line| !line.is_empty()) {
            self.last = line[..line.len().min(ERROR_LIMIT)].to_vec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_passed_on_whole_and_the_last_is_kept() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"on"), b"");
        assert_eq!(lines.take(b"e\ntwo\n \t\nthr"), b"one\ntwo\n \t\n");
        assert_eq!(lines.last().as_deref(), Some("two"));
        assert_eq!(lines.take(b"ee \r\n\n"), b"three \r\n\n");
        assert_eq!(lines.last().as_deref(), Some("three"));
        assert_eq!(lines.end(), b"");
        assert_eq!(lines.take(b"f\xffur"), b"");
        assert_eq!(lines.end(), b"f\xffur\n");
        assert_eq!(lines.last().as_deref(), Some("f\u{fffd}ur"));
        assert_eq!(Lines::default().last(), None);
    }

    #[test]
    fn an_endless_line_needs_no_endless_memory() {
        let mut lines = Lines::default();
        let (mut passed, mut most) = (0, 0);
        lines.take(b"begins here ");
        for _ in 0..1_000 {
            passed += lines.take(&[b'x'; 8_192]).len();
            most = most.max(lines.open.len());
        }
        assert!(most < LONGEST + 8_192, "{most}");
        assert!(passed > 8_000_000, "{passed}");
        lines.take(b" and ends here\n");
        let last = lines.last().unwrap();
        assert_eq!(last.len(), ERROR_LIMIT);
        assert!(last.starts_with("begins here xxx"));
        lines.take(b"next\n");
        assert_eq!(lines.last().as_deref(), Some("next"));
    }
}
