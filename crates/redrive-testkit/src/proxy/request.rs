//! Requests: where each ends, and what it is called.

use std::collections::BTreeMap;

use super::frame::{Frames, Malformed, Part};
use super::label::Label;

/// As much of an argument as is looked at: the longest script fits, a payload is not kept.
const KEPT: usize = 1 << 20;
/// As much of a line of inline commands.
const LONGEST_LINE: usize = 64 * 1024;

/// Commands whose first argument says what they do.
const WITH_SUBCOMMAND: [&str; 16] = [
    "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "LATENCY", "MEMORY",
    "MODULE", "OBJECT", "PUBSUB", "SCRIPT", "SENTINEL", "XGROUP", "XINFO",
];

/// What has been found in a piece of what a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Which command it is: as soon as that can be known, once for each request.
    Head(Label),
    /// The request is complete.
    End,
    /// More bytes are needed when all of them are used.
    Nothing,
}

/// How the scripts are called, by their hash.
pub(super) type Scripts = BTreeMap<String, String>;

/// Splits what a client sends into requests and names them.
#[derive(Debug)]
pub(super) struct Requests {
    frames: Frames,
    /// The arguments that are needed for the name, until it is known.
    arguments: Vec<Vec<u8>>,
    /// The line so far, of a command that is not sent as an array.
    line: Option<Vec<u8>>,
    named: bool,
    /// An inline command has been named, and ends.
    ends: bool,
    /// Between MULTI and EXEC.
    in_transaction: bool,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            frames: Frames::new(),
            arguments: vec![Vec::new()],
            line: None,
            named: false,
            ends: false,
            in_transaction: false,
        }
    }

    /// How many bytes are used, and what was found in them.
    ///
    /// # Errors
    ///
    /// For bytes that are not a request.
    pub(super) fn next(
        &mut self,
        bytes: &[u8],
        scripts: &Scripts,
    ) -> Result<(usize, Found), Malformed> {
        if self.ends {
            self.ends = false;
            return Ok((0, self.end()));
        }
        if self.line.is_some() {
            return self.inline(bytes, scripts);
        }
        let (used, part) = self.frames.next(bytes)?;
        let found = match part {
            Part::Begins(b'*') | Part::Other => Found::Nothing,
            Part::Begins(_) => {
                self.frames = Frames::new();
                self.line = Some(Vec::new());
                return self.inline(bytes, scripts);
            }
            Part::Bulk => {
                if !self.named
                    && let Some(argument) = self.arguments.last_mut()
                {
                    let room = KEPT.saturating_sub(argument.len());
                    argument.extend_from_slice(&bytes[..used.min(room)]);
                }
                Found::Nothing
            }
            Part::BulkEnds if !self.named && self.frames.depth() == 1 => {
                let known = self.is_known();
                self.arguments.push(Vec::new());
                if known {
                    Found::Head(self.name(scripts))
                } else {
                    Found::Nothing
                }
            }
            Part::BulkEnds => Found::Nothing,
            // Too short for its name, or empty: the server answers the first and ignores the other.
            Part::Ends if !self.named && self.arguments.len() > 1 => {
                self.ends = true;
                Found::Head(self.name(scripts))
            }
            Part::Ends => self.end(),
        };
        Ok((used, found))
    }

    /// Bytes of a request without a name are held back: nobody has decided what becomes of them.
    pub(super) fn is_undecided(&self) -> bool {
        !self.named
    }

    fn end(&mut self) -> Found {
        let was_request = self.named;
        self.named = false;
        self.arguments = vec![Vec::new()];
        if was_request {
            Found::End
        } else {
            Found::Nothing
        }
    }

    fn inline(&mut self, bytes: &[u8], scripts: &Scripts) -> Result<(usize, Found), Malformed> {
        let Some(line) = self.line.as_mut() else {
            return Ok((0, Found::Nothing));
        };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(bytes.len(), |end| end + 1);
        line.extend_from_slice(&bytes[..used]);
        if line.len() > LONGEST_LINE {
            return Err(Malformed);
        }
        if end.is_none() {
            return Ok((used, Found::Nothing));
        }
        let words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .map(<[u8]>::to_vec);
        self.arguments = words.collect();
        self.line = None;
        if self.arguments.is_empty() {
            return Ok((used, self.end()));
        }
        self.arguments.push(Vec::new());
        self.ends = true;
        Ok((used, Found::Head(self.name(scripts))))
    }

    fn command(&self) -> String {
        let name = self.arguments.first().map_or(&b""[..], Vec::as_slice);
        String::from_utf8_lossy(name).to_ascii_uppercase()
    }

    /// Whether the arguments so far, the last just completed, are enough for the name.
    fn is_known(&self) -> bool {
        let command = self.command();
        let needs_another =
            WITH_SUBCOMMAND.contains(&command.as_str()) || is_script_call(&command).is_some();
        self.arguments.len() > usize::from(needs_another)
    }

    fn name(&mut self, scripts: &Scripts) -> Label {
        self.named = true;
        let command = self.command();
        let arguments = std::mem::take(&mut self.arguments);
        let second = arguments.get(1).filter(|second| !second.is_empty());
        let second = second.map(|bytes| String::from_utf8_lossy(bytes));
        let mut label = match (second, is_script_call(&command)) {
            (Some(text), Some(given)) => {
                let hash = match given {
                    Given::Hash => text.to_ascii_lowercase(),
                    Given::Text => hash(&text),
                };
                let known = scripts.get(&hash).cloned();
                let name = known.unwrap_or_else(|| hash.chars().take(8).collect());
                format!("{command} {name}")
            }
            (Some(text), None) if WITH_SUBCOMMAND.contains(&command.as_str()) => {
                format!("{command} {}", text.to_ascii_uppercase())
            }
            _ => command.clone(),
        };
        match command.as_str() {
            "MULTI" => self.in_transaction = true,
            "EXEC" | "DISCARD" => self.in_transaction = false,
            // It is only queued here, EXEC executes it.
            _ if self.in_transaction => label = format!("MULTI {label}"),
            _ => {}
        }
        Label::from(label)
    }
}

