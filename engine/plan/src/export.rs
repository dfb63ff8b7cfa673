//! A plan's graph as text for people and other programs: Mermaid, DOT, plain. The same plan always gives the same text.

use std::fmt::Write as _;

use jm_step::{Effect, StepId};

use crate::plan::{Because, Dependency, OnFailure, Plan, PlannedStep};

/// For Markdown (GitHub draws it).
pub fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart TD\n");
    for step in plan.steps() {
        line(&mut text, format_args!("  {}{}", key(&step.id), mermaid_box(step)));
    }
    if !plan.finally().is_empty() {
        text.push_str("  subgraph finally\n    direction TB\n");
        for step in plan.finally() {
            line(&mut text, format_args!("    {}{}", key(&step.id), mermaid_box(step)));
        }
        for (before, after) in in_turn(plan) {
            line(&mut text, format_args!("    {} --> {}", key(before), key(after)));
        }
        text.push_str("  end\n");
    }
    for (step, dependency) in edges(plan) {
        let arrow = if step.in_finally || dependency.because == Because::Reference {
            "-.->"
        } else {
            "-->"
        };
        line(
            &mut text,
            format_args!("  {} {arrow} {}", key(&dependency.step), key(&step.id)),
        );
    }
    let irreversible: Vec<String> = plan
        .all_steps()
        .filter(|step| step.effect == Effect::Irreversible)
        .map(|step| key(&step.id))
        .collect();
    if !irreversible.is_empty() {
        text.push_str("  classDef irreversible stroke:#c00,stroke-width:3px\n");
        line(
            &mut text,
            format_args!("  class {} irreversible", irreversible.join(",")),
        );
    }
    text
}

/// A step's name as Mermaid takes it: `end` and the like are words of its own.
fn key(id: &StepId) -> String {
    format!("s_{}", id.as_str().replace('-', "_"))
}

fn mermaid_box(step: &PlannedStep) -> String {
    let label = format!("<b>{}</b><br/>{}{}", step.id, step.uses, notes(step, "<br/>"));
    match step.effect {
        Effect::Irreversible => format!("{{{{\"{label}\"}}}}"),
        Effect::Reversible => format!("[\"{label}\"]"),
        Effect::ReadOnly => format!("([\"{label}\"])"),
    }
}

/// What is worth saying of a step in a picture.
fn notes(step: &PlannedStep, separator: &str) -> String {
    let failure = match step.on_failure {
        OnFailure::Fail => None,
        OnFailure::Continue => Some("may fail"),
        OnFailure::Pause => Some("pauses on failure"),
    };
    let irreversible = (step.effect == Effect::Irreversible).then_some("irreversible");
    let condition = step.when.as_ref().map(|_| "if …");
    let notes = [irreversible, condition, failure];
    notes.into_iter().flatten().flat_map(|note| [separator, note]).collect()
}

/// For Graphviz.
pub fn dot(plan: &Plan) -> String {
    let mut text = format!(
        "digraph \"{}\" {{\n  rankdir=TB;\n  node [shape=box, fontname=\"sans-serif\"];\n",
        plan.name()
    );
    for step in plan.steps() {
        line(&mut text, format_args!("  {}", dot_node(step)));
    }
    if !plan.finally().is_empty() {
        text.push_str("  subgraph cluster_finally {\n    label=\"finally\";\n    style=dashed;\n");
        for step in plan.finally() {
            line(&mut text, format_args!("    {}", dot_node(step)));
        }
        for (before, after) in in_turn(plan) {
            line(&mut text, format_args!("    \"{before}\" -> \"{after}\";"));
        }
        text.push_str("  }\n");
    }
    for (step, dependency) in edges(plan) {
        let reads = step.in_finally || dependency.because == Because::Reference;
        let style = if reads { " [style=dashed]" } else { "" };
        line(
            &mut text,
            format_args!("  \"{}\" -> \"{}\"{style};", dependency.step, step.id),
        );
    }
    text.push_str("}\n");
    text
}

fn dot_node(step: &PlannedStep) -> String {
    let shape = match step.effect {
        Effect::Irreversible => ", color=\"#cc0000\", penwidth=3",
        Effect::Reversible => "",
        Effect::ReadOnly => ", style=rounded",
    };
    format!(
        "\"{}\" [label=\"{}\\n{}{}\"{shape}];",
        step.id,
        step.id,
        step.uses,
        notes(step, "\\n")
    )
}

/// For a terminal: each step on a line, with what it waits for.
pub fn text(plan: &Plan) -> String {
    let widest = |part: fn(&PlannedStep) -> usize| plan.all_steps().map(part).max().unwrap_or(0);
    let id_width = widest(|step| step.id.as_str().len());
    let uses_width = widest(|step| step.uses.len());
    let mut text = format!("{}\n", plan.name());
    let mut row = |step: &PlannedStep| {
        let mark = match step.effect {
            Effect::Irreversible => '!',
            Effect::Reversible => '~',
            Effect::ReadOnly => ' ',
        };
        let rest = format!("{}{}", waits(plan, step), notes(step, "  "));
        let row = format!(
            "  {mark} {:id_width$}  {:uses_width$}  {rest}",
            step.id.as_str(),
            step.uses
        );
        line(&mut text, format_args!("{}", row.trim_end()));
    };
    plan.topological().for_each(&mut row);
    if !plan.finally().is_empty() {
        text.push_str("finally\n");
        let mut row = |step: &PlannedStep| {
            let rest = format!("{}{}", waits(plan, step), notes(step, "  "));
            let mark = if step.effect == Effect::Irreversible { '!' } else { ' ' };
            let row = format!(
                "  {mark} {:id_width$}  {:uses_width$}  {rest}",
                step.id.as_str(),
                step.uses
            );
            line(&mut text, format_args!("{}", row.trim_end()));
        };
        plan.finally().iter().for_each(&mut row);
    }
    text.push_str("\n! irreversible   ~ changes something   ← waits for   (x) reads x\n");
    text
}

fn waits(plan: &Plan, step: &PlannedStep) -> String {
    let dependencies = plan.dependencies(step.id.as_str());
    if dependencies.is_empty() {
        return String::new();
    }
    let names: Vec<String> = dependencies
        .iter()
        .map(|dependency| match dependency.because {
            Because::Needs => dependency.step.to_string(),
            Because::Reference => format!("({})", dependency.step),
        })
        .collect();
    format!("← {}", names.join(" "))
}

fn edges(plan: &Plan) -> impl Iterator<Item = (&PlannedStep, &Dependency)> {
    plan.all_steps().flat_map(|step| {
        plan.dependencies(step.id.as_str())
            .iter()
            .map(move |dependency| (step, dependency))
    })
}

/// The steps of `finally` run one after the other.
fn in_turn(plan: &Plan) -> impl Iterator<Item = (&StepId, &StepId)> {
    plan.finally().windows(2).filter_map(|pair| match pair {
        [before, after] => Some((&before.id, &after.id)),
        _ => None,
    })
}

fn line(text: &mut String, parts: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{parts}");
}
