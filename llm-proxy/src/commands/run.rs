//! `llm-proxy run`: a program whose calls go through a proxy of its own.

mod child;
mod figures;
mod progress;
mod signals;
mod variables;

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};
use providers::Upstreams;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::child::{Program, exit_code};
use self::figures::Figures;
use self::progress::{EVERY, Progress};
use self::signals::Signals;
#[cfg(test)]
pub(crate) use self::variables::variable_names;
use super::ingress::{announce, bind};
use super::serve::{self, ServeArgs};
use crate::receipt::Receipt;
use crate::startup;

/// Where the proxy listens unless it is said: any free port of this machine.
pub(crate) const LISTEN: &str = "127.0.0.1:0";
/// How long the proxy goes on after the program unless it is said: nobody waits for answers any more.
pub(crate) const DRAIN_TIMEOUT: &str = "10s";
/// The end may take so long before it is explained.
const QUIET: Duration = Duration::from_secs(1);

/// Flags of the proxy, and the program.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    // First: those that follow take their values out of what was read.
    #[command(flatten)]
    pub(crate) given: Given,

    #[command(flatten)]
    pub(crate) serve: ServeArgs,

    /// Show no line on the terminal while calls wait
    #[arg(long, env = "LLM_PROXY_NO_PROGRESS", help_heading = "Run")]
    pub(crate) no_progress: bool,

    /// The program to run, and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

/// The upstreams whose addresses were asked for by flags or their variables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(Vec<&'static str>);

impl Given {
    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }
}

