//! Asking again what is safe to ask again.

use std::time::Duration;

use crate::error::Error;

/// How often a step that the server did not answer is asked again before the operation ends with
/// the error. Each is safe to ask again.
const TRIES: u32 = 6;

/// How often something that is safe to ask again was not answered.
#[derive(Default)]
pub(super) struct Patience(u32);

impl Patience {
    /// Whether it had to be asked again.
    pub(super) fn was_tried(&self) -> bool {
        self.0 > 0
    }

    /// Waits before it is asked again; hands the error back when it would be in vain, or was often
    /// enough.
    pub(super) async fn with(&mut self, error: Error) -> Result<(), Error> {
        self.0 += 1;
        if !error.kind().is_transient() || self.0 >= TRIES {
            return Err(error);
        }
        let most = Duration::from_millis(50 << self.0);
        tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
        Ok(())
    }
}
