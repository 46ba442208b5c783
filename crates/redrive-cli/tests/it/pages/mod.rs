//! The pages that a new user reads, done as they say: every command, every program, every line that they show.

mod links;
pub(crate) mod page;
mod reader;
mod rights;
mod transcript;

use std::path::Path;
use std::process::Command;

use self::page::{Block, Kind, blocks};
use self::reader::Reader;
use super::operate::rig::{ENVELOPE, FLAT, Rig};
use super::redrive;

const GETTING_STARTED: &str = "docs/getting-started.md";

const SELECTION: &str = "docs/selection.md";
const EXPORT: &str = "docs/export.md";
const DEAD_LETTERS: &str = "docs/dead-letters.md";
const GROUPS: &str = "docs/groups.md";

const ALERTS: &str = "docs/alerts.md";

const DOCTOR: &str = "docs/doctor.md";

const COMPATIBILITY: &str = "docs/compatibility.md";

fn section(page: &str, name: &str) -> Vec<Block> {
    let mut blocks = blocks(page);
    blocks.retain(|block| block.section == name);
    assert!(!blocks.is_empty(), "{page} has nothing under {name}");
    blocks
}

/// What all need, and one section.
async fn gets_started(name: &str) -> Reader {
    let mut blocks = section(GETTING_STARTED, "What all need");
    blocks.extend(section(GETTING_STARTED, name));
    Reader::of(&blocks).await.reads(&blocks).await
}

#[track_caller]
fn needs_python() {
    let found = Command::new("python3").arg("--version").output();
    assert!(
        found.is_ok_and(|found| found.status.success()),
        "this page needs python3: install it, `make test-needs` does"
    );
}

#[tokio::test]
async fn the_readme_takes_its_60_seconds_to_a_replayed_dead_letter() {
    let blocks = blocks("README.md");
    Reader::of(&blocks)
        .await
        .reads(&blocks)
        .await
        .leaves()
        .await;
}

#[tokio::test]
async fn getting_started_with_a_shell_script() {
    let reader = gets_started("Shell").await;
    let said = reader.leaves().await;
    assert!(said.contains("STREAM"), "the watch shows nothing: {said}");
}

#[tokio::test]
async fn getting_started_with_python() {
    needs_python();
    gets_started("Python").await.leaves().await;
}

#[tokio::test]
async fn getting_started_behind_http() {
    needs_python();
    gets_started("HTTP").await.leaves().await;
}

#[tokio::test]
async fn getting_started_in_rust() {
    let reader = gets_started("Rust").await;
    let said = reader.leaves().await;
    assert!(said.contains("invoice 2 in USD\n"), "{said}");
    assert!(said.ends_with("2 succeeded, 1 dead letters\n"), "{said}");
}

#[tokio::test]
async fn what_is_said_of_production_is_so() {
    gets_started("In production").await.leaves().await;
}

#[tokio::test]
async fn dead_letters_are_carried_as_the_page_says() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let blocks = blocks(EXPORT);
    Reader::on(rig.server).reads(&blocks).await.leaves().await;
}

#[tokio::test]
async fn dead_letters_are_looked_at_as_their_page_says() {
    let blocks = blocks(DEAD_LETTERS);
    Reader::of(&blocks)
        .await
        .reads(&blocks)
        .await
        .leaves()
        .await;
}

#[tokio::test]
async fn groups_are_kept_as_their_page_says() {
    let server = redrive_testkit::Server::start().await;
    let blocks = blocks(GROUPS);
    Reader::on(server).reads(&blocks).await.leaves().await;
}

#[tokio::test]
async fn the_doctor_finds_what_its_page_says() {
    let blocks = blocks(DOCTOR);
    Reader::of(&blocks)
        .await
        .reads(&blocks)
        .await
        .leaves()
        .await;
}

#[tokio::test]
async fn alerts_are_raised_as_their_page_says() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let blocks = blocks(ALERTS);
    let cron = blocks.iter().find(|block| block.language == "cron");
    let line = cron.unwrap().text.trim_end();
    let command = line.splitn(6, ' ').nth(5).unwrap();
    let folder = std::path::PathBuf::from(env!("CARGO_BIN_EXE_redrive"));
    let said = Command::new("sh")
        .args(["-c", command])
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin", folder.parent().unwrap().display()),
        )
        .env("REDRIVE_URL", rig.server.url())
        .output()
        .unwrap();
    let stderr = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(5), "{stderr}");
    assert!(
        stderr.starts_with("broken: new_fingerprint in orders:dlq: 3 of "),
        "{stderr}"
    );
    assert!(said.stdout.is_empty());
    Reader::on(rig.server).reads(&blocks).await.leaves().await;
}

