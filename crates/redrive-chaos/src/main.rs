//! A worker for the chaos suite: the library in a process of its own, that can be killed; or, as `effect`, the program
//! that `redrive run` starts for each message.

use std::io::Read as _;
use std::process::ExitCode;

use redrive::BoxError;
use redrive_chaos::effects;
use redrive_chaos::worker::{self, Options};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let done = match words.next().as_deref() {
        Some("work") => work(words),
        Some("effect") => effect(words),
        other => Err(format!("no such part: {other:?}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a program that says why it failed")]
            {
                eprintln!("chaos-worker: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn work(words: impl Iterator<Item = String>) -> Result<(), BoxError> {
    let options = Options::read(words)?;
    // A lost lease is told: it explains a second run.
    tracing_subscriber::fmt()
        .with_env_filter("redrive=info,warn")
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    let mut runtime = match options.threads()? {
        1 => Builder::new_current_thread(),
        threads => {
            let mut many = Builder::new_multi_thread();
            many.worker_threads(threads.try_into()?);
            many
        }
    };
    runtime.enable_all().build()?.block_on(async {
        let mut stop = signal(SignalKind::terminate())?;
        worker::work(&options, stop.recv()).await?;
        Ok(())
    })
}

/// `effect HOST:PORT CONSUMER`, with the number of a message on stdin.
fn effect(mut words: impl Iterator<Item = String>) -> Result<(), BoxError> {
    let (Some(server), Some(consumer)) = (words.next(), words.next()) else {
        return Err("effect HOST:PORT CONSUMER".into());
    };
    let mut number = String::new();
    std::io::stdin().read_to_string(&mut number)?;
    effects::count_one_run(&server, number.trim().parse()?, &consumer)?;
    Ok(())
}
