//! The house rules that a machine can check: floors, file heads, names, pages that must stay true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_path_buf()
}

/// Every file below a folder of the repository with one of these endings, and its text.
fn files(folder: &str, endings: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let shown = path
                    .strip_prefix(root())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.insert(shown, fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(
        !found.is_empty(),
        "no {endings:?} below {folder}: this check checks nothing"
    );
    found
}

#[track_caller]
fn nothing(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

#[test]
fn every_source_file_says_in_its_first_line_what_it_is_for() {
    let wrong: Vec<_> = files("crates", &[".rs"])
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    nothing("no `//!` sentence at the head", &wrong);
}

#[test]
fn every_script_begins_with_its_keys_arguments_and_answer() {
    let mut wrong = Vec::new();
    for (path, text) in files("crates/redrive/src/redis/scripts", &[".lua"]) {
        let head: String = text
            .lines()
            .take_while(|line| line.starts_with("--"))
            .collect();
        let shared = path.ends_with("shared.lua");
        if !head.contains("ARGV") || !(shared || head.contains("Returns")) {
            wrong.push(path);
        }
    }
    nothing(
        "a script whose head does not tell its arguments and answer",
        &wrong,
    );
}

/// The bug: a merge lost the line that declared the simulation of the settle protocol. Its files stood
/// there, the pages cited its tests, and nothing ran it any more.
#[test]
fn every_source_file_is_a_module_of_its_crate() {
    let all = files("crates", &[".rs"]);
    let mut wrong = Vec::new();
    for path in all.keys().map(Path::new) {
        let folder = path.parent().unwrap();
        let stem = path.file_stem().unwrap().to_string_lossy();
        let folder_name = folder.file_name().unwrap().to_string_lossy();
        let roots = ["main", "lib", "build"];
        // Cargo itself finds these.
        let mut above = folder.ancestors().take(3);
        let target = ["examples", "tests", "benches", "bin"].contains(&&*folder_name)
            && above.any(|up| root().join(up).join("Cargo.toml").exists());
        if roots.contains(&&*stem) || target {
            continue;
        }
        // Where it has to be declared: beside it, or, for the head of a folder, above that.
        let (name, home) = match &*stem {
            "mod" => (folder_name, folder.parent().unwrap()),
            _ => (stem, folder),
        };
        let heads = [
            home.join("mod.rs"),
            home.join("lib.rs"),
            home.join("main.rs"),
            home.with_extension("rs"),
        ];
        let declared = heads
            .iter()
            .filter_map(|head| all.get(&*head.to_string_lossy()));
        let declares = |text: &String| {
            text.lines()
                .map(str::trim)
                .any(|line| line.ends_with(&format!("mod {name};")) && !line.starts_with("//"))
        };
        if !declared.into_iter().any(declares) {
            wrong.push(path.display().to_string());
        }
    }
    nothing("declared by no `mod`: nobody compiles these", &wrong);
}

#[test]
fn files_fit_in_the_head() {
    let wrong: Vec<_> = files("crates", &[".rs", ".lua"])
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > 450)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    nothing("split these", &wrong);
}

#[test]
fn nothing_is_called_by_a_name_that_says_nothing() {
    let banned = [
        "utils", "util", "common", "helpers", "core", "types", "manager", "service", "misc",
    ];
    let wrong: Vec<_> = files("crates", &[".rs"])
        .into_keys()
        .filter(|path| {
            let stem = Path::new(path).with_extension("");
            stem.iter()
                .any(|part| banned.contains(&part.to_string_lossy().as_ref()))
        })
        .collect();
    nothing("a file or folder without a subject", &wrong);
}

/// The floors of the library, from the ground up: imports go down only.
const FLOORS: [&[&str]; 6] = [
    &[
        "names", "calendar", "message", "outcome", "error", "codec", "handler", "spill",
    ],
    &[
        "retry",
        "rate",
        "rule",
        "verdict",
        "dead_letter",
        "campaign",
        "audit",
        "archive",
        "payload",
        "selection",
        "groups",
        "ledger",
        "fingerprint",
        "stats",
        "trim",
        "members",
        "doctor",
    ],
    &[
        "backend",
        "audit_log",
        "delivery",
        "moves",
        "keeping",
        "closing",
        "gate",
    ],
    &["memory", "redis"],
    &["processor"],
    &[
        "broker",
        "producer",
        "dead_letter_queue",
        "trimming",
        "examining",
        "upkeep",
    ],
];
/// May be used from anywhere.
const ANYWHERE: [&str; 1] = ["telemetry"];
/// Test modules that look at the whole house.
const TESTS: [&str; 3] = ["conformance", "agreement", "lib"];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for (path, text) in files("crates/redrive/src", &[".rs"]) {
        let inside = path.strip_prefix("crates/redrive/src/").unwrap();
        let module = inside.split(['/', '.']).next().unwrap();
        if TESTS.contains(&module) || inside.contains("/tests") || inside.contains("/lab") {
            continue;
        }
        if ANYWHERE.contains(&module) {
            continue;
        }
        let Some(here) = floor(module) else {
            wrong.push(format!("{path}: `{module}` is on no floor"));
            continue;
        };
        // What only tests import is no floor of the house.
        let code = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or(&text);
        for (number, line) in code.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for used in line.split("crate::").skip(1) {
                let used = used
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap();
                let Some(there) = floor(used) else { continue };
                let sideways = there == here && there >= 3 && used != module && here == 3;
                if there > here || sideways {
                    wrong.push(format!("{path}:{}: uses crate::{used}", number + 1));
                }
            }
        }
    }
    nothing(
        "imports that go up, or from one backend to the other",
        &wrong,
    );
}

