//! `redrive doctor`: what goes wrong with streams, how bad it is, and what cures it.

use std::time::Duration;

use clap::Args as ClapArgs;
use redrive::{Broker, Checkup, Finding, Fixed, GroupName, Severity, Source, StreamKey};
use serde::Serialize;

use crate::confirm::{self, Consent};
use crate::failure::{Code, Failure};
use crate::literals::duration;
use crate::output::Output;
use crate::redis_cli;
use crate::session::Session;
use crate::terminal::{note, shown, typed};

/// Find what goes wrong before it does, on any stream: how bad it is, and what cures it
///
/// Looks for settings that lose messages, work that nobody does, groups and consumers that are left over:
/// on the server, and in a stream with its groups; without a stream in all of them. Works on streams
/// that redrive has never written to, and changes nothing without --fix. What cannot be looked at is said
/// as a note. Ends with 0 where nothing is worse than a note, and with 4 where a warning or something
/// critical is left.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive doctor\n  \
    redrive doctor orders -g billing --fix")]
pub(crate) struct Args {
    /// The stream; all of them if left out
    #[arg(value_name = "STREAM")]
    stream: Option<StreamKey>,
    /// The group
    #[arg(short, long, value_name = "GROUP", requires = "stream")]
    group: Option<GroupName>,
    /// Mend what can be mended without losing a message: create a missing group, remove consumers that
    /// are gone and hold nothing
    #[arg(long)]
    fix: bool,
    /// How long a consumer or a group is silent before it is taken for left behind
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    silent: Duration,
    /// How long entries of consumers that are not redrive's may be out, as workers have it
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    foreign_lease: Duration,
}

/// A finding, and whether it was mended.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    fixed: bool,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let broker = session.broker().await?;
    let checkup = match (args.stream, args.group) {
        (Some(stream), Some(group)) => Checkup::of_group(Source { stream, group }),
        (Some(stream), None) => Checkup::of_stream(stream),
        (None, _) => Checkup::of_everything(),
    };
    let checkup = checkup
        .silent(args.silent)
        .foreign_lease(args.foreign_lease);
    let mut found = broker.examine(&checkup).await?;
    for cure in found.iter_mut().filter_map(|one| one.cure.as_mut()) {
        at_this_server(cure, &session.globals.url);
    }
    let mut fixed = vec![false; found.len()];
    let mut failed = None;
    let is_table = session.out.is_table();
    if is_table {
        print(&found, &mut session.out)?;
    }
    if args.fix {
        let mended = mend(&broker, &found, &mut fixed, session).await;
        failed = mended.err();
    }
    if !is_table {
        let mut documents = session.out.documents();
        for (finding, fixed) in found.iter().zip(&fixed) {
            documents.add(&Row {
                finding,
                fixed: *fixed,
            })?;
        }
        documents.end()?;
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    if !session.globals.quiet {
        note(&summary(&found));
    }
    let left = found.iter().zip(&fixed).filter(|(_, fixed)| !**fixed);
    let worst = left.map(|(finding, _)| finding.severity).max();
    match worst {
        Some(severity) if severity > Severity::Note => Err(Failure::silent(Code::Partly)),
        _ => Ok(()),
    }
}

