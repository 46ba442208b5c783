//! Messages with keys, and when each of their runs began and ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Lab, SECOND};
use crate::handler::Handler;
use crate::message::{Fields, Message};
use crate::outcome::Outcome;

/// A run: of which key and number, which attempt, from when to when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) key: String,
    pub(super) number: u32,
    pub(super) attempt: u32,
    pub(super) began: Duration,
    pub(super) ended: Duration,
}

/// What ran, in the order in which it began.
#[derive(Clone)]
pub(super) struct Diary {
    start: Instant,
    runs: Arc<Mutex<Vec<Run>>>,
}

impl Diary {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            runs: Arc::default(),
        }
    }

    /// A handler that takes a second, and then says what `says` does.
    pub(super) fn handler<F>(&self, says: F) -> impl Handler<u32>
    where
        F: Fn(&str, &Message<u32>) -> Outcome + Clone + Send + Sync + 'static,
    {
        let diary = self.clone();
        move |message: Message<u32>| {
            let (diary, says) = (diary.clone(), says.clone());
            async move {
                let key = message.fields().get("key").unwrap_or(b"-");
                let key = String::from_utf8_lossy(key).into_owned();
                let began = diary.start.elapsed();
                let at = {
                    let mut runs = diary.runs.lock().unwrap();
                    runs.push(Run {
                        key: key.clone(),
                        number: *message,
                        attempt: message.attempt(),
                        began,
                        ended: Duration::MAX,
                    });
                    runs.len() - 1
                };
                sleep(SECOND).await;
                diary.runs.lock().unwrap()[at].ended = diary.start.elapsed();
                says(&key, &message)
            }
        }
    }

    pub(super) fn all(&self) -> Vec<Run> {
        self.runs.lock().unwrap().clone()
    }

    /// Number and attempt of the runs of one key.
    pub(super) fn of(&self, key: &str) -> Vec<(u32, u32)> {
        let runs = self.all();
        let runs = runs.iter().filter(|run| run.key == key);
        runs.map(|run| (run.number, run.attempt)).collect()
    }

    pub(super) fn assert_never_two_of_one_key(&self) {
        let mut last: BTreeMap<String, Run> = BTreeMap::new();
        for run in self.all() {
            if let Some(before) = last.insert(run.key.clone(), run.clone()) {
                assert!(before.ended <= run.began, "{run:?} beside {before:?}");
            }
        }
    }
}

impl Lab {
    /// Adds numbers from 0 on, each with the key that stands in its place.
    pub(super) async fn send_keyed(&self, keys: &[&str]) {
        for (number, key) in keys.iter().enumerate() {
            let fields = Fields::from_iter([
                ("data", number.to_string()),
                ("key", (*key).to_owned()),
                ("key", "another".to_owned()),
            ]);
            self.producer.send_fields(fields).await.unwrap();
        }
    }
}
