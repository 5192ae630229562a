//! `llm-proxy demo`: a simulated provider, the proxy, a burst of calls, and the bill.

mod burst;
mod progress;
mod receipt;
mod stage;

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use common::args::LogArgs;
use common::service::hardening;

use self::burst::{Burst, KEY, burst};
use self::receipt::receipt;
use self::stage::Stage;
use crate::screen::say;
use crate::startup;

/// Most calls of a burst: all wait at once, and each has a connection at either end in this process.
const MOST: i64 = 10_000;
/// Open files per call: the caller's end of the connection and the proxy's.
const FILES_PER_CALL: u64 = 2;
/// Answers that are shown.
const SHOWN: usize = 5;
/// How long to wait after the last answer until the proxy has deleted its files at the provider.
const TIDY: Duration = Duration::from_secs(10);

/// Flags of the demo.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Demo")]
pub(crate) struct DemoArgs {
    /// How many sample calls to send, all at once
    #[arg(long, env = "LLM_PROXY_DEMO_REQUESTS", value_name = "COUNT", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MOST))]
    requests: u32,

    /// End after the receipt, with exit code 0 only if every call got its own answer
    #[arg(long, env = "LLM_PROXY_DEMO_ONCE")]
    once: bool,

    #[command(flatten)]
    log: LogArgs,
}

/// Shows the whole once, and then leaves the proxy running until a signal ends it.
///
/// # Errors
/// The stage cannot be set, or not every call got its own answer.
pub(crate) fn run(args: DemoArgs) -> anyhow::Result<()> {
    startup::run(&args.log, async |shutdown| {
        let limit = startup::room_for_calls(0).unwrap_or(u64::MAX);
        if !hardening::files_suffice(limit, u64::from(args.requests) * FILES_PER_CALL) {
            bail!(
                "{} calls need more open files than the limit of {limit}; use a smaller --requests",
                args.requests
            );
        }
        let stage = Stage::build(shutdown.clone()).await?;
        let complete = shutdown.run_until_cancelled(show(&stage, args.requests)).await;
        if let (Some(_), false) = (complete, args.once) {
            invite(&stage);
            stage.until_stopped().await;
        }
        stage.tear_down().await?;
        verdict(complete, args.requests)
    })
}

/// Sends the burst and prints what became of it. Returns how many calls got their own answer.
async fn show(stage: &Stage, requests: u32) -> usize {
    say(format_args!("simulated provider  {}", stage.simulator.url()));
    say(format_args!("llm-proxy           {}/v1", stage.url()));
    say(format_args!("\nsending {requests} chat calls at once, as any program would:"));
    let burst = burst(&stage.url(), requests).await;
    print_answers(&burst);
    tidied(stage).await;
    say(receipt(&burst, &stage.simulator.state()));
    burst.own_answers()
}

fn print_answers(burst: &Burst) {
    say("\nsome of the answers:");
    for call in burst.calls.iter().take(SHOWN) {
        match &call.answer {
            Ok(answer) => say(format_args!("  {}  {answer}", call.question)),
            Err(why) => say(format_args!("  {}  failed: {why}", call.question)),
        }
    }
    // Failures count more than luck with the first five.
    let failed = burst.calls.iter().skip(SHOWN).filter_map(|call| call.answer.as_ref().err());
    failed.take(SHOWN).for_each(|why| say(format_args!("  failed: {why}")));
}

/// Waits until the provider has no file left, but not for ever: the receipt tells.
async fn tidied(stage: &Stage) {
    let gone = async {
        while stage.simulator.files_left_total() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let _ = tokio::time::timeout(TIDY, gone).await;
}

fn invite(stage: &Stage) {
    let url = stage.url();
    say(format_args!(
        r#"
llm-proxy goes on at {url}, with the simulator behind it. Try it:

  curl {url}/v1/chat/completions -H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json' \
    -d '{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"echo:hello"}}]}}'

or in Python, after pip install openai:

  from openai import OpenAI
  print(OpenAI(base_url="{url}/v1", api_key="{KEY}").chat.completions.create(model="gpt-4o-mini", messages=[{{"role": "user", "content": "echo:hello"}}]).choices[0].message.content)

statistics: {url}/stats
Ctrl-C ends."#
    ));
}

/// `complete` is the number of calls that got their own answer, or none if a signal came before.
fn verdict(complete: Option<usize>, requests: u32) -> anyhow::Result<()> {
    match complete {
        Some(answered) if answered == requests as usize => Ok(()),
        Some(answered) => bail!("only {answered} of {requests} calls got their own answer"),
        None => bail!("stopped before all calls were answered"),
    }
}
