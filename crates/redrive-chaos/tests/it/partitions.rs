//! The network between workers and their server, hurt in every way again and again: nothing is lost, and each worker
//! works on by itself as soon as the network is fair.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use redrive_chaos::account::{Hurt, Number};
use redrive_chaos::deed::Deed;
use redrive_testkit::{Armed, Fault, Moment, Proxy, Target as Meant};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::SOON;
use crate::arena::{Arena, STREAM, judge};
use crate::crew::{Crew, Worker, Wound, library_on, redrive_run};
use crate::outages::of_the_event;
use crate::size::size;
use crate::target::{Answer, Target};

/// Behind the proxy; the last of them is the library in a process of its own, the others the real binary.
const CUT_OFF: usize = 3;
const A_SECOND: u64 = 150;
const LEASE: Duration = Duration::from_secs(2);
const BLOCK: Duration = Duration::from_millis(200);
/// After which time a connection that has fallen silent is given up: the library's answer time, and the block of a read.
const GIVEN_UP: Duration = Duration::from_millis(10_000 + 200);
/// From the moment at which the network is fair to the first run of a new message, for each worker.
const HEALS: Duration = Duration::from_secs(5);
/// What one worker may say about one event: two hands.
const LINES: usize = 10;
/// All that a busy worker sends again and again.
const COMMANDS: [&str; 7] = [
    "XREADGROUP",
    "XACK",
    "EVALSHA claim",
    "EVALSHA renew",
    "EVALSHA alive",
    "EVALSHA put_back",
    "EVALSHA begin",
];

/// What happens to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Nothing passes, for less than a lease; what was sent meanwhile arrives afterwards.
    BriefPartition,
    /// The same for longer than a lease: others take over what these workers hold.
    LongPartition,
    /// Every connection falls silent at its next command, open on both sides, until it is reset.
    BlackHoles,
    /// The same, closed on the server's side.
    HalfOpen,
    /// All connections are reset, a few times in a row.
    Resets,
    /// One request in twenty costs its connection.
    RandomResets,
    /// All connections are reset, and new ones refused.
    Refused,
    /// One connection of one worker falls silent for good: it has to notice by itself.
    SilentForGood,
}

impl Event {
    const ALL: [Self; 8] = [
        Self::BriefPartition,
        Self::LongPartition,
        Self::BlackHoles,
        Self::HalfOpen,
        Self::Resets,
        Self::RandomResets,
        Self::Refused,
        Self::SilentForGood,
    ];

    /// Returns when the network is fair again, and how many lines one worker may say about it.
    async fn happens(self, proxy: &Proxy, round: usize) -> usize {
        let moment = match round.is_multiple_of(2) {
            true => Moment::Arrived,
            false => Moment::Executed,
        };
        let all_fall_silent = async |fault: Fault| {
            let armed = COMMANDS.map(|label| proxy.arm(Meant::every(label), moment, fault));
            sleep(2 * LEASE).await;
            armed.iter().for_each(Armed::disarm);
            assert!(armed.iter().any(Armed::has_struck));
            proxy.reset_all();
        };
        match self {
            Self::BriefPartition => {
                proxy.partition();
                sleep(LEASE / 2).await;
                proxy.heal();
            }
            Self::LongPartition => {
                proxy.partition();
                sleep(LEASE * 5 / 2).await;
                proxy.heal();
            }
            Self::BlackHoles => all_fall_silent(Fault::BlackHole).await,
            Self::HalfOpen => all_fall_silent(Fault::HalfOpen).await,
            Self::Resets => {
                for _ in 0..4 {
                    proxy.reset_all();
                    sleep(LEASE / 6).await;
                }
            }
            Self::RandomResets => {
                let (seed, before) = (fastrand::u64(..), proxy.random_resets());
                proxy.reset_at_random(20, seed);
                sleep(LEASE * 3 / 2).await;
                proxy.reset_at_random(0, seed);
                let resets = proxy.random_resets() - before;
                println!("{resets} random resets, seed {seed}");
                // Each is an event of its own: it broke, it is well again.
                return LINES.max(2 * usize::try_from(resets).unwrap());
            }
            Self::Refused => {
                proxy.refuse();
                proxy.reset_all();
                sleep(2 * LEASE).await;
                proxy.admit();
            }
            Self::SilentForGood => {
                let label = COMMANDS[round % 4];
                let silent = proxy.arm(Meant::next(label), moment, Fault::BlackHole);
                let struck = tokio::time::timeout(SOON, silent.struck()).await;
                assert!(struck.is_ok(), "nobody sends {label}");
                sleep(GIVEN_UP).await;
            }
        }
        LINES
    }
}

