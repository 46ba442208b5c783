//! `redrive dlq pause`, `resume` and `abort`: telling a campaign to wait, to go on, to end.

use clap::Args as ClapArgs;
use redrive::{CampaignName, CampaignState, DeadLetterQueue};
use serde::Serialize;

use super::Where;
use super::audited::Audited;
use super::campaigns::{again, gone};
use crate::failure::Failure;
use crate::session::Session;
use crate::terminal::note;

/// Let a campaign wait between two of its steps
///
/// Its command waits until `redrive dlq resume`, or ends with `redrive dlq abort`.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq pause after-the-fix orders\n  \
    redrive dlq pause after-the-fix --dlq failed")]
pub(crate) struct Pause {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    audited: Audited,
}

/// Let a paused campaign go on
///
/// Where its command is gone, says which command goes on with it.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq resume after-the-fix orders\n  \
    redrive dlq resume after-the-fix --dlq failed")]
pub(crate) struct Resume {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    audited: Audited,
}

/// End a campaign between two of its steps, for good
///
/// What it has put back stays so; `redrive dlq undo` parks again what has not started.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq abort after-the-fix orders\n  \
    redrive dlq abort after-the-fix --dlq failed")]
pub(crate) struct Abort {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    audited: Audited,
}

#[derive(ClapArgs)]
pub(super) struct Which {
    /// The campaign
    #[arg(value_name = "NAME")]
    pub(super) name: CampaignName,
    #[command(flatten)]
    pub(super) place: Where,
}

pub(super) async fn pause(args: Pause, session: &mut Session) -> Result<(), Failure> {
    let queue = queue(&args.which, &args.audited, session).await?;
    let before = queue.pause_campaign(&args.which.name).await?;
    tell(&args.which, before, CampaignState::Paused, session)
}

pub(super) async fn resume(args: Resume, session: &mut Session) -> Result<(), Failure> {
    let queue = queue(&args.which, &args.audited, session).await?;
    let before = queue.resume_campaign(&args.which.name).await?;
    tell(&args.which, before, CampaignState::Running, session)?;
    if let Some(campaign) = queue.campaign(&args.which.name).await?
        && let Some(gone) = gone(&campaign)
        && !session.globals.quiet
    {
        let command = again(&campaign, &args.which.place.typed());
        note(&format!("{gone}: {command}"));
    }
    Ok(())
}

pub(super) async fn abort(args: Abort, session: &mut Session) -> Result<(), Failure> {
    let queue = queue(&args.which, &args.audited, session).await?;
    let before = queue.abort_campaign(&args.which.name).await?;
    tell(&args.which, before, CampaignState::Aborted, session)
}

pub(super) async fn queue(
    which: &Which,
    audited: &Audited,
    session: &Session,
) -> Result<DeadLetterQueue, Failure> {
    let (queue, _) = which.place.names()?;
    let audit = audited.audit()?;
    Ok(session.broker().await?.dead_letters(queue).audited(audit))
}

fn tell(
    which: &Which,
    before: CampaignState,
    state: CampaignState,
    session: &mut Session,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Told<'a> {
        campaign: &'a CampaignName,
        before: CampaignState,
        state: CampaignState,
    }
    let out = &mut session.out;
    if !out.is_table() {
        return out.document(&Told {
            campaign: &which.name,
            before,
            state,
        });
    }
    let was = if before == state { " already" } else { "" };
    out.line(&format!("{} is {}{was}", which.name, state.as_str()))?;
    out.flush()
}
