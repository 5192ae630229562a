//! HTTP around the models: what every provider's routes need, the admin routes and the echo.

mod admin;
mod echo;
mod reply;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;

pub(crate) use reply::{cut, perform, read_body, shorten, trickle};

use crate::shared::Shared;
use crate::{anthropic, compatible, gemini, openai};

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let routes = openai::routes(&shared)
        .merge(anthropic::routes())
        .merge(gemini::routes())
        .merge(compatible::routes(&shared))
        .merge(echo::routes())
        .merge(admin::routes())
        // Every handler bounds its body by itself: 200 MB must get in, and too large a file has an answer of its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(shared);
    // Around the others, since it decides between them: a layer on a router itself comes after the choice of a route.
    Router::new().fallback_service(routes).layer(from_fn(gemini::door))
}