/// One in ten: what is done about failures has to go through as well.
fn fails_once(number: Number) -> bool {
    number % 10 == 1
}

/// Three workers behind a proxy, and one that nothing happens to.
struct Stage {
    arena: Arena,
    crew: Crew,
    proxy: Proxy,
}

impl Stage {
    async fn set() -> Self {
        let arena = Arena::start().await;
        let proxy = Proxy::in_front_of(&arena.server);
        let target = Target::answering(&arena.effects, Duration::from_millis(2), |asked| {
            match fails_once(asked.number) && asked.attempt == 1 {
                true => Answer::Failed,
                false => Answer::Done,
            }
        })
        .await;
        let (fair, hurt) = (arena.server.url(), proxy.url().to_owned());
        let options = "--lease 2000 --concurrency 8 --batch 32";
        let library = library_on(&hurt, &arena, options);
        let options = format!(
            "--lease 2s --concurrency 8 --batch 32 --block {}ms --backoff none",
            BLOCK.as_millis()
        );
        let crew = Crew::start(CUT_OFF + 1, move |consumer| match consumer {
            "worker-3" => library(consumer),
            "worker-4" => redrive_run(&fair, &target, consumer, &options),
            _ => redrive_run(&hurt, &target, consumer, &options),
        });
        crew.joined(&arena).await;
        Self { arena, crew, proxy }
    }

    /// The number of the newest message in the stream.
    async fn newest(&self) -> Number {
        let newest: Vec<(String, Vec<String>)> = self
            .arena
            .ask(&format!("XREVRANGE {STREAM} + - COUNT 1"))
            .await;
        newest[0].1[1].parse().unwrap()
    }

    /// The event; notes what each worker behind the proxy held at any time of it, and answers what one may say of it.
    async fn suffer(&mut self, event: Event, round: usize) -> usize {
        let names = self.crew.workers[..CUT_OFF].iter();
        let names: Vec<String> = names.map(|worker| worker.consumer.clone()).collect();
        let mut held: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let happening = event.happens(&self.proxy, round);
        tokio::pin!(happening);
        let mut look = interval(Duration::from_millis(250));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut may_say = None;
        while may_say.is_none() {
            tokio::select! {
                lines = &mut happening => may_say = Some(lines),
                _ = look.tick() => {}
            }
            for name in &names {
                let now = self.arena.held_by(name).await;
                held.entry(name).or_default().extend(now);
            }
        }
        let wounds = held.into_iter().map(|(consumer, held)| Wound {
            consumer: consumer.to_owned(),
            hurt: Hurt::Stalled,
            held: held.into_iter().collect(),
            unnamed: 0,
        });
        self.crew.wounds.extend(wounds);
        may_say.unwrap_or(LINES)
    }

    /// How long it takes until each worker has begun a message that was sent after now.
    async fn all_at_work(&self) -> Vec<Duration> {
        let (fair, newest) = (Instant::now(), self.newest().await);
        let mut took = vec![None; self.crew.workers.len()];
        while took.iter().any(Option::is_none) {
            let numbers: Vec<Number> = (newest + 1..=self.newest().await).collect();
            for (at, worker) in self.crew.workers.iter().enumerate() {
                let begun = self.arena.effects.has_begun_any(&worker.consumer, &numbers);
                if took[at].is_none() && begun.await.unwrap() {
                    took[at] = Some(fair.elapsed());
                }
                let said = || worker.said();
                assert!(
                    took[at].is_some() || fair.elapsed() < SOON,
                    "{} does not work again; it said {:#?}",
                    worker.consumer,
                    said()
                );
            }
            sleep(Duration::from_millis(10)).await;
        }
        took.into_iter().flatten().collect()
    }

