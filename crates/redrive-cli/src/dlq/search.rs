//! Going through a queue in search of dead letters: progress where it takes long, and an end at once
//! where somebody asks for it.

use std::ops::ControlFlow;

use redrive::Found;

use crate::failure::Failure;
use crate::progress::{Late, Quiet};
use crate::signals::{Signal, Signals};

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a search that was stopped has not seen all"]
pub(crate) enum Searched {
    /// All was looked at, or enough.
    Enough,
    /// Somebody asked it to end.
    Stopped(Signal),
}

/// Goes through all of it, page by page; what is ready after each is there to be taken.
pub(crate) async fn search(
    found: &mut Found,
    what: &'static str,
    quiet: Quiet,
    signals: &mut Signals,
    mut take: impl FnMut(&mut Found) -> Result<ControlFlow<()>, Failure>,
) -> Result<Searched, Failure> {
    let mut progress = Late::new(what, quiet);
    loop {
        let stepped = tokio::select! {
            biased;
            signal = signals.recv() => return Ok(Searched::Stopped(signal)),
            stepped = found.step() => stepped?,
        };
        let Some(done) = stepped else {
            return Ok(Searched::Enough);
        };
        progress.at(done);
        if progress.aside(|| take(found))?.is_break() {
            return Ok(Searched::Enough);
        }
    }
}
