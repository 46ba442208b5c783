//! The reference pages are those of the commands as they are.

use std::path::Path;

use super::redrive;

#[test]
fn the_reference_pages_are_fresh() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for page in ["cli", "configuration"] {
        let made = redrive(&["reference", page]).succeeded().stdout;
        let kept = std::fs::read_to_string(docs.join(format!("{page}.md"))).unwrap_or_default();
        if made != kept {
            let differs = made
                .lines()
                .zip(kept.lines())
                .find(|(made, kept)| made != kept);
            panic!(
                "docs/{page}.md is stale: run `make reference` and look at the difference; the first: {differs:?}"
            );
        }
    }
}

#[test]
fn the_reference_tells_every_command_and_no_hidden_one() {
    let cli = redrive(&["reference", "cli"]).succeeded().stdout;
    for part in [
        "## redrive send\n",
        "## redrive config show\n",
        "| `-f NAME=VALUE` |",
        "| `--max-size SIZE` | `8MiB` |",
        "redrive send orders - < orders.jsonl\n",
        "| `-o, --output FORMAT` | `table` |",
    ] {
        assert!(cli.contains(part), "{part}\n{cli}");
    }
    assert!(!cli.contains("demo-worker") && !cli.contains("redrive reference"));
    let configuration = redrive(&["reference", "configuration"]).succeeded().stdout;
    for part in [
        "## `[send]`\n",
        "| `max_size` | `SIZE` | `8MiB` |",
        "| `tls_ca` | `FILE` |",
    ] {
        assert!(configuration.contains(part), "{part}\n{configuration}");
    }
    // Each is a key that a file may hold, and none is one that it may not.
    assert!(!configuration.contains("| `json` |") && !configuration.contains("| `yes` |"));
}

/// `redrive dlq undo` stands in a row that begins with `redrive dlq` and has `undo`.
#[test]
fn the_readme_tells_of_every_command() {
    let cli = redrive(&["reference", "cli"]).succeeded().stdout;
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let rows: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with("| `redrive "))
        .collect();
    let mut commands = 0;
    for heading in cli.lines() {
        let Some(command) = heading.strip_prefix("## redrive ") else {
            continue;
        };
        commands += 1;
        let told = rows.iter().any(|row| match command.split_once(' ') {
            Some((of, name)) => {
                let whole = row.contains(&format!("`redrive {command}`"));
                let beside = row.contains(&format!("`{name}`"));
                whole || (beside && row.starts_with(&format!("| `redrive {of} ")))
            }
            None => {
                let whole = row.contains(&format!("`redrive {command}`"));
                whole
                    || row.contains(&format!("`redrive {command} "))
                    || row.contains(&format!("`{command}`"))
            }
        });
        assert!(told, "the table of the README has no `redrive {command}`");
    }
    assert!(commands > 20, "{commands}");
}
