//! Prometheus, and what answers like it: instant queries through `prometheus-http-query`.
//!
//! The crate builds and sends the request. Its own reading of the answer fails as a whole on native histograms and
//! strings and has no size limit, so the body is read here, bounded, and every kind of answer is told apart.

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};
use k8s_openapi::api::core::v1::Secret;
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value as Json;

use super::Reading;
use super::source::{Credentials, MetricsServer, Source, SourceError, secret_text};
use crate::api::MetricTemplateProvider;
use crate::outbound::{self, Body, Clients, Hidden};

/// The name in `spec.provider.type`.
const NAME: &str = "prometheus";
/// An answer with one number has some hundred bytes; thousands of series are no answer to wait for.
const LARGEST_ANSWER: usize = 1 << 20;
/// Letters of a foreign text that go into an error.
const EXCERPT: usize = 256;
/// What a server that is online answers 1 to.
const PROBE: &str = "vector(1)";

/// See the module.
pub(super) struct Prometheus;

#[async_trait]
impl MetricsServer for Prometheus {
    fn name(&self) -> &'static str {
        NAME
    }

    fn source(&self, provider: &MetricTemplateProvider, secret: Option<&Secret>) -> Result<Source, SourceError> {
        let mut headers = Vec::new();
        for (name, values) in &provider.headers {
            for value in values {
                let allowed = name.parse::<HeaderName>().is_ok() && value.parse::<HeaderValue>().is_ok();
                if !allowed {
                    return Err(SourceError::Header(name.clone()));
                }
                headers.push((name.clone(), Hidden::from(value.as_str())));
            }
        }
        Ok(Source {
            kind: NAME,
            address: base_url(provider.address.as_deref().unwrap_or_default())?,
            headers,
            credentials: secret.map(credentials).transpose()?,
            insecure_skip_verify: provider.insecure_skip_verify,
        })
    }

    async fn read(&self, clients: &Clients, source: &Source, query: &str) -> Reading {
        let response = match request(clients, source, query) {
            Ok(request) => request.get_raw().await,
            Err(reading) => return reading,
        };
        let unreachable = |words: &str| {
            let origin = outbound::origin(source.address.reveal()).unwrap_or_default();
            Reading::Unreachable(format!("{origin}: {words}"))
        };
        let response = match response {
            Ok(response) => response,
            Err(error) => return unreachable(&words(&error)),
        };
        let status = response.status();
        match outbound::read_body(response, LARGEST_ANSWER).await {
            Ok(body) => interpret(status, &body),
            Err(error) => unreachable(&outbound::cause(&error)),
        }
    }

    async fn online(&self, clients: &Clients, source: &Source) -> Result<(), String> {
        match self.read(clients, source, PROBE).await {
            Reading::Value(1.0) => Ok(()),
            Reading::Failed(error) | Reading::Unreachable(error) => Err(format!("running query failed: {error}")),
            _ => Err(format!("value is not 1 for query: {PROBE}")),
        }
    }
}

/// The address without what does not belong to a base: query string, fragment, trailing slash (the crate would double it).
fn base_url(address: &str) -> Result<Hidden, SourceError> {
    let invalid = |shown: String| SourceError::Address {
        kind: NAME,
        address: shown,
    };
    // What does not parse may still hold a password; only what stands behind the last @ is shown.
    let mut url = Url::parse(address)
        .map_err(|_| invalid(address.rsplit_once('@').map_or(address, |(_, host)| host).to_owned()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(
            address.rsplit_once('@').map_or(address, |(_, host)| host).to_owned(),
        ));
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url.as_str().into())
}

fn credentials(secret: &Secret) -> Result<Credentials, SourceError> {
    if let Some(token) = secret_text(secret, "token") {
        return Ok(Credentials::Bearer(token));
    }
    let demand = |key| secret_text(secret, key).ok_or(SourceError::Credentials { kind: NAME, key });
    Ok(Credentials::Basic {
        username: demand("username")?,
        password: demand("password")?,
    })
}

