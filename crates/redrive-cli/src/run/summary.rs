//! What a worker says at its end.

use redrive::Totals;

use crate::failure::Failure;
use crate::session::Session;

/// Tells what was done: as one line, or as the object of `-o json`.
pub(super) fn tell(session: &mut Session, totals: &Totals) -> Result<(), Failure> {
    if !session.out.is_table() {
        return session.out.document(totals);
    }
    if session.globals.quiet {
        return Ok(());
    }
    session.out.line(&line(totals))?;
    session.out.flush()
}

fn line(totals: &Totals) -> String {
    let mut line = format!(
        "{} succeeded, {} dead-lettered",
        totals.succeeded, totals.dead_lettered
    );
    for (number, what) in [
        (totals.discarded, "discarded"),
        (totals.deferred, "deferred"),
        (totals.released, "handed back"),
    ] {
        if number > 0 {
            line.push_str(&format!(", {number} {what}"));
        }
    }
    if totals.failed > 0 {
        let runs = if totals.failed == 1 { "run" } else { "runs" };
        line.push_str(&format!("; {} {runs} failed", totals.failed));
    }
    if totals.retried > 0 {
        line.push_str(&format!(", {} put back", totals.retried));
    }
    match totals.leases_lost {
        0 => {}
        1 => line.push_str("; 1 lease lost"),
        lost => line.push_str(&format!("; {lost} leases lost")),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_there_is_to_say() {
        let mut totals = Totals::default();
        assert_eq!(line(&totals), "0 succeeded, 0 dead-lettered");
        (totals.succeeded, totals.dead_lettered) = (990, 10);
        (totals.failed, totals.retried, totals.released) = (30, 20, 5);
        assert_eq!(
            line(&totals),
            "990 succeeded, 10 dead-lettered, 5 handed back; 30 runs failed, 20 put back"
        );
        totals = Totals::default();
        (totals.succeeded, totals.leases_lost) = (2, 16);
        assert_eq!(
            line(&totals),
            "2 succeeded, 0 dead-lettered; 16 leases lost"
        );
        totals = Totals::default();
        (totals.dead_lettered, totals.failed) = (1, 1);
        assert_eq!(line(&totals), "0 succeeded, 1 dead-lettered; 1 run failed");
    }
}
