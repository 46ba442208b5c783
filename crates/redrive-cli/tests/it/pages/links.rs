//! Every link of a page to another one leads there.

use std::path::{Path, PathBuf};

use regex::Regex;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = [root.clone(), root.join("docs"), root.join("docs/decisions")];
    folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect()
}

/// The headings of a page as they stand in a link.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^()#:\s]*)(?:#([^()\s]*))?\)").unwrap();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for found in link.captures_iter(&text) {
            seen += 1;
            let to = match &found[1] {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let there = match found.get(2) {
                None => to.exists(),
                Some(anchor) => std::fs::read_to_string(&to)
                    .is_ok_and(|text| anchors(&text).iter().any(|it| it == anchor.as_str())),
            };
            if !there {
                wrong.push(format!("{}: {}", page.display(), &found[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100, "{seen}");
}
