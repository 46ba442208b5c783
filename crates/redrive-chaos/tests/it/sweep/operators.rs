//! Everything that a person does with the command line, each with what has to come of it.

use std::collections::BTreeMap;

use super::check::{Fate, Left};
use super::scenarios::{Scenario, bury, scenario};
use super::step::{Ended, Step};
use super::world::{DLQ, GROUP, STREAM, World};

pub(super) const OPERATORS: [Scenario; 19] = [
    scenario!(send),
    scenario!(send_lines),
    scenario!(looking),
    scenario!(replay),
    scenario!(replay_keep),
    scenario!(replay_migrated),
    scenario!(replay_repaired),
    scenario!(replay_elsewhere),
    scenario!(packed),
    scenario!(undo),
    scenario!(purge),
    scenario!(trim),
    scenario!(group_made),
    scenario!(group_cleared),
    scenario!(export_import),
    scenario!(import_unknown_scripts),
    scenario!(replay_unknown_scripts),
    scenario!(demo),
    scenario!(demo_incident),
];

/// A message is added at most once, and who sent it is told what is known.
fn check_sent(world: &mut World<'_>, ended: &Ended, added: u64, all: u64) {
    world.insist("added more than once", added <= all, added);
    match ended.code {
        Some(0) => {
            world.same("added", &all, &added);
            let told = ended.stdout.lines().count() as u64;
            world.same("ids told", &all, &told);
        }
        Some(_) if added > 0 => {
            let unknown = ended.stderr.contains("unknown");
            world.insist("it must say that it does not know", unknown, &ended.stderr);
        }
        _ => {}
    }
}

async fn send(world: &mut World<'_>) {
    let step = Step::redrive(&["send", STREAM, "-f", "data=ok"]).never_again();
    let ended = world.step(step).await;
    let added = world.length(STREAM).await;
    check_sent(world, &ended, added, 1);
    world.settle(None, Left::Drained).await;
}

async fn send_lines(world: &mut World<'_>) {
    let lines = "{\"data\":\"ok\"}\n".repeat(3);
    let file = world.file("lines", &lines);
    let file = file.to_str().unwrap().to_owned();
    let step = Step::redrive(&["send", STREAM, "-"])
        .reading(&file)
        .never_again();
    let ended = world.step(step).await;
    let added = world.length(STREAM).await;
    check_sent(world, &ended, added, 3);
    world.settle(None, Left::Drained).await;
}

/// Nothing of what only looks may change anything.
async fn looking(world: &mut World<'_>) {
    world.load_scripts().await;
    let _: String = world.ask(&["XADD", STREAM, "*", "data", "ok"]).await;
    let _: String = world.ask(&["XGROUP", "CREATE", STREAM, GROUP, "0"]).await;
    let read = [
        "XREADGROUP",
        "GROUP",
        GROUP,
        "plain",
        "STREAMS",
        STREAM,
        ">",
    ];
    let _: redis::Value = world.ask(&read).await;
    let dead = bury(world, "ok", "1-1").await;
    let mut before: Vec<String> = world.ask(&["KEYS", "*"]).await;
    for words in [
        &["stats", STREAM, "-g", GROUP, "-o", "json"][..],
        &["stats", "-o", "json"],
        &["pending", "list", STREAM, "-g", GROUP, "-o", "json"],
        &["dlq", "list", STREAM, "-o", "json"],
        // Ids by name, and a filter that goes through all and reads payloads.
        &[
            "dlq", "list", STREAM, "--id", &dead, "--id", "1-1", "-o", "json",
        ],
        &[
            "dlq", "list", STREAM, "--where", "data=ok", "--newest", "-o", "json",
        ],
        &["dlq", "groups", STREAM, "-o", "json"],
        &["dlq", "show", &dead, STREAM, "-o", "json"],
        &["dlq", "pull", &dead, STREAM, "--to", "-"],
        &["dlq", "replay", STREAM, "--all", "--dry-run", "-o", "json"],
        &["trim", STREAM, "--dry-run", "-o", "json"],
        &["group", "list", STREAM, "-o", "json"],
        &["group", "show", STREAM, "-g", GROUP, "-o", "json"],
        &[
            "group",
            "delete",
            STREAM,
            "-g",
            GROUP,
            "--dry-run",
            "-o",
            "json",
        ],
        &["consumer", "list", STREAM, "-g", GROUP, "-o", "json"],
        &[
            "consumer",
            "prune",
            STREAM,
            "-g",
            GROUP,
            "--idle",
            "0s",
            "--dry-run",
            "-o",
            "json",
        ],
        &["dlq", "shadow", STREAM, "-o", "json", "--", "true"],
    ] {
        let ended = world.step(Step::redrive(words)).await;
        let json: Result<serde_json::Value, _> = serde_json::from_str(&ended.stdout);
        world.insist("it answers in JSON", json.is_ok(), &ended.stdout);
    }
    let mut after: Vec<String> = world.ask(&["KEYS", "*"]).await;
    before.sort();
    after.sort();
    world.same("keys", &before, &after);
    let length = world.length(DLQ).await;
    world.same("dead letters", &1, &length);
}

