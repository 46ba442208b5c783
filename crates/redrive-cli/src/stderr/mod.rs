//! Stderr, written by one thread of its own: whoever says something never waits for a reader.

mod queue;

use std::io::{self, Write};

use self::queue::Queue;

static STDERR: Queue = Queue::new();

/// Starts the thread. What is said before is kept until then.
///
/// # Errors
///
/// When the system gives no thread.
pub(crate) fn start() -> io::Result<()> {
    std::thread::Builder::new()
        .name("stderr".to_owned())
        .spawn(|| STDERR.write_to(&mut io::stderr()))
        .map(drop)
}

/// Says something that should not be lost: waits for room where there is none, for a second, and
/// once as long as nothing moves.
pub(crate) fn say(lines: String) {
    STDERR.say(lines.into_bytes());
}

/// Passes on what a handler prints, whole lines: in one piece, so that no other line gets in
/// between. Waits until there is room.
///
/// # Cancel safety
///
/// Dropped while it waits, the lines are lost, and counted as such.
pub(crate) async fn pass_on(lines: Vec<u8>) {
    STDERR.pass_on(lines).await;
}

/// Waits until what was said is written, before something is shown beside it: for a second, and
/// once as long as nothing moves.
pub(crate) fn catch_up() {
    STDERR.catch_up();
}

/// Waits until all that was said is written, for a second at most: the process ends.
pub(crate) fn flush() {
    STDERR.flush();
}

/// Where the log goes: a line each. Never waits and never fails; where there is no room the line is
/// lost, and a line says later how many were.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        STDERR.log(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
