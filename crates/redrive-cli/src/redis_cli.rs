//! How another client gets to the same server: flags of `redis-cli`. Never how it gets in.

/// Where `redis-cli` looks by itself.
const USUAL: &str = "127.0.0.1:6379";

/// The flags that name the server of this URL; none where `redis-cli` looks there by itself. Users and
/// passwords are left out, and upper-case words stand for what only the sentinels know.
pub(crate) fn flags(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Vec::new();
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut words: Vec<&str> = Vec::new();
    let database = if scheme.ends_with("unix") {
        words.extend(["-s", rest]);
        let mut parameters = query.split('&');
        parameters.find_map(|parameter| parameter.strip_prefix("db="))
    } else {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = authority.rsplit_once('@').map_or(authority, |(_, at)| at);
        if scheme.ends_with("+sentinel") {
            words.extend(["-h", "HOST", "-p", "PORT"]);
        } else if address != USUAL && format!("{address}:6379") != USUAL {
            let (host, port) = host_and_port(address);
            words.extend(["-h", host, "-p", port]);
        }
        if scheme.starts_with("rediss") {
            words.push("--tls");
        }
        let path = path.trim_end_matches('/');
        match path.rsplit_once('/') {
            Some((_, database)) => Some(database),
            // Of sentinels the first is the service.
            None => Some(path).filter(|_| !scheme.ends_with("+sentinel")),
        }
    };
    let database = database.filter(|database| !database.is_empty() && *database != "0");
    words.extend(database.into_iter().flat_map(|database| ["-n", database]));
    words.into_iter().map(str::to_owned).collect()
}

/// An IPv6 address stands in brackets, and has colons of its own.
fn host_and_port(address: &str) -> (&str, &str) {
    let (host, port) = match address.rsplit_once(']') {
        Some((host, port)) => (host.trim_start_matches('['), port.strip_prefix(':')),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    (host, port.unwrap_or("6379"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_named_and_never_how_to_get_in() {
        for (url, words) in [
            ("redis://127.0.0.1:6379", ""),
            ("redis://127.0.0.1", ""),
            ("redis://127.0.0.1:6379/0", ""),
            ("redis://ann:secret@127.0.0.1:6379/", ""),
            ("memory:", ""),
            ("redis://127.0.0.1:6400", "-h 127.0.0.1 -p 6400"),
            ("redis://ann:secret@db.internal", "-h db.internal -p 6379"),
            ("redis://:secret@db:7000/3?protocol=3", "-h db -p 7000 -n 3"),
            ("redis://[::1]:6400", "-h ::1 -p 6400"),
            ("redis://[::1]/2", "-h ::1 -p 6379 -n 2"),
            ("redis://127.0.0.1/2", "-n 2"),
            ("rediss://db:6380", "-h db -p 6380 --tls"),
            ("rediss://127.0.0.1:6379", "--tls"),
            ("unix:///run/redis.sock", "-s /run/redis.sock"),
            (
                "redis+unix:///run/redis.sock?user=ann&pass=secret&db=4",
                "-s /run/redis.sock -n 4",
            ),
            (
                "redis+sentinel://ann:secret@one:26379,two/primary",
                "-h HOST -p PORT",
            ),
            (
                "rediss+sentinel://one,two/primary/5?sentinel_password=secret",
                "-h HOST -p PORT --tls -n 5",
            ),
        ] {
            assert_eq!(flags(url).join(" "), words, "{url}");
        }
    }
}
