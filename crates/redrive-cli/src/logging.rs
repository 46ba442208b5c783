//! What the library and the commands tell while they work: one line an event, on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::configuration;
use crate::failure::Failure;
use crate::session::Globals;
use crate::stderr;
use crate::terminal;

/// What is told where nobody says what to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usual {
    /// What changes, and what a person should see.
    Changes,
    /// What a person must act on.
    Errors,
}

/// Starts logging: `REDRIVE_LOG` says what, else `-q` and `-v` do.
pub(crate) fn start(globals: &Globals, usual: Usual) -> Result<(), Failure> {
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => "error",
        (false, 0) if usual == Usual::Errors => "error",
        (false, 0) => "redrive=info,warn",
        (false, 1) => "redrive=debug,info",
        (false, _) => "redrive=trace,debug",
    };
    let asked = configuration::variable(configuration::LOG);
    let directives = asked
        .as_ref()
        .map_or(level.into(), |asked| asked.to_string_lossy());
    let filter = EnvFilter::try_new(&directives).map_err(|error| {
        Failure::usage(format!(
            "the environment variable {} cannot be {directives:?}: {error}",
            configuration::LOG
        ))
        .hint("it is a level (error, warn, info, debug, trace), or a list like redrive=debug,info")
    })?;
    let plain = globals.no_color || configuration::variable(configuration::NO_COLOR).is_some();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(!plain && terminal::colours(&std::io::stderr()))
        .with_writer(|| stderr::Log)
        // Told by eprintln!, which panics where nobody reads.
        .log_internal_errors(false)
        .finish()
        // No handler of ours tells anything itself. A span for each message, written out for nobody, would cost more
        // than its request.
        .with(filter_fn(|told| !told.is_span()))
        .try_init()
        .map_err(|error| Failure::new(format!("starting to log: {error}")))
}
