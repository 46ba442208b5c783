//! Names that no other test has, and the keys that a test left behind.

use redis::RedisResult;
use redis::aio::ConnectionLike;

/// A stream name of the test's own: the prefix, a dash and 16 random hex digits.
pub fn stream_name(prefix: &str) -> String {
    format!("{prefix}-{:016x}", fastrand::u64(..))
}

/// Every key whose name contains `stream` and is not allowed, sorted: what the test would leave behind.
///
/// An allowed name that ends in `*` allows all names that begin with the rest. Bytes that are not UTF-8 are shown as
/// the replacement character.
///
/// # Errors
///
/// If the server cannot be asked.
pub async fn leaked_keys(
    connection: &mut impl ConnectionLike,
    stream: &str,
    allowed: &[impl AsRef<str>],
) -> RedisResult<Vec<String>> {
    let mut leaked = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("COUNT")
            .arg(1_000)
            .query_async(connection)
            .await?;
        leaked.extend(
            keys.iter()
                .map(|key| String::from_utf8_lossy(key).into_owned())
                .filter(|key| key.contains(stream))
                .filter(|key| !allowed.iter().any(|name| allows(name.as_ref(), key))),
        );
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    leaked.sort();
    // SCAN may name a key twice.
    leaked.dedup();
    Ok(leaked)
}

fn allows(name: &str, key: &str) -> bool {
    name.strip_suffix('*')
        .map_or(name == key, |prefix| key.starts_with(prefix))
}