/// Mends what can be mended, one after the other, and notes what was.
async fn mend(
    broker: &Broker,
    found: &[Finding],
    fixed: &mut [bool],
    session: &Session,
) -> Result<(), Failure> {
    let wanted: Vec<&Finding> = found.iter().filter(|one| one.fixable()).collect();
    if wanted.is_empty() {
        if !session.globals.quiet {
            note("there is nothing that --fix can mend");
        }
        return Ok(());
    }
    if session.consent() == Consent::Asked {
        let what: Vec<String> = wanted.iter().map(|one| title(one)).collect();
        let findings = if wanted.len() == 1 {
            "finding"
        } else {
            "findings"
        };
        let question = format!("mend {} {findings}", wanted.len());
        let cure = "look first, without --fix, then say --fix --yes";
        confirm::confirm_or(&question, &what, 0, cure)?;
    }
    let mut last = None;
    for (finding, fixed) in found.iter().zip(fixed) {
        if !finding.fixable() {
            continue;
        }
        // One that cannot be mended stops no other.
        match broker.fix(finding).await {
            Ok(done) => {
                *fixed = true;
                if !session.globals.quiet {
                    note(&format!("{}: {}", title(finding), told(done)));
                }
            }
            Err(error) => {
                let failure = Failure::from(error);
                note(&format!(
                    "{}: not mended: {}",
                    title(finding),
                    failure.text()
                ));
                last = Some(failure);
            }
        }
    }
    last.map_or(Ok(()), Err)
}

fn told(done: Fixed) -> String {
    match done {
        Fixed::GroupCreated => "the group was created".to_owned(),
        Fixed::ConsumersRemoved(1) => "1 consumer was removed".to_owned(),
        Fixed::ConsumersRemoved(many) => format!("{many} consumers were removed"),
        _ => "there was nothing left to do".to_owned(),
    }
}

/// What it is, and where.
fn title(finding: &Finding) -> String {
    let mut title = finding.code.to_string();
    let names = [
        finding.stream.as_ref().map(StreamKey::as_str),
        finding.group.as_ref().map(GroupName::as_str),
        finding.consumer.as_deref(),
    ];
    for name in names.into_iter().flatten() {
        title.push(' ');
        title.push_str(name);
    }
    title
}

fn print(found: &[Finding], out: &mut Output) -> Result<(), Failure> {
    for (index, finding) in found.iter().enumerate() {
        if index > 0 {
            out.line("")?;
        }
        let title = title(finding);
        let severity = out.bold(&format!("{:<8}", finding.severity));
        out.line(&format!("{severity}  {}", shown(&title)))?;
        out.line(&format!("  {}", shown(&finding.meaning)))?;
        match cure(finding) {
            Some(Some(cure)) => out.line(&format!("  cure: {cure}"))?,
            Some(None) => out.line("  cure: a name in it cannot be typed, -o json has it")?,
            None => {}
        }
    }
    out.flush()
}

/// Names the server to a client that knows nothing of our URL.
fn at_this_server(cure: &mut Vec<String>, url: &str) {
    if cure.first().is_some_and(|program| program == "redis-cli") {
        cure.splice(1..1, redis_cli::flags(url));
    }
}

/// The command, as it is typed in a shell; nothing within where a name in it cannot be.
fn cure(finding: &Finding) -> Option<Option<String>> {
    let words = finding.cure.as_ref()?;
    // It would be taken for a flag.
    let names = [
        finding.stream.as_ref().map(StreamKey::as_str),
        finding.group.as_ref().map(GroupName::as_str),
    ];
    if names
        .into_iter()
        .flatten()
        .any(|name| name.starts_with('-'))
    {
        return Some(None);
    }
    let typed: Option<Vec<String>> = words
        .iter()
        .map(|word| {
            let ours = ["-g", "--fix", "--lease", "--silent", "--dry-run", "--"];
            let of_redis_cli = ["-h", "-p", "-s", "-n", "--tls"];
            if ours.iter().chain(&of_redis_cli).any(|flag| flag == word) {
                Some(word.clone())
            } else {
                typed(word)
            }
        })
        .collect();
    Some(typed.map(|words| words.join(" ")))
}

fn summary(found: &[Finding]) -> String {
    let count = |severity| found.iter().filter(|one| one.severity == severity).count();
    let all = [
        (count(Severity::Critical), "critical", "critical"),
        (count(Severity::Warning), "warning", "warnings"),
        (count(Severity::Note), "note", "notes"),
    ];
    let parts: Vec<String> = all
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }))
        .collect();
    if parts.is_empty() {
        "nothing found".to_owned()
    } else {
        parts.join(", ")
    }
}
