//! Ctrl-C and SIGTERM: the first asks to stop, the second ends the process.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::failure::{Code, Failure};

/// Whether somebody has asked to stop.
pub(super) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// From now on signals are heard here.
    pub(super) fn listen() -> Result<Self, Failure> {
        let heard = |kind| {
            signal(kind).map_err(|error| Failure::new(format!("listening to signals: {error}")))
        };
        let mut interrupt = heard(SignalKind::interrupt())?;
        let mut terminate = heard(SignalKind::terminate())?;
        let (asked, hears) = watch::channel(false);
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            asked.send_replace(true);
            let code = either(&mut interrupt, &mut terminate).await;
            std::process::exit(code as i32);
        });
        Ok(Self(hears))
    }

    pub(super) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when somebody has asked. Cancel safe.
    pub(super) async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // The listener ends only with the process.
            std::future::pending::<()>().await;
        }
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) -> Code {
    tokio::select! {
        _ = interrupt.recv() => Code::Interrupted,
        _ = terminate.recv() => Code::Terminated,
    }
}
