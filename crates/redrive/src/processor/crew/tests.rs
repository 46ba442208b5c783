//! Hands, and what handlers may do to them.

use std::sync::Barrier;

use super::*;
use crate::Raw;
use crate::gate::Gate;
use crate::message::{Fields, Message};
use crate::names::Source;
use crate::outcome::Outcome;
use crate::processor::Runner;

const SOON: Duration = Duration::from_secs(30);

/// What a test has its handlers do, by the number of the message.
fn work<F>(number: u64, handler: impl Fn(u64) -> F + Send + Sync + 'static) -> Work
where
    F: Future<Output = Outcome> + Send + 'static,
{
    Work {
        runner: Runner::new(Raw, move |message: Message<Fields>| {
            handler(message.id().millis())
        }),
        envelope: Arc::new(execution::envelope(
            EntryId::new(number, 0),
            Arc::new(Source::new("orders", "billing").unwrap()),
            1,
            Duration::ZERO,
            &Fields::from_iter([("n", "1")]),
        )),
        timeout: None,
        pass: Gate::default().try_enter().unwrap(),
    }
}

/// Works as a run does, until so many have ended; answers them in the order in which they did.
async fn until_ended(crew: &mut Crew, many: usize) -> Vec<u64> {
    let mut told = Vec::new();
    let working = async {
        while told.len() < many {
            let now = Instant::now();
            crew.set_to_work(now);
            let look_at = crew.look_at(now);
            tokio::select! {
                () = crew.news() => {}
                () = tokio::time::sleep_until(look_at.unwrap_or(now + SOON)) => {}
            }
            let mut ended = Vec::new();
            crew.take_ended(&mut ended);
            told.extend(ended.into_iter().map(|ended| ended.id.millis()));
        }
    };
    tokio::time::timeout(SOON, working).await.unwrap();
    told
}

fn most_called(crew: &Crew) -> usize {
    crew.floor.inside().hands.len()
}

#[tokio::test(start_paused = true)]
async fn quick_ones_are_done_by_one_hand_in_their_order() {
    let mut crew = Crew::new();
    for number in 0..1_000 {
        crew.push(work(number, async |_| Outcome::Ack));
    }
    crew.set_to_work(Instant::now());
    assert_eq!(most_called(&crew), 1);
    assert_eq!(
        until_ended(&mut crew, 1_000).await,
        (0..1_000).collect::<Vec<_>>()
    );
    assert_eq!(most_called(&crew), 1);
    assert_eq!(crew.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_some_that_wait_for_nothing_the_next_are_about_to_end() {
    let mut crew = Crew::new();
    for number in 0..u64::from(QUICK) {
        crew.push(work(number, async |_| Outcome::Ack));
    }
    let now = Instant::now();
    crew.set_to_work(now);
    assert!(!crew.is_about_to_end(now));
    until_ended(&mut crew, QUICK as usize).await;

    crew.push(work(100, async |_| Outcome::Ack));
    crew.set_to_work(now);
    assert!(crew.is_about_to_end(now));
    // Its thread is blocked, who knows for how long.
    assert!(!crew.is_about_to_end(now + LOOK_AGAIN));
    until_ended(&mut crew, 1).await;
    assert!(!crew.is_about_to_end(now));

    let (open, opened) = tokio::sync::oneshot::channel::<()>();
    let opened = Arc::new(Mutex::new(Some(opened)));
    crew.push(work(101, move |_| {
        let opened = opened.lock().unwrap().take();
        async {
            let _ = opened.unwrap().await;
            Outcome::Ack
        }
    }));
    crew.set_to_work(now);
    assert!(crew.is_about_to_end(now));
    // Told that this one waits, though nothing has ended.
    tokio::time::timeout(SOON, crew.news()).await.unwrap();
    crew.take_ended(&mut Vec::new());
    assert!(!crew.is_about_to_end(now));
    open.send(()).unwrap();
    until_ended(&mut crew, 1).await;
}

#[tokio::test(start_paused = true)]
async fn all_that_wait_do_so_at_once() {
    let mut crew = Crew::new();
    let began = Instant::now();
    for number in 0..100 {
        crew.push(work(number, async |_| {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Outcome::Ack
        }));
    }
    until_ended(&mut crew, 100).await;
    assert!(began.elapsed() < Duration::from_secs(11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn handlers_that_block_their_threads_do_so_on_all_of_them() {
    let mut crew = Crew::new();
    // The run itself needs the third thread: it looks whether hands get on.
    let both = Arc::new(Barrier::new(2));
    for number in 0..2 {
        let both = Arc::clone(&both);
        crew.push(work(number, move |_| {
            both.wait();
            async { Outcome::Ack }
        }));
    }
    let mut ended = until_ended(&mut crew, 2).await;
    ended.sort_unstable();
    assert_eq!(ended, [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_give_their_threads_away_are_not_bounded_by_them() {
    let mut crew = Crew::new();
    let all = Arc::new(Barrier::new(16));
    for number in 0..16 {
        let all = Arc::clone(&all);
        crew.push(work(number, move |_| {
            tokio::task::block_in_place(|| all.wait());
            async { Outcome::Ack }
        }));
    }
    let ended = tokio::spawn(async move { until_ended(&mut crew, 16).await.len() });
    assert_eq!(ended.await.unwrap(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_ended_is_told_while_the_next_one_blocks() {
    let (open, closed) = std::sync::mpsc::channel::<()>();
    let closed = Arc::new(Mutex::new(closed));
    let mut crew = Crew::new();
    for number in 0..2 {
        let closed = Arc::clone(&closed);
        crew.push(work(number, move |number| {
            if number == 1 {
                let _ = closed.lock().unwrap().recv_timeout(SOON);
            }
            async { Outcome::Ack }
        }));
    }
    // The one that blocks goes on only after the first was told of.
    let ended = tokio::spawn(async move {
        let first = until_ended(&mut crew, 1).await;
        drop(open);
        (first, until_ended(&mut crew, 1).await)
    });
    assert_eq!(ended.await.unwrap(), (vec![0], vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_message_and_not_its_hand() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("while dropping");
        }
    }
    let mut crew = Crew::new();
    crew.push(work(0, async |_| {
        let _bomb = Bomb;
        Outcome::Ack
    }));
    crew.push(work(1, async |_| panic!("while running")));
    crew.push(work(2, async |_| Outcome::Ack));
    crew.set_to_work(Instant::now());
    crew.news().await;
    let mut ended = Vec::new();
    crew.take_ended(&mut ended);
    let said: Vec<String> = ended
        .iter()
        .map(|ended| format!("{:?}", ended.ran))
        .collect();
    assert!(said[0].contains("while dropping"), "{said:?}");
    assert!(said[1].contains("while running"), "{said:?}");
    assert!(said[2].contains("Ack"), "{said:?}");
    assert_eq!(most_called(&crew), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_dismissed_drops_what_it_runs_and_tells_nothing() {
    let mut crew = Crew::new();
    let kept = Arc::new(());
    for number in 0..3 {
        let kept = Arc::clone(&kept);
        crew.push(work(number, move |_| {
            let kept = Arc::clone(&kept);
            async move {
                let _kept = kept;
                std::future::pending().await
            }
        }));
    }
    crew.set_to_work(Instant::now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(Arc::strong_count(&kept) > 4, "they run");
    crew.dismiss();
    assert_eq!(crew.running(), 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(Arc::strong_count(&kept), 1);
    let mut ended = Vec::new();
    crew.take_ended(&mut ended);
    assert!(ended.is_empty());
}

#[test]
fn more_hands_are_called_only_where_they_help() {
    let calm = Look {
        waiting: 10,
        free: 1,
        called: 0,
        threads: 4,
        behind: false,
        stuck: false,
    };
    let more = |change: fn(&mut Look)| {
        let mut look = calm;
        change(&mut look);
        more_hands(look)
    };
    assert_eq!(more(|_| {}), 0);
    assert_eq!(more(|look| look.free = 0), 1);
    assert_eq!(more(|look| (look.free, look.waiting) = (0, 0)), 0);
    assert_eq!(more(|look| look.behind = true), 1);
    assert_eq!(more(|look| (look.behind, look.free) = (true, 4)), 0);
    assert_eq!(more(|look| look.stuck = true), 10);
    assert_eq!(more(|look| (look.stuck, look.called) = (true, 7)), 3);
}