/// Three dead letters are put back, each once, and handled.
async fn put_back(world: &mut World<'_>, options: &[&str], kept: u64) {
    for n in 1..=3 {
        bury(world, "\"ok\"", &format!("1-{n}")).await;
    }
    let mut words = vec!["dlq", "replay", STREAM, "--all", "--yes", "-o", "json"];
    words.extend(options);
    world.step(Step::redrive(&words)).await;
    let lengths = (world.length(STREAM).await, world.length(DLQ).await);
    world.same("put back, and kept", &(3, kept), &lengths);
    let finish = world.worker(&["--until-idle"]);
    world.settle(Some(finish), Left::Drained).await;
    let runs = world.starts().len();
    world.same("runs of what was put back", &3, &runs);
}

async fn replay(world: &mut World<'_>) {
    world.load_scripts().await;
    put_back(world, &[], 0).await;
}

async fn replay_unknown_scripts(world: &mut World<'_>) {
    put_back(world, &[], 0).await;
}

async fn replay_keep(world: &mut World<'_>) {
    world.load_scripts().await;
    put_back(world, &["--keep"], 3).await;
}

async fn replay_migrated(world: &mut World<'_>) {
    world.load_scripts().await;
    put_back(world, &["--migrate", "cat"], 0).await;
}

async fn replay_repaired(world: &mut World<'_>) {
    world.load_scripts().await;
    put_back(world, &["--rate", "40/s", "--set", "repaired=yes"], 0).await;
}

async fn replay_elsewhere(world: &mut World<'_>) {
    world.load_scripts().await;
    for n in 1..=3 {
        bury(world, "ok", &format!("1-{n}")).await;
    }
    let words = [
        "dlq",
        "replay",
        STREAM,
        "--all",
        "--yes",
        "--target",
        "elsewhere",
    ];
    world.step(Step::redrive(&words)).await;
    let lengths = (world.length("elsewhere").await, world.length(DLQ).await);
    world.same("put back, and kept", &(3, 0), &lengths);
    world.settle(None, Left::Drained).await;
}

/// More fields than a script can add: the dead letter is packed, and a transaction puts it back.
async fn packed(world: &mut World<'_>) {
    world.load_scripts().await;
    let names: Vec<String> = (0..4_000).map(|n| format!("f{n}")).collect();
    let mut words = vec!["XADD", STREAM, "*", "data", "reject-at-first"];
    for name in &names {
        words.extend([name.as_str(), "x"]);
    }
    let first: String = world.ask(&words).await;
    let worker = world.worker(&["--until-idle"]);
    world.step(worker).await;
    let length = world.length(DLQ).await;
    world.same("dead letters", &1, &length);
    let words = ["dlq", "replay", STREAM, "--all", "--yes"];
    world.step(Step::redrive(&words)).await;
    let lengths = (world.length(STREAM).await, world.length(DLQ).await);
    world.same("put back, and kept", &(2, 0), &lengths);
    let finish = world.worker(&["--until-idle"]);
    world.settle(Some(finish), Left::Drained).await;
    let runs = world.starts().into_iter().filter(|id| *id != first).count();
    world.same("runs of what was put back", &1, &runs);
}