    fn said(&self) -> Vec<usize> {
        let workers = self.crew.workers.iter();
        workers
            .map(|worker| of_the_event(worker.said()).len())
            .collect()
    }
}

/// What came of all events of a kind.
#[derive(Default)]
struct Came {
    times: u64,
    healed: Duration,
    lines: usize,
}

/// How long a worker took to heal is measured against one that nothing happened to: on a machine that is busy with
/// something else that one is late as well, and by so much the others may be later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn partitions_black_holes_resets_and_half_open_connections_lose_nothing_and_heal() {
    let time = size(Duration::from_secs(120), Duration::from_secs(1_800));
    let mut stage = Stage::set().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let (url, mut load) = (
        stage.arena.server.url(),
        std::mem::take(&mut stage.arena.load),
    );
    let deed = |number| match fails_once(number) {
        true => Deed::Fail(1),
        false => Deed::Succeed,
    };
    let pouring = tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        load.pour(&url, 0, A_SECOND, deed, until).await;
        load
    });
    redrive_testkit::eventually(SOON, "messages handled", async || {
        stage.arena.effects.handled().await.unwrap() > 100
    })
    .await;
    stage.all_at_work().await;

    let mut came: BTreeMap<Event, Came> = BTreeMap::new();
    let began = Instant::now();
    let mut round = 0;
    while round < 2 || began.elapsed() < time {
        for event in Event::ALL {
            let before = stage.said();
            let may_say = stage.suffer(event, round).await;
            let mut took = stage.all_at_work().await;
            let unhurt = took.pop().unwrap();
            let healed = took.into_iter().max().unwrap();
            // Fair weather.
            sleep(Duration::from_secs(1)).await;
            let mut most = 0;
            for (at, worker) in stage.crew.workers.iter_mut().enumerate() {
                assert_eq!(worker.fallen(), None, "{:#?}", worker.said());
                let lines = of_the_event(worker.said()).split_off(before[at]);
                assert!(lines.len() <= may_say, "{event:?}: {lines:#?}");
                most = most.max(lines.len());
            }
            println!("{event:?}: healed after {healed:?}, the unhurt one after {unhurt:?}");
            assert!(
                healed <= HEALS + unhurt,
                "{event:?}: healed after {healed:?}, the unhurt one after {unhurt:?}: {:#?}",
                stage
                    .crew
                    .workers
                    .iter()
                    .map(Worker::said)
                    .collect::<Vec<_>>()
            );
            let kind = came.entry(event).or_default();
            kind.times += 1;
            kind.healed = kind.healed.max(healed);
            kind.lines = kind.lines.max(most);
        }
        round += 1;
    }
    let _ = stop.send(());
    stage.arena.load.merge(pouring.await.unwrap());
    stage.arena.settled(SOON).await;
    stage.crew.stop(&stage.arena).await;
    for (event, came) in &came {
        let Came {
            times,
            healed,
            lines,
        } = came;
        println!(
            "{event:?}: {times} times, healed after {healed:?} at most, {lines} lines at most by one worker"
        );
    }
    let mut account = stage
        .arena
        .account(std::mem::take(&mut stage.crew.wounds))
        .await;
    let failing = account
        .attempted
        .iter()
        .filter(|number| fails_once(**number));
    account.planned = failing.map(|number| (*number, 2)).collect();
    let verdict = judge("network", &account);
    assert_eq!((verdict.handled, verdict.dead), (verdict.acknowledged, 0));
    assert!(verdict.recovered > 0, "no event met a message");
    assert_eq!(stage.proxy.misunderstood(), 0);
}
