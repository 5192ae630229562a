//! The batcher dies.

use anyhow::{Context as _, Result};
use common::wire::reply::Body;

use crate::chaos::report::{Expect, Outcome};
use crate::chaos::stage::{Setup, Stage};

pub(super) async fn killed_before_acknowledging() -> Result<Outcome> {
    let mut stage = Stage::start(Setup { name: "2a", counts: [1, 2, 1], ..Setup::default() }).await?;
    for batcher in &stage.batchers {
        batcher.process.pause()?;
    }
    let mut ear = stage.spy.announcements().await?;
    let calls = stage.calls("2a", 20, &[0])?;
    let pid = ear.addressee().await?;
    drop(ear);
    let crash = stage.crash();
    for batcher in &mut stage.batchers {
        match batcher.pid == pid {
            true => batcher.process.kill()?,
            false => batcher.process.resume()?,
        }
    }
    stage.conclude(crash, calls, Expect::ONCE).await
}

pub(super) async fn killed_after_acknowledging() -> Result<Outcome> {
    let mut stage = Stage::start(Setup { name: "2b", seal_at: 1000, ..Setup::default() }).await?;
    let mut ear = stage.spy.answers().await?;
    let calls = stage.calls("2b", 20, &[0])?;
    ear.answer("an acknowledgement", |body| matches!(body, Body::AnnounceAck(_))).await?;
    let batcher = stage.batchers.first_mut().context("there is a batcher")?;
    batcher.process.restart(None)?;
    let crash = stage.crash();
    stage.conclude(crash, calls, Expect::ONCE).await
}
