//! An incident to practise on: forty thousand dead letters of six causes, in all three layouts.

use redrive::{
    Broker, ConsumerName, DeadLetterQueue, EntryId, ErrorKind, GroupBy, Layout, Reason, Selection,
    Source, StagedDeadLetter, StreamKey,
};

use super::causes::{self, Cause, Dice, Place};
use super::{Incident, causes::CAUSES};
use crate::configuration::show::without_secrets;
use crate::confirm::{self, Consent};
use crate::dlq::groups;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::Session;
use crate::terminal::typed;
use crate::when::now_ms;

/// Whose dead letters they are: names that nobody else gives.
const QUEUE: &str = "redrive-demo:incident:dlq";

/// How many are written before it is told how far it is.
const STEP: usize = 1_000;

/// Makes it: on this server, or in memory, where only its groups are told.
pub(super) async fn make(
    how: Incident,
    one_in: u64,
    url: Option<&str>,
    session: &mut Session,
) -> Result<(), Failure> {
    let Some(url) = url else {
        let broker = Broker::connect("memory:").await?;
        let queue = write(&broker, one_in, session).await?;
        tell(&queue, session).await?;
        session.out.line(
            "\nThis was in memory, and is gone. With --url it stays on that server, to be worked on.",
        )?;
        return session.out.flush();
    };
    let broker = session.broker().await?;
    let there = what_is_there(&broker).await?;
    if !there.is_empty() && how != Incident::Anew {
        return Err(Failure::new(format!(
            "there is an incident already: {}",
            there.join(", ")
        ))
        .hint("go on with that one, or say --force: it is removed, and made anew"));
    }
    let url = without_secrets(url);
    if session.consent() == Consent::Asked {
        let what = format!(
            "write {} dead letters to {QUEUE} of {url}",
            causes::all(one_in)
        );
        let gone: Vec<String> = there
            .iter()
            .map(|key| format!("remove {key} first"))
            .collect();
        let cure = "say --yes, for a server that bears it: a redis-server of your own, say";
        confirm::confirm_or(&what, &gone, 0, cure)?;
    }
    if !there.is_empty() {
        remove(&broker).await?;
    }
    let queue = write(&broker, one_in, session).await?;
    tell(&queue, session).await?;
    next(&url, session)
}

fn queue() -> Result<StreamKey, Failure> {
    Ok(StreamKey::new(QUEUE)?)
}

/// Of which of its keys there is something, from an incident before.
async fn what_is_there(broker: &Broker) -> Result<Vec<String>, Failure> {
    let mut keys = vec![queue()?];
    for place in Place::ALL {
        keys.push(place.source()?.stream);
    }
    let mut there = Vec::new();
    for key in keys {
        match broker.groups(&key).await {
            Ok(_) => there.push(key.to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(there)
}

async fn remove(broker: &Broker) -> Result<(), Failure> {
    for place in Place::ALL {
        broker.erase(&place.source()?, &queue()?).await?;
    }
    Ok(())
}

/// Writes them as those who gave up would have: each at its time, over some hours until now.
async fn write(
    broker: &Broker,
    one_in: u64,
    session: &Session,
) -> Result<DeadLetterQueue, Failure> {
    let queue = broker.dead_letters(queue()?);
    let mut deaths = deaths(now_ms(), one_in);
    let progress = Progress::new("writing", deaths.len() as u64, session.quiet());
    // Two at one millisecond keep their order, and get ids of their own.
    deaths.sort_by_key(|death| death.at_ms);
    let (mut letters, mut last) = (Vec::with_capacity(STEP), EntryId::MIN);
    let mut done = 0;
    for death in &deaths {
        last = EntryId::new(death.at_ms, 0).max(last.successor());
        letters.push(letter(last, death)?);
        if letters.len() == STEP {
            done += queue.stage(&letters).await?;
            letters.clear();
            progress.at(done);
        }
    }
    queue.stage(&letters).await?;
    Ok(queue)
}

/// One of them: of what, when, and the number that all else is made of.
struct Death {
    cause: &'static Cause,
    number: u64,
    at_ms: u64,
}

/// The same each time, but for the time.
fn deaths(now_ms: u64, one_in: u64) -> Vec<Death> {
    let mut dice = Dice::new();
    let mut deaths = Vec::new();
    for cause in &CAUSES {
        for number in 0..cause.count.div_ceil(one_in.max(1)) {
            let ago = cause.from_ms - dice.below(cause.from_ms - cause.until_ms);
            let at_ms = now_ms.saturating_sub(ago);
            deaths.push(Death {
                cause,
                number,
                at_ms,
            });
        }
    }
    deaths
}

fn letter(id: EntryId, death: &Death) -> Result<StagedDeadLetter, Failure> {
    let cause = death.cause;
    let mut dice = Dice::of(cause, death.number);
    // Three attempts, a few seconds apart.
    let first = id.millis() - 2_000 - dice.below(6_000);
    let original = EntryId::new(first - 10 - dice.below(3_000), dice.below(3));
    let order = 70_000 + dice.below(20_000);
    let fields = (cause.fields)(order, first, &mut dice);
    let consumer = format!("consumer_{:08x}", 0x5eed_0000_u64 + dice.below(4));
    let source: Source = cause.place.source()?;
    let letter = StagedDeadLetter::new(id, source, original, fields, cause.reason)
        .layout(cause.place.layout())
        .error((cause.error)(order, &mut dice))
        .attempts(cause.attempts)
        .crashes(if cause.reason == Reason::CrashLoop {
            3
        } else {
            0
        })
        .consumer(&ConsumerName::new(consumer)?)
        .first_failed_at_ms(first);
    Ok(match cause.place.layout() {
        // As `redrive run` says it of a program.
        Layout::Native if cause.attempts > 0 => letter.error_kind("exit"),
        _ => letter,
    })
}

/// What a person sees first.
async fn tell(queue: &DeadLetterQueue, session: &mut Session) -> Result<(), Failure> {
    let groups = queue
        .groups(&Selection::all(), GroupBy::Fingerprint)
        .await?;
    session.out.line(&format!(
        "{} dead letters of six causes are in {QUEUE}, in all three layouts.\n",
        groups.counted
    ))?;
    groups::show(&groups, &mut session.out)
}

/// What to type next. The password of a URL is not told: it is the reader's.
fn next(url: &str, session: &mut Session) -> Result<(), Failure> {
    let server = typed(url).unwrap_or_else(|| "…".to_owned());
    session
        .out
        .line("\nWhat to do about them is in docs/runbook.md. It begins with:\n")?;
    for line in [
        format!("export REDRIVE_URL={server}"),
        format!("redrive dlq groups --dlq {QUEUE}"),
    ] {
        session.out.line(&format!("  {line}"))?;
    }
    if url.contains("***") {
        session
            .out
            .line("\nwith the password in the place of ***.")?;
    }
    session
        .out
        .line("\n`redrive demo --incident --force` with the same URL makes it anew.")?;
    session.out.flush()
}
