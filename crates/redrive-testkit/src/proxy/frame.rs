//! Where one RESP message ends and the next begins, found a piece at a time; RESP2 and RESP3.

/// Bytes that are not RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What a piece of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A message begins, of the type with this first byte. No byte is used for saying so.
    Begins(u8),
    /// The content of a bulk string, or a part of it.
    Bulk,
    /// A bulk string, or a null in its place, is complete.
    BulkEnds,
    /// A message is complete.
    Ends,
    /// Anything else, or nothing: more bytes are needed when all of them are used.
    Other,
}

/// How deep values may be nested before the stream is taken for garbage.
const DEEPEST: usize = 128;
/// The longest header: a type, a 64-bit number.
const LONGEST_NUMBER: usize = 20;

#[derive(Debug)]
enum State {
    /// The first byte of a value.
    Type,
    /// The number behind `$`, `*` and the like; its type and its text so far.
    Number(u8, Vec<u8>),
    /// The text of a simple value: everything up to the end of the line.
    Line,
    /// So many bytes of a bulk string are still to come.
    Bulk(u64),
    /// So many bytes of the line end behind a bulk string.
    BulkTail(u8),
}

/// An aggregate that is not complete.
#[derive(Debug)]
struct Open {
    left: u64,
    /// Attributes stand before a value and are none themselves.
    is_attribute: bool,
}

/// Splits a stream into messages. It keeps no content, only where it is.
#[derive(Debug)]
pub(super) struct Frames {
    state: State,
    open: Vec<Open>,
    begun: bool,
    /// A value has just ended, and it is to be found out whether the message has.
    completed: bool,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            state: State::Type,
            open: Vec::new(),
            begun: false,
            completed: false,
        }
    }

    /// How many of the bytes are used, and what they are.
    ///
    /// # Errors
    ///
    /// For bytes that are not RESP; where the next message begins can then not be known any more.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<(usize, Part), Malformed> {
        if self.completed {
            return Ok((0, self.complete()));
        }
        let Some(&first) = bytes.first() else {
            return Ok((0, Part::Other));
        };
        match &mut self.state {
            State::Type => {
                if !self.begun {
                    self.begun = true;
                    return Ok((0, Part::Begins(first)));
                }
                self.state = match first {
                    b'+' | b'-' | b':' | b',' | b'(' | b'#' | b'_' => State::Line,
                    b'$' | b'!' | b'=' | b'*' | b'%' | b'~' | b'>' | b'|' => {
                        State::Number(first, Vec::new())
                    }
                    _ => return Err(Malformed),
                };
                Ok((1, Part::Other))
            }
            State::Line => {
                let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                    return Ok((bytes.len(), Part::Other));
                };
                self.completed = true;
                Ok((end + 1, Part::Other))
            }
            State::Number(kind, digits) => {
                let kind = *kind;
                let end = bytes.iter().position(|byte| *byte == b'\n');
                let used = end.map_or(bytes.len(), |end| end + 1);
                digits.extend_from_slice(&bytes[..used]);
                if digits.len() > LONGEST_NUMBER + 2 {
                    return Err(Malformed);
                }
                if end.is_none() {
                    return Ok((used, Part::Other));
                }
                let number = number(digits)?;
                Ok((used, self.sized(kind, number)?))
            }
            State::Bulk(left) => {
                let used = usize::try_from(*left).map_or(bytes.len(), |n| n.min(bytes.len()));
                *left -= used as u64;
                if *left == 0 {
                    self.state = State::BulkTail(2);
                }
                Ok((used, Part::Bulk))
            }
            State::BulkTail(left) => {
                let expected = if *left == 2 { b'\r' } else { b'\n' };
                if first != expected {
                    return Err(Malformed);
                }
                *left -= 1;
                if *left == 0 {
                    self.completed = true;
                    return Ok((1, Part::BulkEnds));
                }
                Ok((1, Part::Other))
            }
        }
    }

    /// A header has been read: a bulk string of so many bytes, or an aggregate of so many values.
    fn sized(&mut self, kind: u8, number: Option<u64>) -> Result<Part, Malformed> {
        let is_bulk = matches!(kind, b'$' | b'!' | b'=');
        let Some(number) = number else {
            self.completed = true;
            return Ok(if is_bulk { Part::BulkEnds } else { Part::Other });
        };
        if is_bulk {
            self.state = if number == 0 {
                State::BulkTail(2)
            } else {
                State::Bulk(number)
            };
            return Ok(Part::Other);
        }
        let values = match kind {
            b'%' | b'|' => number.checked_mul(2).ok_or(Malformed)?,
            _ => number,
        };
        let is_attribute = kind == b'|';
        self.state = State::Type;
        if values > 0 {
            if self.open.len() >= DEEPEST {
                return Err(Malformed);
            }
            self.open.push(Open {
                left: values,
                is_attribute,
            });
        } else if !is_attribute {
            self.completed = true;
        }
        Ok(Part::Other)
    }

    /// A value has ended: so may have those around it, and with the outermost the message.
    fn complete(&mut self) -> Part {
        self.state = State::Type;
        self.completed = false;
        while let Some(around) = self.open.last_mut() {
            around.left -= 1;
            if around.left > 0 {
                return Part::Other;
            }
            let was_attribute = around.is_attribute;
            self.open.pop();
            if was_attribute {
                return Part::Other;
            }
        }
        self.begun = false;
        Part::Ends
    }

    /// How deep inside a message this is; 1 is an element of the outermost array.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }
}

