//! Workloads as they are when nothing is quiesced: what a backup keeps of those that jm stopped for a while.

use serde_json::{Value, json};

use crate::autoscaler::{Autoscaler, BOUNDS_MARK};
use crate::cron_job::SUSPEND_MARK;
use crate::workload::{MARK, SCALED_FROM};

/// Gives a quiesced workload the count, or the schedule, that its marks keep, and takes the marks off. A cluster that is
/// rebuilt has no run that would bring it back. What nobody marked is left as it is: somebody may want it so.
pub fn awake(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(marks) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    let mut take = |mark: &str| marks.remove(mark)?.as_str().map(str::to_owned);
    let (count, bounds, suspended) = (take(MARK), take(BOUNDS_MARK), take(SUSPEND_MARK));
    // Of a cluster that is not there any more.
    take(SCALED_FROM);
    if marks.is_empty() {
        metadata.remove("annotations");
    }
    let is_stopped = object.pointer("/spec/replicas") == Some(&json!(0));
    if let Some(count) = count.and_then(|count| count.parse::<u32>().ok()).filter(|_| is_stopped) {
        let least = bounds
            .and_then(|bounds| Autoscaler::marked(&bounds))
            .map_or(0, |it| it.min);
        object["spec"]["replicas"] = count.max(least).into();
    }
    if suspended.as_deref() == Some("false") {
        object["spec"]["suspend"] = false.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(annotations: Value, spec: Value) -> Value {
        let mut object = json!({ "metadata": { "name": "web", "annotations": annotations }, "spec": spec });
        awake(&mut object);
        object
    }

    #[test]
    fn what_was_quiesced_is_kept_as_it_was_before() {
        let bounds = json!({ "name": "web", "min": 4, "max": 9 }).to_string();
        let marked = woken(
            json!({ (MARK): "3", (BOUNDS_MARK): bounds, (SCALED_FROM): "5", "mine": "1" }),
            json!({ "replicas": 0 }),
        );
        assert_eq!(marked["spec"]["replicas"], 4, "no less than its autoscaler keeps");
        assert_eq!(marked["metadata"]["annotations"], json!({ "mine": "1" }));
        let job = woken(json!({ (SUSPEND_MARK): "false" }), json!({ "suspend": true }));
        assert_eq!(
            job,
            json!({ "metadata": { "name": "web" }, "spec": { "suspend": false } })
        );
    }

    #[test]
    fn what_somebody_set_stays() {
        assert_eq!(
            woken(json!({ (MARK): "3" }), json!({ "replicas": 2 }))["spec"]["replicas"],
            2
        );
        assert_eq!(woken(json!({}), json!({ "replicas": 0 }))["spec"]["replicas"], 0);
        let rests = woken(json!({ (SUSPEND_MARK): "true" }), json!({ "suspend": true }));
        assert_eq!(rests["spec"]["suspend"], true, "it rested before");
    }
}
