//! The users of `SECURITY.md`: what these tests do, they do as the one that the page gives it to.

use crate::pages::page::blocks;

/// Their password on the page.
const PASSWORD: &str = "a-long-password";
/// The stream of the page, and the others of these tests.
const STREAMS: [&str; 23] = [
    "orders",
    "refunds",
    "order",
    "nowhere",
    "others",
    "theirs",
    "elsewhere",
    "text",
    "agent_events",
    "redrive-demo:incident",
    "redrive-demo:incident:events",
    "redrive-demo:incident:mails",
    "redrive-demo:incident:orders",
    "repaired",
    "mails",
    "plain",
    "new",
    "nothing",
    "list",
    // The stream of which `sg:stream:dlq` would be the queue.
    "sg:stream",
    "sg:stream:inbound",
    "sg:stream:outbound",
    "sg:stream:repaired",
];
/// Queues with other names than a stream's own.
const QUEUES: [&str; 2] = ["graveyard", "sg:stream:dlq"];
/// Into which exports are imported beside those that they were made of.
const PACKED: [&str; 3] = ["jsonl", "jsonl.gz", "jsonl.zst"];

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
        let copies = PACKED.map(|ending| {
            ["agent_events:dlq", "sg:stream:dlq"].map(|queue| format!("{queue}.{ending}"))
        });
        let queues = QUEUES.map(str::to_owned);
        for queue in queues.iter().chain(copies.as_flattened()) {
            words.extend([format!("~{queue}"), format!("~{{{queue}}}:redrive:*")]);
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
    const FAMILIES: [&str; 4] = ["dlq", "pending", "group", "consumer"];
    const COMMANDS: [&str; 8] = [
        "stats", "doctor", "send", "run", "trim", "demo", "config", "bench",
    ];
    const LOOKS: [&str; 8] = [
        "stats", "list", "show", "groups", "pull", "export", "audit", "shadow",
    ];
    let mut words = args.iter().enumerate();
    let command = |word: &&str| FAMILIES.contains(word) || COMMANDS.contains(word);
    let (at, first) = words.find(|(_, word)| command(word)).unwrap();
    let of_family = FAMILIES.contains(first);
    let verb = if of_family { args[at + 1] } else { first };
    let named = || args[at + 1..].iter().any(|arg| STREAMS.contains(arg));
    match verb {
        "doctor" => "doctor",
        "send" => "orders-producer",
        "run" => "orders-worker",
        "stats" if !of_family && !named() => "overview",
        // It looks for groups that have vanished.
        "trim" => "orders-operator",
        _ if LOOKS.contains(&verb) || args.contains(&"--dry-run") => "orders-viewer",
        // Also who asks for campaigns: which messages died again is noted then.
        _ => "orders-operator",
    }
}

/// The URL of a server or a proxy of it as the one who does this.
pub(super) fn url_for(args: &[&str], port: u16) -> String {
    format!("redis://{}:{PASSWORD}@127.0.0.1:{port}", user(args))
}
