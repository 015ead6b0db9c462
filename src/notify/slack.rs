//! Slack: an incoming webhook, or `chat.postMessage` with a bot's token.
//!
//! Different from Flagger: a warning has a colour of its own, `warning`, and the `{"ok":false}` that `chat.postMessage`
//! answers with status 200 is an error.

use serde_json::{Value, json};

use super::{Destination, Message, Request, Service};
use crate::rollout::Severity;

/// See the module.
pub(super) struct Slack;

impl Service for Slack {
    fn name(&self) -> &'static str {
        "slack"
    }

    fn request(&self, destination: &Destination, message: &Message) -> Request {
        let fields = message.fields.iter();
        let fields: Vec<Value> = fields
            .map(|(title, value)| json!({"title": title, "value": value, "short": false}))
            .collect();
        let body = json!({
            "channel": destination.channel,
            "username": destination.username,
            "icon_url": "",
            "icon_emoji": ":rocket:",
            "attachments": [{
                "color": color(message.severity),
                "author_name": format!("{}.{}", message.canary, message.namespace),
                "text": message.text,
                "mrkdwn_in": ["text"],
                "fields": fields,
            }],
        });
        Request {
            url: destination.address.clone(),
            token: destination.token.clone(),
            body,
        }
    }

    fn refusal(&self, body: &str) -> Option<String> {
        // An incoming webhook answers with the word `ok`, which is no JSON.
        let answer: Value = serde_json::from_str(body).ok()?;
        let refused = answer.get("ok")? == &Value::Bool(false);
        refused.then(|| {
            answer
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or("without a reason")
                .to_owned()
        })
    }
}

/// Slack's names for green, yellow and red.
const fn color(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "good",
        Severity::Warn => "warning",
        Severity::Error => "danger",
    }
}