/// `None` for a null, written `-1`.
fn number(line: &[u8]) -> Result<Option<u64>, Malformed> {
    let digits = line.strip_suffix(b"\r\n").ok_or(Malformed)?;
    if digits == b"-1" {
        return Ok(None);
    }
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    text.parse().map(Some).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The messages of a stream that arrives in these pieces.
    fn messages(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, Malformed> {
        let mut frames = Frames::new();
        let mut messages = Vec::new();
        let mut message = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let (used, part) = frames.next(rest)?;
                message.extend_from_slice(&rest[..used]);
                rest = &rest[used..];
                if part == Part::Ends {
                    messages.push(std::mem::take(&mut message));
                } else if rest.is_empty() && used == 0 && part == Part::Other {
                    break;
                }
            }
        }
        Ok(messages)
    }

    /// Any value of RESP2 or RESP3, written out.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let bulk = (
            prop::sample::select(b"$!=".to_vec()),
            prop::collection::vec(any::<u8>(), 0..40),
        )
            .prop_map(|(kind, bytes)| {
                let mut written = format!("{}{}\r\n", char::from(kind), bytes.len()).into_bytes();
                written.extend(bytes);
                written.extend(b"\r\n");
                written
            });
        let leaf = prop_oneof![
            bulk,
            "[-+:,(#_][ -~]{0,12}".prop_map(|line| format!("{line}\r\n").into_bytes()),
            Just(b"$-1\r\n".to_vec()),
            Just(b"*-1\r\n".to_vec()),
            Just(b"*0\r\n".to_vec()),
            Just(b"%0\r\n".to_vec()),
        ];
        leaf.prop_recursive(4, 60, 6, |inner| {
            let many = |inner: BoxedStrategy<Vec<u8>>| prop::collection::vec(inner, 1..6);
            let inner = inner.boxed();
            prop_oneof![
                (prop::sample::select(b"*~>".to_vec()), many(inner.clone())).prop_map(
                    |(kind, values)| {
                        let head = format!("{}{}\r\n", char::from(kind), values.len());
                        [head.into_bytes(), values.concat()].concat()
                    }
                ),
                many(inner.clone()).prop_map(|values| {
                    let pairs = values.iter().flat_map(|v| [b"+k\r\n".to_vec(), v.clone()]);
                    let head = format!("%{}\r\n", values.len()).into_bytes();
                    [head, pairs.collect::<Vec<_>>().concat()].concat()
                }),
                (inner.clone(), inner)
                    .prop_map(|(told, value)| { [b"|1\r\n+k\r\n".to_vec(), told, value].concat() }),
            ]
        })
    }

    proptest! {
        #[test]
        fn however_a_stream_is_split_its_messages_are_the_same(
            values in prop::collection::vec(value(), 1..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let stream = values.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|at| &stream[at[0]..at[1]]).collect();

            prop_assert_eq!(&messages(&pieces), &Ok(values.clone()));
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(messages(&bytes), Ok(values));
        }

        #[test]
        fn no_bytes_make_it_panic_or_depend_on_how_they_are_split(
            stream in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"$*%>|~=-+:019\r\n".to_vec())],
                0..200,
            ),
        ) {
            let whole = messages(&[&stream]);
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(messages(&bytes), whole);
        }
    }

    #[test]
    fn what_is_no_resp_is_said_to_be_none() {
        for garbage in [
            "GET / HTTP/1.1\r\n",
            "$abc\r\n",
            "$3\r\nabcd\r\n",
            "*99999999999999999999999\r\n",
            "$-7\r\n",
        ] {
            assert_eq!(messages(&[garbage.as_bytes()]), Err(Malformed), "{garbage}");
        }
        let deep = "*1\r\n".repeat(1000);
        assert_eq!(messages(&[deep.as_bytes()]), Err(Malformed));
    }
}
