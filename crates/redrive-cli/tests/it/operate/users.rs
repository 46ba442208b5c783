//! The users of `SECURITY.md`: what these tests do, they do as the one that the page gives it to.

use crate::pages::page::blocks;

/// Their password on the page.
const PASSWORD: &str = "a-long-password";
/// The stream of the page, and the others of these tests.
const STREAMS: [&str; 2] = ["orders", "refunds"];

/// A name of the page, and the line behind it: its name again, its password, its keys and its rights.
pub(crate) fn recipes() -> Vec<(String, String)> {
    let blocks = blocks("SECURITY.md");
    let recipe = blocks.iter().find(|block| block.language == "acl").unwrap();
    let lines = recipe.text.lines();
    lines
        .map(|line| {
            let user = line.strip_prefix("user ").unwrap();
            let name = user.split(' ').next().unwrap();
            (name.to_owned(), user.to_owned())
        })
        .collect()
}

/// The same for each stream of these tests: the keys of the page with its name in the place of `orders`.
pub(super) fn users() -> Vec<String> {
    let mut users = Vec::new();
    for (_, line) in recipes() {
        let (keys, others): (Vec<&str>, Vec<&str>) =
            line.split(' ').partition(|word| word.starts_with('~'));
        let mut words: Vec<String> = others.iter().map(|word| (*word).to_owned()).collect();
        for stream in STREAMS {
            words.extend(keys.iter().map(|key| key.replace("orders", stream)));
        }
        users.push(words.join(" "));
    }
    // What the page adds for who looks at all streams, and for who examines them.
    let and = |of: &str, name: &str, more: &str| {
        let line = users.iter().find(|line| line.starts_with(of)).unwrap();
        format!("{} {more}", line.replacen(of, name, 1))
    };
    let overview = and("orders-viewer", "overview", "+scan ~*");
    let doctor = and(
        "orders-operator",
        "doctor",
        "+info +config|get +acl|whoami +acl|dryrun ~*",
    );
    users.extend([overview, doctor]);
    users
}

/// Who does this on the page.
fn user(args: &[&str]) -> &'static str {
    const LOOKS: [&str; 10] = [
        "list", "show", "groups", "pull", "export", "stats", "audit", "campaigns", "shadow",
        "--dry-run",
    ];
    let has = |word: &str| args.contains(&word);
    let looks = LOOKS.iter().any(|word| has(word));
    let place = |word: &str| args.iter().position(|arg| *arg == word);
    match args {
        _ if has("doctor") => "doctor",
        _ if has("send") => "orders-producer",
        _ if has("run") => "orders-worker",
        _ if place("stats").is_some_and(|at| {
            !args[at + 1..].iter().any(|arg| STREAMS.contains(arg)) && !has("dlq")
        }) =>
        {
            "overview"
        }
        _ if looks || has("stats") => "orders-viewer",
        _ => "orders-operator",
    }
}

/// The URL of a server or a proxy of it as the one who does this.
pub(super) fn url_for(args: &[&str], port: u16) -> String {
    format!("redis://{}:{PASSWORD}@127.0.0.1:{port}", user(args))
}
