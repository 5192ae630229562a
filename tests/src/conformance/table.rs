//! All cells, and the table of them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::cell;
use super::{CASES, SUBJECTS, Subject, Unlike};

/// Cells that run at a time; each has a deployment and a simulator of its own, and waits most of the time.
const AT_A_TIME: usize = 6;

/// What came of a cell.
#[derive(Debug)]
enum Verdict {
    /// As it should be, after this time.
    Held(Duration),
    /// What is wrong.
    Broken(String),
    /// The case has no meaning here.
    Meaningless,
    /// It was not to be run.
    Skipped,
}

/// What came of everything.
#[derive(Debug)]
pub struct Table {
    subjects: Vec<&'static Subject>,
    /// By case, in the order of [`CASES`], and subject.
    rows: Vec<Vec<Verdict>>,
    took: Duration,
}

/// Runs the cases whose names contain `case` for the providers whose names contain `subject`.
pub async fn run(subject: &str, case: &str) -> Table {
    let started = Instant::now();
    let subjects: Vec<&'static Subject> = SUBJECTS.iter().filter(|one| one.name.contains(subject)).collect();
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let mut rows: Vec<Vec<Verdict>> =
        CASES.iter().map(|_| subjects.iter().map(|_| Verdict::Skipped).collect()).collect();
    let mut cells = JoinSet::new();
    for (row, case) in CASES.iter().enumerate().filter(|(_, one)| one.name.contains(case)) {
        let fitting = subjects.iter().copied().enumerate().filter(|(_, one)| case.name.contains(one.only));
        for (column, subject) in fitting {
            let due = match subject.unlike(case.name) {
                Some(Unlike::Nothing(_)) => {
                    rows[row][column] = Verdict::Meaningless;
                    continue;
                }
                Some(Unlike::Otherwise(due, _)) => *due,
                None => case.due,
            };
            let turns = turns.clone();
            cells.spawn(async move {
                let _turn = turns.acquire_owned().await;
                let started = Instant::now();
                // A task of its own, so that a panic is this cell's alone.
                let verdict = match tokio::spawn(cell::run(subject, case, due)).await {
                    Ok(Ok(())) => Verdict::Held(started.elapsed()),
                    Ok(Err(error)) => Verdict::Broken(format!("{error:#}")),
                    Err(crash) => Verdict::Broken(crash.to_string()),
                };
                (row, column, verdict)
            });
        }
    }
    while let Some(Ok((row, column, verdict))) = cells.join_next().await {
        rows[row][column] = verdict;
    }
    Table { subjects, rows, took: started.elapsed() }
}

impl Table {
    /// What is wrong, a line for each cell.
    pub fn broken(&self) -> Vec<String> {
        let cells = CASES.iter().zip(&self.rows).flat_map(|(case, row)| {
            row.iter().zip(&self.subjects).map(move |(verdict, subject)| (case, subject, verdict))
        });
        let broken = |(case, subject, verdict): (&super::Case, &&Subject, &Verdict)| match verdict {
            Verdict::Broken(why) if subject.known.is_none() => {
                Some(format!("{}, {}: {why}", subject.name, case.name))
            }
            _ => None,
        };
        cells.filter_map(broken).collect()
    }

    /// How many cells were run.
    pub fn ran(&self) -> usize {
        let ran = |verdict: &&Verdict| matches!(verdict, Verdict::Held(_) | Verdict::Broken(_));
        self.rows.iter().flatten().filter(ran).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notes: Vec<&'static str> = Vec::new();
        write!(f, "{:30}", "")?;
        for subject in &self.subjects {
            write!(f, " {:>15}", subject.name)?;
        }
        writeln!(f)?;
        for (case, row) in CASES.iter().zip(&self.rows) {
            write!(f, "{:30}", case.name)?;
            for (subject, verdict) in self.subjects.iter().zip(row) {
                let reason = match subject.unlike(case.name) {
                    Some(Unlike::Nothing(reason) | Unlike::Otherwise(_, reason)) => Some(*reason),
                    None => None,
                };
                let known = subject.known.filter(|_| matches!(verdict, Verdict::Broken(_)));
                let mark = known.or(reason).map(|reason| {
                    let known = notes.iter().position(|note| *note == reason);
                    known.unwrap_or_else(|| {
                        notes.push(reason);
                        notes.len() - 1
                    }) + 1
                });
                let mark = mark.map(|number| format!(" [{number}]")).unwrap_or_default();
                let cell = match verdict {
                    Verdict::Held(took) => format!("ok {:.1} s{mark}", took.as_secs_f64()),
                    Verdict::Broken(_) if known.is_some() => format!("KNOWN{mark}"),
                    Verdict::Broken(_) => "BROKEN".into(),
                    Verdict::Meaningless => format!("n/a{mark}"),
                    Verdict::Skipped => "-".into(),
                };
                write!(f, " {cell:>15}")?;
            }
            writeln!(f)?;
        }
        for (number, note) in notes.iter().enumerate() {
            writeln!(f, "[{}] {note}", number + 1)?;
        }
        write!(f, "{} cells in {:.0} s", self.ran(), self.took.as_secs_f64())
    }
}