/// What nobody has begun comes back into the queue, byte for byte, each once.
async fn undo(world: &mut World<'_>) {
    world.load_scripts().await;
    for n in 1..=3 {
        bury(world, "ok", &format!("1-{n}")).await;
    }
    let before = world.bodies(DLQ).await;
    let _: String = (world.ask(&["XGROUP", "CREATE", STREAM, GROUP, "$", "MKSTREAM"])).await;
    let campaign = [
        "--all",
        "--campaign",
        "fix",
        "--set",
        "repaired=yes",
        "--yes",
    ];
    let words = [&["dlq", "replay", STREAM][..], &campaign].concat();
    world.step(Step::redrive(&words)).await;
    let lengths = (world.length(STREAM).await, world.length(DLQ).await);
    world.same("put back, and kept", &(3, 0), &lengths);
    world
        .step(Step::redrive(&["dlq", "campaigns", STREAM, "-o", "json"]))
        .await;
    let words = ["dlq", "undo", "fix", STREAM, "--yes", "-o", "json"];
    world.step(Step::redrive(&words)).await;
    let lengths = (world.length(STREAM).await, world.length(DLQ).await);
    world.same("put back, and parked again", &(0, 3), &lengths);
    let after = world.bodies(DLQ).await;
    world.same("what is parked", &before, &after);
    let finish = world.worker(&["--until-idle"]);
    world.settle(Some(finish), Left::Drained).await;
}

async fn purge(world: &mut World<'_>) {
    world.load_scripts().await;
    for n in 1..=3 {
        bury(world, "ok", &format!("1-{n}")).await;
    }
    world.add("ok", Fate::Done(1)).await;
    let words = ["dlq", "purge", STREAM, "--all", "--yes", "-o", "json"];
    world.step(Step::redrive(&words)).await;
    let length = world.length(DLQ).await;
    world.same("dead letters", &0, &length);
    let finish = world.worker(&["--until-idle"]);
    world.settle(Some(finish), Left::Drained).await;
}

/// What was exported comes back when the queue is lost: each once, one of them with more fields than a
/// script can add.
async fn carry(world: &mut World<'_>) {
    for n in 1..=3 {
        bury(world, "ok", &format!("1-{n}")).await;
    }
    let names: Vec<String> = (0..4_000).map(|n| format!("f{n}")).collect();
    let mut words = vec!["XADD", DLQ, "*"];
    for name in &names {
        words.extend([name.as_str(), "x"]);
    }
    let _: String = world.ask(&words).await;
    let file = world.file("export", "");
    let file = file.to_str().unwrap().to_owned();
    let words = ["dlq", "export", STREAM, "--to", &file, "--force"];
    world.step(Step::redrive(&words)).await;
    let length = world.length(DLQ).await;
    world.same("exported, and still there", &4, &length);
    let ledger = format!("{{{DLQ}}}:redrive:ledger");
    let _: i64 = world.ask(&["DEL", DLQ, &ledger]).await;
    let words = ["dlq", "import", &file, "--yes", "-o", "json"];
    world.step(Step::redrive(&words)).await;
    let length = world.length(DLQ).await;
    world.same("imported", &4, &length);
    let counted: u64 = world.ask(&["HGET", &ledger, "imported"]).await;
    world.same("counted", &4, &counted);
    world.settle(None, Left::Drained).await;
}

async fn export_import(world: &mut World<'_>) {
    world.load_scripts().await;
    carry(world).await;
}

async fn import_unknown_scripts(world: &mut World<'_>) {
    carry(world).await;
}

/// What is done goes; what is pending, and what nobody has read, stays.
async fn trim(world: &mut World<'_>) {
    // More than fits in one node: the rest of one takes a step of its own.
    let fill = "for n = 1, 250 do redis.call('XADD', KEYS[1], '*', 'data', 'ok') end";
    let _: redis::Value = world.ask(&["EVAL", fill, "1", STREAM]).await;
    let _: String = (world.ask(&["XGROUP", "CREATE", STREAM, GROUP, "$"])).await;
    world.add("ok", Fate::Done(1)).await;
    world.add("ok", Fate::Done(1)).await;
    let read = [
        "XREADGROUP",
        "GROUP",
        GROUP,
        "plain",
        "STREAMS",
        STREAM,
        ">",
    ];
    let _: redis::Value = world.ask(&read).await;
    world.add("ok", Fate::Done(1)).await;
    let words = ["trim", STREAM, "--yes", "-o", "json"];
    world.step(Step::redrive(&words)).await;
    let length = world.length(STREAM).await;
    world.same("entries left", &3, &length);
    let finish = world.worker(&["--until-idle"]);
    world.settle(Some(finish), Left::Drained).await;
}

