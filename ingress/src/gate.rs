//! A fair share of what all callers use, held for as long as it is used.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::Fingerprint;

use crate::fair::{Amount, Bounds, Fair, Refused};

/// Gives out shares by credential. A caller can invent credentials: this keeps those apart who have one each, and only access
/// tokens keep strangers out.
#[derive(Debug)]
pub(crate) struct Gate(Mutex<Fair<Fingerprint>>);

impl Gate {
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Fair::new(bounds))))
    }

    /// What is in use.
    pub(crate) fn used(&self) -> Amount {
        self.lock().used()
    }

    /// A share for a credential; bounds of counts are `widened` so many times for it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        credential: Fingerprint,
        amount: Amount,
        widened: usize,
    ) -> Result<Share, Refused> {
        self.lock().take(credential, amount, widened)?;
        Ok(Share { gate: self.clone(), credential, amount })
    }

    /// Sums stay usable whatever happened to a thread that held the lock.
    fn lock(&self) -> MutexGuard<'_, Fair<Fingerprint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one request uses, given back when dropped.
#[derive(Debug)]
pub struct Share {
    gate: Arc<Gate>,
    credential: Fingerprint,
    amount: Amount,
}

impl Share {
    /// Whose it is.
    pub(crate) fn credential(&self) -> Fingerprint {
        self.credential
    }

    /// Takes bytes in addition.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Refused> {
        self.gate.lock().take(self.credential, Amount { count: 0, bytes }, 1)?;
        self.amount.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gate.lock().give_back(self.credential, self.amount);
    }
}
