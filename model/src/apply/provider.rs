//! The provider: files, jobs, bills.

use crate::state::{File, Job, State};

impl State {
    /// A creation arrives. One that names an unseen file is refused. One that names a deleted file is never billed, be it refused or failed.
    pub(super) fn create(&mut self, file: u8, created: bool) {
        let file = self.file_mut(file);
        file.job = match (created, file.deleted) {
            (true, false) => Job::Validating,
            (true, true) => Job::Failed,
            (false, _) => Job::Refused,
        };
    }

    pub(super) fn execute(&mut self, file: u8) {
        self.file_mut(file).job = Job::Billed;
    }

    pub(super) fn fail_job(&mut self, file: u8) {
        self.file_mut(file).job = Job::Failed;
    }

    pub(super) fn delete(&mut self, file: u8) {
        self.file_mut(file).deleted = true;
    }

    /// A deletion is sent: it happens at any later time.
    pub(super) fn doom(&mut self, file: u8) {
        self.file_mut(file).doomed = true;
    }

    pub(super) fn file_mut(&mut self, file: u8) -> &mut File {
        &mut self.files[usize::from(file)]
    }
}
