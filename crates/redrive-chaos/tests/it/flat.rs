//! Whether something stays flat over time: samples, their quarters, and the rule.

use std::collections::BTreeMap;

/// What is measured together: name → value.
pub(crate) type Sample = BTreeMap<&'static str, u64>;

/// How much more the last quarter may show than the first: a tenth, and this much whatever the value.
pub(crate) const SLACK: [(&str, u64); 6] = [
    ("rss_kib", 4_096),
    ("descriptors", 8),
    ("threads", 4),
    ("consumers", 3),
    ("keys", 12),
    ("server_kib", 2_048),
];

/// The part at the beginning that does not count, in hundredths: pools and caches fill.
const WARM_UP: usize = 15;

/// Minimum, median, maximum.
type Spread = (u64, u64, u64);

/// The quarters of what was measured after the warm-up.
fn quarters(samples: &[Sample], name: &str) -> Vec<Spread> {
    let warm = &samples[samples.len() * WARM_UP / 100..];
    (0..4)
        .map(|quarter| {
            let (from, to) = (warm.len() * quarter / 4, warm.len() * (quarter + 1) / 4);
            let mut values: Vec<u64> = warm[from..to].iter().map(|sample| sample[name]).collect();
            values.sort_unstable();
            (
                values[0],
                values[values.len() / 2],
                values[values.len() - 1],
            )
        })
        .collect()
}

/// The kind of a measure such as `library rss_kib`: its last word.
fn kind(name: &str) -> &str {
    name.rsplit(' ').next().unwrap_or(name)
}

/// What grew: the median of the last quarter is more than that of the first one, a tenth, and the slack of its kind.
pub(crate) fn grown(samples: &[Sample]) -> Vec<String> {
    assert!(samples.len() >= 8, "{} samples say nothing", samples.len());
    let mut grown = Vec::new();
    for name in samples[0].keys() {
        let (_, slack) = *SLACK
            .iter()
            .find(|(known, _)| *known == kind(name))
            .unwrap();
        let quarters = quarters(samples, name);
        let (first, last) = (quarters[0].1, quarters[3].1);
        if last > first + first / 10 + slack {
            grown.push(format!("{name}: {first} → {last}"));
        }
    }
    grown
}

/// Minimum, median and maximum of each quarter, a line a measure.
pub(crate) fn table(samples: &[Sample]) -> String {
    let mut text = format!(
        "| {:<22} | {} |\n",
        "",
        ["first", "second", "third", "last"]
            .map(|quarter| format!("{quarter:>24}"))
            .join(" | ")
    );
    text.push_str(&format!("|---|{}\n", "---:|".repeat(4)));
    for name in samples[0].keys() {
        let cells: Vec<String> = quarters(samples, name)
            .into_iter()
            .map(|(least, median, most)| format!("{:>24}", format!("{least} / {median} / {most}")))
            .collect();
        text.push_str(&format!("| {name:<22} | {} |\n", cells.join(" | ")));
    }
    text
}

#[test]
fn what_grows_is_seen_and_what_wavers_is_not() {
    let samples = |value: fn(u64) -> u64| -> Vec<Sample> {
        (0..100)
            .map(|at| Sample::from([("worker rss_kib", value(at))]))
            .collect()
    };
    assert_eq!(
        grown(&samples(|at| 50_000 + at % 10 * 300)),
        Vec::<String>::new()
    );
    // It fills up, and stays: nothing that a longer run would show.
    assert_eq!(
        grown(&samples(|at| 50_000 + at.min(14) * 9_000)),
        Vec::<String>::new()
    );
    assert_eq!(grown(&samples(|at| 50_000 + at * 200)).len(), 1);
    let consumers: Vec<Sample> = (0..100)
        .map(|at| Sample::from([("consumers", 3 + at / 10)]))
        .collect();
    assert_eq!(grown(&consumers).len(), 1);
    assert!(table(&consumers).contains("consumers"));
}
