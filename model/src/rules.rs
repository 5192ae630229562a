//! What the protocol prescribes, rule by rule, and how much may go wrong.

/// What "no such file" as the answer to a deletion is taken for: a provider may not see a new file yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The file is deleted.
    Trusted,
    /// The file is deleted when the lag has passed, without asking again.
    Waited,
    /// Nothing: the deletion is asked for until one says that the file was there, or the lag has passed since the asking
    /// began; then the last one decides.
    Repeated,
    /// Nothing, ever: the deletion is asked for until one says that the file was there.
    Doubted,
}

/// The rules of the submission path. [`Rules::protocol`] has all of them; a weaker variant leaves some out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A job whose creation has no answer is looked for before anything else is done.
    pub find: bool,
    /// The input file is deleted before a creation without an answer is repeated.
    pub fence: bool,
    /// A submitter that takes over deletes every registered file.
    pub fence_registered: bool,
    /// After the deletion the list gets time: then it shows every creation from before.
    pub settle: bool,
    /// Complete lists without the job that prove that there is none.
    pub lists: u8,
    /// What "no such file" proves.
    pub absent: Absent,
    /// A file is registered with the ingresses before a job is created from it.
    pub register: bool,
    /// Every ingress with requests in the file must have registered it, not only the first that answers.
    pub register_with_all: bool,
    /// An ingress registers files only for the current epoch of its grant.
    pub check_epoch: bool,
    /// An ingress registers a file only if the submitter knows all that are registered.
    pub check_files: bool,
    /// No two grants of an ingress have the same epoch, be they of one batch.
    pub unique_epochs: bool,
    /// A grant or a refusal that names unknown files leads to fencing them, not to leaving the ingress out.
    pub fence_unknown: bool,
    /// Batches of a dead submitter are recovered; else their callers get an error.
    pub recover: bool,
    /// Who takes over gives back what was not billed, to go into a new batch, instead of submitting it itself.
    pub release: bool,
    /// Ingress and submitter compare what is held, so that a grant that nobody holds is found.
    pub sync: bool,
    /// A creation or a job that was refused for its deleted file is made again from a new one; else callers get an error.
    pub upload_again: bool,
    /// An ingress takes errors of a submitter only for the current epoch.
    pub drop_old_errors: bool,
    /// The files of lost uploads are found by a name that no other submitter uses.
    pub own_names: bool,
    /// A submitter keeps an answer findable until a caller has received it, not only until its ingress has it.
    pub keep_unreceived: bool,
    /// A submitter that takes an ingress for dead after the creation still holds its requests.
    pub hold_for_lost: bool,
}

impl Rules {
    /// Everything that makes a request billed once and answered.
    pub const fn protocol() -> Self {
        Self {
            find: true,
            fence: true,
            fence_registered: true,
            settle: true,
            lists: 2,
            absent: Absent::Repeated,
            register: true,
            register_with_all: true,
            check_epoch: true,
            check_files: true,
            unique_epochs: true,
            fence_unknown: true,
            recover: true,
            release: false,
            sync: true,
            upload_again: true,
            drop_old_errors: true,
            own_names: true,
            keep_unreceived: true,
            hold_for_lost: true,
        }
    }

    /// Nothing of what serves taking over: the batches of a dead submitter are lost.
    pub const fn without_recovery() -> Self {
        Self {
            unique_epochs: false,
            fence_unknown: false,
            recover: false,
            sync: false,
            upload_again: false,
            drop_old_errors: false,
            own_names: false,
            keep_unreceived: false,
            hold_for_lost: false,
            ..Self::protocol()
        }
    }
}

/// What can go wrong. Delays are not in the list: whatever is sent may arrive at any later time, and any process may take
/// its next step at any later time, which is all that others see of one that is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fault {
    /// A submitter dies.
    SubmitterCrash,
    /// An ingress dies, and its callers lose their connections.
    IngressCrash,
    /// A live submitter that holds a grant is taken for dead.
    Suspicion,
    /// A submitter leaves out a live ingress that it asked for a grant or a registration.
    LeftOut,
    /// A batch is offered again, to the same or the other submitter, or its requests are in a second batch.
    SecondOffer,
    /// A claim arrives again when its grant was taken back.
    LateClaim,
    /// The answer to a creation does not arrive, be it executed, late, or never.
    AnswerLost,
    /// The answer to an upload does not arrive.
    UploadLost,
    /// A complete list still lacks a job after the settling time.
    StaleList,
    /// The provider does not see an uploaded file yet, or never will.
    Unseen,
    /// A caller goes away; it comes back at any ingress.
    CallerLeaves,
    /// Nobody answers in time who holds a request.
    Silence,
}

/// All kinds of faults but [`Fault::Silence`], against which the protocol has no remedy.
pub const FAULTS: [Fault; 11] = [
    Fault::SubmitterCrash,
    Fault::IngressCrash,
    Fault::Suspicion,
    Fault::LeftOut,
    Fault::SecondOffer,
    Fault::LateClaim,
    Fault::AnswerLost,
    Fault::UploadLost,
    Fault::StaleList,
    Fault::Unseen,
    Fault::CallerLeaves,
];

/// How large the model is.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Ingresses, 1 or 2.
    pub ingresses: u8,
    /// Requests at each, 1 or 2.
    pub requests: u8,
    /// Submitters, 1 or 2.
    pub submitters: u8,
    /// How many faults of all kinds together there are in one history, at most.
    pub faults: u8,
    /// Which kinds.
    pub kinds: Vec<Fault>,
}

impl Bounds {
    /// Two submitters and all kinds of faults.
    pub fn new(ingresses: u8, requests: u8, faults: u8) -> Self {
        Self { ingresses, requests, submitters: 2, faults, kinds: FAULTS.to_vec() }
    }

    /// The same with these kinds of faults only.
    pub fn with(self, kinds: &[Fault]) -> Self {
        Self { kinds: kinds.to_vec(), ..self }
    }

    /// Requests that there are at the start, one for each caller.
    pub fn callers(&self) -> u8 {
        self.ingresses * self.requests
    }
}
