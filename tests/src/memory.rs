//! What is in another process's memory, by Linux's `/proc`. Takes root, since the services forbid it to others.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::markers::{Find, Search};

/// Read at a time, and skipped if all of it is zero, as most of every stack is. A mark on the border of two reads is seen
/// by neither, so they overlap by [`OVERLAP`].
const STEP: usize = 64 * 1024;
/// Longer than any mark in any spelling.
const OVERLAP: usize = 256;

/// What was found, in how many bytes.
#[derive(Debug, Default)]
pub struct Scan {
    /// Each with how often; what lies in two overlapping reads counts twice.
    pub found: BTreeMap<Find, usize>,
    /// Bytes that were read.
    pub bytes: u64,
}

/// Looks through everything that a process can write to: heap, stacks, data. What it can only read is its program.
///
/// # Errors
/// There is no such process, or this one may not look: it takes root.
pub fn scan(pid: u32, search: &Search) -> io::Result<Scan> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut scan = Scan::default();
    let (mut buffer, zeros) = (vec![0; STEP + OVERLAP], vec![0; STEP + OVERLAP]);
    for (start, end) in maps.lines().filter_map(writable) {
        for at in (start..end).step_by(STEP) {
            let size = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            // Regions come and go while the process runs.
            let Ok(read) = memory.read_at(&mut buffer[..size], at) else { break };
            scan.bytes += read as u64;
            if buffer[..read] == zeros[..read] {
                continue;
            }
            for (find, times) in search.find(&buffer[..read]) {
                *scan.found.entry(find).or_default() += times;
            }
        }
    }
    Ok(scan)
}

/// Start and end of a region, from a line such as `7f00-7f10 rw-p 00000000 00:00 0   [heap]`.
fn writable(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let (start, end) = range.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    rights.starts_with("rw").then_some((number(start)?, number(end)?))
}
