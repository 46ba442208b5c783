//! The metrics: each declared once, and what one processor has in its hands to count with.

use std::sync::Arc;

use metrics::{
    Counter, Gauge, Histogram, Label, SharedString, Unit, describe_counter, describe_gauge,
    describe_histogram,
};

use crate::dead_letter::Reason;
use crate::names::Source;

/// Metrics of one kind: a name for the code, one for the recorder, and what it means.
macro_rules! declared {
    ($(#[$doc:meta])* $kind:ident: $($metric:ident = $name:literal, $what:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $kind { $($metric),* }

        impl $kind {
            pub(super) const ALL: &[Self] = &[$(Self::$metric),*];

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$metric => $name),* }
            }

            pub(super) const fn what(self) -> &'static str {
                match self { $(Self::$metric => $what),* }
            }
        }
    };
}

declared! {
    /// What only grows. Of the messages each is counted when the broker has confirmed it, never before.
    Counted:
    Read = "redrive_messages_read_total", "messages that reads brought, which are new to the group";
    TakenOver = "redrive_messages_taken_over_total", "messages taken over to be run: retries that came due, and what a silent consumer left behind";
    Succeeded = "redrive_messages_succeeded_total", "messages acknowledged after their handler succeeded";
    Discarded = "redrive_messages_discarded_total", "messages whose handler said that they need not be done";
    Failed = "redrive_messages_failed_total", "runs that failed: an error, a panic, a time-out, a rejection";
    Retried = "redrive_messages_retried_total", "messages put back after a failure, to be run again";
    Deferred = "redrive_messages_deferred_total", "messages put off, nothing charged";
    Released = "redrive_messages_released_total", "messages handed back, nothing charged";
    Trimmed = "redrive_messages_trimmed_total", "entries that were trimmed while they were held";
    Kept = "redrive_messages_kept_total", "times that a message stayed pending because the dead-letter queue was full";
    Gone = "redrive_messages_gone_total", "messages that were no longer pending when they were to be begun or settled";
    Stale = "redrive_messages_stale_total", "runs that failed after their lease was lost: nothing recorded";
    LeasesLost = "redrive_leases_lost_total", "leases lost while a message was held: others may have run it too";
    Aborted = "redrive_handlers_aborted_total", "handlers aborted when drain time and grace were over";
    CannotRun = "redrive_handler_outages_total", "times that handlers stopped being able to begin";
    Opened = "redrive_breaker_opened_total", "times that intake paused because nearly every run failed";
    Outages = "redrive_broker_outages_total", "times that the broker began to fail";
    Refusals = "redrive_broker_refusals_total", "times that the broker began to refuse writes";
    Restored = "redrive_groups_restored_total", "times that the group had vanished and was created again";
    Dropped = "redrive_dead_letters_dropped_total", "oldest dead letters dropped because the queue was at its limit";
    Spilled = "redrive_dead_letters_spilled_total", "oldest dead letters written elsewhere and removed";
    SpillFailed = "redrive_spill_outages_total", "times that spilling began to fail";
}

declared! {
    /// What goes up and down. Each run adds its share, and takes it back when it ends.
    Level:
    Held = "redrive_messages_held", "messages in hand: queued, running, or being settled";
    Running = "redrive_handlers_running", "handlers that run";
    HandlerOut = "redrive_handler_out", "processors whose handler cannot begin";
    Open = "redrive_breaker_open", "processors whose intake is paused because nearly every run failed";
    BrokerFails = "redrive_broker_failing", "processors whose broker fails";
    BrokerRefuses = "redrive_broker_refusing", "processors whose broker refuses writes";
    QueueFull = "redrive_dead_letter_queue_full", "processors that found their dead-letter queue full";
    SpillFails = "redrive_spill_failing", "processors that cannot spill";
}

declared! {
    /// How long something took, in seconds.
    Timed:
    Handler = "redrive_handler_duration_seconds", "how long a run of the handler took, whatever came of it";
    Delay = "redrive_read_delay_seconds", "how long ago the oldest message of a read was added; one sample for each read that brought any";
}

/// By its reason: the one metric with a label beside stream and group.
pub(super) const DEAD_LETTERED: (&str, &str) = (
    "redrive_messages_dead_lettered_total",
    "messages given up, by reason",
);

