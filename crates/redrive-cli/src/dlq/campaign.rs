//! What a replay is told of its campaign, and what it says of it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use clap::Args as ClapArgs;
use redrive::{
    Campaign, CampaignName, CampaignState, CampaignStep, CampaignWatch, ReplayOptions,
    ReplayReport, Rule,
};

use super::bulk::{self, Ended, News};
use crate::failure::{Code, Failure};
use crate::literals::{DurationOrNone, at_least_one, duration_or_none_from};
use crate::output::json;
use crate::terminal::typed;
use crate::when::now_ms;

/// A replay is a campaign: what becomes of each message is known afterwards.
#[derive(ClapArgs)]
pub(super) struct InCampaign {
    /// Its name, for `dlq campaigns`, `pause`, `resume`, `abort` and `undo`; the same command goes on
    /// with it. The default is a name with the date; a replay by one --id alone is no campaign unless
    /// it is named
    #[arg(long, value_name = "NAME", help_heading = "Campaign")]
    campaign: Option<CampaignName>,
    /// Put back so many, and wait for their outcome before going on; with --abort-if
    #[arg(long, allow_hyphen_values = true, value_name = "N", value_parser = at_least_one, help_heading = "Campaign")]
    canary: Option<usize>,
    /// Stop by itself when so many die again: 'dead-again>5%' of those whose outcome is known, of 20
    /// or the canary at least; or 'dead-again>=3'
    #[arg(long, value_name = "RULE", help_heading = "Campaign")]
    abort_if: Option<Rule>,
    /// Keep the originals so long, for `dlq undo`; none keeps none
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "DURATION",
        default_value = "24h",
        value_parser = duration_or_none_from(Duration::from_secs(1)),
        help_heading = "Campaign"
    )]
    undo_window: DurationOrNone,
}

impl InCampaign {
    /// What is wrong with them, before anything is looked at.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.canary.is_some() && self.abort_if.is_none() {
            return Err(Failure::usage("--canary without --abort-if")
                .hint("say of what outcome it is to stop, such as --abort-if 'dead-again>5%'"));
        }
        self.ruled(ReplayOptions::default()).map(drop)
    }

    fn ruled(&self, options: ReplayOptions) -> Result<ReplayOptions, Failure> {
        let Some(rule) = &self.abort_if else {
            return Ok(options);
        };
        options.abort_if(rule.clone()).map_err(|error| {
            let failure = Failure::usage(format!("--abort-if: {error}"));
            match error.cure() {
                Some(cure) => failure.hint(cure),
                None => failure,
            }
        })
    }

    /// Those of a replay, with the campaign that it is; a single one is none unless it is said.
    pub(super) fn named(
        &self,
        options: ReplayOptions,
        single: bool,
    ) -> Result<ReplayOptions, Failure> {
        let name = match &self.campaign {
            Some(name) => name.clone(),
            None if single && self.abort_if.is_none() => return Ok(options),
            None => by_itself()?,
        };
        let mut options = self
            .ruled(options)?
            .campaign(name)
            .undo_window(self.undo_window.0);
        if let Some(canary) = self.canary {
            options = options.canary(canary as u64);
        }
        Ok(options)
    }
}

/// A name with the date and the time, UTC: `replay-20261122-213045-ab12`.
fn by_itself() -> Result<CampaignName, Failure> {
    let random = RandomState::new().build_hasher().finish() & 0xffff;
    let now = json::instant(now_ms()).unwrap_or_default();
    let digits: String = now.chars().filter(char::is_ascii_digit).collect();
    let (date, time) = (digits.get(..8), digits.get(8..14));
    let name = match (date, time) {
        (Some(date), Some(time)) => format!("replay-{date}-{time}-{random:04x}"),
        _ => format!("replay-{random:04x}"),
    };
    Ok(CampaignName::new(name)?)
}

/// A campaign on its way, and what there is to say of it.
#[derive(Clone)]
pub(super) struct Course {
    watch: CampaignWatch,
    /// The queue, as it was typed.
    place: String,
}

impl Course {
    pub(super) fn new(watch: CampaignWatch, place: String) -> Self {
        Self { watch, place }
    }

    /// Whether it was ended, one way or another.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.watch.now(), CampaignStep::Ended(..))
    }

    /// What it waits for, each time once.
    pub(super) fn news(&self) -> News {
        let this = self.clone();
        let mut said = None;
        Box::new(move || {
            let text = this.waits_for();
            let new = text.is_some() && text != said;
            said = text.clone();
            text.filter(|_| new)
        })
    }

    fn waits_for(&self) -> Option<String> {
        let (name, place) = (self.watch.name(), &self.place);
        match self.watch.now() {
            CampaignStep::Paused => Some(format!(
                "the campaign {name} is paused; `redrive dlq resume {name} {place}` lets it go on"
            )),
            CampaignStep::Canary(told) => Some(format!(
                "the canary of {name}: of {} {} succeeded, {} died again, {} wait for their outcome",
                told.replayed, told.succeeded, told.dead_again, told.waiting
            )),
            _ => None,
        }
    }

    /// What it comes to: as any replay, unless the campaign was ended before its time.
    pub(super) fn judged(
        &self,
        report: &ReplayReport,
        ended: Ended,
        otherwise: impl FnOnce(Ended) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (name, place) = (self.watch.name(), &self.place);
        let stopped = matches!(ended, Ended::Stopped(_));
        match (&ended, self.watch.now()) {
            (Ended::Whole, CampaignStep::Ended(CampaignState::Aborted, _)) => {
                let text = format!(
                    "the campaign {name} was aborted: {} replayed so far",
                    report.replayed
                );
                let hint = "the rest is untouched; what is not put back needs another campaign";
                Err(Failure::with(Code::Partly, text).hint(hint))
            }
            (Ended::Whole, CampaignStep::Ended(CampaignState::Stopped, told)) => {
                let busiest = told.as_deref().and_then(busiest);
                let busiest = busiest.unwrap_or_else(|| "…".to_owned());
                let why = told.map_or_else(String::new, |told| format!(": {}", deaths(&told)));
                let text = format!("the campaign {name} stopped itself{why}");
                Err(Failure::with(Code::Partly, text).hint(format!(
                    "the rest is untouched; `redrive dlq list {place} --fingerprint {busiest}` shows \
                     what died again, `redrive dlq undo {name} {place}` parks what has not started"
                )))
            }
            _ => otherwise(ended).map_err(|failure| {
                if stopped {
                    let again = bulk::AGAIN;
                    failure.hint(format!("{again}; with --campaign {name} as this campaign"))
                } else {
                    failure
                }
            }),
        }
    }
}

/// The fingerprint of which most died again, as it is typed.
fn busiest(told: &Campaign) -> Option<String> {
    let mut known = told.fingerprints.iter();
    typed(known.find_map(|cause| cause.fingerprint.as_deref())?)
}

/// How many died again, and of what.
pub(super) fn deaths(told: &Campaign) -> String {
    let mut text = format!("{} of {} died again", told.dead_again, told.replayed);
    for (at, cause) in told.fingerprints.iter().take(5).enumerate() {
        text.push_str(if at == 0 { " (" } else { ", " });
        let of = cause
            .fingerprint
            .as_deref()
            .unwrap_or("an error that is not known");
        text.push_str(&format!("{} of {of}", cause.count));
    }
    if told.fingerprints.len() > 5 {
        text.push_str(", …");
    }
    if !told.fingerprints.is_empty() {
        text.push(')');
    }
    text
}
