//! Child processes, and what the kernel says that they used.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// The kernel counts CPU time in /proc in hundredths of a second, on every architecture (proc(5), USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// A child that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: &'static str,
    child: Child,
}

/// What a process used since its start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Bytes in memory now (VmRSS).
    pub(crate) resident: u64,
    /// The most bytes in memory so far (VmHWM).
    pub(crate) peak: u64,
    /// CPU time in user and kernel mode.
    pub(crate) cpu: Duration,
    /// The part of it in kernel mode.
    pub(crate) kernel: Duration,
}

impl Process {
    /// Starts a program; what it says goes to a file in `logs`.
    ///
    /// # Errors
    /// If it cannot be run.
    pub(crate) fn start<A: AsRef<OsStr>>(
        name: &'static str,
        program: &Path,
        args: &[A],
        variables: &[(&str, &str)],
        logs: &Path,
    ) -> Result<Self> {
        let log = File::create(logs.join(name))?;
        let child = Command::new(program)
            .args(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        Ok(Self { name, child })
    }

    /// Fails if the process has ended.
    ///
    /// # Errors
    /// With its last words.
    pub(crate) fn check(&mut self, logs: &Path) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let said = fs::read_to_string(logs.join(self.name)).unwrap_or_default();
                bail!("{} ended with {status}: {said}", self.name)
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What process `id` used, from /proc.
///
/// # Errors
/// If it does not run, or this is not Linux.
pub(crate) fn usage(id: u32) -> Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let bytes = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    // The name in parentheses may hold anything; utime and stime are fields 14 and 15, the state after it field 3.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat without a name")?;
    let ticks = |field: usize| -> Result<Duration> {
        let ticks = fields.split_whitespace().nth(field - 3).context("/proc/PID/stat is too short")?;
        Ok(Duration::from_secs_f64(ticks.parse::<f64>()? / TICKS_PER_SECOND))
    };
    let (user, kernel) = (ticks(14)?, ticks(15)?);
    Ok(Usage { resident: bytes("VmRSS")?, peak: bytes("VmHWM")?, cpu: user + kernel, kernel })
}