/// How a script is given to the server.
enum Given {
    Hash,
    Text,
}

fn is_script_call(command: &str) -> Option<Given> {
    match command {
        "EVALSHA" | "EVALSHA_RO" => Some(Given::Hash),
        "EVAL" | "EVAL_RO" => Some(Given::Text),
        _ => None,
    }
}

/// The hash by which a server knows a script.
pub(super) fn hash(text: &str) -> String {
    redis::Script::new(text).get_hash().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(arguments: &[&[u8]]) -> Vec<u8> {
        let mut written = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            written.extend(format!("${}\r\n", argument.len()).bytes());
            written.extend(*argument);
            written.extend(b"\r\n");
        }
        written
    }

    /// The names found in pieces, and the bytes of each request.
    fn named(pieces: &[&[u8]]) -> Result<Vec<(String, Vec<u8>)>, Malformed> {
        let scripts = Scripts::from([(hash("return 1"), "one".to_owned())]);
        let mut requests = Requests::new();
        let mut all: Vec<(String, Vec<u8>)> = Vec::new();
        let (mut name, mut bytes) = (String::new(), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let (used, found) = requests.next(rest, &scripts)?;
                bytes.extend_from_slice(&rest[..used]);
                rest = &rest[used..];
                match found {
                    Found::Head(label) => name = label.to_string(),
                    Found::End => all.push((std::mem::take(&mut name), std::mem::take(&mut bytes))),
                    Found::Nothing if used == 0 && rest.is_empty() => break,
                    Found::Nothing => {}
                }
            }
        }
        Ok(all)
    }

    fn names(stream: &[u8]) -> Vec<String> {
        let named = named(&[stream]).unwrap();
        named.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_request_is_named_by_command_subcommand_or_script() {
        let unknown = hash("return 2");
        let stream = [
            request(&[b"xadd", b"s", b"*", b"a", b"1"]),
            request(&[b"CLIENT", b"setinfo", b"lib-name", b"x"]),
            request(&[b"EVALSHA", hash("return 1").as_bytes(), b"0"]),
            request(&[b"EVAL", b"return 1", b"0"]),
            request(&[b"EVALSHA", unknown.as_bytes(), b"0"]),
            request(&[b"CLIENT"]),
            b"*0\r\n\r\n".to_vec(),
            b"ping hello\r\n".to_vec(),
        ]
        .concat();

        let expected = [
            "XADD",
            "CLIENT SETINFO",
            "EVALSHA one",
            "EVAL one",
            &format!("EVALSHA {}", &unknown[..8]),
            "CLIENT",
            "PING",
        ];
        assert_eq!(names(&stream), expected);
    }

    #[test]
    fn what_a_transaction_queues_is_told_from_what_is_executed() {
        let stream = [
            request(&[b"MULTI"]),
            request(&[b"XADD", b"s", b"*", b"a", b"1"]),
            request(&[b"EXEC"]),
            request(&[b"XADD", b"s", b"*", b"a", b"1"]),
        ]
        .concat();
        assert_eq!(names(&stream), ["MULTI", "MULTI XADD", "EXEC", "XADD"]);
    }

    proptest! {
        #[test]
        fn however_requests_are_split_they_have_the_same_names_and_bytes(
            requests in prop::collection::vec(
                prop::collection::vec(prop_oneof![
                    "(XADD|client|EVAL|multi|EXEC|return 1|info)".prop_map(String::into_bytes),
                    prop::collection::vec(any::<u8>(), 1..20),
                ], 1..6),
                1..8,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let written: Vec<Vec<u8>> = requests
                .iter()
                .map(|all| request(&all.iter().map(Vec::as_slice).collect::<Vec<_>>()))
                .collect();
            let stream = written.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|at| &stream[at[0]..at[1]]).collect();

            let whole = named(&[&stream]).unwrap();
            let bytes: Vec<Vec<u8>> = whole.iter().map(|(_, bytes)| bytes.clone()).collect();
            prop_assert_eq!(bytes, written);
            prop_assert_eq!(named(&pieces).unwrap(), whole.clone());
            prop_assert_eq!(named(&stream.chunks(1).collect::<Vec<_>>()).unwrap(), whole);
        }

    }

    /// Whatever a client sends: it is split into the same requests however it arrives, or refused.
    #[test]
    fn fuzz_of_proxy_requests_panics_0() {
        let piece = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            prop::collection::vec(prop::sample::select(b"$*1234\r\nEVAL".to_vec()), 0..60),
            prop::sample::select(vec![
                "*1\r\n",
                "*2\r\n",
                "*0\r\n",
                "*-1\r\n",
                "$4\r\n",
                "EVAL",
                "\r\n",
                "$-1\r\n",
                "PING\r\n",
                "$8\r\nreturn 1\r\n",
                "*9223372036854775807\r\n",
                "$18446744073709551615\r\n",
                "%1\r\n",
                "|1\r\n",
                "$5\r\nMULTI\r\n",
                ":1\r\n",
                "\n",
                "$",
            ])
            .prop_map(|piece| piece.as_bytes().to_vec()),
        ];
        let streams = prop::collection::vec(piece, 0..12);
        let read = |bytes: &[u8]| Some(vec![bytes.to_vec()]);
        crate::fuzz_bytes("requests to the proxy", &streams, read, |pieces| {
            let stream = pieces.concat();
            let whole = named(&[&stream]);
            prop_assert_eq!(named(&stream.chunks(1).collect::<Vec<_>>()), whole.clone());
            for (_, bytes) in whole.into_iter().flatten() {
                prop_assert!(stream.windows(bytes.len()).any(|part| part == bytes));
            }
            Ok(())
        });
    }
}