/// The handles of one processor, made once: a metric is never looked up by its name for a message.
pub(crate) struct Meters {
    pub(crate) source: Arc<Source>,
    counters: Vec<Counter>,
    dead_lettered: [Counter; Reason::ALL.len()],
    gauges: Vec<Gauge>,
    timings: Vec<Histogram>,
}

impl Meters {
    /// What the recorder that is installed now gives; without one all of them do nothing.
    pub(crate) fn new(source: Arc<Source>) -> Arc<Self> {
        describe();
        let stream = SharedString::from(source.stream.as_str().to_owned());
        let group = SharedString::from(source.group.as_str().to_owned());
        let labels = || {
            vec![
                Label::new("stream", stream.clone()),
                Label::new("group", group.clone()),
            ]
        };
        let died = |reason: Reason| {
            let mut labels = labels();
            labels.push(Label::from_static_parts("reason", reason.as_str()));
            metrics::counter!(DEAD_LETTERED.0, labels)
        };
        Arc::new(Self {
            counters: all(Counted::ALL, |it| metrics::counter!(it.name(), labels())),
            dead_lettered: Reason::ALL.map(died),
            gauges: all(Level::ALL, |it| metrics::gauge!(it.name(), labels())),
            timings: all(Timed::ALL, |it| metrics::histogram!(it.name(), labels())),
            source,
        })
    }

    /// At once: for what happens rarely.
    pub(super) fn count(&self, what: Counted, many: u64) {
        if let Some(counter) = self.counters.get(what as usize) {
            counter.increment(many);
        }
    }

    pub(super) fn time(&self, what: Timed, seconds: f64) {
        if let Some(timing) = self.timings.get(what as usize) {
            timing.record(seconds);
        }
    }

    /// A share in a gauge, of nothing as yet.
    pub(crate) fn share(&self, of: Level) -> Share {
        Share {
            gauge: self.gauges.get(of as usize).cloned(),
            mine: 0,
        }
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

fn all<D: Copy, H>(declared: &[D], handle: impl Fn(D) -> H) -> Vec<H> {
    declared.iter().copied().map(handle).collect()
}

fn describe() {
    for it in Counted::ALL {
        describe_counter!(it.name(), it.what());
    }
    describe_counter!(DEAD_LETTERED.0, DEAD_LETTERED.1);
    for it in Level::ALL {
        describe_gauge!(it.name(), it.what());
    }
    for it in Timed::ALL {
        describe_histogram!(it.name(), Unit::Seconds, it.what());
    }
}

/// What one run adds to a gauge that all of its source share. Nothing once it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    gauge: Option<Gauge>,
    mine: u32,
}

impl Share {
    pub(crate) fn set(&mut self, mine: usize) {
        let mine = u32::try_from(mine).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut self.mine, mine);
        if let Some(gauge) = self.gauge.as_ref().filter(|_| before != mine) {
            gauge.increment(f64::from(mine) - f64::from(before));
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What has been counted and not been handed over: one addition for each message, and a call to the recorder
/// for many of them.
#[derive(Debug, Default)]
pub(super) struct Pending {
    counted: [u64; Counted::ALL.len()],
    dead_lettered: [u64; Reason::ALL.len()],
    /// Whether there is anything.
    any: bool,
}

impl Pending {
    pub(super) fn add(&mut self, what: Counted, many: u64) {
        if let Some(counted) = self.counted.get_mut(what as usize) {
            *counted += many;
            self.any = true;
        }
    }

    pub(super) fn died(&mut self, reason: Reason) {
        let place = Reason::ALL.iter().position(|other| *other == reason);
        if let Some(died) = place.and_then(|place| self.dead_lettered.get_mut(place)) {
            *died += 1;
            self.any = true;
        }
    }

    pub(super) fn hand_over(&mut self, meters: &Meters) {
        if !std::mem::take(&mut self.any) {
            return;
        }
        let counted = self.counted.iter_mut().zip(&meters.counters);
        let died = self.dead_lettered.iter_mut().zip(&meters.dead_lettered);
        for (many, counter) in counted.chain(died).filter(|(many, _)| **many > 0) {
            counter.increment(std::mem::take(many));
        }
    }
}

#[cfg(test)]
mod tests;
