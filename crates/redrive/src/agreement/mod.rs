//! The agreement test: random sequences of operations, the same in memory and on a real server,
//! must be answered and leave behind the same. Memory is the model; whoever is wrong is mended.
//!
//! By itself it runs the same sequences each time: a change is what makes it fail, not luck.
//! `REDRIVE_AGREEMENT_CASES` runs that many others, `REDRIVE_AGREEMENT_SEED` repeats a run.

mod choice;
mod operation;
mod payload;
mod room;
mod side;
mod twins;
mod view;

use std::sync::{Arc, OnceLock};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use redrive_testkit::Server;
use tokio::runtime::Runtime;

use crate::conformance::Bench;
use crate::memory::lab::MemoryLab;
use crate::redis::lab::RedisLab;
use operation::{Operation, sequences};
use room::Room;
use twins::{Twins, at_once};

const CASES: u64 = 1_000;
const SEED: u64 = 1;
/// More than cores: the server works in one while the others compare.
const WORKERS: u64 = 3;

/// A number of the environment.
fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

#[test]
fn memory_and_a_real_server_agree() {
    let more = given("REDRIVE_AGREEMENT_CASES");
    let (cases, seed) = more.map_or((CASES, SEED), |cases| (cases, fastrand::u64(..)));
    let seed = given("REDRIVE_AGREEMENT_SEED").unwrap_or(seed);
    let starting = RedisLab::runtime();
    let found = OnceLock::new();
    let server = Arc::new(starting.block_on(Server::start()));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (server, found) = (Arc::clone(&server), &found);
                scope.spawn(move || work(server, found, seed, worker, cases.div_ceil(WORKERS)))
            })
            .collect();
        for worker in workers {
            if let Err(disagreement) = worker.join().unwrap() {
                panic!("REDRIVE_AGREEMENT_SEED={seed}\n{disagreement}");
            }
        }
    });
    starting.block_on(async {
        let lab = RedisLab::on(Arc::clone(&server), &server.unix_url()).await;
        assert_eq!(lab.keys_left().await, Vec::<String>::new());
    });
}

/// One worker's share of the sequences.
fn work(
    server: Arc<Server>,
    found: &OnceLock<u64>,
    seed: u64,
    worker: u64,
    cases: u64,
) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&worker.to_le_bytes());
    let config = Config {
        cases: u32::try_from(cases).unwrap(),
        failure_persistence: None,
        max_shrink_time: 60_000,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);

    let runtime = RedisLab::runtime();
    let url = server.unix_url();
    let redis = runtime.block_on(RedisLab::on(server, &url));
    let number = std::cell::Cell::new(0_u64);
    let told = runner.run(&sequences(), |operations| {
        // One disagreement is enough; who found it goes on to cut it short.
        if let Some(finder) = found.get()
            && *finder != worker
        {
            return Ok(());
        }
        number.set(number.get() + 1);
        let room = Room::new(&format!("agreement-{worker}-{}", number.get()));
        let clock = MemoryLab::runtime();
        let agreed = runtime.block_on(agree(&clock, &redis, &room, &operations));
        if agreed.is_err() {
            found.get_or_init(|| worker);
        }
        agreed.map_err(TestCaseError::fail)
    });
    told.map_err(shown)
}

/// The shortest sequence that was found, and how it ends.
fn shown(failed: TestError<Vec<Operation>>) -> String {
    match failed {
        TestError::Abort(reason) => format!("given up: {reason}"),
        TestError::Fail(reason, sequence) => {
            let mut text = format!("{reason}\nat the end of");
            for operation in sequence {
                text.push_str(&format!("\n  {operation:?}"));
            }
            text
        }
    }
}

async fn agree(
    clock: &Runtime,
    redis: &RedisLab,
    room: &Room,
    operations: &[Operation],
) -> Result<(), String> {
    let memory = at_once(clock, MemoryLab::open());
    let mut twins = Twins::new(clock, &memory, redis, room).await?;
    for operation in operations {
        twins.step(operation).await?;
    }
    twins.erase().await
}
