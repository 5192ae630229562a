//! What is prescribed for a repetition at another ingress, and how much may go wrong.

/// What an ingress does before it grants again, when it stood still or was cut off for longer than others wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing.
    Nowhere,
    /// It looks which of its sockets are still open, and forgets the callers of other ingresses, which attach again.
    Sockets,
    /// That, and it asks the other ingresses and the submitters which of its requests have come to another ingress.
    Peers,
}

/// The rules. [`Rules::protocol`] has all of them; a weaker variant leaves some out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Everybody has answered or is taken for dead before a repetition is announced as new.
    pub all_answer: bool,
    /// Submitters are asked, not ingresses only.
    pub ask_submitters: bool,
    /// Submitters are asked when the ingress has answered or is taken for dead, not at the same time.
    pub origin_first: bool,
    /// A submitter that has claimed a request and not yet left it out says neither yes nor no.
    pub wait_claiming: bool,
    /// A submitter that has registered a file, and looks for or waits for its job, says neither yes nor no.
    pub wait_creating: bool,
    /// A submitter says no for what it left out before the creation.
    pub forget_left_out: bool,
    /// The ingress that the request came from keeps its part when another gets a copy.
    pub keep_origin: bool,
    /// When a copy turns out not to be executed its ingress asks around again; else it announces it as new.
    pub copy_asks: bool,
    /// What an ingress does that stood still.
    pub look: Look,
    /// Until it has looked it registers nothing and has nothing taken over; else it only refuses claims.
    pub doubt_all: bool,
    /// Where another ingress has announced its request, it ends the epoch of its own grant.
    pub end_epoch: bool,
    /// An ingress that was taken for dead and has answered the asking ingress since is asked again.
    pub ask_revived: bool,
    /// Who takes over or has fenced gives back what was not billed; else it submits it itself.
    pub release: bool,
}

impl Rules {
    /// As decided at first: everybody is asked at the same time, and a copy is like any part.
    pub const fn decided() -> Self {
        Self {
            all_answer: true,
            ask_submitters: true,
            origin_first: false,
            wait_claiming: true,
            wait_creating: true,
            forget_left_out: true,
            keep_origin: true,
            copy_asks: false,
            look: Look::Sockets,
            doubt_all: false,
            end_epoch: false,
            ask_revived: false,
            release: true,
        }
    }

    /// Everything that it takes.
    pub const fn protocol() -> Self {
        Self {
            origin_first: true,
            copy_asks: true,
            look: Look::Peers,
            doubt_all: true,
            end_epoch: true,
            ask_revived: true,
            ..Self::decided()
        }
    }
}

/// What can go wrong. Delays are not in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// An ingress dies.
    IngressCrash,
    /// A submitter dies.
    SubmitterCrash,
    /// The first ingress stands still for longer than the others wait for it.
    IngressPause,
    /// The first ingress is cut off, from its caller too.
    IngressCut,
    /// A submitter stands still for longer than the others wait for it.
    SubmitterPause,
    /// The answer to a creation does not arrive.
    AnswerLost,
    /// A job fails that may be made again, such as for a full queue.
    JobFails,
    /// The other ingress does not hear the first, which works and does not know.
    LostSight,
}

/// All kinds but [`Fault::LostSight`], against which there is no remedy.
pub const FAULTS: [Fault; 7] = [
    Fault::IngressCrash,
    Fault::SubmitterCrash,
    Fault::IngressPause,
    Fault::IngressCut,
    Fault::SubmitterPause,
    Fault::AnswerLost,
    Fault::JobFails,
];

/// How large the world is: two ingresses, one request, one repetition.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Submitters, 1 or 2.
    pub submitters: u8,
    /// Faults in one history, at most.
    pub faults: u8,
    /// Which kinds.
    pub kinds: Vec<Fault>,
    /// Whether another caller shares the request at its first ingress, and stays.
    pub twin: bool,
}

impl Bounds {
    /// All kinds of faults, no twin.
    pub fn new(submitters: u8, faults: u8) -> Self {
        Self { submitters, faults, kinds: FAULTS.to_vec(), twin: false }
    }

    /// The same with these kinds of faults only.
    pub fn with(self, kinds: &[Fault]) -> Self {
        Self { kinds: kinds.to_vec(), ..self }
    }
}
