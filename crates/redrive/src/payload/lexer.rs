//! JSON text, taken apart into pieces without building values.

/// A piece of a JSON text. Strings are as they stand, with their quotes and escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// `[` or `{`.
    Open(&'a str),
    /// `]` or `}`.
    Close(&'a str),
    /// The name of a member.
    Key(&'a str),
    Text(&'a str),
    /// A number, `true`, `false` or `null`.
    Scalar(&'a str),
}

/// Reads pieces. What it is given is valid JSON; in anything else it finds pieces of some kind,
/// or none.
pub(super) struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(json: &'a str) -> Self {
        Self { rest: json }
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    fn skip(&mut self, between: &[char]) {
        self.rest = self.rest.trim_start_matches(between);
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        self.skip(&[' ', '\n', '\r', '\t', ',', ':']);
        Some(match self.rest.as_bytes().first()? {
            b'[' | b'{' => Piece::Open(self.take(1)),
            b']' | b'}' => Piece::Close(self.take(1)),
            b'"' => {
                let text = self.take(string_length(self.rest));
                self.skip(&[' ', '\n', '\r', '\t']);
                if self.rest.starts_with(':') {
                    Piece::Key(text)
                } else {
                    Piece::Text(text)
                }
            }
            _ => {
                let ends = |byte: u8| matches!(byte, b',' | b']' | b'}') || byte <= b' ';
                let length = self.rest.bytes().position(ends);
                // What is no JSON may begin with what ends one, and is passed all the same.
                Piece::Scalar(self.take(length.unwrap_or(self.rest.len()).max(1)))
            }
        })
    }
}

/// How long the string is that the text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control character between values is no JSON: pieces of no length came without end.
    #[test]
    fn it_comes_to_an_end_whatever_it_is_given() {
        for control in 0..b' ' {
            let text = format!("{{{{{}\"a\"{}1", char::from(control), char::from(control));
            assert!(Lexer::new(&text).take(10).count() < 10, "{control:#x}");
        }
        assert_eq!(Lexer::new("").count(), 0);
    }
}
