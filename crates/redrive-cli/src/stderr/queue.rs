//! What is to be written to stderr: bounded, in order, and who waits for room.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

/// How much of one kind may be queued: what redrive says, and what handlers print. Each has its own
/// room, so that a handler that prints without end does not push out the log.
const ROOM: u32 = 512 * 1024;
/// What an entry takes of the room beside its bytes: no more than 1,024 of a kind are queued.
const ENTRY: u32 = 512;
/// How long the end of the process, or something that should not be lost, waits for stderr.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait before trying again where stderr is in non-blocking mode and full.
const AGAIN: Duration = Duration::from_millis(10);

/// What is said, on its way to the thread that writes it.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something is to be written.
    queued: Condvar,
    /// Something was written, or could not be.
    written: Condvar,
    /// The room for what handlers print. Those that wait get it in their order.
    output: Semaphore,
}

struct State {
    entries: VecDeque<Entry>,
    /// How much of the room is taken by what redrive says.
    said: u32,
    /// Lines that nobody was told of yet.
    lost: u64,
    writing: bool,
    /// Whether the last write worked.
    takes: bool,
    /// Whether somebody has waited in vain since the last write.
    stalls: bool,
}

struct Entry {
    bytes: Vec<u8>,
    /// How many lines were lost just before it.
    lost: u64,
    takes: Room,
}

/// The room that an entry takes.
#[derive(Clone, Copy)]
enum Room {
    /// Of what redrive says.
    Said(u32),
    /// Of what handlers print.
    Output(u32),
}

impl Entry {
    /// With a word on what was lost, and after a write that broke off on a line of its own.
    fn text(&self, before: Before) -> Vec<u8> {
        let mut text = Vec::new();
        if before == Before::HalfALine {
            text.push(b'\n');
        }
        if self.lost > 0 {
            let lost = self.lost;
            let told = format!("redrive: lines that stderr did not take in time: {lost}\n");
            text.extend_from_slice(told.as_bytes());
        }
        text.extend_from_slice(&self.bytes);
        text
    }
}

/// What stderr ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    WholeLines,
    HalfALine,
}

impl State {
    fn has_room(&self, cost: u32) -> bool {
        // Once lines were lost, room is made for many: else every other line would say that one was.
        let most = if self.lost > 0 { ROOM / 2 } else { ROOM };
        self.said.saturating_add(cost) <= most
    }

    fn take_in(&mut self, bytes: Vec<u8>, takes: Room) {
        let lost = match takes {
            Room::Said(_) => std::mem::take(&mut self.lost),
            // Told with what redrive says next, or when nothing else is to be written.
            Room::Output(_) => 0,
        };
        self.entries.push_back(Entry { bytes, lost, takes });
    }

    fn is_done(&self) -> bool {
        self.entries.is_empty() && !self.writing && (self.lost == 0 || !self.takes)
    }
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                said: 0,
                lost: 0,
                writing: false,
                takes: true,
                stalls: false,
            }),
            queued: Condvar::new(),
            written: Condvar::new(),
            output: Semaphore::const_new(ROOM as usize),
        }
    }

    pub(super) fn log(&self, line: Vec<u8>) {
        self.add(self.locked(), line);
    }

    pub(super) fn say(&self, lines: Vec<u8>) {
        let cost = cost(&lines);
        self.add(self.patiently(|state| state.has_room(cost)), lines);
    }

    pub(super) fn catch_up(&self) {
        drop(self.patiently(State::is_done));
    }

    /// Waits for something, unless somebody has waited in vain since the last write.
    fn patiently(&self, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.locked();
        if state.stalls || is_so(&state) {
            return state;
        }
        let waited = self
            .written
            .wait_timeout_while(state, PATIENCE, |state| !is_so(state));
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        state.stalls = waited.timed_out();
        state
    }

    fn add(&self, mut state: MutexGuard<'_, State>, lines: Vec<u8>) {
        let cost = cost(&lines);
        if state.has_room(cost) {
            state.said += cost;
            state.take_in(lines, Room::Said(cost));
        } else {
            state.lost += lines_in(&lines);
        }
        drop(state);
        self.queued.notify_one();
    }

    pub(super) async fn pass_on(&self, lines: Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let waiting = Waiting(self, lines_in(&lines));
        // No more than there is: what can never be had would be waited for for ever.
        let cost = cost(&lines).min(ROOM);
        if let Ok(room) = self.output.acquire_many(cost).await {
            room.forget();
            std::mem::forget(waiting);
            self.locked().take_in(lines, Room::Output(cost));
            self.queued.notify_one();
        }
    }

    pub(super) fn flush(&self) {
        let state = self.locked();
        let waited = self
            .written
            .wait_timeout_while(state, PATIENCE, |state| !state.is_done());
        drop(waited);
    }

    /// Writes what is queued, for ever. What cannot be written is thrown away.
    pub(super) fn write_to(&self, to: &mut impl Write) {
        let mut before = Before::WholeLines;
        loop {
            let entry = self.next();
            let text = entry.text(before);
            let (written, ended) = put(to, &text);
            before = match text.get(..written).and_then(<[u8]>::last) {
                None => before,
                Some(b'\n') => Before::WholeLines,
                Some(_) => Before::HalfALine,
            };
            self.settle(&entry, &ended);
        }
    }

    /// The next to write. Where nothing follows lines that were lost, that is what is said of them.
    fn next(&self) -> Entry {
        let mut state = self.locked();
        loop {
            let next = state.entries.pop_front();
            if next.is_some() || (state.lost > 0 && state.takes) {
                state.writing = true;
                return next.unwrap_or_else(|| Entry {
                    bytes: Vec::new(),
                    lost: std::mem::take(&mut state.lost),
                    takes: Room::Said(0),
                });
            }
            let woken = self.queued.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// An entry was written, or could not be.
    fn settle(&self, entry: &Entry, ended: &io::Result<()>) {
        let mut state = self.locked();
        state.writing = false;
        state.stalls = false;
        state.takes = ended.is_ok();
        if ended.is_err() {
            state.lost += entry.lost + lines_in(&entry.bytes);
        }
        match entry.takes {
            Room::Said(cost) => state.said -= cost,
            Room::Output(cost) => self.output.add_permits(cost as usize),
        }
        drop(state);
        self.written.notify_all();
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many lines that wait for room, lost when it is dropped.
struct Waiting<'a>(&'a Queue, u64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.locked().lost += self.1;
        self.0.queued.notify_one();
    }
}

fn cost(lines: &[u8]) -> u32 {
    let length = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    length.saturating_add(ENTRY)
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Writes all of it. Answers how much was written, and how it ended.
fn put(to: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Who started us, or shares the terminal with us, may have set it to non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
mod tests {
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
}
