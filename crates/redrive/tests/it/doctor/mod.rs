//! The doctor finds each of its killers on a prepared server, and nothing on a healthy one.

mod groups;
mod healthy;
mod pending;
mod servers;

use std::time::Duration;

use redrive::{Checkup, Finding, FindingCode, Severity, Source};
use redrive_testkit::Server;

use crate::rig::{Rig, stream};

/// A server that keeps what it acknowledges: there is nothing to be said of it.
async fn sound() -> Rig {
    Rig::on(Server::builder().appendonly().start().await).await
}

fn orders() -> Checkup {
    Checkup::of_stream(stream("orders"))
}

/// Not even a moment of silence.
fn impatient() -> Checkup {
    orders()
        .silent(Duration::ZERO)
        .foreign_lease(Duration::ZERO)
}

impl Rig {
    async fn finds(&self, checkup: &Checkup) -> Vec<Finding> {
        self.broker.examine(checkup).await.unwrap()
    }

    /// What the doctor finds in the stream `orders`, as code, severity and consumer.
    async fn told(&self) -> Vec<(FindingCode, Severity, Option<String>)> {
        let found = self.finds(&orders()).await;
        let told = found.into_iter();
        told.map(|one| (one.code, one.severity, one.consumer))
            .collect()
    }

    /// A consumer of redrive's with this lease, and a sign of life.
    async fn own(&self, name: &str, lease_ms: u64) {
        let create = format!("XGROUP CREATECONSUMER orders billing {name}");
        let _: u64 = self.ask(&create).await;
        let key = "{orders}:redrive:billing";
        let _: u64 = self
            .ask(&format!("HSET {key}:consumers {name} {lease_ms}"))
            .await;
        let _: String = self.ask(&format!("SET {key}:alive:{name} token")).await;
    }

    /// Entries of these ids, and the group, which has been given none of them.
    async fn holds(&self, ids: std::ops::RangeInclusive<u64>) {
        for id in ids {
            let _: String = self.ask(&format!("XADD orders {id}-0 n {id}")).await;
        }
        let _: String = self.ask("XGROUP CREATE orders billing 0").await;
    }

    /// Lets a consumer have the next ones.
    async fn reads(&self, consumer: &str, many: u64) {
        let read = format!("XREADGROUP GROUP billing {consumer} COUNT {many} STREAMS orders >");
        let _: redis::Value = self.ask(&read).await;
    }

    /// What it has was delivered so often, the last time so long ago.
    async fn ages(&self, consumer: &str, id: u64, idle_ms: u64, deliveries: u64) {
        let claim = format!(
            "XCLAIM orders billing {consumer} 0 {id}-0 IDLE {idle_ms} RETRYCOUNT {deliveries} JUSTID"
        );
        let claimed: Vec<String> = self.ask(&claim).await;
        assert_eq!(claimed.len(), 1, "{claim}");
    }
}

/// The one finding of this code.
#[track_caller]
fn the(code: FindingCode, found: &[Finding]) -> &Finding {
    let mut of_code = found.iter().filter(|one| one.code == code);
    match (of_code.next(), of_code.next()) {
        (Some(one), None) => one,
        _ => panic!("not one {code}: {found:#?}"),
    }
}

fn billing() -> Source {
    Source::new("orders", "billing").unwrap()
}

const HOUR: u64 = 3_600_000;
