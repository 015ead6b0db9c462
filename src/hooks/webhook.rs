//! Hooks over HTTP: tries, waits, and which answer is final (`spec/core.md` 4.2).
//!
//! Different from Flagger: any 2xx passes, not only 200 to 202, and the body of a 5xx is told, since that is where a
//! load tester says which test failed. Path and query of the URL are never told; they may be secret.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use http::{
    HeaderMap, StatusCode,
    header::{DATE, RETRY_AFTER},
};

use super::{Caller, HookCall, HookError};
use crate::outbound::{self, ClientError, Clients, OutOfReach, Reach};
use crate::retry::Retry;

/// Tells deliveries of one question apart from new questions.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// What is read of an answer.
const LARGEST_BODY: usize = 64 * 1024;
/// Letters of an answer that go into the error.
const EXCERPT: usize = 512;
/// The longest wait between two tries, also where the server asks for more: a gate must not sleep for a day.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// No request takes longer than this, whatever its own timeout says.
const LONGEST_CALL: Duration = Duration::from_hours(24);

/// Calls hooks over HTTP. One for the whole process: connections are kept and shared.
#[derive(Debug, Clone)]
pub struct HttpCaller {
    /// For hooks without credentials.
    clients: Clients,
}

/// How one try ended, other than well.
enum Miss {
    /// Another try would end the same way.
    Final(HookError),
    /// It may pass. `after` is what the server asked for.
    Passing { cause: String, after: Option<Duration> },
}

impl HttpCaller {
    /// A caller with connections of its own, which goes no further than `reach`.
    ///
    /// # Errors
    /// The system's certificates or its resolver are unusable.
    pub fn new(reach: Reach) -> Result<Self, ClientError> {
        Clients::within(reach, LONGEST_CALL).map(|clients| Self { clients })
    }

    /// The client for a call: the shared one, or where there are credentials one of its own, which shows them to nobody else.
    fn client(&self, call: &HookCall) -> Result<reqwest::Client, reqwest::Error> {
        let shown = &call.credentials;
        if shown.is_empty() {
            return Ok(self.clients.get(call.insecure_skip_verify).clone());
        }
        let mut builder = self
            .clients
            .beside(LONGEST_CALL, true)
            .tls_danger_accept_invalid_certs(call.insecure_skip_verify);
        if let Some(pem) = &shown.client_cert {
            builder = builder.identity(reqwest::Identity::from_pem(pem.reveal().as_bytes())?);
        }
        if let Some(pem) = &shown.ca {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.reveal().as_bytes())?);
        }
        builder.build()
    }

    /// The request, where the hook may be called at all.
    fn request(&self, call: &HookCall, origin: &str) -> Result<reqwest::RequestBuilder, HookError> {
        let unsendable = |cause: String| HookError::Unsendable {
            origin: origin.to_owned(),
            cause,
        };
        let admitted = self.clients.admit(call.url.reveal());
        admitted.map_err(|error| unsendable(error.to_string()))?;
        let client = self.client(call).map_err(|error| {
            let cause = outbound::cause(&error);
            unsendable(format!("the certificates in its secrets cannot be used: {cause}"))
        })?;
        let request = client
            .post(call.url.reveal())
            .timeout(call.timeout.min(LONGEST_CALL))
            .header(IDEMPOTENCY_KEY, &call.idempotency_key)
            .json(&call.body);
        let headers = call.credentials.headers.iter();
        Ok(headers.fold(request, |request, (name, value)| request.header(name, value.reveal())))
    }

    async fn attempt(&self, call: &HookCall, origin: &str) -> Result<(), Miss> {
        let request = self.request(call, origin).map_err(Miss::Final)?;
        let response = request.send().await.map_err(|error| unsent(&error, origin))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let after = asked_wait(status, response.headers());
        // Without a body the status is told alone.
        let body = outbound::read_body(response, LARGEST_BODY).await;
        let body = body.map(|body| body.excerpt(EXCERPT)).unwrap_or_default();
        let body = call.credentials.struck_out(&body);
        let is_passing = status == StatusCode::TOO_MANY_REQUESTS
            || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED);
        Err(match (is_passing, body.is_empty()) {
            (true, true) => Miss::Passing {
                cause: format!("status {status}"),
                after,
            },
            (true, false) => Miss::Passing {
                cause: format!("status {status}: {body}"),
                after,
            },
            (false, true) => Miss::Final(HookError::Refused(format!("status {status}"))),
            (false, false) => Miss::Final(HookError::Refused(body)),
        })
    }
}

