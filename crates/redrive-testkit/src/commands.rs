//! How many commands the server has executed, by name.

use std::collections::BTreeMap;

use redis::RedisResult;
use redis::aio::ConnectionLike;

/// Calls by command name, in lower case; a subcommand is written `config|get`.
pub type Commands = BTreeMap<String, u64>;

/// The calls since the server's start, from `INFO commandstats`. Commands that scripts call count too. `info`
/// itself is left out, so that measuring does not change what is measured.
///
/// # Errors
///
/// If the server cannot be asked.
pub async fn commands(connection: &mut impl ConnectionLike) -> RedisResult<Commands> {
    let info: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(connection)
        .await?;
    Ok(parse(&info))
}

/// The calls between two counts; commands that were not called are left out.
#[must_use]
pub fn diff(before: &Commands, after: &Commands) -> Commands {
    after
        .iter()
        .map(|(name, count)| {
            let earlier = before.get(name).copied().unwrap_or(0);
            // Fewer than before: the server was restarted or its counters reset, so all of them are new.
            (name.clone(), count.checked_sub(earlier).unwrap_or(*count))
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Lines look like `cmdstat_xadd:calls=3,usec=42,usec_per_call=14.00,rejected_calls=0,failed_calls=0`.
fn parse(info: &str) -> Commands {
    info.lines()
        .filter_map(|line| {
            let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = figures.strip_prefix("calls=")?.split(',').next()?;
            Some((name.to_lowercase(), calls.parse().ok()?))
        })
        .filter(|(name, _)| name != "info")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> Commands {
        pairs.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect()
    }

    #[test]
    fn reads_calls_and_leaves_info_out() {
        let info = "# Commandstats\r\n\
            cmdstat_xadd:calls=3,usec=42,usec_per_call=14.00,rejected_calls=0,failed_calls=0\r\n\
            cmdstat_config|get:calls=1,usec=7,usec_per_call=7.00\r\n\
            cmdstat_info:calls=9,usec=7,usec_per_call=7.00\r\n";
        assert_eq!(parse(info), counts(&[("xadd", 3), ("config|get", 1)]));
    }

    #[test]
    fn a_difference_holds_only_what_was_called_in_between() {
        let before = counts(&[("xadd", 3), ("xack", 5), ("get", 8)]);
        let after = counts(&[("xadd", 4), ("xack", 5), ("get", 2), ("ping", 1)]);
        assert_eq!(
            diff(&before, &after),
            counts(&[("xadd", 1), ("get", 2), ("ping", 1)])
        );
    }
}
