//! What is told of a replay, and of one that was only tried.

use std::collections::BTreeSet;
use std::time::Duration;

use redrive::{CampaignName, EntryId, Rate, ReplayReport, ReplaySample, StreamKey};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::output::json::Pairs;
use crate::output::{Format, Output};
use crate::terminal::{shown, shown_bytes};

/// How many of a kind a table names.
const SHOWN: usize = 10;

/// A report, and how long it took.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    #[serde(flatten)]
    report: &'a ReplayReport,
    elapsed_ms: u64,
    per_second: Option<f64>,
    /// What it was to keep to.
    #[serde(skip)]
    rate: Option<Rate>,
}

impl<'a> Told<'a> {
    pub(super) fn new(report: &'a ReplayReport, elapsed: Duration, rate: Option<Rate>) -> Self {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let per_second = report.replayed as f64 / elapsed.as_secs_f64();
        Self {
            report,
            elapsed_ms,
            per_second: per_second
                .is_finite()
                .then(|| (per_second * 10.0).round() / 10.0),
            rate,
        }
    }
}

pub(super) fn print(told: &Told<'_>, out: &mut Output) -> Result<(), Failure> {
    match out.format {
        Format::Json => return out.document(told),
        Format::Jsonl => return counts(told, out),
        Format::Table => {}
    }
    table(told.report, out)?;
    if let Some(name) = &told.report.campaign {
        out.line(&format!("campaign  {name}"))?;
    }
    if let (Some(rate), Some(per_second)) = (told.rate, told.per_second) {
        let seconds = told.elapsed_ms as f64 / 1_000.0;
        out.line(&format!(
            "took      {seconds:.1} s, {per_second} a second of {rate}"
        ))?;
    }
    out.flush()
}

fn table(report: &ReplayReport, out: &mut Output) -> Result<(), Failure> {
    for (name, count) in [
        ("selected", report.selected),
        ("replayed", report.replayed),
        ("already", report.already),
        ("skipped", report.skipped),
        ("failed", report.failed),
    ] {
        out.line(&format!("{name:<9} {count}"))?;
    }
    for id in report.already_ids.iter().take(SHOWN) {
        out.line(&format!("  put back before as {id}"))?;
    }
    more(report.already, report.already_ids.len(), out)?;
    let mut hints = BTreeSet::new();
    for failure in report.failures.iter().take(SHOWN) {
        out.line(&format!("  {}  {}", failure.id, shown(&failure.error)))?;
        // Each cure once.
        if let Some(hint) = &failure.hint
            && hints.insert(hint)
        {
            out.line(&format!("    hint: {}", shown(hint)))?;
        }
    }
    more(report.failed, report.failures.len(), out)
}

fn more(all: u64, listed: usize, out: &mut Output) -> Result<(), Failure> {
    if listed <= SHOWN {
        return Ok(());
    }
    let more = all - SHOWN as u64;
    out.line(&format!("  and {more} more; -o json lists them"))
}

/// The counts, after a line for each dead letter.
fn counts(told: &Told<'_>, out: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Counts<'a> {
        campaign: Option<&'a CampaignName>,
        selected: u64,
        replayed: u64,
        already: u64,
        skipped: u64,
        failed: u64,
        elapsed_ms: u64,
        per_second: Option<f64>,
    }
    out.document(&Counts {
        campaign: told.report.campaign.as_ref(),
        selected: told.report.selected,
        replayed: told.report.replayed,
        already: told.report.already,
        skipped: told.report.skipped,
        failed: told.report.failed,
        elapsed_ms: told.elapsed_ms,
        per_second: told.per_second,
    })
}

/// The report of a dry run: as of a run, with samples.
#[derive(Serialize)]
struct Dry<'a> {
    #[serde(flatten)]
    report: &'a ReplayReport,
    samples: Vec<Sample<'a>>,
}

#[derive(Serialize)]
struct Sample<'a> {
    id: EntryId,
    target: &'a StreamKey,
    before: Pairs<'a>,
    after: Pairs<'a>,
    payload_before: Option<&'a RawValue>,
    payload_after: Option<&'a RawValue>,
}

pub(super) fn print_dry(
    report: &ReplayReport,
    samples: &[ReplaySample],
    rate: Option<Rate>,
    out: &mut Output,
) -> Result<(), Failure> {
    if !out.is_table() {
        let samples = samples.iter().map(|sample| Sample {
            id: sample.id,
            target: &sample.target,
            before: Pairs(&sample.before),
            after: Pairs(&sample.after),
            payload_before: sample.payload_before.as_deref(),
            payload_after: sample.payload_after.as_deref(),
        });
        return out.document(&Dry {
            report,
            samples: samples.collect(),
        });
    }
    out.line("a dry run: nothing was changed\n")?;
    table(report, out)?;
    if let Some(rate) = rate {
        let takes = rate.time_for(report.replayed).as_secs_f64();
        out.line(&format!("takes     {takes:.1} s at {rate}"))?;
    }
    for sample in samples {
        out.line("")?;
        let target = shown(sample.target.as_str());
        out.line(&format!("{} to {target}", sample.id))?;
        changes(sample, out)?;
    }
    out.flush()
}

/// What a dead letter is, and what would be put back: the payload and what changes beside it, or
/// all fields where there is none that decodes.
fn changes(sample: &ReplaySample, out: &mut Output) -> Result<(), Failure> {
    let before = (
        &sample.payload_before,
        &sample.beside_before,
        &sample.before,
    );
    let after = (&sample.payload_after, &sample.beside_after, &sample.after);
    for (sign, (payload, beside, all)) in [("-", before), ("+", after)] {
        let fields = if let Some(payload) = payload {
            out.line(&format!("  {sign} {}", shown(payload.get())))?;
            beside
        } else {
            all
        };
        for (name, value) in fields.iter() {
            let (name, value) = (shown_bytes(name), shown_bytes(value));
            out.line(&format!("  {sign} {name}  {value}"))?;
        }
    }
    Ok(())
}
