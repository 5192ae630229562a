//! What every role is given at its start.

use std::sync::Arc;
use std::time::Duration;

use crate::bus::Bus;
use crate::seal::Keyring;
use crate::subjects::Subjects;

/// The surroundings of a role. Roles in one process share it.
#[derive(Clone)]
pub struct World {
    /// The bus, in process or NATS.
    pub bus: Arc<dyn Bus>,
    /// Its subjects.
    pub subjects: Subjects,
    /// The keys of the deployment; the batcher's is never used and may be anybody's.
    pub keyring: Arc<Keyring>,
    /// How long a role that was told to stop may go on.
    pub drain_timeout: Duration,
}
