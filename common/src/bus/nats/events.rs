//! What the connection tells about itself: up, down, messages lost on this side.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::super::{Feed, Status};
use super::AbortOnDrop;
use super::trouble::Troubles;

/// How often the status is compared with the connection's own: the library drops events when they come in floods.
const COMPARE_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Events {
    status: watch::Sender<Status>,
    feeds: Arc<Feeds>,
    _comparing: Option<AbortOnDrop>,
}

impl Events {
    /// Has the events of a connection to be made delivered here.
    pub(super) fn observe(options: ConnectOptions) -> (Self, ConnectOptions) {
        let status = watch::Sender::new(Status::Down);
        let feeds = Arc::<Feeds>::default();
        let troubles = Arc::<Troubles>::default();
        let observer =
            Observer { status: status.clone(), feeds: Arc::clone(&feeds), troubles: Arc::clone(&troubles) };
        let options = options.event_callback(move |event| {
            observer.on(&event);
            std::future::ready(())
        });
        // Asked before each attempt which server to try; what it is told of the last one is what is wanted here.
        let options = options.reconnect_to_server_callback(move |servers, _| {
            troubles.trying(&servers);
            std::future::ready(None)
        });
        (Self { status, feeds, _comparing: None }, options)
    }

    /// From now on the status also follows the client's own state.
    pub(super) fn follow(self, client: &Client) -> Self {
        let task = tokio::spawn(compare(client.clone(), self.status.clone()));
        Self { _comparing: Some(AbortOnDrop(task.abort_handle())), ..self }
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(super) fn feeds(&self) -> &Arc<Feeds> {
        &self.feeds
    }
}

async fn compare(client: Client, status: watch::Sender<Status>) {
    let mut ticks = interval(COMPARE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let up = client.connection_state() == State::Connected;
        set(&status, if up { Status::Up } else { Status::Down });
    }
}

fn set(status: &watch::Sender<Status>, new: Status) {
    status.send_if_modified(|status| std::mem::replace(status, new) != new);
}

struct Observer {
    status: watch::Sender<Status>,
    feeds: Arc<Feeds>,
    troubles: Arc<Troubles>,
}

impl Observer {
    fn on(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.troubles.connected();
                tracing::info!("connected to NATS");
                set(&self.status, Status::Up);
            }
            Event::Disconnected | Event::Closed => {
                tracing::warn!("disconnected from NATS");
                set(&self.status, Status::Down);
            }
            // It names a subscription by a number that the library keeps to itself.
            Event::SlowConsumer(_) => self.feeds.count_dropped(),
            Event::ServerError(error) => self.troubles.server_says(error),
            Event::ClientError(error) => self.troubles.attempt_failed(error),
            Event::LameDuckMode | Event::Draining => {}
        }
    }
}

/// The subscriptions of one connection.
#[derive(Debug, Default)]
pub(super) struct Feeds(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    last_id: u64,
    feeds: HashMap<u64, Feed>,
}

impl Feeds {
    /// Lists a feed until what this returns is dropped.
    pub(super) fn register(self: &Arc<Self>, feed: Feed) -> Registered {
        let mut registry = lock(&self.0);
        registry.last_id += 1;
        let id = registry.last_id;
        registry.feeds.insert(id, feed);
        Registered { feeds: Arc::clone(self), id }
    }

    fn count_dropped(&self) {
        for feed in lock(&self.0).feeds.values() {
            feed.count_dropped(1);
        }
    }
}

pub(super) struct Registered {
    feeds: Arc<Feeds>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.feeds.0).feeds.remove(&self.id);
    }
}

/// Nothing under these locks can panic half-way, hence a poisoned one guards sound data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::super::Subscription;
    use super::*;

    #[tokio::test]
    async fn an_overflow_of_the_librarys_queue_is_a_drop_on_every_subscription() {
        let (events, _options) = Events::observe(ConnectOptions::new());
        let attach = |feed| Box::new(events.feeds().register(feed)) as Box<dyn Send + Sync>;
        let (one, two) = (Subscription::new(1, attach), Subscription::new(1, attach));
        events.feeds().count_dropped();
        assert_eq!((one.dropped(), two.dropped()), (1, 1));
        drop((one, two));
        assert!(lock(&events.feeds().0).feeds.is_empty());
    }
}
