//! The raw loops that redrive is compared with: what a person writes in an afternoon, and nothing of
//! what makes it safe. Few lines on purpose.

mod moving;

use redis::aio::MultiplexedConnection as Connection;
use redis::{RedisResult, Value, cmd, pipe};

pub(crate) use self::moving::{moved, take_over};

const GROUP: &str = "raw";
/// How many one read asks for: fewer make the raw loop slower.
const COUNT: usize = 1_000;
/// Makes the group anew, in front of the first entry.
pub(crate) async fn group(to: &mut Connection, stream: &str) -> RedisResult<()> {
    let mut destroy = cmd("XGROUP");
    destroy.arg("DESTROY").arg(stream).arg(GROUP);
    // An error where there is no stream yet.
    let _: RedisResult<Value> = destroy.query_async(to).await;
    let mut create = cmd("XGROUP");
    create
        .arg("CREATE")
        .arg(stream)
        .arg(GROUP)
        .arg(0)
        .arg("MKSTREAM");
    create.query_async(to).await
}

/// Reads and acknowledges all that is new: one pipeline of the last load's `XACK` and the next read.
pub(crate) async fn drain(mut to: Connection, stream: &str, consumer: &str) -> RedisResult<u64> {
    let (mut done, mut ids) = (0, Vec::new());
    loop {
        let mut load = pipe();
        if !ids.is_empty() {
            load.cmd("XACK").arg(stream).arg(GROUP).arg(&ids);
        }
        read(&mut load, stream, consumer);
        let mut replies: Vec<Value> = load.query_async(&mut to).await?;
        ids.clear();
        each(replies.pop(), |id, _| ids.push(id));
        match ids.len() as u64 {
            0 => return Ok(done),
            more => done += more,
        }
    }
}

/// Waits for messages, and gives the fields of each to `seen` as it comes, until there were `expected`.
pub(crate) async fn wait(
    mut to: Connection,
    stream: &str,
    expected: u64,
    mut seen: impl FnMut(&[Value]),
) -> RedisResult<()> {
    let (mut done, mut ids) = (0, Vec::new());
    while done < expected {
        let mut load = pipe();
        if !ids.is_empty() {
            load.cmd("XACK").arg(stream).arg(GROUP).arg(&ids);
        }
        load.cmd("XREADGROUP")
            .arg("GROUP")
            .arg(GROUP)
            .arg("waiting");
        load.arg("COUNT").arg(100).arg("BLOCK").arg(5_000);
        load.arg("STREAMS").arg(stream).arg(">");
        let mut replies: Vec<Value> = load.query_async(&mut to).await?;
        ids.clear();
        each(replies.pop(), |id, fields| {
            seen(fields);
            ids.push(id);
        });
        done += ids.len() as u64;
    }
    cmd("XACK")
        .arg(stream)
        .arg(GROUP)
        .arg(&ids)
        .query_async(&mut to)
        .await
}

fn read(load: &mut redis::Pipeline, stream: &str, consumer: &str) {
    load.cmd("XREADGROUP").arg("GROUP").arg(GROUP).arg(consumer);
    load.arg("COUNT")
        .arg(COUNT)
        .arg("STREAMS")
        .arg(stream)
        .arg(">");
}

/// Walks a reply and drops it; ids are kept by whoever is told of them.
fn each(reply: Option<Value>, mut tell: impl FnMut(Vec<u8>, &[Value])) {
    let Some(Value::Array(streams)) = reply else {
        return;
    };
    for stream in streams {
        let Value::Array(mut parts) = stream else {
            continue;
        };
        let Some(Value::Array(entries)) = parts.pop() else {
            continue;
        };
        for entry in entries {
            let Value::Array(mut parts) = entry else {
                continue;
            };
            if let (Some(Value::Array(fields)), Some(Value::BulkString(id))) =
                (parts.pop(), parts.pop())
            {
                tell(id, &fields);
            }
        }
    }
}