/// A group that is created twice is there once, and loses nothing.
async fn group_made(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("ok", Fate::Done(1)).await;
    let words = ["group", "create", STREAM, "-g", GROUP, "-o", "json"];
    world.step(Step::redrive(&words)).await;
    let finish = world.worker(&["--until-idle"]);
    world.settle(Some(finish), Left::Drained).await;
}

/// Who is gone is cleared away and who holds something stays; a group that nobody needs goes with all that is kept of
/// it, and the other stays.
async fn group_cleared(world: &mut World<'_>) {
    world.load_scripts().await;
    let _: String = (world.ask(&["XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM"])).await;
    let _: String = (world.ask(&["XGROUP", "CREATE", STREAM, "other", "0"])).await;
    world.add("ok", Fate::Done(1)).await;
    let read = [
        "XREADGROUP",
        "GROUP",
        GROUP,
        "plain",
        "STREAMS",
        STREAM,
        ">",
    ];
    let _: redis::Value = world.ask(&read).await;
    let gone = ["XGROUP", "CREATECONSUMER", STREAM, GROUP, "gone"];
    let _: u64 = world.ask(&gone).await;
    let beside = |key: &str| format!("{{{STREAM}}}:redrive:other:{key}");
    let _: u64 = (world.ask(&["HSET", &beside("consumers"), "dead", "100"])).await;
    let _: u64 = world.ask(&["HSET", &beside("meta"), "mark", "1-1"]).await;
    let words = ["consumer", "prune", STREAM, "-g", GROUP, "--idle", "0s"];
    world
        .step(Step::redrive(&[&words[..], &["--yes"]].concat()))
        .await;
    let consumers: Vec<BTreeMap<String, redis::Value>> =
        world.ask(&["XINFO", "CONSUMERS", STREAM, GROUP]).await;
    let names = consumers.iter().filter_map(|one| match one.get("name") {
        Some(redis::Value::BulkString(name)) => Some(String::from_utf8_lossy(name).into_owned()),
        _ => None,
    });
    let names: Vec<String> = names.collect();
    world.same("who stays", &vec!["plain".to_owned()], &names);
    let words = ["group", "delete", STREAM, "-g", "other", "--yes"];
    world.step(Step::redrive(&words)).await;
    let groups: Vec<redis::Value> = world.ask(&["XINFO", "GROUPS", STREAM]).await;
    world.same("groups", &1, &groups.len());
    let kept: Vec<String> = world.ask(&["KEYS", &beside("*")]).await;
    world.same("what is kept of it", &Vec::new(), &kept);
    let finish = world.worker(&["--until-idle"]);
    world.settle(Some(finish), Left::Drained).await;
}

/// It tells its story, or says that it could not; what it leaves on the server when it is killed is named after it.
async fn demo(world: &mut World<'_>) {
    let ended = world.step(Step::redrive(&["demo"]).never_again()).await;
    if ended.code == Some(0) {
        let keys: Vec<String> = world.ask(&["KEYS", "*"]).await;
        let told = ended.stdout.contains("may be left");
        world.insist("keys left, and not told", keys.is_empty() || told, keys);
    }
}

/// It makes the whole incident, whatever is harmed, when it is asked again and may begin anew.
async fn demo_incident(world: &mut World<'_>) {
    let words = ["demo", "--incident", "--yes", "--force", "--one-in", "10"];
    world.step(Step::redrive(&words)).await;
    let queue = "redrive-demo:incident:dlq";
    let length = world.length(queue).await;
    world.same("dead letters", &4_000, &length);
    let counted: u64 = world
        .ask(&[
            "HGET",
            &format!("{{{queue}}}:redrive:ledger"),
            "dead_lettered",
        ])
        .await;
    world.same("counted", &4_000, &counted);
}