#[test]
fn only_the_broker_names_a_backend() {
    let mut wrong = Vec::new();
    for (path, text) in files("crates/redrive/src", &[".rs"]) {
        let inside = path.strip_prefix("crates/redrive/src/").unwrap();
        let allowed = [
            "broker.rs",
            "lib.rs",
            "redis/",
            "memory/",
            "conformance",
            "agreement",
        ];
        if allowed.iter().any(|allowed| inside.starts_with(allowed)) || inside.contains("/tests") {
            continue;
        }
        for name in ["crate::redis", "crate::memory", "redis::"] {
            if text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(name))
            {
                wrong.push(format!("{path}: {name}"));
            }
        }
    }
    nothing("a backend named above its floor", &wrong);
}

#[test]
fn every_direct_dependency_has_a_decision() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("\n[").next())
        .unwrap();
    let decisions: String = files("docs/decisions", &[".md"]).into_values().collect();
    let wrong: Vec<_> = dependencies
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("redrive") && !decisions.contains(&format!("`{name}`")))
        .collect();
    nothing("dependencies without a page in docs/decisions", &wrong);
}

#[test]
fn every_guarantee_cites_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let code: String = files("crates", &[".rs"]).into_values().collect();
    let known: BTreeSet<&str> = code
        .split("fn ")
        .skip(1)
        .map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap()
        })
        .collect();
    let mut wrong = Vec::new();
    for number in 1..=16 {
        let mark = format!("## G{number} ");
        let Some(section) = page.split(&mark).nth(1) else {
            wrong.push(format!("G{number} has no section"));
            continue;
        };
        let section = section.split("\n## ").next().unwrap();
        let not_yet = section.contains("Not in this version");
        let cited: Vec<&str> = section
            .split('`')
            .filter_map(|quoted| quoted.strip_prefix("test: "))
            .collect();
        if cited.is_empty() && !not_yet {
            wrong.push(format!("G{number} cites no test"));
        }
        for test in cited {
            let name = test.rsplit("::").next().unwrap();
            if !known.contains(name) {
                wrong.push(format!("G{number} cites {test}, which does not exist"));
            }
        }
    }
    nothing("docs/guarantees.md", &wrong);
}

/// Breaking every guarantee takes minutes, so the gate only sees that each could be broken: a
/// sabotage that no longer fits proves nothing.
#[test]
fn every_sabotage_fits_its_file() {
    let folder = root().join("scripts/sabotages");
    let mut wrong = Vec::new();
    let mut fitting = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let sabotage = fs::read_to_string(&path).unwrap();
        let value = |name: &str| sabotage.lines().find_map(|line| line.strip_prefix(name));
        let find = sabotage.split("<<<<\n").nth(1);
        let parts = find.and_then(|rest| rest.split_once("====\n"));
        let find = parts.map(|(find, _)| find);
        let switched = parts.is_some_and(|(_, put)| put.contains("SABOTAGED"));
        let file = value("file: ").and_then(|file| fs::read_to_string(root().join(file)).ok());
        let named = value("guarantee: ").is_some() && value("breaks: ").is_some();
        let tested = value("tests: ").is_some();
        match (file, find) {
            (Some(file), Some(find))
                if named && tested && switched && file.matches(find).count() == 1 =>
            {
                fitting += 1;
            }
            _ => wrong.push(path.display().to_string()),
        }
    }
    nothing("sabotages that do not fit their file exactly once", &wrong);
    assert!(fitting > 30, "{fitting}: this check checks nothing");
}

#[test]
fn architecture_names_files_that_exist() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let known = files("crates", &[".rs", ".lua", ".toml"]);
    let mut wrong = Vec::new();
    for quoted in page.split('`').skip(1).step_by(2) {
        let is_file = quoted.ends_with(".rs") || quoted.ends_with(".lua");
        let clean = !quoted.contains(['*', ' ', '<']);
        if is_file && clean && !known.keys().any(|path| path.ends_with(quoted)) {
            wrong.push(quoted.to_owned());
        }
    }
    nothing("ARCHITECTURE.md names files that are not there", &wrong);
}

#[test]
fn nothing_waits_by_sleeping_in_tests() {
    let mut wrong = Vec::new();
    for (path, text) in files("crates", &[".rs"]) {
        let test_code = if path.contains("/tests") || path.contains("conformance") {
            text.as_str()
        } else {
            text.split("#[cfg(test)]\nmod tests {")
                .nth(1)
                .unwrap_or_default()
        };
        // The one place that polls, and this check itself.
        if path.ends_with("eventually.rs") || path.ends_with("tidy.rs") {
            continue;
        }
        for (number, line) in test_code.lines().enumerate() {
            if line.contains("thread::sleep") {
                wrong.push(format!(
                    "{path}: {} of its tests: {}",
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    nothing("sleeps in tests", &wrong);
}
