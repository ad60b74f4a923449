//! One request and its answer: check that the request is fit to be routed, then the router, then the headers of
//! every answer.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::header::{HeaderName, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use tower::util::MapRequestLayer;
use tower_http::catch_panic::{CatchPanic, ResponseForPanic};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::refusal::{ErrorForm, Refusal};
use super::{HostPolicy, Limits};
use crate::ports::random::{Random, random_bytes};
use crate::ports::request::{PeerAddr, RequestId};
use crate::ports::time::Clock;

/// Names the request in the answer and in every log line about it.
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The sources of request ids.
#[derive(Debug)]
pub(super) struct RequestIds {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl RequestIds {
    fn next(&self) -> RequestId {
        // Before 1970 the clock is wrong anyway; the random part still distinguishes requests.
        let millis = u64::try_from(self.clock.now_millis().0).unwrap_or(0);
        let random: [u8; 10] = random_bytes(&*self.random);
        RequestId(
            uuid::Builder::from_unix_timestamp_millis(millis, &random)
                .into_uuid()
                .to_string(),
        )
    }
}

/// What every connection of a listener needs to answer requests.
#[derive(Debug)]
pub(super) struct Exchange {
    router: Router,
    hosts: HostPolicy,
    limits: Limits,
    ids: RequestIds,
}

impl Exchange {
    pub(super) fn new(router: Router, hosts: HostPolicy, limits: Limits, ids: RequestIds) -> Self {
        let router = router.layer(MapRequestLayer::new(|request: Request<Body>| {
            // Known only after routing. Never the path itself: it may contain a secret that a client sent by
            // mistake.
            if let Some(route) = request.extensions().get::<MatchedPath>() {
                Span::current().record("route", route.as_str());
            }
            request
        }));
        Self {
            router,
            hosts,
            limits,
            ids,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers a request, whatever the request and whatever the handler does.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        let began = Instant::now();
        let id = self.ids.next();
        let method = method_name(request.method());
        // At the highest level, so that a warning has the request id at every log level.
        let span = tracing::error_span!("request", request_id = %id.0, method, route = Empty);
        async {
            let id_header = HeaderValue::try_from(&id.0).expect("a UUID is a header value");
            let mut response = match self.admit(request).await {
                Ok((mut head, body)) => {
                    head.extensions.insert(PeerAddr(peer));
                    self.route(head, body, id).await
                }
                Err(refusal) => refusal.response(self.hosts.error_form(), &id),
            };
            let headers = response.headers_mut();
            headers.insert(X_REQUEST_ID.clone(), id_header);
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            report(&response, began);
            response
        }
        .instrument(span)
        .await
    }

    /// The head and the complete body of a request that is fit to be routed.
    async fn admit(&self, request: Request<Incoming>) -> Result<(Parts, Bytes), Refusal> {
        let (head, body) = request.into_parts();
        self.hosts.check(&head)?;
        check_transfer_coding(&head)?;
        let body = self.whole_body(body).await?;
        Ok((head, body))
    }

    /// Reading it here keeps handlers from waiting for a client, and gives one answer to bodies that are too
    /// long, too slow or malformed.
    async fn whole_body(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let limit_bytes = self.limits.max_body_bytes;
        let too_large = Refusal::BodyTooLarge { limit_bytes };
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        // By its announced length, before it (or a `100 Continue`) is sent.
        if body.size_hint().lower() > u64::try_from(limit_bytes).unwrap_or(u64::MAX) {
            return Err(too_large);
        }
        match timeout(
            self.limits.body_timeout,
            Limited::new(body, limit_bytes).collect(),
        )
        .await
        {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
            Ok(Err(_)) => Err(Refusal::MalformedBody),
            Err(_) => Err(Refusal::BodyTooSlow),
        }
    }

    async fn route(&self, head: Parts, body: Bytes, id: RequestId) -> Response<Body> {
        let mut request = Request::from_parts(head, Body::from(body));
        request.extensions_mut().insert(id.clone());
        let on_panic = OnPanic {
            form: self.hosts.error_form(),
            id,
        };
        let router = CatchPanic::custom(self.router.clone(), on_panic);
        match router.oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(infallible) => match infallible {},
        }
    }
}

/// The answer when a handler panics.
#[derive(Clone)]
struct OnPanic {
    form: ErrorForm,
    id: RequestId,
}

impl ResponseForPanic for OnPanic {
    type ResponseBody = Body;

    /// The payload may quote the request, so it is dropped; the panic hook logs where it happened.
    fn response_for_panic(&mut self, _payload: Box<dyn Any + Send>) -> Response<Body> {
        tracing::error!("a handler panicked");
        Refusal::HandlerPanicked.response(self.form, &self.id)
    }
}

/// hyper accepts any list that ends in `chunked` and returns the body still compressed; a proxy in front may
/// see another body in the same bytes (request smuggling).
fn check_transfer_coding(head: &Parts) -> Result<(), Refusal> {
    let mut lines = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), _) => Err(Refusal::UnknownTransferCoding),
    }
}

/// The method for the log: a closed list, because an unknown one is the client's own text.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "TRACE" => "TRACE",
        "CONNECT" => "CONNECT",
        _ => "other",
    }
}

fn report(response: &Response<Body>, began: Instant) {
    let status = response.status().as_u16();
    let latency_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    if response.status().is_server_error() {
        tracing::error!(status, latency_us, "answered");
    } else {
        tracing::info!(status, latency_us, "answered");
    }
}
