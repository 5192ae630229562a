//! The way of a call through the front door, without sockets, for fuzz targets.

use std::sync::Arc;

use bytes::Bytes;
use common::seal::Keyring;
use http::request::Parts;
use providers::{Upstream, Upstreams};

use super::admit::{Admission, Verdict, form};
use super::body::Intake;
use super::headers::is_ours;
use super::patience::{Patience, retry_count};
use super::route::{Route, Routes};
use crate::fair::Amount;
use crate::hold::Call;
use crate::relay::target::Targets;

/// Everything that judges a call.
pub struct Door {
    admission: Admission,
    routes: Routes,
    targets: Targets,
}

impl Door {
    /// A door whose providers are all at `base_url`.
    ///
    /// # Errors
    /// If that is no base URL.
    pub fn new(base_url: &str) -> std::io::Result<Self> {
        let keyring = Arc::new(Keyring::for_one_process());
        let admission = Admission::new(
            keyring,
            Intake::new(u64::MAX, Amount { count: usize::MAX, bytes: u64::MAX }),
            None,
            false,
        );
        let moved = |upstream: &Arc<Upstream>| Upstream::of(upstream.provider, &upstream.name, base_url);
        let upstreams: Upstreams = Upstreams::default().iter().map(moved).collect();
        Ok(Self { admission, routes: Routes::new(&upstreams), targets: Targets::new(&upstreams)? })
    }

    /// Reads all that is ever read of a call: the call, if it is held, and whether its answer is to be streamed.
    pub fn read(&self, head: &Parts, body: &Bytes) -> Option<(Call, bool)> {
        for (streamed, hold_status) in [(false, false), (false, true), (true, false), (true, true)] {
            let _ = Patience::of(head, streamed, hold_status);
        }
        let _ = (retry_count(&head.headers), form(&head.headers));
        let _ = head.headers.keys().filter(|name| is_ours(name)).count();
        let Route::Batch(place, endpoint) = self.routes.route(head) else { return None };
        let caller = self.admission.caller(&place, head).ok()?;
        let wish = self.admission.wish(&head.headers).ok()??;
        match self.admission.weigh(&place, &endpoint, head, (caller, wish), body.clone()).ok()? {
            Verdict::Hold(call, streaming) => Some((call, streaming.is_some())),
            Verdict::Relay(..) | Verdict::Observe(..) => None,
        }
    }

    /// Where a call would be relayed to.
    pub fn relayed_to(&self, head: &Parts) -> Option<http::Uri> {
        match self.routes.route(head) {
            Route::Batch(place, _) | Route::Relay(place) => {
                self.targets.uri(&place, &place.below, head.uri.query()).ok()
            }
            Route::Nowhere(_) | Route::Ours(_) => None,
        }
    }
}
