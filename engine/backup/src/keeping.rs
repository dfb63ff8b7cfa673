//! How a backup is kept, whatever it is of.

use jiff::SignedDuration;
use jm_step::{InputIssue, ReadContext};

use crate::create::{check_label, parse_pin};
use crate::manifest::{Level, Release};

/// How a backup is kept, whatever it is of.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// A name for it, such as `pre_upgrade`.
    pub label: Option<String>,
    /// How long retention leaves it alone, whatever its age.
    pub pin: Option<SignedDuration>,
    /// The release of the application that runs, where it is known.
    pub release: Option<Release>,
    /// How far it is proven before it counts.
    pub level: Level,
    /// The run that asks.
    pub run: String,
    /// The deed.
    pub idempotency_key: String,
}

impl Keeping {
    /// As a step asks for it, whose `label` and `pin` were checked; empty ones are none.
    pub fn of(cx: &ReadContext, label: &str, pin: Option<&str>, level: Level) -> Self {
        Self {
            label: Some(label.to_owned()).filter(|label| !label.is_empty()),
            pin: parse_pin(pin.unwrap_or_default()).unwrap_or_default(),
            release: None,
            level,
            run: cx.run().id.to_string(),
            idempotency_key: cx.idempotency_key().to_owned(),
        }
    }

    /// Whether it is asked for by a name, or to be left alone by retention: such a one is made in any case.
    pub fn is_asked_for(&self) -> bool {
        self.label.is_some() || self.pin.is_some()
    }

    /// What is wrong with the fields `label`, `pin` and `verify` of a step. Only what `restored` says proves the last level.
    pub fn issues(label: &str, pin: Option<&str>, verify: Level, restored: &str) -> Vec<InputIssue> {
        let mut issues = Vec::new();
        if let Err(why) = Some(label)
            .filter(|label| !label.is_empty())
            .map_or(Ok(()), check_label)
        {
            issues.push(InputIssue::at("/label", why).help("such as `pre_upgrade`"));
        }
        if let Err(why) = parse_pin(pin.unwrap_or_default()) {
            issues.push(InputIssue::at("/pin", why).help("such as `30d`"));
        }
        if verify == Level::Restored {
            issues.push(InputIssue::at("/verify", restored).help("`archive`"));
        }
        issues
    }
}
