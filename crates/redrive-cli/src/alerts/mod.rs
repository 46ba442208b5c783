//! `stats --fail-if`: looks for what is too much, and ends with a code of its own where it is.

mod news;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use redrive::{Broker, Stats, StreamKey};

use self::news::Known;
pub(crate) use self::rules::FailIf;
use self::rules::{Judged, Unknown, judge, lines};
use crate::failure::{Code, Failure};
use crate::literals::Instant;
use crate::terminal::note;
use crate::when::now_ms;

/// How far back a single look takes an error for a new one.
const USUAL: Instant = Instant::Ago(Duration::from_secs(3_600));

/// The rules of one command, and what it knows from look to look.
pub(crate) struct Alerts {
    rules: Vec<FailIf>,
    /// What was in the queues at the beginning of a watch; `None` for a single look.
    known: Option<Known>,
    since: Option<Instant>,
    /// What could not be judged, and was said.
    said: BTreeSet<String>,
    /// Why, and what to do about it.
    hinted: BTreeSet<Unknown>,
}

impl Alerts {
    pub(crate) fn new(
        rules: Vec<FailIf>,
        watches: Watches,
        since: Option<Instant>,
    ) -> Result<Self, Failure> {
        let mut all = rules.iter();
        let asks = all.any(|rule| matches!(rule, FailIf::NewFingerprint));
        if since.is_some() && !(asks && watches == Watches::Once) {
            return Err(Failure::usage("--since without --fail-if new_fingerprint, or with --watch")
                .hint("it says since when an error is new, where one look has to tell; a watch knows what was there before"));
        }
        Ok(Self {
            rules,
            known: (watches == Watches::On).then(Known::default),
            since,
            said: BTreeSet::new(),
            hinted: BTreeSet::new(),
        })
    }

    /// Judges what was seen. Its own looks may fail, and change nothing then.
    pub(crate) async fn judge(
        &mut self,
        broker: &Broker,
        all: &[Stats],
    ) -> Result<Option<Broken>, Failure> {
        let mut broken = Vec::new();
        let mut told = BTreeSet::new();
        for rule in self.rules.clone() {
            let FailIf::Number(number, rule) = rule else {
                broken.extend(self.news(broker, all).await?);
                continue;
            };
            for stats in all {
                match judge(number, &rule, stats) {
                    Judged::Holds => {}
                    // Groups share a stream and a queue: it is said once.
                    Judged::Broken(text) if told.insert(text.clone()) => broken.push(text),
                    Judged::Broken(_) => {}
                    Judged::Unknown(what, why) => self.cannot_judge(&what, why),
                }
            }
        }
        Ok((!broken.is_empty()).then_some(Broken(broken)))
    }

    /// Says so, once for each rule and place; what to do about it, once.
    fn cannot_judge(&mut self, what: &str, why: Unknown) {
        if self.said.insert(what.to_owned()) {
            note(&format!("cannot judge {what}: {}", why.why()));
            if self.hinted.insert(why) {
                note(&format!("hint: {}", why.hint()));
            }
        }
    }

    async fn news(&mut self, broker: &Broker, all: &[Stats]) -> Result<Vec<String>, Failure> {
        let queues: BTreeSet<&StreamKey> = all.iter().map(|stats| &stats.dlq).collect();
        let first = self.known.as_ref().is_some_and(|known| !known.has_looked());
        let mut broken = Vec::new();
        for name in queues {
            let queue = broker.dead_letters(name.clone());
            let causes = match &mut self.known {
                Some(known) if first => {
                    known.begin(&queue).await?;
                    Vec::new()
                }
                Some(known) => known.look(&queue).await?,
                None => {
                    let since = self.since.unwrap_or(USUAL).ms(now_ms());
                    let (causes, uncounted) = news::since(&queue, since).await?;
                    if uncounted {
                        let what = format!("new_fingerprint of {name} as a whole");
                        self.cannot_judge(&what, Unknown::TooMany);
                    }
                    causes
                }
            };
            broken.extend(lines(name.as_str(), causes));
        }
        if let Some(known) = &mut self.known {
            known.looked();
        }
        Ok(broken)
    }
}

/// What is too much: a line for each.
#[must_use = "somebody waits for it"]
pub(crate) struct Broken(Vec<String>);

impl Broken {
    /// Says it on stderr, and answers the failure that ends the command.
    pub(crate) fn told(self) -> Failure {
        for text in self.0 {
            note(&format!("broken: {text}"));
        }
        Failure::silent(Code::Broken)
    }
}

/// Whether it looks again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watches {
    Once,
    On,
}
