//! What a page shows, held against what was really said.

use std::collections::BTreeMap;

use regex::Regex;

/// What differs from one day to the next: ids, times, ages, random names. `…` stands for anything, on a line of its own
/// for any lines.
const DIFFERS: &str = r"(?x)
    (?<id> \d{13}-\d+ )
    | (?<time> \d{4}-\d\d-\d\dT[\d:.]+Z )
    | (?<ago> \d+(ms|s|m|h|d)\ ago )
    | (?<consumer> consumer_[0-9a-f]{8} )
    | (?<campaign> replay-\d{8}-\d{6}-[0-9a-f]{4} )
    | (?<gap> \ {2,} )
    | (?<any> … )";

/// Which id of the page is which real one.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeMap<String, String>);

impl Ids {
    /// A command of the page with the real ids in it.
    pub(super) fn real(&self, command: &str) -> String {
        let ids = Regex::new(r"\b\d{13}-\d+\b").unwrap();
        let real = ids.replace_all(command, |found: &regex::Captures<'_>| {
            let shown = &found[0];
            let known = self.0.get(shown);
            known
                .unwrap_or_else(|| panic!("the page has not shown {shown} before"))
                .clone()
        });
        real.into_owned()
    }

    /// Whether this was said; learns the ids that the page shows for the first time.
    pub(super) fn compare(&mut self, shown: &str, said: &str) -> Result<(), String> {
        let (pattern, new) = self.pattern(shown);
        let wrong = || format!("the page shows\n{shown}\nbut what is said is\n{said}");
        let found = Regex::new(&pattern).unwrap();
        let found = found.captures(said).ok_or_else(wrong)?;
        let mut learned = BTreeMap::new();
        for (number, shown) in new.into_iter().enumerate() {
            let real = found[number + 1].to_owned();
            if *learned.entry(shown).or_insert_with(|| real.clone()) != real {
                return Err(wrong());
            }
        }
        self.0.extend(learned);
        Ok(())
    }

    /// A pattern for it, and the new ids in the order of its groups.
    fn pattern(&self, shown: &str) -> (String, Vec<String>) {
        let differs = Regex::new(DIFFERS).unwrap();
        let (mut pattern, mut new) = ("^".to_owned(), Vec::new());
        for line in shown.lines() {
            if line == "…" {
                pattern.push_str(r"(?:.*\n)*?");
                continue;
            }
            let mut from = 0;
            for found in differs.captures_iter(line) {
                let all = found.get(0).unwrap();
                pattern.push_str(&regex::escape(&line[from..all.start()]));
                from = all.end();
                let group = |name| found.name(name).is_some();
                let like = match (found.name("id"), self.0.get(all.as_str())) {
                    (Some(_), Some(known)) => &regex::escape(known),
                    (Some(_), None) => {
                        new.push(all.as_str().to_owned());
                        r"(\d{13}-\d+)"
                    }
                    _ if group("time") => r"\d{4}-\d\d-\d\dT[\d:.]+Z",
                    _ if group("ago") => r"\d+(?:ms|s|m|h|d) ago",
                    _ if group("consumer") => "consumer_[0-9a-f]{8}",
                    _ if group("campaign") => r"replay-\d{8}-\d{6}-[0-9a-f]{4}",
                    _ if group("gap") => " {2,}",
                    _ => ".*",
                };
                pattern.push_str(like);
            }
            pattern.push_str(&regex::escape(&line[from..]));
            pattern.push_str(r" *\n");
        }
        pattern.push('$');
        (pattern, new)
    }
}

#[test]
fn what_differs_each_time_may_differ_and_nothing_else() {
    let shown = "ID               DIED\n1795349154372-0  1s ago\n…\nend …: 1795349154372-0\n";
    let said = |second: &str| format!("ID  DIED\n1-0  999ms ago\nx\ny\nend 3: {second}\n");
    let said = |second: &str| said(second).replace("1-0", "1800000000001-7");
    let mut ids = Ids::default();
    ids.compare(shown, &said("1800000000001-7")).unwrap();
    assert_eq!(ids.real("show 1795349154372-0"), "show 1800000000001-7");

    let another = said("1-0").replace("end 3: 1800000000001-7", "end 3: 1800000000002-0");
    assert!(ids.compare(shown, &another).is_err());
    assert!(Ids::default().compare(shown, &another).is_err());
    assert!(Ids::default().compare("a\n", "a\nb\n").is_err());
    assert!(Ids::default().compare("a  b\n", "a b\n").is_err());
}