/// Every code that the doctor may answer is told, and no other.
#[test]
fn the_page_of_the_doctor_tells_every_code() {
    let page = page::text(DOCTOR);
    let told = regex::Regex::new(r"(?m)^\| `([a-z-]+)` \|").unwrap();
    let mut told: Vec<String> = told
        .captures_iter(&page)
        .map(|row| row[1].to_owned())
        .collect();
    let mut codes: Vec<&str> = redrive::FindingCode::ALL
        .iter()
        .map(|code| code.as_str())
        .collect();
    told.sort_unstable();
    codes.sort_unstable();
    assert_eq!(told, codes);
}

#[tokio::test]
async fn the_first_system_moves_as_its_page_says() {
    needs_python();
    let rig = Rig::loaded(FLAT).await;
    let blocks = section(COMPATIBILITY, "RobustStreamProcessor");
    Reader::on(rig.server).reads(&blocks).await.leaves().await;
}

#[tokio::test]
async fn the_second_system_moves_as_its_page_says() {
    needs_python();
    let rig = Rig::loaded(ENVELOPE).await;
    let reader = Reader::on(rig.server);
    // The reader's own.
    reader.has("handle", "#!/bin/sh\ncat > /dev/null\n");
    let blocks = section(COMPATIBILITY, "core.dlq");
    reader.reads(&blocks).await.leaves().await;
}

/// Each command of the page finds what it is about, and nothing else.
#[tokio::test]
async fn the_selection_selects_as_its_page_says() {
    let rig = Rig::start().await;
    let own: [&[u8]; 4] = [
        b"data",
        br#"{"customer":{"id":7},"items":[{"sku":"tea"}],"unit.price":1.5}"#,
        b"kind",
        b"refund",
    ];
    let said = [
        ("redrive-error", "Timeout after 250ms"),
        ("redrive-dead-at", "1795324222405"),
    ];
    rig.dies("orders:dlq", "1795324222405-0", &own, &said).await;
    let said = [("redrive-attempts", "1")];
    rig.dies("orders:dlq", "1795324222406-0", &[b"data", b"{}"], &said)
        .await;
    let blocks = blocks(SELECTION);
    let commands = blocks.iter().filter(|block| block.kind == Kind::Run);
    let commands: String = commands.map(|block| block.text.as_str()).collect();
    // Each of them ends with 0 only where something matches.
    assert!(commands.lines().count() >= 7, "{commands}");
    Reader::on(rig.server).reads(&blocks).await.leaves().await;
}

/// In running text and in tables: they are understood up to their end.
#[test]
fn every_command_that_a_page_names_exists() {
    let pages = [
        "README.md",
        GETTING_STARTED,
        COMPATIBILITY,
        SELECTION,
        EXPORT,
        DEAD_LETTERS,
        GROUPS,
        ALERTS,
        DOCTOR,
        "docs/library.md",
    ];
    let named = regex::Regex::new("`redrive ([a-z][^`]*)`").unwrap();
    let mut seen = 0;
    for page in pages {
        for found in named.captures_iter(&page::text(page)) {
            let options = found[1].split(" -- ").next().unwrap();
            let mut words: Vec<&str> = options.split(' ').collect();
            words.push("--help");
            let ended = redrive(&words);
            assert_eq!(ended.code, Some(0), "{page}: {options}: {}", ended.stderr);
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn the_programs_of_the_pages_are_the_examples_that_are_run() {
    let mut seen = 0;
    for block in blocks(GETTING_STARTED) {
        let Kind::Program(name) = &block.kind else {
            continue;
        };
        seen += 1;
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
        let example = std::fs::read_to_string(example).unwrap();
        let (head, program) = example.split_once("\n\n").unwrap();
        assert!(head.starts_with("//! "), "{head}");
        assert_eq!(program, block.text, "line {}", block.line);
    }
    assert_eq!(seen, 1);
}

#[test]
fn only_what_takes_minutes_is_not_run() {
    for page in [
        "README.md",
        GETTING_STARTED,
        COMPATIBILITY,
        SELECTION,
        EXPORT,
        DEAD_LETTERS,
        GROUPS,
        ALERTS,
        DOCTOR,
    ] {
        for block in blocks(page) {
            if block.kind == Kind::NotRun {
                let install = "cargo install --locked --path crates/redrive-cli\n";
                assert_eq!(block.text, install, "{page}:{}", block.line);
            }
        }
    }
}

/// What systemd would start is understood, and has the time that it needs to stop.
#[test]
fn the_unit_of_the_page_starts_a_worker() {
    let blocks = blocks(GETTING_STARTED);
    let unit = blocks.iter().find(|block| block.language == "ini").unwrap();
    let value = |key: &str| {
        let mut lines = unit.text.lines();
        lines.find_map(|line| line.strip_prefix(key)).unwrap()
    };
    let line = value("ExecStart=/usr/local/bin/redrive ");
    let (options, handler) = line.split_once(" -- ").unwrap();
    assert!(!handler.is_empty());
    let mut words: Vec<&str> = options.split(' ').collect();
    words.push("--help");
    let ended = redrive(&words);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("[default: 30s]"), "the drain time");
    assert!(value("TimeoutStopSec=").parse::<u64>().unwrap() > 30 + 12);
}