#[async_trait]
impl Caller for HttpCaller {
    async fn call(&self, call: &HookCall) -> Result<(), HookError> {
        let origin = outbound::origin(call.url.reveal()).unwrap_or_else(|| "to an invalid URL".to_owned());
        let (mut attempts, mut retry) = (1, Retry::of_hook(&call.idempotency_key));
        loop {
            let (cause, after) = match self.attempt(call, &origin).await {
                Ok(()) => return Ok(()),
                Err(Miss::Final(error)) => return Err(error),
                Err(Miss::Passing { cause, after }) => (cause, after),
            };
            if attempts > call.retries {
                return Err(HookError::GivenUp {
                    origin,
                    attempts,
                    cause,
                });
            }
            tokio::time::sleep(wait(&mut retry, after)).await;
            attempts += 1;
        }
    }
}

/// The wait before the next try: longer each time, or what the server asked for; at most [`LONGEST_WAIT`].
fn wait(retry: &mut Retry, asked: Option<Duration>) -> Duration {
    asked.unwrap_or_else(|| retry.wait()).min(LONGEST_WAIT)
}

/// `Retry-After`, which counts with 429 and 503 (RFC 9110, 10.2.3): seconds, or a date. The answer's own `Date` is what a date is counted
/// from, because the server's clock and ours need not agree; without it such a date says nothing.
fn asked_wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let asked = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| DateTime::parse_from_rfc2822(text.trim()).ok();
    let wait = date(asked)? - date(headers.get(DATE)?.to_str().ok()?)?;
    // A date that has passed asks for no wait.
    Some(wait.to_std().unwrap_or_default())
}

/// A request that got no answer.
fn unsent(error: &reqwest::Error, origin: &str) -> Miss {
    let cause = outbound::cause(error);
    if error.is_builder() || error.is_redirect() || distrusts(error) || is_out_of_reach(error) {
        return Miss::Final(HookError::Unsendable {
            origin: origin.to_owned(),
            cause,
        });
    }
    Miss::Passing { cause, after: None }
}

/// Whether the server's certificate was not accepted.
fn distrusts(error: &reqwest::Error) -> bool {
    let mut link: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = link {
        if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // An I/O error leaves the error it was made of out of the chain.
        let made_of = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        link = made_of.map_or_else(|| error.source(), |inner| Some(inner));
    }
    false
}

/// Whether the name stands for an address that must not be called.
fn is_out_of_reach(error: &reqwest::Error) -> bool {
    let mut link = error.source();
    while let Some(error) = link {
        if error.is::<OutOfReach>() {
            return true;
        }
        link = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_the_server_may_say_otherwise() {
        let mut retry = Retry::of_hook("key");
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0] {
            let waited = wait(&mut retry, None).as_secs_f64();
            assert!(
                (expected..=expected * 1.1).contains(&waited),
                "{waited}, not {expected}"
            );
        }
        for _ in 0..200 {
            assert_eq!(wait(&mut retry, None), LONGEST_WAIT);
        }
        assert_eq!(wait(&mut retry, Some(Duration::from_secs(3))).as_secs(), 3);
        assert_eq!(wait(&mut retry, Some(Duration::from_hours(1))), LONGEST_WAIT);
    }

    #[test]
    fn a_wait_is_asked_for_by_429_and_503_only() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from_static("7"))]);
        for (status, expected) in [(429, Some(7)), (503, Some(7)), (500, None), (502, None)] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(
                asked_wait(status, &headers).map(|wait| wait.as_secs()),
                expected,
                "{status}"
            );
        }
        assert_eq!(asked_wait(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new()), None);
    }

    #[test]
    fn a_date_is_counted_from_the_answers_own() {
        let sent = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (after, sent, expected) in [
            ("Sun, 06 Nov 1994 08:49:57 GMT", sent, Some(20)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", sent, Some(0)),
            ("Sun, 06 Nov 1994 08:49:57 GMT", None, None),
            ("Sun, 06 Nov 1994 08:49:57 GMT", Some("yesterday"), None),
            ("soon", sent, None),
            ("-5", sent, None),
        ] {
            let pairs = [(RETRY_AFTER, Some(after)), (DATE, sent)];
            let headers: HeaderMap = pairs
                .into_iter()
                .filter_map(|(name, text)| Some((name, http::HeaderValue::from_static(text?))))
                .collect();
            let wait = asked_wait(StatusCode::SERVICE_UNAVAILABLE, &headers);
            assert_eq!(wait.map(|wait| wait.as_secs()), expected, "{after} {sent:?}");
        }
    }
}
