//! `llm-proxy simulator`: a simulated provider on a port.

use clap::Args;
use common::args::LogArgs;

use crate::startup;

/// Flags of the simulator.
#[derive(Debug, Clone, Args)]
pub(crate) struct SimulatorArgs {
    #[command(flatten)]
    simulator: ::simulator::Args,
    #[command(flatten)]
    log: LogArgs,
}

/// Serves until a signal ends it.
///
/// # Errors
/// The configuration cannot be used, or the port is taken.
pub(crate) fn run(args: SimulatorArgs) -> anyhow::Result<()> {
    // Its callers are the proxy's connections and their own synchronous calls; how many is not known.
    startup::run(&args.log, async |shutdown| {
        startup::room_for_calls(0);
        ::simulator::run(args.simulator.clone(), shutdown).await
    })
}
