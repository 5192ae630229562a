//! What was sent, billed and saved.

use std::fmt;

use simulator::{Billed, Summary};

use super::burst::{Burst, MODEL};
use crate::receipt::{Cost, Receipt, Tokens};

/// A price in billionths of a dollar per token, which are thousandths of a dollar per million tokens.
type Nanodollars = u64;

/// List price of gpt-4o-mini: $0.15 per million input tokens (OpenAI's pricing page).
const INPUT: Nanodollars = 150;
/// List price of gpt-4o-mini: $0.60 per million output tokens (OpenAI's pricing page).
const OUTPUT: Nanodollars = 600;
/// Batch and flex processing cost half (OpenAI's pricing page).
const DISCOUNT: u64 = 2;

/// Sums up a burst and what the simulator has in its books.
pub(super) fn receipt(burst: &Burst, books: &Summary) -> impl fmt::Display + use<> {
    let all = [books.billed_batch, books.billed_flex, books.billed_sync];
    let tokens = Tokens {
        input: all.iter().map(|billed| billed.input_tokens).sum(),
        output: all.iter().map(|billed| billed.output_tokens).sum(),
        ..Tokens::default()
    };
    let title = format!("\nanswered {} of {} requests", burst.own_answers(), burst.calls.len());
    let receipt = Receipt::new(title)
        .took(burst.took)
        .line("jobs created", books.batch_count)
        .line("files left", books.files_left)
        .line("billed twice", books.billed_twice)
        .tokens(tokens)
        .cost(cost(books));
    format!(
        "{receipt}\nThis is the simulator's bill, at OpenAI's list prices for {MODEL}: nothing was really paid."
    )
}

fn cost(books: &Summary) -> Cost {
    let half_price = price(&books.billed_batch) + price(&books.billed_flex);
    let list = half_price + price(&books.billed_sync);
    // Rounded first, so that the three amounts add up as they are printed.
    let (list, paid) = (microdollars(list), microdollars(list - half_price + half_price / DISCOUNT));
    let usd = |microdollars: u64| microdollars as f64 / 1e6;
    Cost { list_usd: usd(list), paid_usd: usd(paid), saved_usd: usd(list - paid), unknown_requests: 0 }
}

fn price(billed: &Billed) -> Nanodollars {
    billed.input_tokens * INPUT + billed.output_tokens * OUTPUT
}

fn microdollars(amount: Nanodollars) -> u64 {
    (amount + 500) / 1000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::commands::demo::burst::Called;

    #[tokio::test]
    async fn the_bill_adds_up() {
        let simulator = simulator::Simulator::start(simulator::Config::default()).await.unwrap();
        let mut books = simulator.state();
        books.billed_batch = Billed { requests: 2, input_tokens: 1_000_000, output_tokens: 500_000 };
        books.billed_sync = Billed { requests: 1, input_tokens: 1000, output_tokens: 1000 };
        let call = |answer| Called { question: String::new(), answer };
        let calls = vec![call(Ok("a".into())), call(Ok("b".into())), call(Err("c".into()))];
        let text = receipt(&Burst { calls, took: Duration::from_millis(2340) }, &books).to_string();
        for line in [
            "answered 2 of 3 requests\n",
            "time taken    2.3 s\n",
            "tokens        1,001,000 in, 501,000 out\n",
            "list price    $0.450750\n",
            "paid          $0.225750\n",
            "saved         $0.225000 (50 %)\n",
            "simulator's bill",
        ] {
            assert!(text.contains(line), "{line:?} is not in {text}");
        }
    }
}
