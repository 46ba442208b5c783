//! The orders of the demo, and what becomes of each.

use redrive::{Message, Outcome};
use serde::{Deserialize, Serialize};

/// An order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) number: u32,
    pub(super) cents: i64,
    /// What charging its card meets with.
    card: Card,
}

/// What charging a card meets with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Card {
    Good,
    /// The bank does not answer the first time.
    BankAsleep,
    /// Charged with the wrong currency until somebody repairs that.
    WrongCurrency,
}

/// Whether the bug in the billing has been repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Billing {
    AsDeployed,
    Repaired,
}

/// How many orders decode.
pub(super) const GOOD_JSON: u32 = 19;

/// The orders 1 to 19.
pub(super) fn all() -> Vec<Order> {
    (1..=GOOD_JSON)
        .map(|number| Order {
            number,
            cents: match number {
                11 => -500,
                _ => i64::from(number) * 250,
            },
            card: match number {
                4 | 9 | 15 => Card::BankAsleep,
                13 | 17 => Card::WrongCurrency,
                _ => Card::Good,
            },
        })
        .collect()
}

/// The twentieth: what a producer with a bug wrote.
pub(super) const NOT_JSON: &str = r#"{"number":20,"cents":"#;

/// Charges the card of an order.
pub(super) fn charge(order: &Message<Order>, billing: Billing) -> Outcome {
    if order.cents < 0 {
        return Outcome::dead_letter("the total is negative");
    }
    match order.card {
        Card::BankAsleep if order.attempt() == 1 => Outcome::retry("the bank did not answer"),
        Card::WrongCurrency if billing == Billing::AsDeployed => Outcome::retry(format!(
            "order {}: card declined: wrong currency",
            order.number
        )),
        _ => Outcome::Ack,
    }
}
