//! `llm-proxy check`: is everything in place?

mod nats;
mod report;
mod upstream;

use anyhow::bail;
use clap::Args;
use providers::Upstreams;

use self::report::Report;
use super::serve::ServeArgs;
use crate::startup;

/// Flags of `serve`, so that its configuration can be checked as it is.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    serve: ServeArgs,
}

/// Checks one thing after the other and prints a line for each.
///
/// # Errors
/// At least one check failed.
pub(crate) fn run(args: CheckArgs) -> anyhow::Result<()> {
    let args = args.serve;
    startup::run(&args.log, async |shutdown| {
        let mut report = Report::default();
        let all = async {
            // Bad values of flags and variables ended the program before it came here.
            let upstreams = Upstreams::load(&args.upstreams);
            match &upstreams {
                Ok(_) => report.ok("configuration", "every flag, variable and file can be used"),
                Err(error) => report.failed("configuration", error),
            }
            if startup::nats_url(&args.bus).is_some() {
                nats::check(&args, &mut report).await;
            }
            if let Ok(upstreams) = upstreams {
                upstream::check(&upstreams, &mut report).await;
            }
        };
        if shutdown.run_until_cancelled(all).await.is_none() {
            bail!("stopped before the end");
        }
        match report.failures() {
            0 => Ok(()),
            1 => bail!("1 check failed"),
            failures => bail!("{failures} checks failed"),
        }
    })
}
