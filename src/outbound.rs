//! How Serin calls other systems over HTTP: one pooled client, answers of bounded size, and errors that name no address.
//!
//! An address is a secret (a Slack URL is a password, a Prometheus URL may carry one), and the HTTP client's own error
//! text contains it. So errors are told by [`cause`], and secrets travel in [`Hidden`].

mod reach;

use std::{borrow::Cow, error::Error, fmt, time::Duration};

pub use reach::{OutOfReach, Reach};

/// The name that Serin gives itself in requests.
const USER_AGENT: &str = concat!("serin/", env!("CARGO_PKG_VERSION"));

/// A text that is never printed: an address, a token, a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text itself, for the request alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Hidden {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// The HTTP client could not be made: the system's certificates or its resolver are unusable.
#[derive(Debug, thiserror::Error)]
#[error("cannot make an HTTP client: {0}")]
pub struct ClientError(#[source] reqwest::Error);

/// Two pooled clients: one verifies certificates, the other does not. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Clients {
    verifying: reqwest::Client,
    trusting: reqwest::Client,
    reach: Reach,
}

impl Clients {
    /// Clients whose requests may take that long in all, redirects and body included, and go no further than `reach`. They honour the
    /// proxies of the environment and follow ten redirects.
    ///
    /// # Errors
    /// The system's certificates or its resolver are unusable.
    pub fn within(reach: Reach, timeout: Duration) -> Result<Self, ClientError> {
        let build = |insecure| {
            let builder = reach.limit(builder(timeout), false);
            builder.tls_danger_accept_invalid_certs(insecure).build()
        };
        Ok(Self {
            verifying: build(false).map_err(ClientError)?,
            trusting: build(true).map_err(ClientError)?,
            reach,
        })
    }

    /// The settings of a client beside these, which goes no further than they do; with `credentials` no redirect leads it to another server.
    pub fn beside(&self, timeout: Duration, credentials: bool) -> reqwest::ClientBuilder {
        self.reach.limit(builder(timeout), credentials)
    }

    /// Whether this address may be asked. A client looks at names by itself, and cannot look at what is no name.
    ///
    /// # Errors
    /// It is an IP address that must not be called.
    pub fn admit(&self, url: &str) -> Result<(), OutOfReach> {
        reqwest::Url::parse(url).map_or(Ok(()), |url| self.reach.admit(&url))
    }

    /// The client that does, or does not, verify certificates.
    pub const fn get(&self, insecure_skip_verify: bool) -> &reqwest::Client {
        if insecure_skip_verify {
            &self.trusting
        } else {
            &self.verifying
        }
    }
}

/// Scheme, host and port of a URL: all of it that may be told. User, path and query may be secret.
pub fn origin(url: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).ok().filter(reqwest::Url::has_host)?;
    Some(url.origin().ascii_serialization())
}

/// The settings that all our clients share.
fn builder(timeout: Duration) -> reqwest::ClientBuilder {
    crate::tls::init();
    reqwest::Client::builder().user_agent(USER_AGENT).timeout(timeout)
}

/// The start of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// At most as many bytes as were asked for.
    pub bytes: Vec<u8>,
    /// Whether there was more.
    pub cut: bool,
}

impl Body {
    /// The body as text; what is no UTF-8 becomes a replacement character.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// The body for people: at most `limit` characters, without white space around it.
    pub fn excerpt(&self, limit: usize) -> String {
        let text = self.text();
        let text = text.trim();
        match text.char_indices().nth(limit) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.to_owned(),
        }
    }
}

/// Reads a body up to `limit` bytes and leaves the rest on the wire.
pub async fn read_body(mut response: reqwest::Response, limit: usize) -> Result<Body, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limit - bytes.len();
        if chunk.len() > room {
            bytes.extend_from_slice(&chunk[..room]);
            return Ok(Body { bytes, cut: true });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body { bytes, cut: false })
}

/// Why a request failed, without the address it went to.
pub fn cause(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() {
        return "no answer in time".to_owned();
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_redirect() {
        "cannot follow the redirect"
    } else if error.is_builder() {
        "not a usable address"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the request failed"
    };
    // The error's own text contains the address; those of its sources do not.
    let mut text = what.to_owned();
    let mut source = error.source();
    while let Some(inner) = source {
        let words = inner.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        source = inner.source();
    }
    text
}
