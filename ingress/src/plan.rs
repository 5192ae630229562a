//! How a call wants its answer made, and by when.

use std::time::Duration;

/// Ways that a call allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ways {
    /// By batch, and alone when that takes too long or is refused.
    #[default]
    Any,
    /// By batch only.
    Batch,
    /// Alone at once, if possible at the price of a batch.
    Alone,
}

/// What a call says about its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// Which ways it allows.
    pub ways: Ways,
    /// How long after its admission its batch is given up; never, if there is none.
    pub deadline: Option<Duration>,
    /// Whether the provider has refused batches of its key and model lately.
    pub refused: bool,
    /// Whether its model can be called alone at the price of a batch.
    pub flex: bool,
}

/// Why a request is executed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reason {
    /// Its batch was given up.
    #[default]
    Deadline,
    /// Batches of its model take longer, of late, than it would wait.
    Estimate,
    /// It says so.
    Mode,
    /// Its batch was refused, since its key or model has none.
    Refused,
}

impl Reason {
    /// The value of `x-llm-proxy-relay-reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Estimate => "estimate",
            Self::Mode => "mode",
            Self::Refused => "unbatchable",
        }
    }
}

/// What holds for all requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often a request is put into a later batch whose line failed for no reason of its own.
    pub line_retries: u32,
    /// Whether a request whose time is over goes on alone although its batch may still execute it: it may be paid twice.
    pub hard: bool,
    /// Whether requests are executed alone whose batch is refused.
    pub alone_if_refused: bool,
}

impl Plan {
    /// Two classes for each doubling: deadlines of one class share batches, so that one that is given up takes no request with it that
    /// had much more time. The class as its shortest deadline, in seconds; 0 without a deadline.
    pub fn class_s(&self) -> u32 {
        let Some(deadline) = self.deadline.filter(|_| self.ways != Ways::Alone) else { return 0 };
        let seconds = u32::try_from(deadline.as_secs()).unwrap_or(u32::MAX).max(1);
        let octave = 1 << seconds.ilog2();
        // The middle of the octave, in the logarithm: 1.4 is near enough to the root of 2.
        let middle = octave + octave / 5 * 2 + octave % 5 * 2 / 5;
        if seconds >= middle { middle } else { octave }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_of_one_class_are_near_each_other() {
        let class =
            |seconds| Plan { deadline: Some(Duration::from_secs(seconds)), ..Plan::default() }.class_s();
        assert_eq!(Plan::default().class_s(), 0);
        assert_eq!(class(0), 1);
        let (mut last, mut shortest) = (0, 1);
        for seconds in 1..100_000 {
            let class = class(seconds);
            assert!(class >= last && u64::from(class) <= seconds, "{seconds}: {class}");
            if class != last {
                (last, shortest) = (class, seconds);
            }
            assert!(seconds * 10 <= shortest * 16, "{seconds} shares the batches of {shortest}");
        }
        assert_eq!(class(u64::MAX), class(u64::MAX / 2));
    }
}
