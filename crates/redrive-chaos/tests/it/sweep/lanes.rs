//! Runs cases, several at a time, each lane on a server of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redrive_testkit::Server;
use tokio::runtime;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::timeout;

use super::case::{Case, Place};
use super::world::World;

const LANES: usize = 4;
/// No case takes so long: all its processes have deadlines of their own.
const AT_MOST: Duration = Duration::from_secs(150);

/// What came of a case.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) case: Case,
    /// Which of the strikes have met their command.
    pub(super) struck: Vec<usize>,
    pub(super) wrong: Vec<String>,
    pub(super) seen: BTreeMap<Place, u64>,
    pub(super) extra_runs: usize,
    pub(super) deaths: usize,
    pub(super) took: Duration,
}

impl Verdict {
    /// Whether everything was done that the case says.
    pub(super) fn is_complete(&self) -> bool {
        (0..self.case.strikes.len()).all(|index| self.struck.contains(&index))
    }
}

/// Runs all of them; the order of the answers is not theirs.
pub(super) async fn run_all(cases: Vec<Case>) -> Vec<Verdict> {
    let how_many = LANES.min(cases.len());
    let waiting = Arc::new(Mutex::new(VecDeque::from(cases)));
    let lanes: Vec<_> = (0..how_many)
        .map(|_| {
            let waiting = Arc::clone(&waiting);
            spawn_blocking(move || {
                let runtime = runtime::Builder::new_current_thread().enable_all().build();
                LocalSet::new().block_on(&runtime.unwrap(), lane(waiting))
            })
        })
        .collect();
    let mut verdicts = Vec::new();
    for lane in lanes {
        verdicts.extend(lane.await.unwrap());
    }
    verdicts.sort_by(|one, other| one.case.cmp(&other.case));
    verdicts
}

async fn lane(waiting: Arc<Mutex<VecDeque<Case>>>) -> Vec<Verdict> {
    let server = Arc::new(Server::start().await);
    let mut verdicts = Vec::new();
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(case) = next else { return verdicts };
        let verdict = one(&server, case).await;
        if std::env::var_os("REDRIVE_SWEEP_TIMES").is_some() {
            let mark = if verdict.wrong.is_empty() { ' ' } else { '!' };
            println!("{mark} {:>8.2?} {}", verdict.took, verdict.case);
        }
        verdicts.push(verdict);
    }
}

async fn one(server: &Arc<Server>, case: Case) -> Verdict {
    let started = Instant::now();
    let (here, now) = (Arc::clone(server), case.clone());
    let running = spawn_local(timeout(AT_MOST, async move {
        let scenario = super::scenarios()
            .into_iter()
            .find(|known| known.name == now.scenario);
        let mut world = World::new(&here, &now).await;
        (scenario.unwrap().run)(&mut world).await;
        Verdict {
            struck: std::mem::take(&mut world.struck),
            wrong: std::mem::take(&mut world.wrong),
            seen: std::mem::take(&mut world.seen),
            extra_runs: world.extra_runs,
            deaths: world.deaths,
            took: started.elapsed(),
            case: now.clone(),
        }
    }));
    let what = match running.await {
        Ok(Ok(verdict)) => return verdict,
        Ok(Err(_)) => format!("not over in {AT_MOST:?}"),
        Err(error) => format!("the check itself could not go on: {error}"),
    };
    Verdict {
        case,
        struck: Vec::new(),
        wrong: vec![what],
        seen: BTreeMap::new(),
        extra_runs: 0,
        deaths: 0,
        took: started.elapsed(),
    }
}
