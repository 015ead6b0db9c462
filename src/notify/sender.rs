//! Delivers messages over HTTP: 5 s, one try, any 2xx that the service does not take back.

use std::time::Duration;

use async_trait::async_trait;

use super::{Destination, Message, NotifyError, Sender, service};
use crate::outbound::{self, ClientError, Clients, Reach};

/// For one message (`spec/analysis.md` 4.4).
const TIMEOUT: Duration = Duration::from_secs(5);
/// What is read of an answer.
const LARGEST_BODY: usize = 16 * 1024;
/// Letters of an answer that go into the error.
const EXCERPT: usize = 256;

/// Sends over HTTP. One for the whole process: connections are kept and shared.
#[derive(Debug, Clone)]
pub struct HttpSender {
    clients: Clients,
}

impl HttpSender {
    /// A sender with connections of its own, which goes no further than `reach`: an alert provider may name any address.
    ///
    /// # Errors
    /// The system's certificates or its resolver are unusable.
    pub fn new(reach: Reach) -> Result<Self, ClientError> {
        Clients::within(reach, TIMEOUT).map(|clients| Self { clients })
    }

    /// The shared client, or one of its own for a destination behind its own proxy.
    fn client(&self, destination: &Destination) -> Result<reqwest::Client, NotifyError> {
        let Some(proxy) = &destination.proxy else {
            return Ok(self.clients.get(false).clone());
        };
        let unusable = |error: &reqwest::Error| NotifyError::Proxy(outbound::cause(error));
        let proxy = reqwest::Proxy::all(proxy.reveal()).map_err(|error| unusable(&error))?;
        self.clients
            .beside(TIMEOUT, false)
            .proxy(proxy)
            .build()
            .map_err(|error| unusable(&error))
    }
}

#[async_trait]
impl Sender for HttpSender {
    async fn send(&self, destination: &Destination, message: &Message) -> Result<(), NotifyError> {
        let service =
            service(&destination.service).ok_or_else(|| NotifyError::UnknownService(destination.service.clone()))?;
        let request = service.request(destination, message);
        let mut post = self.client(destination)?.post(request.url.reveal()).json(&request.body);
        if let Some(token) = &request.token {
            post = post.bearer_auth(token.reveal());
        }
        let unsent = |error: reqwest::Error| NotifyError::Unsent(outbound::cause(&error));
        let admitted = self.clients.admit(request.url.reveal());
        admitted.map_err(|error| NotifyError::Unsent(error.to_string()))?;
        let response = post.send().await.map_err(unsent)?;
        let status = response.status();
        let body = outbound::read_body(response, LARGEST_BODY).await.map_err(unsent)?;
        if !status.is_success() {
            return Err(NotifyError::Status {
                status: status.as_u16(),
                body: body.excerpt(EXCERPT),
            });
        }
        match service.refusal(&body.text()) {
            Some(reason) => Err(NotifyError::Refused(reason)),
            None => Ok(()),
        }
    }
}
