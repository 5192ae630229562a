//! Figures, their medians, and how they compare with the aims and with older tools.

use std::fmt;

/// What a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Nothing.
    None,
    /// Memory of a held call in KB.
    Memory,
    /// CPU seconds per 1,000 calls of `serve`.
    CpuServe,
    /// CPU seconds per 1,000 calls of all services and the nats-server.
    CpuSplit,
    /// Per cent of a core that 10,000 calls take while they are given signs of life.
    Heartbeats,
    /// Megabytes of the submitter, at most, while it takes one full batch through the provider.
    Submitter,
}

impl Aim {
    /// What llm-proxy wants to stay below.
    fn at_most(self) -> Option<f64> {
        match self {
            Self::None => None,
            Self::Memory => Some(8.0),
            Self::CpuServe => Some(0.05),
            Self::CpuSplit => Some(0.10),
            Self::Heartbeats => Some(1.0),
            Self::Submitter => Some(64.0),
        }
    }

    /// What older tools for the same job took in measurements of the same kind, on other machines.
    fn others(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::None | Self::Heartbeats | Self::Submitter => &[],
            Self::Memory => &[("Go llm-proxy", 25.0), ("silt", 47.0)],
            Self::CpuServe | Self::CpuSplit => {
                &[("Go llm-proxy, best", 0.11), ("Go llm-proxy, worst", 0.17), ("silt", 0.73)]
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    aim: Aim,
}

/// The figures of one measurement, in the order in which they are shown.
#[derive(Debug, Default)]
pub(crate) struct Run {
    figures: Vec<Figure>,
    cpu: Vec<f64>,
}

impl Run {
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str, aim: Aim) {
        self.figures.push(Figure { name: name.into(), value, unit, aim });
    }

    /// CPU seconds per 1,000 calls of one process.
    pub(crate) fn add_cpu(&mut self, process: &str, seconds: f64) {
        self.cpu.push(seconds);
        let aim = if process == "serve" { Aim::CpuServe } else { Aim::None };
        self.add(format!("CPU per 1,000 calls of {process}"), seconds, "s", aim);
    }

    /// The sum, if there are several processes.
    pub(crate) fn sum_cpu(&mut self) {
        if self.cpu.len() > 1 {
            let sum = self.cpu.iter().sum();
            self.add("CPU per 1,000 calls of all processes", sum, "s", Aim::CpuSplit);
        }
    }

    /// The figures that have an aim, on a line.
    pub(crate) fn brief(&self) -> String {
        let told = self.figures.iter().filter(|figure| figure.aim != Aim::None);
        told.map(|figure| format!("{} {:.3} {}", figure.name, figure.value, figure.unit))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// Several measurements of the same.
pub(crate) struct Table {
    title: String,
    runs: Vec<Run>,
}

impl Table {
    pub(crate) fn new(title: String) -> Self {
        Self { title, runs: Vec::new() }
    }

    pub(crate) fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// All values of the figure at `index`, ascending.
    fn values(&self, index: usize) -> Vec<f64> {
        let mut values: Vec<f64> =
            self.runs.iter().filter_map(|run| run.figures.get(index)).map(|figure| figure.value).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title)?;
        let Some(first) = self.runs.first() else { return Ok(()) };
        writeln!(f, "{:<66} {:>12} {:>22}", "figure", "median", "from - to")?;
        for (index, figure) in first.figures.iter().enumerate() {
            let values = self.values(index);
            let (low, high) = (number(values[0]), number(values[values.len() - 1]));
            let value = number(values[values.len() / 2]);
            writeln!(
                f,
                "{:<66} {:>12} {:>22}",
                figure.name,
                format!("{value} {}", figure.unit),
                format!("{low} - {high}")
            )?;
        }
        for (index, figure) in first.figures.iter().enumerate() {
            let Some(aim) = figure.aim.at_most() else { continue };
            let values = self.values(index);
            let value = values[values.len() / 2];
            let verdict = if value <= aim { "meets" } else { "MISSES" };
            write!(f, "{}: {} {}, {verdict} the aim", figure.name, number(value), figure.unit)?;
            write!(f, " of at most {aim} ({:.2} of it)", value / aim)?;
            for (name, other) in figure.aim.others() {
                write!(f, "; {:.2} of {name} ({other})", value / other)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Three digits after the point for small numbers, none for whole ones.
fn number(value: f64) -> String {
    match value {
        whole if whole.fract() == 0.0 => format!("{whole:.0}"),
        small if small.abs() < 10.0 => format!("{small:.3}"),
        large => format!("{large:.1}"),
    }
}
