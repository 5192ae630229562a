//! A real nats-server as a child process, under the rules of `deploy/nats.conf`.
//!
//! The file is also a module of `common`'s bus tests, so it uses nothing but what both crates have.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// How long a server may take to listen. It takes 50 ms; this is for a machine that is busy elsewhere.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The limits under which the services run.
const RULES: &str = r#"
ping_interval: "2s"
ping_max: 2
write_deadline: "2s"
max_payload: 1MB
"#;

/// A running nats-server on a port of its own on 127.0.0.1, killed when this is dropped.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    dir: TempDir,
    /// Its configuration file, but for its place.
    rules: String,
    /// Environment variables that the file names.
    variables: Vec<(&'static str, String)>,
    child: Child,
    port: u16,
}

impl NatsServer {
    /// Starts a server and waits until it listens. The program is `$NATS_SERVER`, else what
    /// `scripts/nats-server.sh` finds.
    ///
    /// # Errors
    /// If there is no program, or it does not start; with the last of its log.
    pub fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// The same with more lines in its configuration file.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub fn start_with(extra: &str) -> Result<Self> {
        Self::start_under([RULES, extra].concat(), Vec::new())
    }

    /// Starts a server under `deploy/nats.conf` as it is, except that it listens on a port of its own. `edit` may change
    /// more. The environment variables are those that the file names.
    ///
    /// # Errors
    /// As [`NatsServer::start`].
    pub fn start_as_deployed(
        variables: Vec<(&'static str, String)>,
        edit: impl FnOnce(String) -> String,
    ) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats.conf");
        let rules = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (before, after) = rules.split_once("port: 4222\n").context("its port is not where it was")?;
        Self::start_under(edit([before, after].concat()), variables)
    }

    fn start_under(rules: String, variables: Vec<(&'static str, String)>) -> Result<Self> {
        let program = program()?;
        let dir = tempfile::tempdir()?;
        // -1: the server takes a free port and tells which.
        let child = spawn(&program, dir.path(), -1, &rules, &variables)?;
        let mut server = Self { program, dir, rules, variables, child, port: 0 };
        server.port = server.wait_for_port()?;
        Ok(server)
    }

    /// `nats://127.0.0.1:<port>`, the same after a restart.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port that it listens on, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server that runs now or ran last.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the server at once (SIGKILL): what it had not yet delivered is lost.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Kills the server if it runs, and starts it again on the same port.
    ///
    /// # Errors
    /// As [`NatsServer::start`]; also if somebody else has taken the port meanwhile.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        // It outlives a killed server, and a stopped one removes it.
        let _ = fs::remove_file(self.ports_file());
        self.child =
            spawn(&self.program, self.dir.path(), i32::from(self.port), &self.rules, &self.variables)?;
        self.wait_for_port().map(drop)
    }

    /// Stops the process without ending it (SIGSTOP): connections stay open, and nobody answers.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn pause(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Undoes [`NatsServer::pause`].
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn resume(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").arg(signal).arg(self.pid().to_string()).status()?;
        if status.success() { Ok(()) } else { bail!("kill {signal}: {status}") }
    }

    fn ports_file(&self) -> PathBuf {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.dir.path().join(format!("{name}_{}.ports", self.child.id()))
    }

    /// The server writes its ports file once it listens.
    fn wait_for_port(&mut self) -> Result<u16> {
        let path = self.ports_file();
        let started = Instant::now();
        loop {
            // Half a file does not parse, and is read again.
            let ports = fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
            if let Some(port) = ports.as_ref().and_then(client_port) {
                return Ok(port);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("nats-server ended with {status}:\n{}", self.log());
            }
            if started.elapsed() > START_LIMIT {
                bail!("nats-server does not listen after {START_LIMIT:?}:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has said since its first start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.kill();
    }
}

/// From `{"nats": ["nats://127.0.0.1:4222"], ...}`.
fn client_port(ports: &serde_json::Value) -> Option<u16> {
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

fn spawn(
    program: &Path,
    dir: &Path,
    port: i32,
    rules: &str,
    variables: &[(&'static str, String)],
) -> Result<Child> {
    let config = dir.join("nats.conf");
    let place = format!(
        "host: 127.0.0.1\nport: {port}\nports_file_dir: {}\nlog_file: {}\n",
        quoted(dir),
        quoted(&dir.join("log"))
    );
    fs::write(&config, [&place, rules].concat())?;
    Command::new(program)
        .arg("--config")
        .arg(config)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

fn program() -> Result<PathBuf> {
    if let Some(program) = env::var_os("NATS_SERVER") {
        return Ok(program.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/nats-server.sh");
    let found = Command::new(&script).output().with_context(|| format!("cannot run {}", script.display()))?;
    if !found.status.success() {
        bail!("{}", String::from_utf8_lossy(&found.stderr).trim());
    }
    Ok(String::from_utf8(found.stdout)?.trim().into())
}