/// The request, or why there can be none.
fn request(
    clients: &Clients,
    source: &Source,
    query: &str,
) -> Result<prometheus_http_query::InstantQueryBuilder, Reading> {
    let unusable = |()| Reading::Failed("the address is not a valid URL".into());
    clients
        .admit(source.address.reveal())
        .map_err(|error| Reading::Failed(error.to_string()))?;
    let mut address = Url::parse(source.address.reveal()).map_err(|_| unusable(()))?;
    if let Some(Credentials::Basic { username, password }) = &source.credentials {
        // The HTTP client makes Basic authentication of it, and keeps it out of the URL it sends.
        address
            .set_username(username.reveal())
            .and_then(|()| address.set_password(Some(password.reveal())))
            .map_err(unusable)?;
    }
    let client = clients.get(source.insecure_skip_verify).clone();
    let mut request = prometheus_http_query::Client::from(client, address.as_str())
        .map_err(|_| unusable(()))?
        .query(query);
    for (name, value) in &source.headers {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.reveal().parse::<HeaderValue>()) else {
            return Err(Reading::Failed(SourceError::Header(name.clone()).to_string()));
        };
        // The Secret wins: servers refuse requests with two.
        if name != AUTHORIZATION || source.credentials.is_none() {
            request = request.header(name, value);
        }
    }
    if let Some(Credentials::Bearer(token)) = &source.credentials {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
            .map_err(|_| Reading::Failed("the token in the Secret holds letters that no header can carry".into()))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    Ok(request)
}

/// Why nothing came back, without the address.
fn words(error: &prometheus_http_query::Error) -> String {
    match error {
        prometheus_http_query::Error::Client(error) => error
            .inner()
            .map_or_else(|| "the request failed".to_owned(), outbound::cause),
        _ => "the request failed".to_owned(),
    }
}

/// The API's envelope (prometheus.io, "HTTP API", "Format overview").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    data: Option<Data>,
    error_type: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    #[serde(default)]
    result: Json,
}

/// What an answer says. Pure, so that every shape of it can be tried.
fn interpret(status: StatusCode, body: &Body) -> Reading {
    if body.cut {
        return Reading::Failed(format!(
            "the answer is larger than {LARGEST_ANSWER} bytes: aggregate the query"
        ));
    }
    let answer = match serde_json::from_slice::<Answer>(&body.bytes) {
        Ok(answer) if answer.status == "success" && status.is_success() => answer,
        Ok(answer) => return refusal(status, &answer),
        Err(_) => return foreign(status, body),
    };
    let Some(Data { result_type, result }) = answer.data else {
        return Reading::NoData;
    };
    match (result_type.as_str(), result) {
        ("vector", Json::Array(series)) => one_of(&series),
        // A scalar is one number without labels: `scalar(...)` or a plain literal.
        ("scalar", sample) => number_in(&sample),
        ("matrix", _) => Reading::Failed("query returned multiple values: it selects a range, not one moment".into()),
        (other, _) => Reading::Failed(format!("query returned a {other}, not a number")),
    }
}

/// An answer in the API's own form that reports an error. `timeout`, `canceled`, `internal` and `unavailable` are about
/// the server; all others are about the query.
fn refusal(status: StatusCode, answer: &Answer) -> Reading {
    let kind = answer.error_type.as_deref().unwrap_or("error");
    let message: String = answer
        .error
        .as_deref()
        .unwrap_or("without a message")
        .chars()
        .take(EXCERPT)
        .collect();
    let text = format!("{kind}: {message}");
    let passing = matches!(kind, "timeout" | "canceled" | "internal" | "unavailable") || is_passing(status);
    if passing {
        Reading::Unreachable(text)
    } else {
        Reading::Failed(text)
    }
}

/// An answer that is not in the API's form: a proxy's that knows no such token or path, a login page, another program. It says nothing
/// about the query, and so nothing about the release.
fn foreign(status: StatusCode, body: &Body) -> Reading {
    let excerpt = body.excerpt(EXCERPT);
    if status.is_success() {
        return Reading::Unreachable(format!("the answer is not one of Prometheus: {excerpt}"));
    }
    Reading::Unreachable(format!("error response: Status {status}: {excerpt}"))
}

/// Whether the same request may succeed a moment later.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

fn one_of(series: &[Json]) -> Reading {
    match series {
        [] => Reading::NoData,
        [one] if one.get("histogram").is_some() => {
            Reading::Failed("query returned a native histogram: take a quantile or a rate of it".into())
        }
        [one] => one.get("value").map_or_else(
            || Reading::Failed("query returned a sample without a value".into()),
            number_in,
        ),
        several => Reading::Several(several.len()),
    }
}

