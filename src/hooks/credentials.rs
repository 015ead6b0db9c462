//! What a hook is shown, and what it is checked against: headers, a client certificate and a CA from Secrets.

use http::{HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::Secret;

use crate::api::Webhook;
use crate::outbound::Hidden;

/// Headers that the call itself has.
const TAKEN: [&str; 5] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "idempotency-key",
];
/// Shorter texts are no secret that an answer could give away.
const SHORTEST: usize = 4;

/// The names of the Secrets that a hook refers to, in the Canary's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretNames {
    /// `headersFrom`.
    pub headers: Option<String>,
    /// `clientCertFrom`.
    pub client_cert: Option<String>,
    /// `caFrom`.
    pub ca: Option<String>,
}

/// What the Secrets hold. Nothing of it is ever printed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// Headers that are sent along.
    pub headers: Vec<(HeaderName, Hidden)>,
    /// Certificate and key in PEM, shown to the server.
    pub client_cert: Option<Hidden>,
    /// Certificates in PEM: the server's must be signed by one of them.
    pub ca: Option<Hidden>,
}

/// A Secret that cannot be used. Names keys, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A key that is needed is not there, or is empty.
    #[error("has no key {0}")]
    Missing(&'static str),
    /// A key is no name of a header, or of one that the call has already.
    #[error("key {0} is no header that can be set")]
    Name(String),
    /// A value has characters that a header or a certificate cannot have.
    #[error("the value of key {0} cannot be sent")]
    Value(String),
}

impl SecretNames {
    /// Those of a hook.
    pub fn of(hook: &Webhook) -> Self {
        let name = |reference: &Option<crate::api::SecretRef>| reference.as_ref().map(|it| it.name.clone());
        Self {
            headers: name(&hook.headers_from),
            client_cert: name(&hook.client_cert_from),
            ca: name(&hook.ca_from),
        }
    }
}

impl Credentials {
    /// Whether the call is as anybody's.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A server's words without the values of headers that it may have repeated: they are told in Events.
    pub fn struck_out(&self, words: &str) -> String {
        let values = self.headers.iter().map(|(_, value)| value.reveal());
        // With and without the scheme in front, as in `Bearer token`.
        let parts = values.flat_map(|value| [Some(value), value.split_once(' ').map(|(_, token)| token.trim())]);
        let secrets = parts.flatten().filter(|part| part.len() >= SHORTEST);
        secrets.fold(words.to_owned(), |words, secret| words.replace(secret, "[hidden]"))
    }

    /// Takes the headers of a Secret: each key a name, each value what is sent.
    ///
    /// # Errors
    /// A key or a value cannot be sent as a header.
    pub fn read_headers(&mut self, secret: &Secret) -> Result<(), CredentialsError> {
        for (key, value) in secret.data.iter().flatten() {
            let name = HeaderName::try_from(key.as_str()).map_err(|_| CredentialsError::Name(key.clone()))?;
            if TAKEN.contains(&name.as_str()) {
                return Err(CredentialsError::Name(key.clone()));
            }
            let text = std::str::from_utf8(&value.0).map(str::trim);
            let text = text.ok().filter(|text| HeaderValue::from_str(text).is_ok());
            let text = text.ok_or_else(|| CredentialsError::Value(key.clone()))?;
            self.headers.push((name, text.into()));
        }
        Ok(())
    }

    /// Takes `tls.crt` and `tls.key` of a Secret.
    ///
    /// # Errors
    /// One is missing, or is no text.
    pub fn read_client_cert(&mut self, secret: &Secret) -> Result<(), CredentialsError> {
        let pem = format!("{}\n{}\n", text(secret, "tls.crt")?, text(secret, "tls.key")?);
        self.client_cert = Some(pem.into());
        Ok(())
    }

    /// Takes `ca.crt` of a Secret.
    ///
    /// # Errors
    /// It is missing, or is no text.
    pub fn read_ca(&mut self, secret: &Secret) -> Result<(), CredentialsError> {
        self.ca = Some(text(secret, "ca.crt")?.into());
        Ok(())
    }
}

fn text<'a>(secret: &'a Secret, key: &'static str) -> Result<&'a str, CredentialsError> {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value = value.filter(|value| !value.0.is_empty());
    let value = value.ok_or(CredentialsError::Missing(key))?;
    std::str::from_utf8(&value.0).map_err(|_| CredentialsError::Value(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn secret(data: &[(&str, &str)]) -> Secret {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret {
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    #[test]
    fn what_cannot_be_sent_is_told_by_its_key_alone() {
        let read = |data: &[(&str, &str)]| {
            let mut credentials = Credentials::default();
            credentials.read_headers(&secret(data)).map(|()| credentials)
        };
        let good = read(&[("Authorization", "Bearer s3cret\n"), ("x-team", "a")]).expect("headers");
        assert_eq!(good.headers[0].1.reveal(), "Bearer s3cret");
        assert!(!format!("{good:?}").contains("s3cret"));
        let told = good.struck_out(r#"no entry for "Bearer s3cret": s3cret is unknown to team a"#);
        assert_eq!(told, r#"no entry for "[hidden]": [hidden] is unknown to team a"#);
        for (key, value) in [
            ("no header", "s3cret"),
            ("Host", "s3cret"),
            ("Idempotency-Key", "s3cret"),
            ("x-team", "s3cret\nx-evil: 1"),
        ] {
            let error = read(&[(key, value)]).expect_err(key).to_string();
            assert!(error.contains(key) && !error.contains("s3cret"), "{error}");
        }
        let mut credentials = Credentials::default();
        let error = credentials
            .read_client_cert(&secret(&[("tls.crt", "x")]))
            .expect_err("no key");
        assert_eq!(error.to_string(), "has no key tls.key");
    }
}
