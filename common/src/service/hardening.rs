//! Limits of the process: open files for many waiting callers, and no way for memory to reach a disk as a core dump.

use std::io;

/// Open files beyond one a held call: listeners, the bus, connections to providers, standard streams.
const OTHER_FILES: u64 = 128;

/// Raises the soft limit of open files to the hard limit, since every waiting caller is an open socket. Returns the
/// limit in force.
///
/// # Errors
/// What the operating system says; the limit is as it was then.
pub fn raise_open_files() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// The limit of open files in force; a small one where the system does not tell.
pub fn open_files() -> usize {
    rlimit::getrlimit(rlimit::Resource::NOFILE)
        .map_or(1024, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}

/// Whether `held` callers fit under a limit of open files. A caller is one socket; callers that share an HTTP/2
/// connection need fewer.
pub fn files_suffice(limit: u64, held: u64) -> bool {
    held.saturating_add(OTHER_FILES) <= limit
}

/// Sees to it that keys, prompts and answers are not written to disk when the process crashes, and that other
/// processes of the same user cannot read its memory (`RLIMIT_CORE`, and on Linux `PR_SET_DUMPABLE`).
///
/// # Errors
/// What the operating system says; the process works without this protection.
pub fn forbid_dumps() -> io::Result<()> {
    #[cfg(unix)]
    rlimit::setrlimit(rlimit::Resource::CORE, 0, 0)?;
    // A core pattern that pipes into a program ignores the limit, but not this.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_left_for_other_files() {
        assert!(files_suffice(100_128, 100_000));
        assert!(!files_suffice(100_000, 100_000));
        assert!(!files_suffice(1024, u64::MAX));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn limits_are_set() {
        let raised = raise_open_files().unwrap();
        let (soft, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
        assert_eq!((raised, soft), (hard, hard));
        forbid_dumps().unwrap();
        assert_eq!(rlimit::getrlimit(rlimit::Resource::CORE).unwrap(), (0, 0));
        let dumpable = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);
    }
}
