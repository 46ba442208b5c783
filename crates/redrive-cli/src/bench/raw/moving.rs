//! Raw loops that move what is there: from a dead consumer to another, from one stream to another.

use redis::aio::MultiplexedConnection as Connection;
use redis::{RedisResult, Value, cmd, pipe};
use tokio::time::Instant;

use super::{GROUP, each, read};

/// An id and what is in it.
type Entry = (Vec<u8>, Value);

/// How many one script moves, as redrive's do.
const MOVED: usize = 100;

/// Moves the oldest entries, and no more: no copy that is kept, no lineage, no check.
const MOVE: &str = "
local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])
for _, entry in ipairs(found) do
    redis.call('XADD', KEYS[2], '*', unpack(entry[2]))
    redis.call('XDEL', KEYS[1], entry[1])
end
return #found";

/// Takes over what another consumer was given, and acknowledges it. Answers how many, and how long.
pub(crate) async fn take_over(to: &mut Connection, stream: &str) -> RedisResult<(u64, f64)> {
    loop {
        let mut load = pipe();
        read(&mut load, stream, "dead");
        let mut replies: Vec<Value> = load.query_async(to).await?;
        let mut read = 0;
        each(replies.pop(), |_, _| read += 1);
        if read == 0 {
            break;
        }
    }
    let (began, mut done, mut cursor) = (Instant::now(), 0, b"0-0".to_vec());
    loop {
        let mut claim = cmd("XAUTOCLAIM");
        claim
            .arg(stream)
            .arg(GROUP)
            .arg("alive")
            .arg(0)
            .arg(&cursor)
            .arg("COUNT")
            .arg(MOVED);
        let (next, found, _gone): (Vec<u8>, Vec<Entry>, Value) = claim.query_async(to).await?;
        let ids: Vec<Vec<u8>> = found.into_iter().map(|(id, _)| id).collect();
        if !ids.is_empty() {
            done += ids.len() as u64;
            let _: u64 = cmd("XACK")
                .arg(stream)
                .arg(GROUP)
                .arg(&ids)
                .query_async(to)
                .await?;
        }
        if next == b"0-0" {
            return Ok((done, began.elapsed().as_secs_f64()));
        }
        cursor = next;
    }
}

/// Moves all entries of one stream to another, a script for each load. Answers how many.
pub(crate) async fn moved(to: &mut Connection, from: &str, into: &str) -> RedisResult<u64> {
    let hash: String = cmd("SCRIPT").arg("LOAD").arg(MOVE).query_async(to).await?;
    let mut done = 0;
    loop {
        let mut call = cmd("EVALSHA");
        call.arg(&hash).arg(2).arg(from).arg(into).arg(MOVED);
        match call.query_async::<u64>(to).await? {
            0 => return Ok(done),
            more => done += more,
        }
    }
}
