//! `redrive dlq show`: dead letters, each with its payload decoded.

use std::str::FromStr;

use clap::Args as ClapArgs;
use redrive::{
    DeadLetter, DeadLetterQueue, EntryId, GroupName, Inspection, Reason, StreamKey, Trail,
};

use super::body::{body, in_a_line, to_stdout};
use super::letter::Inspected;
use super::{Where, contents, lineage, unknown};
use crate::failure::{Code, Failure};
use crate::output::Output;
use crate::session::Session;
use crate::terminal::{clipped, shown};
use crate::when::{dated, span};

/// Show a dead letter: why it died, what it has been through, and what is in it
///
/// The payload is decoded: JSON, MessagePack, CBOR or text, gzip and zstd inside. What is none of
/// these is shown as a hexdump. A large one is cut: --raw has all of its bytes.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq show 1795324222405-0 orders\n  \
    redrive dlq show 1795324222405-0 --dlq sg:stream:dlq -o json\n  \
    redrive dlq show 1795324222405-0 orders --raw > payload")]
pub(crate) struct Args {
    /// The id of the dead letter; of several with commas between
    #[arg(value_name = "ID")]
    ids: Ids,
    #[command(flatten)]
    place: Where,
    /// Write the bytes of the payload and nothing else, whatever -o says: of its field (data, payload,
    /// body or json), or of the only one
    #[arg(long)]
    raw: bool,
    /// With --raw: the bytes of this field
    #[arg(long, value_name = "NAME", requires = "raw")]
    field: Option<String>,
}

/// Ids, with commas between. Not left to clap, which takes several values of an argument only where
/// no other one follows.
#[derive(Clone, Debug)]
struct Ids(Vec<EntryId>);

impl FromStr for Ids {
    type Err = redrive::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (queue, only_from) = args.place.names()?;
    let queue = session.broker().await?.dead_letters(queue);
    let place = Place {
        queue: &queue,
        only_from,
    };
    match args.ids.0.as_slice() {
        [id] if args.raw => {
            let letter = place.letter(*id).await?;
            to_stdout(body(&letter, args.field.as_deref())?, &mut session.out)
        }
        _ if args.raw => {
            Err(Failure::usage("--raw writes the bytes of one dead letter").hint("give it one id"))
        }
        [id] if session.out.is_table() => place.tell(*id, &mut session.out).await,
        [id] => {
            let (inspection, trail) = place.inspect(*id).await?;
            session
                .out
                .document(&Inspected::new(&queue, &inspection, &trail))
        }
        ids => several(ids, &place, &mut session.out).await,
    }
}

/// One after the other: no more than one is held.
async fn several(ids: &[EntryId], place: &Place<'_>, out: &mut Output) -> Result<(), Failure> {
    let mut done = 0;
    let mut last = None;
    let mut missing = |failure: Failure| {
        if failure.is(Code::Nothing) {
            last = Some(failure);
            return Ok(());
        }
        Err(failure)
    };
    if out.is_table() {
        for id in ids {
            if done > 0 {
                out.line("")?;
            }
            match place.tell(*id, out).await {
                Ok(()) => done += 1,
                Err(failure) => missing(failure)?,
            }
        }
    } else {
        let mut documents = out.documents();
        for id in ids {
            match place.inspect(*id).await {
                Ok((inspection, trail)) => {
                    documents.add(&Inspected::new(place.queue, &inspection, &trail))?;
                    done += 1;
                }
                Err(failure) => missing(failure)?,
            }
        }
        documents.end()?;
    }
    match last {
        None => Ok(()),
        Some(failure) if done == 0 => Err(failure),
        Some(failure) => {
            let more = format!("{done} of {} shown", ids.len());
            Err(failure.also(more).code(Code::Partly))
        }
    }
}

/// A queue, and the stream that it is narrowed to.
pub(super) struct Place<'a> {
    pub(super) queue: &'a DeadLetterQueue,
    pub(super) only_from: Option<StreamKey>,
}