/// The number in `[<time>, "<number>"]`.
fn number_in(sample: &Json) -> Reading {
    let Some(text) = sample.get(1).and_then(Json::as_str) else {
        return Reading::Failed("query returned a sample that is not a number".into());
    };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Reading::Value(value),
        Ok(value) => Reading::NotFinite(value),
        Err(_) => Reading::Failed(format!("query returned {text:?}, not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Reading {
        let body = Body {
            bytes: body.as_bytes().to_vec(),
            cut: false,
        };
        interpret(StatusCode::from_u16(status).expect("a status"), &body)
    }

    fn vector(samples: &str) -> Reading {
        answer(
            200,
            &format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{samples}]}}}}"#),
        )
    }

    #[test]
    fn every_shape_of_result_is_told_apart() {
        let one = |number: &str| vector(&format!(r#"{{"metric":{{}},"value":[1718000000.1,"{number}"]}}"#));
        assert_eq!(one("98.694"), Reading::Value(98.694));
        assert_eq!(one("1e-3"), Reading::Value(0.001));
        assert!(matches!(one("NaN"), Reading::NotFinite(value) if value.is_nan()));
        assert_eq!(one("+Inf"), Reading::NotFinite(f64::INFINITY));
        assert_eq!(one("-Inf"), Reading::NotFinite(f64::NEG_INFINITY));
        assert_eq!(
            one("many"),
            Reading::Failed(r#"query returned "many", not a number"#.to_owned())
        );
        assert_eq!(vector(""), Reading::NoData);
        assert_eq!(vector(r#"{"value":[1,"1"]},{"value":[1,"NaN"]}"#), Reading::Several(2));
        assert_eq!(answer(200, r#"{"status":"success"}"#), Reading::NoData);
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#;
        assert_eq!(answer(200, scalar), Reading::Value(2.0));
        let failed = [
            (
                r#""vector","result":[{"histogram":[1,{"count":"1","sum":"2","buckets":[]}]}]"#,
                "native histogram",
            ),
            (r#""vector","result":[{"metric":{}}]"#, "without a value"),
            (r#""vector","result":[{"value":[1,2]}]"#, "not a number"),
            (r#""vector","result":{}"#, "returned a vector, not a number"),
            (r#""matrix","result":[{"values":[[1,"1"]]}]"#, "multiple values"),
            (r#""string","result":[1,"text"]"#, "returned a string"),
        ];
        for (data, expected) in failed {
            let reading = answer(
                200,
                &format!(r#"{{"status":"success","data":{{"resultType":{data}}}}}"#),
            );
            assert!(
                matches!(&reading, Reading::Failed(text) if text.contains(expected)),
                "{data}: {reading:?}"
            );
        }
    }

    #[test]
    fn a_bad_query_is_not_a_server_that_is_down() {
        let error = |kind: &str| format!(r#"{{"status":"error","errorType":"{kind}","error":"words"}}"#);
        for (status, kind) in [
            (400, "bad_data"),
            (422, "execution"),
            (200, "bad_data"),
            (404, "not_found"),
        ] {
            assert_eq!(
                answer(status, &error(kind)),
                Reading::Failed(format!("{kind}: words")),
                "{status}"
            );
        }
        for (status, kind) in [
            (503, "timeout"),
            (503, "canceled"),
            (500, "internal"),
            (200, "timeout"),
            (502, "other"),
        ] {
            assert_eq!(
                answer(status, &error(kind)),
                Reading::Unreachable(format!("{kind}: words")),
                "{status}"
            );
        }
        for status in [200, 302, 401, 403, 404, 408, 429, 500, 502, 504] {
            let reading = answer(status, "<html>");
            assert!(
                matches!(&reading, Reading::Unreachable(text) if text.contains("<html>")),
                "{status} {reading:?}"
            );
        }
    }

    #[test]
    fn an_address_keeps_its_path_and_loses_what_is_no_base() {
        let cases = [
            ("http://prometheus:9090", "http://prometheus:9090/"),
            ("http://prometheus:9090/", "http://prometheus:9090/"),
            ("https://u:p@host/prom//?x=1#f", "https://u:p@host/prom"),
        ];
        for (address, expected) in cases {
            assert_eq!(base_url(address).expect(address).reveal(), expected);
        }
    }

    #[test]
    fn an_address_that_cannot_work_is_told_without_its_password() {
        let cases = [
            ("", "prometheus address  is not a valid URL"),
            (
                "prometheus:9090",
                "prometheus address prometheus:9090 is not a valid URL",
            ),
            ("ftp://user:secret@host", "prometheus address host is not a valid URL"),
            (
                "user:secret@host:http",
                "prometheus address host:http is not a valid URL",
            ),
        ];
        for (address, expected) in cases {
            assert_eq!(base_url(address).expect_err(address).to_string(), expected);
        }
    }
}
