//! Renewing on Redis: the sign of life and the leases side by side, in one round trip.

use std::time::Duration;

use tokio::time::timeout;

use super::connection::ANSWER;
use super::registry::Sign;
use super::seat::RedisSeat;
use super::{CALL, scripts, wire};
use crate::backend::{Fence, Renewed};
use crate::error::Error;

/// Below this a machine that is merely busy would look like a lost answer.
const SHORTEST: Duration = Duration::from_millis(250);

/// How long each try of a renewal waits for its answer before the next one is made, on another connection:
/// the last of them as long as any command. The first is made when a third of the lease has passed; after
/// it two more fit into what is left of a lease of a second or more. Then they wait ever longer: a server that is
/// slow is to be understood in the end.
fn waits(lease: Duration) -> impl Iterator<Item = Duration> {
    let quarter = (lease / 4).max(SHORTEST);
    let doubled = std::iter::successors(Some(quarter), |wait| wait.checked_mul(2));
    let mut left = ANSWER;
    std::iter::once(quarter)
        .chain(doubled)
        .map_while(move |wait| {
            left = left.checked_sub(wait)?;
            Some(wait)
        })
}

impl RedisSeat {
    /// An answer that is lost, or does not come in time, must not cost a lease: it is asked for again before
    /// that is over. Told as an error only when no server would be waited for any longer: one that stands still
    /// for a moment is not a broken one.
    pub(super) async fn renew_in_time(&self, leases: &[Fence]) -> Result<Vec<Renewed>, Error> {
        for wait in waits(self.membership.lease) {
            match timeout(wait, self.renew_once(leases)).await {
                Ok(answer) => return answer,
                Err(_) => self.renewals.give_up(),
            }
        }
        self.renew_once(leases).await
    }

    /// One try. Both parts are sent before either is answered: a connection that has fallen silent costs the
    /// time for one answer, not for two.
    async fn renew_once(&self, leases: &[Fence]) -> Result<Vec<Renewed>, Error> {
        let (sign, renewed) =
            tokio::join!(self.stay_alive(&self.renewals), self.renew_leases(leases));
        match sign {
            // What this consumer holds is the other's to renew.
            Ok(Sign::Taken { .. }) => Err(self.name_taken()),
            Err(error) if leases.is_empty() => Err(error),
            // What is said of the leases must not be lost with the sign of life: that is given
            // again with the next renewal, and a server that does not answer refuses both.
            Ok(Sign::Given) | Err(_) => renewed,
        }
    }

    async fn renew_leases(&self, leases: &[Fence]) -> Result<Vec<Renewed>, Error> {
        let doing = "renewing leases";
        let mut renewed = Vec::with_capacity(leases.len());
        for some in leases.chunks(CALL) {
            let mut call = self.call();
            call.key(self.keys.alive_of(&self.membership.consumer))
                .arg(self.membership.token.as_str().to_owned());
            for lease in some {
                call.number(lease.id)
                    .number(lease.token)
                    .number(u8::from(lease.is_charged()));
            }
            let answer = self.renewals.eval(&scripts::RENEW, &call, doing).await?;
            for mut row in wire::rows(answer, some.len())? {
                renewed.push(match row.word.as_str() {
                    "ok" => Renewed::Held,
                    "lost" => Renewed::Lost,
                    "gone" => Renewed::Gone,
                    "taken" => return Err(self.name_taken()),
                    "died" => {
                        let died = row.died()?;
                        Renewed::Trimmed {
                            tombstone: died.dead_letter,
                            dropped: died.dropped,
                        }
                    }
                    _ => Renewed::Refused(self.refused(&mut row)?),
                });
            }
        }
        Ok(renewed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits_ms(lease_ms: u64) -> Vec<u128> {
        let waits = waits(Duration::from_millis(lease_ms));
        waits.map(|wait| wait.as_millis()).collect()
    }

    #[test]
    fn three_tries_of_a_renewal_fit_into_a_lease_and_later_ones_wait_longer() {
        assert_eq!(waits_ms(2_000), [500, 500, 1_000, 2_000, 4_000]);
        assert_eq!(waits_ms(1_000), [250, 250, 500, 1_000, 2_000, 4_000]);
        assert_eq!(waits_ms(30_000), [7_500]);
        assert_eq!(waits_ms(100), waits_ms(1_000));
        for lease_ms in [1_000, 2_000, 5_000, 15_000, 20_000] {
            let two: u128 = waits_ms(lease_ms).into_iter().take(2).sum();
            assert!(
                u128::from(lease_ms / 3) + two < u128::from(lease_ms),
                "{lease_ms}"
            );
        }
        // No try is cut short that any other command would wait for.
        assert!(waits_ms(3_600_000).is_empty());
    }
}
