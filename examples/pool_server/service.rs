//! Requests, each of which is a call on the pool, and what is answered.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use offshoot::{Pool, Process};

use crate::figures::Figures;

/// Pictures to thumbnails.
pub(crate) type Thumbnails = Pool<Bytes, Result<Vec<u8>, String>>;

/// The largest picture that is taken, in bytes.
const LARGEST: usize = 4 << 20;

const USAGE: &str = "\
POST /thumbnail   a picture (JPEG, PNG): a small one comes back
GET  /stats       what the pool is doing
";

/// What is served.
pub(crate) fn service(pool: Arc<Thumbnails>) -> Router {
    Router::new()
        .route("/", get(USAGE))
        .route("/thumbnail", post(thumbnail))
        .route("/stats", get(stats))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(pool)
}

async fn thumbnail(State(pool): State<Arc<Thumbnails>>, picture: Bytes) -> Response {
    match result(&pool, picture).await {
        Ok(Ok(jpeg)) => ([(CONTENT_TYPE, "image/jpeg")], jpeg).into_response(),
        Ok(Err(why)) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n")).into_response(),
        Err(error) => {
            if error.is_pool_broken() {
                // This client has come in vain; the next ones find it trying again.
                begin_anew(&pool);
            }
            no_answer(&error)
        }
    }
}

async fn result(
    pool: &Thumbnails,
    picture: Bytes,
) -> Result<Result<Vec<u8>, String>, offshoot::Error> {
    // A worker that dies over it may not be to blame: another one tries.
    match pool.request(picture).idempotent().try_call() {
        Ok(call) => call.await,
        Err(refused) => Err(refused.error),
    }
}

fn begin_anew(pool: &Thumbnails) {
    if let Err(error) = Process::new().and_then(|template| pool.reload(template)) {
        eprintln!("pool_server: {error}");
    }
}

async fn stats(State(pool): State<Arc<Thumbnails>>) -> Json<Figures> {
    Json(Figures::of(&pool))
}

/// The pool has no result: the client is told the truth, and whether to come again.
fn no_answer(error: &offshoot::Error) -> Response {
    let try_again = error.is_full()
        || error.is_disconnected()
        || error.is_pool_broken()
        || error.is_pool_ended()
        || error.is_resource();
    let text = format!("{error}\n");
    if try_again {
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], text).into_response()
    } else if error.is_timeout() {
        (StatusCode::GATEWAY_TIMEOUT, text).into_response()
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    }
}
