//! What stands in the queue is written in order, and what does not fit is counted.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use redrive_testkit::eventually;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// A stderr that takes each write when it is told how, and keeps what it took.
struct Slow {
    told: Receiver<io::Result<()>>,
    took: Took,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.told.recv().unwrap_or(Ok(()))?;
        self.took.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Took = Arc<Mutex<Vec<u8>>>;

/// A queue with its thread, which writes nothing before it is told to, and all when the sender
/// is dropped.
fn stalled() -> (&'static Queue, Sender<io::Result<()>>, Took) {
    let queue: &Queue = Box::leak(Box::new(Queue::new()));
    let (tell, told) = channel();
    let took = Arc::default();
    let mut slow = Slow {
        told,
        took: Arc::clone(&took),
    };
    std::thread::spawn(move || queue.write_to(&mut slow));
    (queue, tell, took)
}

fn text(took: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(took.lock().unwrap().clone()).unwrap()
}

/// The log neither waits nor grows; what was lost is said once, where it was lost.
#[test]
fn what_has_no_room_is_lost_and_counted() {
    let (queue, tell, took) = stalled();
    for n in 0..5_000 {
        queue.log(format!("{n}\n").into_bytes());
    }
    assert!(queue.locked().entries.len() <= 1_024);
    drop(tell);
    queue.flush();
    let told = text(&took);
    let (kept, lost) = told.split_once("redrive: ").unwrap();
    let kept = kept.lines().count();
    assert!(kept > 1_000, "{kept}");
    let lost = lost.strip_prefix("lines that stderr did not take in time: ");
    assert_eq!(lost, Some(format!("{}\n", 5_000 - kept).as_str()));
    queue.log(b"again\n".to_vec());
    queue.flush();
    assert!(text(&took).ends_with("\nagain\n"));
}

/// What handlers print waits in its order, and leaves room for the log.
#[tokio::test]
async fn output_waits_for_room_and_the_log_does_not() {
    let (queue, tell, took) = stalled();
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..20 {
        let line = format!("{n} {}\n", "x".repeat(64 * 1024));
        waiting.spawn(queue.pass_on(line.into_bytes()));
    }
    eventually(SOON, "no room", async || {
        queue.output.available_permits() < 64 * 1024
    })
    .await;
    queue.log(b"logged\n".to_vec());
    let cancelled = queue.pass_on(b"a\nb\n".to_vec());
    tokio::time::timeout(Duration::ZERO, cancelled)
        .await
        .unwrap_err();
    drop(tell);
    while let Some(ended) = waiting.join_next().await {
        ended.unwrap();
    }
    queue.flush();
    let told = text(&took);
    let first = |line: &str| line.split(' ').next().unwrap().to_owned();
    let numbers = told
        .lines()
        .map(first)
        .filter(|first| first.parse::<u8>().is_ok());
    let numbers: Vec<_> = numbers.collect();
    let wanted: Vec<_> = (0..20).map(|n: u8| n.to_string()).collect();
    assert_eq!(numbers, wanted);
    assert!(told.contains("\nlogged\n"));
    assert!(told.contains("redrive: lines that stderr did not take in time: 2\n"));
    assert_eq!(queue.output.available_permits(), ROOM as usize);
}

/// A full disk: nothing waits, and it goes on where there is space again.
#[test]
fn what_cannot_be_written_is_thrown_away() {
    let (queue, tell, took) = stalled();
    for n in 0..3 {
        queue.log(format!("{n}\n").into_bytes());
        tell.send(Err(ErrorKind::StorageFull.into())).unwrap();
    }
    queue.flush();
    assert!(queue.locked().is_done());
    drop(tell);
    queue.log(b"space\n".to_vec());
    queue.flush();
    let wanted = "redrive: lines that stderr did not take in time: 3\nspace\n";
    assert_eq!(text(&took), wanted);
}

#[test]
fn a_line_after_a_broken_one_begins_a_line() {
    let entry = Entry {
        bytes: b"next\n".to_vec(),
        lost: 0,
        takes: Room::Said(0),
    };
    assert_eq!(entry.text(Before::HalfALine), b"\nnext\n");
    assert_eq!(entry.text(Before::WholeLines), b"next\n");
}
