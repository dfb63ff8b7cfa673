//! Following logs: each line is told as it comes, and the last ones are kept.

use std::time::Duration;

use futures::future::try_join_all;
use jm_client_kubernetes::{Heard, LogRequest, Reader};
use jm_step::{StepContext, StepError};

use crate::logs::{self, Log, MOST_OF_ONE};
use crate::redact::{last_lines, redact};
use crate::wait;

/// Follows the logs of pods until all of them are over, or for so long. Tells whether it was the time that ended it.
pub(crate) async fn follow(
    cx: &StepContext,
    cluster: &Reader,
    pods: &[String],
    wanted: &LogRequest,
    most: Duration,
) -> Result<(Vec<Log>, bool), StepError> {
    let (mut logs, left_out) = wait::unless_cancelled(cx, logs::empty(cluster, pods, wanted)).await?;
    logs::tell_of_left_out(cx, &left_out).await?;
    let is_one = logs.len() == 1;
    let all = logs.iter_mut().map(|log| one(cx, cluster, log, wanted, is_one));
    let following = async {
        match tokio::time::timeout(most, try_join_all(all)).await {
            Ok(ended) => ended.map(|_| false),
            Err(_) => Ok(true),
        }
    };
    let cut_off = wait::unless_cancelled(cx, following).await?;
    if cut_off {
        let most = most.as_secs();
        cx.log(format!(
            "the {most} s of `follow_seconds` are over, and not all pods are: the rest is not followed"
        ))
        .await;
    }
    for log in &mut logs {
        log.text = last_lines(&log.text, MOST_OF_ONE);
    }
    Ok((logs, cut_off))
}

async fn one(
    cx: &StepContext,
    cluster: &Reader,
    log: &mut Log,
    wanted: &LogRequest,
    is_one: bool,
) -> Result<(), StepError> {
    let mut lines = cluster.follow(&log.pod, &log.request(wanted));
    let mut told = None;
    while let Some(heard) = lines.next().await? {
        let line = match heard {
            Heard::Line(line) => line,
            Heard::Waiting(why) => {
                if told.as_ref() != Some(&why) {
                    cx.log(format!("waiting: {}", redact(cx.secrets(), &why))).await;
                    told = Some(why);
                }
                continue;
            }
        };
        let line = redact(cx.secrets(), &line);
        if is_one {
            cx.log(line.as_str()).await;
        } else {
            cx.log(format!("{} {}: {line}", log.pod, log.container)).await;
        }
        keep(&mut log.text, &line);
    }
    Ok(())
}

/// Adds a line, and drops the first ones of what has become too long.
fn keep(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
    if text.len() > 2 * MOST_OF_ONE {
        *text = last_lines(text, MOST_OF_ONE);
    }
}
