//! Mistakes that can be planted between a state machine and its world, to see that the simulation finds them.

use std::fmt;

/// One mistake. Each is something that a shell or a core could do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// An ingress answers every intent with yes.
    EveryIntentAccepted,
    /// An ingress grants again what it has granted to another batch.
    GrantTwice,
    /// A lost answer to a creation counts as a refusal: it is sent again.
    CreateAgain,
    /// The list of jobs is believed at once after the fence, without time to settle.
    NoSettling,
    /// The fence is taken for standing although the file was not deleted.
    FenceNotSet,
    /// A fresh file that the provider does not see yet is taken for deleted.
    AbsentIsAFence,
    /// An outcome is delivered under another request's id.
    WrongRequest,
    /// A result that was not acknowledged is not sent again.
    NeverResent,
    /// A credential travels in an announcement.
    KeyAnnounced,
    /// Files of a finished batch are not deleted.
    FilesKept,
    /// A request goes on alone before its batch is over.
    AloneTooEarly,
    /// A line that was executed goes into a later batch.
    SuccessRetried,
    /// A call alone that broke off is made again.
    BrokenCallRepeated,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::EveryIntentAccepted,
        Self::GrantTwice,
        Self::CreateAgain,
        Self::NoSettling,
        Self::FenceNotSet,
        Self::AbsentIsAFence,
        Self::WrongRequest,
        Self::NeverResent,
        Self::KeyAnnounced,
        Self::FilesKept,
        Self::AloneTooEarly,
        Self::SuccessRetried,
        Self::BrokenCallRepeated,
    ];
}

impl Bug {
    /// Whether it takes deadlines, later batches or calls alone to show.
    pub fn is_of_the_ladder(self) -> bool {
        matches!(self, Self::AloneTooEarly | Self::SuccessRetried | Self::BrokenCallRepeated)
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
