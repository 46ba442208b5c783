//! The recorder that is installed while the bench measures: what is shown is with metrics, as users have them.

use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;

use crate::failure::Failure;

/// How often what was counted is looked after: a sample of each message is kept until then.
const UPKEEP: Duration = Duration::from_secs(1);
/// In seconds, as docs/metrics.md has them.
const BUCKETS: [f64; 6] = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0];

/// Installs it for this process, and looks after it until that ends.
pub(super) fn install() -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("installing a metrics recorder: {error}"));
    let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
    let recorder = builder
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(failed)?;
    thread::Builder::new()
        .name("recorder".to_owned())
        .spawn(move || {
            loop {
                thread::sleep(UPKEEP);
                recorder.run_upkeep();
            }
        })?;
    Ok(())
}
