//! The picture of a run: a bar for each row that has a target, as an SVG; pure.

use std::fmt::Write as _;

use super::report::value;
use super::row::{Row, Verdict};

const WIDTH: f64 = 960.0;
const LINE: f64 = 30.0;
const TOP: f64 = 64.0;
/// Where the names end and the bars begin.
const LEFT: f64 = 150.0;
/// Where the longest bar ends and the numbers begin.
const RIGHT: f64 = 700.0;
/// Bars longer than this many times the target are cut: how much better is in the number.
const MOST: f64 = 3.0;

/// Draws it. A bar that reaches the line meets its target.
pub(crate) fn svg(rows: &[Row], of: &str) -> String {
    let drawn: Vec<&Row> = rows.iter().filter(|row| row.target.is_some()).collect();
    let height = TOP + LINE * drawn.len() as f64 + 24.0;
    let line = LEFT + (RIGHT - LEFT) / MOST;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n\
         <title>redrive bench: each value beside its target</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"16\" fill=\"#1f2328\">redrive bench: how each value stands to its target</text>\n\
         <text x=\"16\" y=\"46\" fill=\"#59636e\">{}; longer is better, at the line the target is met, bars end at {MOST} times it</text>\n",
        escaped(of)
    );
    for (number, row) in drawn.iter().enumerate() {
        let y = TOP + LINE * number as f64;
        let middle = y + LINE / 2.0 + 4.0;
        let part = match (row.target, row.value) {
            (Some(target), Some(value)) => target.part(value).clamp(0.0, MOST),
            _ => 0.0,
        };
        let (x, width) = (LEFT, (RIGHT - LEFT) * part / MOST);
        let colour = match row.verdict {
            Verdict::Met => "#2da44e",
            Verdict::Missed => "#cf222e",
            Verdict::Invalid | Verdict::Unknown | Verdict::None => "#8c959f",
        };
        let target = row
            .target
            .map(super::row::Target::shown)
            .unwrap_or_default();
        let told = format!("{} ({target}) {}", value(row), row.verdict.shown());
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\" fill=\"#1f2328\">{}</text>\n\
             <rect x=\"{x}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>\n\
             <text x=\"{}\" y=\"{middle}\" fill=\"#1f2328\">{}</text>\n",
            LEFT - 8.0,
            escaped(&row.name),
            y + 5.0,
            LINE - 10.0,
            RIGHT + 8.0,
            escaped(&told),
        );
    }
    let bottom = TOP + LINE * drawn.len() as f64;
    let _ = write!(
        svg,
        "<line x1=\"{line:.1}\" y1=\"{TOP}\" x2=\"{line:.1}\" y2=\"{bottom}\" stroke=\"#1f2328\" stroke-dasharray=\"4 3\"/>\n</svg>\n"
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::row::{Round, Target, Unit};
    use super::*;

    #[test]
    fn a_bar_reaches_the_line_where_the_target_is_met_and_stays_in_the_picture() {
        let row = |name: &str, value: f64| {
            let round = Round {
                redrive: value,
                raw: None,
            };
            Row::of_values(name, "x", Unit::Seconds, vec![round]).target(Target::AtMost(1.0))
        };
        let svg = svg(
            &[
                row("just", 1.0),
                row("far & away", 0.001),
                row("never", 9.0),
            ],
            "a <b>",
        );
        let third = (RIGHT - LEFT) / MOST;
        assert!(svg.contains(&format!("width=\"{third:.1}\"")), "{svg}");
        assert!(
            svg.contains(&format!("width=\"{:.1}\"", RIGHT - LEFT)),
            "{svg}"
        );
        assert!(svg.contains("far &amp; away") && svg.contains("a &lt;b&gt;"));
        assert!(svg.contains("9 s (≤ 1) missed"));
    }

    #[test]
    fn what_has_no_target_or_no_value_has_no_bar_of_its_own() {
        let free = Row::of_values("free", "x", Unit::Seconds, Vec::new());
        assert!(!svg(&[free], "x").contains("free"));
        let unknown =
            Row::of_values("gone", "x", Unit::Seconds, Vec::new()).target(Target::AtMost(1.0));
        assert!(svg(&[unknown], "x").contains("unknown (≤ 1) unknown"));
    }
}
