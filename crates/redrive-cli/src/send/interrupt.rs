//! Ctrl-C and SIGTERM: the first asks to stop, the second ends the process.

use tokio::sync::watch;

use crate::failure::Failure;
use crate::signals::Signals;
use crate::stderr;

/// Whether somebody has asked to stop.
pub(super) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// From now on signals are heard here.
    pub(super) fn listen() -> Result<Self, Failure> {
        let mut signals = Signals::listen()?;
        let (asked, hears) = watch::channel(false);
        tokio::spawn(async move {
            signals.recv().await;
            asked.send_replace(true);
            let insisted = signals.recv().await;
            stderr::flush();
            std::process::exit(insisted.code() as i32);
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
