//! The executable as real processes that can be killed, paused and started again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, io};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// For what takes moments on a machine with nothing else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
pub const LOOK: Duration = Duration::from_millis(5);

/// The executable under test: `$LLM_PROXY`, else the one in the target directory that this program was built into.
///
/// # Errors
/// There is none; says how to make it.
pub fn executable() -> Result<PathBuf> {
    if let Some(given) = env::var_os("LLM_PROXY") {
        return Ok(given.into());
    }
    let name = format!("llm-proxy{}", env::consts::EXE_SUFFIX);
    let ours = env::current_exe()?;
    // Tests lie in `deps` beside it, programs next to it.
    let found = ours.ancestors().skip(1).take(2).map(|dir| dir.join(&name)).find(|path| path.is_file());
    found.with_context(|| {
        let dir = ours.parent().unwrap_or(Path::new(".")).display();
        format!("no {name} at or above {dir}; run `cargo build -p llm-proxy`, or set LLM_PROXY to one")
    })
}

/// One process, killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    args: Vec<OsString>,
    variables: Vec<(&'static str, String)>,
    dir: PathBuf,
    name: String,
    starts: u32,
    child: Child,
}

impl Process {
    /// Starts a program with these and no other environment variables. What it says goes to `<dir>/<name>.<n>.log`,
    /// with `n` the number of its start.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(
        program: &Path,
        name: &str,
        args: &[String],
        variables: &[(&'static str, String)],
        dir: &Path,
    ) -> Result<Self> {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        let child = spawn(program, &args, variables, &log_file(dir, name, 1))?;
        Ok(Self {
            program: program.into(),
            args,
            variables: variables.into(),
            dir: dir.into(),
            name: name.into(),
            starts: 1,
            child,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it was called at its start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often it was started.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// Ends it at once (SIGKILL), paused or not.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again, after killing it if it still runs. Where `listen` is given it takes that address instead.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn restart(&mut self, listen: Option<SocketAddr>) -> Result<()> {
        self.kill()?;
        if let Some(address) = listen {
            self.args.retain(|arg| !arg.to_string_lossy().starts_with("--listen="));
            self.args.push(format!("--listen={address}").into());
        }
        self.starts += 1;
        self.child = spawn(&self.program, &self.args, &self.variables, &self.log_file())?;
        Ok(())
    }

    /// Stops it without ending it (SIGSTOP): its connections stay open.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Undoes [`Process::pause`] (SIGCONT).
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end in order (SIGTERM).
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(id.ok_or(io::ErrorKind::NotFound)?, signal)?)
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It has not ended by then.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > within {
                bail!("{} has not ended after {within:?}:\n{}", self.name, self.log());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What it has said since its last start.
    pub fn log(&self) -> String {
        self.log_of(self.starts)
    }

    /// What it said between its start of this number, from 1, and the next.
    pub fn log_of(&self, start: u32) -> String {
        fs::read_to_string(log_file(&self.dir, &self.name, start)).unwrap_or_default()
    }

    /// Waits until a line of its log has `text`, and returns the rest of that line.
    ///
    /// # Errors
    /// No such line comes.
    pub async fn says(&self, text: &str) -> Result<String> {
        let began = Instant::now();
        loop {
            let log = self.log();
            let whole_lines = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
            if let Some((_, rest)) = whole_lines.lines().find_map(|line| line.split_once(text)) {
                return Ok(rest.to_owned());
            }
            if began.elapsed() > PATIENCE {
                bail!("{} never said {text:?}:\n{log}", self.name);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn log_file(&self) -> PathBuf {
        log_file(&self.dir, &self.name, self.starts)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.kill();
    }
}

fn log_file(dir: &Path, name: &str, start: u32) -> PathBuf {
    dir.join(format!("{name}.{start}.log"))
}

fn spawn(
    program: &Path,
    args: &[OsString],
    variables: &[(&'static str, String)],
    log: &Path,
) -> Result<Child> {
    Command::new(program)
        .args(args)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(log)?)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))
}
