//! Where the replies of a server end, found in what has arrived of them; and commands as a server reads them.

/// How deep the values of a reply may lie in each other; the same as in the client library.
const DEEPEST: usize = 100;
/// How long a line may be: an error, a number, a word. A server sends none near that.
const LONGEST_LINE: usize = 1 << 20;
/// How large one string may be. An entry of a stream is no larger than 1 GiB in all, and nothing else that is asked
/// for is as large as that.
pub(super) const LARGEST: u64 = 1 << 30;

/// What a value begins with.
pub(super) const KINDS: &[u8] = b"$*%|~>=!+-:_,#(";

/// What has arrived is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoReply;

/// The search for the end of one reply. It goes on where it stopped when more has arrived, so that a large reply is
/// looked at once.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Where the first value begins that has not arrived whole.
    at: usize,
    /// No line ends before this.
    looked: usize,
    /// How many values each open list still lacks, the outermost first.
    open: Vec<u64>,
}

impl Scan {
    /// Looks at what has arrived, all of it each time. Answers where the reply ends, or that it has not yet.
    ///
    /// # Errors
    ///
    /// For what no server may send.
    pub(super) fn end(&mut self, arrived: &[u8]) -> Result<Option<usize>, NoReply> {
        loop {
            let Some(header) = self.header(arrived)? else {
                return Ok(None);
            };
            let (inside, end) = match header.kind {
                b'*' | b'~' | b'>' => (header.length()?.unwrap_or(0), header.end),
                b'%' => (2 * header.length()?.ok_or(NoReply)?, header.end),
                // The value that they belong to comes behind them.
                b'|' => (2 * header.length()?.ok_or(NoReply)? + 1, header.end),
                b'$' | b'=' | b'!' => match header.length()? {
                    Some(length) => match string_end(arrived, header.end, length)? {
                        Some(end) => (0, end),
                        None => return Ok(None),
                    },
                    None if header.kind == b'$' => (0, header.end),
                    None => return Err(NoReply),
                },
                b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => (0, header.end),
                _ => return Err(NoReply),
            };
            if inside == 0 {
                if self.whole(end) {
                    return Ok(Some(end));
                }
            } else if self.open.len() + 1 < DEEPEST {
                self.open.push(inside);
                self.at = end;
            } else {
                return Err(NoReply);
            }
        }
    }

    /// A value has ended here; whether the reply has, too.
    fn whole(&mut self, end: usize) -> bool {
        self.at = end;
        while let Some(lacking) = self.open.last_mut() {
            *lacking -= 1;
            if *lacking > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }

    /// The first line of the value that is looked at; `None` before it has arrived.
    fn header(&mut self, arrived: &[u8]) -> Result<Option<Header>, NoReply> {
        let Some(rest) = arrived.get(self.at..) else {
            return Ok(None);
        };
        if let Some((kind, number, end)) = plain(rest) {
            return Ok(Some(Header {
                kind,
                number: i64::try_from(number).ok(),
                end: self.at + end,
            }));
        }
        let kind = match rest.first() {
            Some(kind) if KINDS.contains(kind) => *kind,
            Some(_) => return Err(NoReply),
            None => return Ok(None),
        };
        let from = self.looked.max(self.at);
        let line_end = arrived
            .get(from..)
            .and_then(|rest| rest.windows(2).position(|two| two == b"\r\n"));
        let Some(line_end) = line_end.map(|found| from + found) else {
            if rest.len() > LONGEST_LINE {
                return Err(NoReply);
            }
            // The last byte may be the first of two.
            self.looked = arrived.len() - 1;
            return Ok(None);
        };
        let line = arrived.get(self.at + 1..line_end).unwrap_or_default();
        Ok(Some(Header {
            kind,
            number: std::str::from_utf8(line)
                .ok()
                .and_then(|line| line.trim().parse().ok()),
            end: line_end + 2,
        }))
    }
}

/// Where a string ends that begins here, its line end with it; `None` before it has arrived.
fn string_end(arrived: &[u8], begin: usize, length: u64) -> Result<Option<usize>, NoReply> {
    let end = usize::try_from(length).map_err(|_| NoReply)? + begin;
    match arrived.get(end..end + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some(end + 2)),
        Some(_) => Err(NoReply),
    }
}

struct Header {
    kind: u8,
    /// What stands in the line, where it is a number.
    number: Option<i64>,
    /// Behind the line.
    end: usize,
}

impl Header {
    /// How many bytes or values follow; `None` where there is none of them, not even an empty one.
    fn length(&self) -> Result<Option<u64>, NoReply> {
        let number = self.number.ok_or(NoReply)?;
        match u64::try_from(number) {
            Ok(length) if length <= LARGEST => Ok(Some(length)),
            Ok(_) => Err(NoReply),
            Err(_) => Ok(None),
        }
    }
}

/// The kind, the number and the end of a line that is nothing but digits behind its kind, as nearly all are.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> Option<(u8, u64, usize)> {
    /// So many digits and one more are below the largest number, whatever they are.
    const SAFE: usize = 17;
    let value = |byte: &u8| u64::from(byte - b'0');
    // Nearly all are as short as these: read at once.
    match bytes {
        [kind, a @ b'0'..=b'9', b'\r', b'\n', ..] => return Some((*kind, value(a), 4)),
        [kind, a @ b'0'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
            return Some((*kind, 10 * value(a) + value(b), 5));
        }
        _ => {}
    }
    let (&kind, line) = bytes.split_first()?;
    let mut number = 0_u64;
    for (at, &byte) in line.iter().enumerate().take(SAFE + 1) {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            number = number * 10 + u64::from(digit);
        } else {
            let ends = at > 0 && byte == b'\r' && line.get(at + 1) == Some(&b'\n');
            return ends.then_some((kind, number, at + 3));
        }
    }
    None
}

/// Writes a command as a server reads it.
pub(super) fn write_command(to: &mut Vec<u8>, words: &[&[u8]]) {
    write_line(to, b'*', words.len());
    for word in words {
        write_line(to, b'$', word.len());
        to.extend_from_slice(word);
        to.extend_from_slice(b"\r\n");
    }
}

fn write_line(to: &mut Vec<u8>, kind: u8, mut number: usize) {
    let mut room = [0; 20];
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to.push(kind);
    to.extend_from_slice(&room[at..]);
    to.extend_from_slice(b"\r\n");
}
