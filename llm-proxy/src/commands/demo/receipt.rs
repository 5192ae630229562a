//! What was sent, billed and saved.

use std::fmt;
use std::time::Duration;

use simulator::{Billed, Summary};

use super::burst::{Burst, MODEL};
use crate::screen::grouped;

/// A price in billionths of a dollar per token, which are thousandths of a dollar per million tokens.
type Nanodollars = u64;

/// List price of gpt-4o-mini: $0.15 per million input tokens (OpenAI's pricing page).
const INPUT: Nanodollars = 150;
/// List price of gpt-4o-mini: $0.60 per million output tokens (OpenAI's pricing page).
const OUTPUT: Nanodollars = 600;
/// Batch and flex processing cost half (OpenAI's pricing page).
const DISCOUNT: u64 = 2;

/// The end of a demo.
#[derive(Debug)]
pub(crate) struct Receipt {
    asked: usize,
    answered: usize,
    took: Duration,
    jobs: usize,
    files_left: usize,
    billed_twice: usize,
    input_tokens: u64,
    output_tokens: u64,
    list: Nanodollars,
    paid: Nanodollars,
}

impl Receipt {
    /// Sums up a burst and what the simulator has in its books.
    pub(crate) fn new(burst: &Burst, books: &Summary) -> Self {
        let half_price = [books.billed_batch, books.billed_flex];
        let all = [books.billed_batch, books.billed_flex, books.billed_sync];
        Self {
            asked: burst.calls.len(),
            answered: burst.own_answers(),
            took: burst.took,
            jobs: books.batch_count,
            files_left: books.files_left,
            billed_twice: books.billed_twice,
            input_tokens: all.iter().map(|billed| billed.input_tokens).sum(),
            output_tokens: all.iter().map(|billed| billed.output_tokens).sum(),
            list: all.iter().map(price).sum(),
            paid: price(&books.billed_sync) + half_price.iter().map(price).sum::<Nanodollars>() / DISCOUNT,
        }
    }
}

fn price(billed: &Billed) -> Nanodollars {
    billed.input_tokens * INPUT + billed.output_tokens * OUTPUT
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded first, so that the three amounts add up as they are printed.
        let (list, paid) = (microdollars(self.list), microdollars(self.paid));
        let saved = list.saturating_sub(paid);
        let percent = (saved * 100 + list / 2).checked_div(list).unwrap_or(0);
        writeln!(f, "\nanswered {} of {} requests", self.answered, self.asked)?;
        writeln!(f, "  time taken    {:.1} s", self.took.as_secs_f64())?;
        writeln!(f, "  jobs created  {}", self.jobs)?;
        writeln!(f, "  files left    {}", self.files_left)?;
        writeln!(f, "  billed twice  {}", self.billed_twice)?;
        let (input, output) = (grouped(self.input_tokens), grouped(self.output_tokens));
        writeln!(f, "  tokens        {input} in, {output} out")?;
        writeln!(f, "  list price    {}", dollars(list))?;
        writeln!(f, "  paid          {}", dollars(paid))?;
        writeln!(f, "  saved         {} ({percent} %)", dollars(saved))?;
        write!(
            f,
            "This is the simulator's bill, at OpenAI's list prices for {MODEL}: nothing was really paid."
        )
    }
}

fn microdollars(amount: Nanodollars) -> u64 {
    (amount + 500) / 1000
}

fn dollars(microdollars: u64) -> String {
    format!("${}.{:06}", microdollars / 1_000_000, microdollars % 1_000_000)
}

#[cfg(test)]
mod tests {
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
        let text = Receipt::new(&Burst { calls, took: Duration::from_millis(2340) }, &books).to_string();
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
