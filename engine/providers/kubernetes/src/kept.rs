//! Workloads that another tool keeps as they are: who will undo what a step changes of them.

use jm_client_kubernetes::Workload;

/// Who will undo a change of a workload, where somebody would.
pub(crate) fn warning(state: &Workload) -> Option<String> {
    let keeper = state.keeper.as_ref()?;
    Some(keeper.warning(1, &state.workload.to_string()))
}

/// A summary, with what is to be said about it.
pub(crate) fn warned<'w>(mut summary: String, warnings: impl IntoIterator<Item = &'w String>) -> String {
    for warning in warnings {
        summary.push_str("; ");
        summary.push_str(warning);
    }
    summary
}
