//! The pages that a new user reads, done as they say: every command, every program, every line that they show.

mod page;
mod reader;
mod rights;
mod transcript;

use std::path::Path;
use std::process::Command;

use self::page::{Block, Kind, blocks};
use self::reader::Reader;
use super::redrive;

const GETTING_STARTED: &str = "docs/getting-started.md";

/// What all need, and one section.
fn section(name: &str) -> Vec<Block> {
    let mut blocks = blocks(GETTING_STARTED);
    blocks.retain(|block| block.section == name || block.section == "What all need");
    assert!(blocks.iter().any(|block| block.section == name), "{name}");
    blocks
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
    let reader = Reader::reads(&blocks("README.md")).await;
    reader.leaves().await;
}

#[tokio::test]
async fn getting_started_with_a_shell_script() {
    let reader = Reader::reads(&section("Shell")).await;
    let said = reader.leaves().await;
    assert!(said.contains("STREAM"), "the watch shows nothing: {said}");
}

#[tokio::test]
async fn getting_started_with_python() {
    needs_python();
    Reader::reads(&section("Python")).await.leaves().await;
}

#[tokio::test]
async fn getting_started_behind_http() {
    needs_python();
    Reader::reads(&section("HTTP")).await.leaves().await;
}

#[tokio::test]
async fn getting_started_in_rust() {
    let reader = Reader::reads(&section("Rust")).await;
    let said = reader.leaves().await;
    assert!(said.contains("invoice 2 in USD\n"), "{said}");
    assert!(said.ends_with("2 succeeded, 1 dead letters\n"), "{said}");
}

#[tokio::test]
async fn what_is_said_of_production_is_so() {
    Reader::reads(&section("In production"))
        .await
        .leaves()
        .await;
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
    for page in ["README.md", GETTING_STARTED] {
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