impl Place<'_> {
    /// The dead letter, if it is there.
    pub(super) async fn letter(&self, id: EntryId) -> Result<DeadLetter, Failure> {
        match self.queue.get(id).await? {
            Some(letter) if self.is_here(&letter) => Ok(letter),
            _ => Err(self.gone(id).await),
        }
    }

    async fn inspect(&self, id: EntryId) -> Result<(Inspection, Trail), Failure> {
        match self.queue.inspect(id).await? {
            Some(found) if self.is_here(&found.dead_letter) => {
                let trail = self.queue.trail(&found.dead_letter).await?;
                Ok((found, trail))
            }
            _ => Err(self.gone(id).await),
        }
    }

    async fn tell(&self, id: EntryId, out: &mut Output) -> Result<(), Failure> {
        let letter = self.letter(id).await?;
        let trail = self.queue.trail(&letter).await?;
        told(&letter, &trail, self.queue.stream(), out)
    }

    fn is_here(&self, letter: &DeadLetter) -> bool {
        self.only_from.is_none() || letter.stream == self.only_from
    }

    /// That it is not there; where a receipt of its replay is left, what became of it.
    async fn gone(&self, id: EntryId) -> Failure {
        let failure = unknown(&format!(
            "dead letter not found: {id} in {}",
            self.queue.stream()
        ));
        let name = self.queue.stream().as_str().strip_suffix(":dlq");
        let source = name.and_then(|name| StreamKey::new(name).ok());
        let Some(target) = self.only_from.clone().or(source) else {
            return failure;
        };
        // Whoever may not look at receipts is told what is told without them.
        match self.queue.receipt(id, &target).await {
            Ok(Some(new)) => failure.hint(format!("it was replayed: it is {new} in {target}")),
            _ => failure,
        }
    }
}

fn told(
    letter: &DeadLetter,
    trail: &Trail,
    queue: &StreamKey,
    out: &mut Output,
) -> Result<(), Failure> {
    let layout = letter.layout.as_str();
    let mut facts = Facts::default();
    facts.add(
        "dead letter",
        Some(format!("{} in {queue}, {layout} layout", letter.id)),
    );
    let original = letter
        .original_id
        .map(|id| format!(" {id}"))
        .unwrap_or_default();
    facts.add(
        "from",
        letter
            .stream
            .as_ref()
            .map(|stream| format!("{stream}{original}")),
    );
    facts.add("group", letter.group.as_ref().map(GroupName::to_string));
    facts.add("consumer", letter.consumer.clone());
    facts.add(
        "reason",
        letter.reason.map(Reason::as_str).map(str::to_owned),
    );
    facts.add(
        "attempts",
        letter.attempts.map(|attempts| attempts.to_string()),
    );
    facts.add("crashes", letter.crashes.map(|crashes| crashes.to_string()));
    facts.add_lines("error", letter.error.as_deref());
    facts.add("error kind", letter.error_kind.clone());
    facts.add("fingerprint", Some(letter.fingerprint.clone()));
    facts.add("first failed", letter.first_at_ms.map(dated));
    facts.add("died", died(letter));
    facts.add(
        "replays",
        Some(letter.replays.to_string()).filter(|replays| replays != "0"),
    );
    facts.add(
        "replayed from",
        letter.replayed_from.map(|id| id.to_string()),
    );
    facts.add("campaign", letter.campaign.clone());
    facts.add("size", Some(format!("{} bytes", letter.size())));
    for (name, value) in &facts.0 {
        let name = out.bold(&format!("{name:<13}"));
        out.line(&format!("{name}  {value}"))?;
    }
    lineage::told(trail, letter.id, out)?;
    if letter.is_tombstone() {
        out.line("")?;
        out.line(
            "The entry was trimmed before its fields could be stored: nothing of it is left.",
        )?;
    }
    contents::payload(letter, out)?;
    // Without a field for it the payload is the fields: shown already.
    let (payload, fields) = (letter.payload_field(), &letter.fields);
    if payload.is_some() || letter.preview(0).is_none() {
        contents::fields(fields, out)?;
    }
    out.flush()
}

/// When it died and how long it had failed until then; of a layout that does not say, when it was
/// added to the queue.
fn died(letter: &DeadLetter) -> Option<String> {
    let at = letter.dead_at_ms.unwrap_or(letter.id.millis());
    let told = dated(at);
    match letter.first_at_ms.and_then(|first| at.checked_sub(first)) {
        Some(failing @ 1..) => Some(format!("{told}, {} after it first failed", span(failing))),
        _ => Some(told),
    }
}

/// How much of what is known is shown; `-o json` has all of it.
const MOST: usize = 8 << 10;
const MOST_LINES: usize = 100;

#[derive(Default)]
struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// Adds what is known, made safe, on one line.
    fn add(&mut self, name: &'static str, value: Option<String>) {
        self.0
            .extend(value.map(|value| (name, in_a_line(&value, MOST))));
    }

    /// The lines of an error stay lines; nothing else in it does anything.
    fn add_lines(&mut self, name: &'static str, value: Option<&str>) {
        let Some(value) = value else { return };
        let begin = clipped(value, MOST);
        let mut lines: Vec<String> = begin
            .lines()
            .take(MOST_LINES)
            .map(|line| shown(line).into_owned())
            .collect();
        let is_cut = begin.len() < value.len() || begin.lines().nth(MOST_LINES).is_some();
        lines.extend(is_cut.then(|| "… and more: -o json has all of it".to_owned()));
        self.0.push((name, lines.join("\n               ")));
    }
}
