//! What a message looks like on the wire.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::webhook::Kind;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    /// As bad as the status of a run says.
    pub(crate) fn of_status(status: &str) -> Self {
        match status {
            "failed" | "failure" | "error" | "aborted" => Self::Error,
            "degraded" | "warning" | "stopped" | "waiting" => Self::Warning,
            _ => Self::Info,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A message before it has a form.
pub(crate) struct Message {
    pub(crate) status: String,
    pub(crate) message: String,
    pub(crate) severity: Severity,
    pub(crate) timestamp: String,
    pub(crate) plan: String,
    pub(crate) run: String,
    pub(crate) step: String,
    pub(crate) drill: bool,
    pub(crate) key: String,
    pub(crate) fields: Map<String, Value>,
}

impl Message {
    /// The body in the form that the receiver takes.
    pub(crate) fn body(&self, kind: Kind) -> Value {
        match kind {
            Kind::Generic => self.generic(),
            Kind::Slack => self.slack(),
            Kind::Teams => self.teams(),
        }
    }

    fn generic(&self) -> Value {
        let mut body = json!({
            "status": self.status, "message": self.message, "timestamp": self.timestamp,
            "severity": self.severity, "plan": self.plan, "run": self.run, "step": self.step,
            "drill": self.drill, "idempotency_key": self.key,
        });
        if !self.fields.is_empty() {
            body["fields"] = Value::Object(self.fields.clone());
        }
        body
    }

    fn slack(&self) -> Value {
        let mark = match self.severity {
            Severity::Info => ":information_source:",
            Severity::Warning => ":warning:",
            Severity::Error => ":rotating_light:",
        };
        let head = format!("{mark} *{}*: {}", slack_text(&self.plan), slack_text(&self.headline()));
        let lines = self
            .lines()
            .into_iter()
            .map(|(name, value)| format!("*{}*: {}", slack_text(&name), slack_text(&value)));
        let text: Vec<String> = [head, slack_text(&self.message)].into_iter().chain(lines).collect();
        json!({ "text": text.join("\n") })
    }

    fn teams(&self) -> Value {
        let colour = match self.severity {
            Severity::Info => "good",
            Severity::Warning => "warning",
            Severity::Error => "attention",
        };
        let facts: Vec<Value> = self
            .lines()
            .into_iter()
            .map(|(name, value)| json!({ "title": teams_text(&name), "value": teams_text(&value) }))
            .collect();
        let title = format!("{}: {}", teams_text(&self.plan), teams_text(&self.headline()));
        let card = json!({
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
            "body": [
                { "type": "TextBlock", "size": "medium", "weight": "bolder", "color": colour, "wrap": true, "text": title },
                { "type": "TextBlock", "wrap": true, "text": teams_text(&self.message) },
                { "type": "FactSet", "facts": facts },
            ],
        });
        json!({
            "type": "message",
            "attachments": [{ "contentType": "application/vnd.microsoft.card.adaptive", "content": card }],
        })
    }

    fn headline(&self) -> String {
        if self.drill {
            format!("{} (drill)", self.status)
        } else {
            self.status.clone()
        }
    }

    fn lines(&self) -> Vec<(String, String)> {
        let known = [
            ("severity", self.severity.as_str()),
            ("run", self.run.as_str()),
            ("step", self.step.as_str()),
            ("time", self.timestamp.as_str()),
        ];
        let known = known
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let more = self.fields.iter().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), value)
        });
        known.chain(more).collect()
    }
}

/// Slack reads these three as mark-up.
fn slack_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Adaptive cards read Markdown.
fn teams_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(
            char,
            '\\' | '*' | '_' | '[' | ']' | '(' | ')' | '`' | '#' | '<' | '>' | '!' | '~'
        ) {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            status: "failed".to_owned(),
            message: "a <b> & *c*".to_owned(),
            severity: Severity::of_status("failed"),
            timestamp: "2026-11-23T10:00:00Z".to_owned(),
            plan: "complete-db-loss".to_owned(),
            run: "r".to_owned(),
            step: "tell".to_owned(),
            drill: true,
            key: "k".to_owned(),
            fields: Map::from_iter([("rows".to_owned(), json!(3))]),
        }
    }

    #[test]
    fn the_generic_form_keeps_the_three_names() {
        let body = message().body(Kind::Generic);
        assert_eq!(body["status"], "failed");
        assert_eq!(body["message"], "a <b> & *c*");
        assert_eq!(body["timestamp"], "2026-11-23T10:00:00Z");
        assert_eq!(
            (&body["severity"], &body["idempotency_key"], &body["fields"]["rows"]),
            (&json!("error"), &json!("k"), &json!(3))
        );
    }

    #[test]
    fn slack_and_teams_get_text_without_mark_up_of_ours() {
        let slack = message().body(Kind::Slack)["text"].as_str().expect("text").to_owned();
        assert!(
            slack.contains("a &lt;b&gt; &amp; *c*") && slack.contains("(drill)") && slack.contains("*rows*: 3"),
            "{slack}"
        );
        let teams = message().body(Kind::Teams);
        let card = &teams["attachments"][0]["content"];
        assert_eq!(card["body"][1]["text"], "a \\<b\\> & \\*c\\*");
        assert_eq!(card["body"][0]["color"], "attention");
    }

    #[test]
    fn severity_follows_the_status() {
        assert_eq!(Severity::of_status("completed"), Severity::Info);
        assert_eq!(Severity::of_status("degraded"), Severity::Warning);
        assert_eq!(Severity::of_status("aborted"), Severity::Error);
    }
}
