//! What the services do not guarantee yet, in one place. Each `true` excuses one thing that would otherwise fail a seed;
//! as soon as something is built, its rule becomes `false` and the simulation holds the services to it.

/// The excuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A submitter that dies, or is killed at the end of its patience while draining, leaves its files and jobs at the
    /// provider. Nobody takes its batches over.
    pub dead_submitter_leaves: bool,
    /// A submitter that leaves while another is there leaves it the files of a job of which it does not serve every ingress.
    /// They stay where those ingresses have gone for good, and no ingress is left that would have the job taken over.
    pub handed_over_files_stay: bool,
    /// A creation that names a file which was deleted as a fence may be accepted for a moment; when it is found in that moment,
    /// its failure is told to the callers, although the batch could be submitted anew.
    pub fenced_job_fails_callers: bool,
    /// Result files are deleted while another ingress's part of the job still needs them: by a submitter that gave up a
    /// living ingress, or that is draining. Whoever takes the part over finds none: the answers are paid and lost.
    pub result_files_go_early: bool,
    /// A batch that is submitted anew after its job was refused as a whole may be billed twice: whoever takes it over is told
    /// of the refused job, and releases the requests without a look for the job of the later file. While this is `true`,
    /// the provider refuses no job in a way that leads to another.
    pub resubmitted_batch_pays_twice: bool,
    /// An upload that is under way when one of its ingresses is given up is used with that ingress's lines in it, although the
    /// ingress does not register the file and grants the requests anew: they are billed twice. While this is `true`, the
    /// answer to such an upload is lost.
    pub stale_upload_pays_twice: bool,
    /// What was announced to a batcher that is given up is announced again only when something else happens: a new request
    /// or a new batcher.
    pub announcements_are_forgotten: bool,
    /// A look for the files of lost uploads that fails counts as one of the three, so that a file that the list shows late
    /// stays. While this is `true`, such looks do not fail.
    pub failed_sweep_counts: bool,
    /// A submitter that has never heard an ingress's heartbeat does not notice its end, and sends it results for ever: the batch
    /// and its files stay.
    pub unheard_ingress_is_served_for_ever: bool,
    /// Callers whose submitter died, or seemed to, after a file was registered get the fault `submitter_gone`.
    pub submitter_gone_is_an_answer: bool,
    /// A caller that repeats its request at another ingress may pay twice: ingresses do not ask each other.
    pub elsewhere_pays_again: bool,
    /// An ingress that a live submitter gave up (silent for 8 s, or its subjects unserved) is not delivered to any more,
    /// although it lives and has registered the file: its callers in that batch wait on, since the submitter lives too.
    pub cut_off_ingress_waits: bool,
}

impl Rules {
    /// What holds today.
    pub const TODAY: Self = Self {
        dead_submitter_leaves: true,
        submitter_gone_is_an_answer: false,
        elsewhere_pays_again: false,
        handed_over_files_stay: true,
        fenced_job_fails_callers: false,
        result_files_go_early: false,
        resubmitted_batch_pays_twice: false,
        stale_upload_pays_twice: false,
        unheard_ingress_is_served_for_ever: true,
        announcements_are_forgotten: false,
        failed_sweep_counts: false,
        cut_off_ingress_waits: false,
    };

    /// What the protocol promises.
    pub const PROMISED: Self = Self {
        dead_submitter_leaves: false,
        submitter_gone_is_an_answer: false,
        elsewhere_pays_again: false,
        handed_over_files_stay: false,
        fenced_job_fails_callers: false,
        result_files_go_early: false,
        resubmitted_batch_pays_twice: false,
        stale_upload_pays_twice: false,
        unheard_ingress_is_served_for_ever: false,
        announcements_are_forgotten: false,
        failed_sweep_counts: false,
        cut_off_ingress_waits: false,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Self::TODAY
    }
}
