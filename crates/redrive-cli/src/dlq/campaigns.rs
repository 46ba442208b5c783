//! `redrive dlq campaigns`: what became of replays.

use clap::Args as ClapArgs;
use redrive::{Campaign, CampaignName, CampaignState, DiedAgain, StreamKey};
use serde::Serialize;

use super::Where;
use super::campaign::deaths;
use crate::failure::Failure;
use crate::output::{Output, Table, json};
use crate::session::Session;
use crate::terminal::{note, shown};
use crate::when::{ago, span};

/// Who gives no sign for so long is gone, for all that is known: it gives two a second.
const GONE_MS: u64 = 10_000;

/// What became of replays: how many succeeded, died again, wait
///
/// A message succeeded when its group has been given it, has done with it, and it did not die again.
/// The latest campaign stands first. A campaign is remembered for 30 days.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq campaigns orders\n  \
    redrive dlq campaigns orders --campaign after-the-fix -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// This one alone; may be repeated
    #[arg(long, value_name = "NAME")]
    campaign: Vec<CampaignName>,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (queue, _) = args.place.names()?;
    let queue = session.broker().await?.dead_letters(queue);
    let mut campaigns = Vec::new();
    if args.campaign.is_empty() {
        campaigns = queue.campaigns().await?;
    }
    for name in &args.campaign {
        match queue.campaign(name).await? {
            Some(campaign) => campaigns.push(campaign),
            None => {
                let text = format!("campaign not found: {name}, in {}", queue.stream());
                return Err(Failure::nothing(text)
                    .hint("`redrive dlq campaigns` lists them; they are remembered for 30 days"));
            }
        }
    }
    if campaigns.is_empty() {
        let text = format!("no campaigns of {}", queue.stream());
        return Err(Failure::nothing(text).hint(
            "each bulk replay is one; if that is not the queue that you mean, name it with --dlq",
        ));
    }
    if session.out.is_table() {
        table(&campaigns, &mut session.out)?;
    } else {
        documents(&campaigns, &mut session.out)?;
    }
    if session.globals.quiet || session.out.is_gone() {
        return Ok(());
    }
    for campaign in &campaigns {
        if let Some(gone) = gone(campaign) {
            let again = again(campaign, &args.place.typed());
            note(&format!("{}: {gone}: {again}", campaign.name));
        }
    }
    Ok(())
}

/// That its command has died, as far as one can tell from here.
pub(super) fn gone(campaign: &Campaign) -> Option<String> {
    let silent = !campaign.state.is_over() && campaign.silent_ms > GONE_MS;
    silent.then(|| format!("no sign of its command for {}", span(campaign.silent_ms)))
}

/// What goes on with it.
pub(super) fn again(campaign: &Campaign, place: &str) -> String {
    let Campaign {
        name, selection, ..
    } = campaign;
    let mut command = format!("redrive dlq replay {place} {selection} --campaign {name}");
    let said = [
        (
            "target",
            campaign.target.as_ref().map(|target| format!("'{target}'")),
        ),
        ("rate", campaign.rate.clone()),
        ("canary", campaign.canary.map(|canary| canary.to_string())),
        (
            "abort-if",
            campaign.abort_if.as_ref().map(|rule| format!("'{rule}'")),
        ),
    ];
    for (flag, value) in said {
        if let Some(value) = value {
            command.push_str(&format!(" --{flag} {value}"));
        }
    }
    format!("`{command}` goes on with it, with the --set, --patch and --migrate that it had")
}

#[derive(Serialize)]
struct Told<'a> {
    name: &'a CampaignName,
    state: CampaignState,
    selection: &'a str,
    target: Option<&'a StreamKey>,
    rate: Option<&'a str>,
    canary: Option<u64>,
    abort_if: Option<&'a str>,
    who: Option<&'a str>,
    because: Option<&'a str>,
    began_at: Option<String>,
    ended_at: Option<String>,
    seen_at: Option<String>,
    selected: u64,
    replayed: u64,
    succeeded: u64,
    dead_again: u64,
    waiting: u64,
    undone: u64,
    fingerprints: &'a [DiedAgain],
}

fn documents(campaigns: &[Campaign], out: &mut Output) -> Result<(), Failure> {
    let mut documents = out.documents();
    for campaign in campaigns {
        documents.add(&Told {
            name: &campaign.name,
            state: campaign.state,
            selection: &campaign.selection,
            target: campaign.target.as_ref(),
            rate: campaign.rate.as_deref(),
            canary: campaign.canary,
            abort_if: campaign.abort_if.as_deref(),
            who: campaign.who.as_deref(),
            because: campaign.because.as_deref(),
            began_at: json::instant(campaign.began_at_ms),
            ended_at: campaign.ended_at_ms.and_then(json::instant),
            seen_at: json::instant(campaign.seen_at_ms),
            selected: campaign.selected,
            replayed: campaign.replayed,
            succeeded: campaign.succeeded,
            dead_again: campaign.dead_again,
            waiting: campaign.waiting,
            undone: campaign.undone,
            fingerprints: &campaign.fingerprints,
        })?;
    }
    documents.end()
}

fn standing(campaign: &Campaign) -> String {
    let state = campaign.state.as_str();
    gone(campaign).map_or_else(|| state.to_owned(), |gone| format!("{state} ({gone})"))
}

fn table(campaigns: &[Campaign], out: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new([
        "campaign",
        "state",
        "began",
        "replayed",
        "succeeded",
        "dead again",
        "waiting",
        "undone",
        "who",
        "selection",
    ]);
    for campaign in campaigns {
        table.row([
            campaign.name.to_string(),
            standing(campaign),
            format!("{} ago", ago(campaign.began_at_ms)),
            campaign.replayed.to_string(),
            campaign.succeeded.to_string(),
            campaign.dead_again.to_string(),
            campaign.waiting.to_string(),
            campaign.undone.to_string(),
            campaign.who.clone().unwrap_or_else(|| "-".to_owned()),
            campaign.selection.clone(),
        ]);
    }
    out.table(table)?;
    let mut before = "\n";
    for campaign in campaigns {
        if let Some(because) = &campaign.because {
            let text = format!("{}: because {because}", campaign.name);
            out.line(&format!("{before}{}", shown(&text)))?;
            before = "";
        }
    }
    let died = campaigns.iter().filter(|campaign| campaign.dead_again > 0);
    for (at, campaign) in died.enumerate() {
        if at == 0 {
            out.line("")?;
        }
        let text = format!("{}: {}", campaign.name, deaths(campaign));
        out.line(&shown(&text))?;
    }
    out.flush()
}