/// Has no flags of its own, but looks at those of `serve`.
impl Args for Given {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = [("openai", "openai_url"), ("anthropic", "anthropic_url"), ("gemini", "gemini_url")];
        let asked = |id| matches.value_source(id).is_some_and(|source| source != ValueSource::DefaultValue);
        Ok(Self(flags.into_iter().filter(|(_, id)| asked(id)).map(|(name, _)| name).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Runs the program to its end. Returns its exit code.
///
/// # Errors
/// The proxy cannot be started, or failed.
pub(crate) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    startup::run_bare(&args.serve.log.clone(), async || {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        match start(args).await? {
            Ok(running) => running.until_the_end(&mut signals).await,
            Err((code, why)) => {
                tell(format_args!("error: {why}"));
                Ok(ExitCode::from(code))
            }
        }
    })
}

/// The program, and the proxy for it.
struct Running {
    program: Program,
    roles: JoinHandle<anyhow::Result<()>>,
    shutdown: CancellationToken,
    stats: Box<dyn Fn() -> Bytes + Send + Sync>,
    /// Told whenever an answer is about to leave.
    answers: Arc<Notify>,
    progress: Progress,
    began: Instant,
    /// The variables that the program was given.
    names: Vec<&'static str>,
    /// Serves the routes for operators until it is dropped.
    _admin: tokio::task::JoinSet<std::convert::Infallible>,
}

/// Takes the port, starts the program, and then the proxy. The inner error is a program that cannot be started, with an exit code.
async fn start(args: RunArgs) -> anyhow::Result<Result<Running, (u8, String)>> {
    let (serve, user) = (args.serve, |name: &str| std::env::var(name).ok());
    let known = Upstreams::load(&serve.upstreams)?;
    let wishes = variables::wishes(&known, args.given.names(), user)?;
    wishes.refused.iter().for_each(|why| tracing::warn!("{why}"));
    let upstreams = Upstreams::load_moved(&serve.upstreams, &wishes.moved)?;
    let keyring = startup::keyring(&serve.bus, &serve.secret)?;
    let bus = startup::bus(&serve.bus, "run").await?;
    let world = startup::world(&serve.bus, bus, keyring, &serve.drain);
    let bound = bind(&serve.ingress, &serve.admin).await?;
    let shutdown = CancellationToken::new();
    let admin = startup::admin(&serve.admin, &world, &shutdown, Some(bound.pages())).await?;
    announce(&bound, &upstreams);
    let near = nearest(bound.local_addr());
    let address = bound.url().replace(&bound.local_addr().to_string(), &near.to_string());
    let variables = variables::settings(&address, &near.ip().to_string(), &upstreams, &wishes, user);
    let names = variables.iter().map(|(name, _)| *name).collect();
    // Its first calls find a listener: they wait there until the proxy is up.
    let program = match Program::start(&args.command, variables) {
        Ok(program) => program,
        Err(error) => return Ok(Err(error)),
    };
    // Only now: the program keeps the limits that it has without us. How many calls it makes is not known.
    startup::forbid_dumps();
    startup::room_for_calls(0);
    let (stats, answers) = (bound.stats(), bound.answers());
    let roles = serve::start(serve, upstreams, bound, world, shutdown.clone());
    Ok(Ok(Running {
        program,
        roles: tokio::spawn(roles.wait()),
        shutdown,
        stats,
        answers,
        progress: Progress::new(!args.no_progress),
        began: Instant::now(),
        names,
        _admin: admin,
    }))
}

/// The address at which a listener is reached from this machine.
fn nearest(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

impl Running {
    async fn until_the_end(mut self, signals: &mut Signals) -> anyhow::Result<ExitCode> {
        let (code, interrupted) = self.program_ended(signals).await?;
        let took = self.began.elapsed();
        self.shutdown.cancel();
        let result = self.roles_ended(signals, interrupted).await;
        tell(format_args!("\n{}", self.receipt(took)));
        match result {
            // What the program says about itself is more than what is said about its proxy.
            Err(error) if code == 0 => Err(error),
            Err(error) => {
                tell(format_args!("error: {error:#}"));
                Ok(ExitCode::from(code))
            }
            Ok(()) => Ok(ExitCode::from(code)),
        }
    }

    fn receipt(&self, took: Duration) -> String {
        let figures = Figures::read(&(self.stats)());
        match figures.any_call() {
            true => figures.add_to(Receipt::new("llm-proxy").took(took)).to_string(),
            false => format!(
                "llm-proxy: no call came. The program was given the variables below; it, or its SDK, reads none of them, or says \
                 where its provider is by itself (LLM_PROXY_URL is the proxy's address).\n  {}",
                self.names.join(" ")
            ),
        }
    }

    /// Waits for the program, passing signals on and showing how far its calls are. Returns its exit code, and whether a signal
    /// came meanwhile.
    async fn program_ended(&mut self, signals: &mut Signals) -> anyhow::Result<(u8, bool)> {
        let mut interrupted = false;
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let status = loop {
            tokio::select! {
                // A signal that has ended the program is seen before its end.
                biased;
                signal = signals.next() => {
                    interrupted = true;
                    self.program.pass_on(signal);
                }
                status = self.program.ended() => break status,
                () = self.answers.notified(), if self.progress.is_wanted() => self.progress.hush(),
                _ = ticks.tick(), if self.progress.is_wanted() => {
                    self.progress.show(Figures::read(&(self.stats)()).line());
                }
            }
        };
        self.progress.clear();
        Ok((exit_code(status.context("the program's end cannot be seen")?), interrupted))
    }

    /// Waits until the proxy has tidied up at the providers, or a second signal says that nobody wants to wait.
    async fn roles_ended(&mut self, signals: &mut Signals, interrupted: bool) -> anyhow::Result<()> {
        let mut interrupted = interrupted;
        let explain = tokio::time::sleep(QUIET);
        tokio::pin!(explain);
        loop {
            tokio::select! {
                ended = &mut self.roles => return ended.context("the proxy crashed")?,
                _ = signals.next() => match interrupted {
                    true => {
                        tell("llm-proxy: ending at once; jobs and files may stay at the provider");
                        return Ok(());
                    }
                    false => interrupted = true,
                },
                () = &mut explain, if !explain.is_elapsed() => {
                    tell("llm-proxy: the program has ended; tidying up at the provider (Ctrl-C: at once)");
                }
            }
        }
    }
}

/// Prints a line on standard error: standard output is the program's alone.
fn tell(line: impl fmt::Display) {
    // It may be closed: then there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
