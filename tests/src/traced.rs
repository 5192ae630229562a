//! Processes under strace, and what they did to files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::processes::Process;

/// Every call that names a file, and those that make, grow or reach one in another way. Those with a question mark are
/// not on every kind of processor.
const CALLS: &str =
    "trace=%file,?creat,?ftruncate,?fallocate,?memfd_create,?memfd_secret,?io_uring_setup,?open_by_handle_at";
/// Calls that tell about files and change none.
const HARMLESS: [&str; 18] = [
    "access",
    "chdir",
    "execve",
    "faccessat",
    "faccessat2",
    "fstatfs",
    "getcwd",
    "getxattr",
    "inotify_add_watch",
    "lgetxattr",
    "lstat",
    "name_to_handle_at",
    "newfstatat",
    "readlink",
    "readlinkat",
    "stat",
    "statfs",
    "statx",
];
/// Flags of an opening that can only read.
const READING: [&str; 7] =
    ["O_RDONLY", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_LARGEFILE", "O_PATH"];

/// What a traced process did.
#[derive(Debug, Default)]
pub struct Trace {
    /// How often each call was made.
    pub calls: BTreeMap<String, usize>,
    /// Calls that could make or change a file, as strace wrote them; tried is as bad as done.
    pub changes: Vec<String>,
}

/// Starts a program as [`Process::start`] does, under strace. The process is the program itself, and is killed as such.
///
/// # Errors
/// There is no strace.
pub fn start(
    program: &Path,
    name: &str,
    args: &[String],
    variables: &[(&'static str, String)],
    dir: &Path,
) -> Result<Process> {
    // -D: strace is the one that stands aside; -f: threads and children too; the filter in the kernel (--seccomp-bpf)
    // stops for no other calls. It appends, since processes are started again.
    let mut all: Vec<String> =
        ["-D", "-f", "--seccomp-bpf", "-A", "-s", "200", "-e", CALLS, "-o"].map(str::to_owned).to_vec();
    all.extend([path(dir, name).display().to_string(), program.display().to_string()]);
    all.extend_from_slice(args);
    Process::start(&strace()?, name, &all, variables, dir)
}

/// What a process of this name has done so far, in all its lives.
///
/// # Errors
/// It was never traced.
pub fn trace(dir: &Path, name: &str) -> Result<Trace> {
    let path = path(dir, name);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(read(&text))
}

fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.strace"))
}

/// From lines such as `42 openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 3`.
fn read(text: &str) -> Trace {
    let mut trace = Trace::default();
    for line in text.lines() {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        // The rest of a call whose beginning was told, the end of a process, a signal.
        if ["<...", "+++", "---"].iter().any(|other| call.starts_with(other)) {
            continue;
        }
        let name = call.split('(').next().unwrap_or(call);
        *trace.calls.entry(name.to_owned()).or_default() += 1;
        let harmless = match name {
            "open" | "openat" | "openat2" => only_reads(call),
            _ => HARMLESS.contains(&name),
        };
        if !harmless {
            trace.changes.push(call.to_owned());
        }
    }
    trace
}

/// Whether all flags of an opening are known and allow no writing.
fn only_reads(call: &str) -> bool {
    // A file's name may hold anything; the flags stand behind it.
    let flags = call.rsplit('"').next().unwrap_or_default();
    let mut words = flags.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let flags: Vec<&str> = words.by_ref().filter(|word| word.starts_with("O_")).collect();
    (flags.contains(&"O_RDONLY") || flags.contains(&"O_PATH"))
        && flags.iter().all(|flag| READING.contains(flag))
}

/// `$STRACE`, else what `scripts/strace.sh` finds or installs.
fn strace() -> Result<PathBuf> {
    if let Some(program) = env::var_os("STRACE") {
        return Ok(program.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/strace.sh");
    let found = Command::new(&script).output().with_context(|| format!("cannot run {}", script.display()))?;
    if !found.status.success() {
        bail!("{}", String::from_utf8_lossy(&found.stderr).trim());
    }
    let said = String::from_utf8(found.stdout)?;
    // A package manager may have said something before.
    Ok(said.lines().last().context("strace.sh says nothing")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_may_change_a_file_is_told_and_nothing_else() {
        let harmless = [
            r#"1 execve("/bin/x", ["x"], 0x7ff /* 3 vars */) = 0"#,
            r#"2 openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 3"#,
            r#"2 openat(AT_FDCWD, "/proc/x", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY <unfinished ...>"#,
            r#"2 openat(AT_FDCWD, "a O_WRONLY b", O_RDONLY) = -1 ENOENT (No such file or directory)"#,
            r#"2 openat2(AT_FDCWD, "/x", {flags=O_RDONLY|O_CLOEXEC, resolve=0}, 24) = 3"#,
            "2 <... openat resumed>)             = 12",
            "2 +++ exited with 0 +++",
            r#"2 statx(AT_FDCWD, "/etc/x", AT_STATX_SYNC_AS_STAT, STATX_ALL, {...}) = 0"#,
        ];
        assert_eq!(read(&harmless.join("\n")).changes, [""; 0]);
        let changing = [
            r#"2 openat(AT_FDCWD, "/x", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 3"#,
            r#"2 openat(AT_FDCWD, "/x", O_RDONLY|O_CREAT) = 3"#,
            r#"2 openat(AT_FDCWD, "/tmp", O_RDWR|O_TMPFILE, 0600) = 3"#,
            r#"2 openat(AT_FDCWD, "/x", O_RDWR <unfinished ...>"#,
            "2 openat(AT_FDCWD, 0x7fff, O_WRONLY) = 3",
            "2 openat(AT_FDCWD, 0x7fff <unfinished ...>",
            r#"2 mkdir("/x", 0777) = 0"#,
            r#"2 rename("/x", "/y") = -1 ENOENT (No such file or directory)"#,
            r#"2 memfd_create("x", MFD_CLOEXEC) = 3"#,
            "2 io_uring_setup(8, {}) = 3",
            "2 ftruncate(3, 0) = 0",
        ];
        assert_eq!(read(&changing.join("\n")).changes.len(), changing.len());
    }
}
