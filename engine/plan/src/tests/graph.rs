//! The graph of a plan: order, longest way, and the pictures of it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use insta::assert_snapshot;
use proptest::prelude::*;

use crate::testing::{codes, compiled, plan};
use crate::{Plan, export};

const STEPS: &str = "steps:\n  - { id: look, uses: test.look }\n  - { id: verify, uses: test.verify, needs: [look] }\n  - { id: end, uses: test.burn, needs: [verify], budget: 10m }\n  - { id: tell, uses: test.look, with: { message: '${{ steps.look.outputs.found }}' }, on_failure: continue, budget: 5m }\nfinally:\n  - { id: put-back, uses: test.look, if: \"${{ steps.end.status == 'failed' }}\" }\n  - { id: say, uses: test.look, with: { message: '${{ run.status }}' } }\n";

fn small() -> Plan {
    compiled(&plan(STEPS)).expect("valid").plan
}

#[test]
fn as_mermaid() {
    assert_snapshot!(export::mermaid(&small()), @r#"
    flowchart TD
      s_look(["<b>look</b><br/>test.look"])
      s_verify(["<b>verify</b><br/>test.verify"])
      s_end{{"<b>end</b><br/>test.burn<br/>irreversible"}}
      s_tell(["<b>tell</b><br/>test.look<br/>may fail"])
      subgraph finally
        direction TB
        s_put_back(["<b>put-back</b><br/>test.look<br/>if …"])
        s_say(["<b>say</b><br/>test.look"])
        s_put_back --> s_say
      end
      s_look --> s_verify
      s_verify --> s_end
      s_look -.-> s_tell
      s_end -.-> s_put_back
      classDef irreversible stroke:#c00,stroke-width:3px
      class s_end irreversible
    "#);
}

#[test]
fn as_dot() {
    assert_snapshot!(export::dot(&small()), @r##"
    digraph "test" {
      rankdir=TB;
      node [shape=box, fontname="sans-serif"];
      "look" [label="look\ntest.look", style=rounded];
      "verify" [label="verify\ntest.verify", style=rounded];
      "end" [label="end\ntest.burn\nirreversible", color="#cc0000", penwidth=3];
      "tell" [label="tell\ntest.look\nmay fail", style=rounded];
      subgraph cluster_finally {
        label="finally";
        style=dashed;
        "put-back" [label="put-back\ntest.look\nif …", style=rounded];
        "say" [label="say\ntest.look", style=rounded];
        "put-back" -> "say";
      }
      "look" -> "verify";
      "verify" -> "end";
      "look" -> "tell" [style=dashed];
      "end" -> "put-back" [style=dashed];
    }
    "##);
}

#[test]
fn as_text() {
    assert_snapshot!(export::text(&small()), @r#"
    test
        look      test.look
        verify    test.verify  ← look
      ! end       test.burn    ← verify  irreversible
        tell      test.look    ← (look)  may fail
    finally
        put-back  test.look    ← (end)  if …
        say       test.look

    ! irreversible   ~ changes something   ← waits for   (x) reads x
    "#);
}

#[test]
fn the_longest_way_costs_what_is_said() {
    let plan = small();
    let path = plan.critical_path(|step| step.budget.unwrap_or_default());
    let steps: Vec<&str> = path.steps.iter().map(jm_step::StepId::as_str).collect();
    assert_eq!(
        (steps, path.total),
        (vec!["look", "verify", "end"], Duration::from_mins(10))
    );
}

/// A plan whose steps need only steps before them.
fn generated(needs: &[Vec<usize>]) -> String {
    let mut text = String::from("steps:\n");
    for (number, needs) in needs.iter().enumerate() {
        let needs: Vec<String> = needs.iter().map(|need| format!("s{}", need % number.max(1))).collect();
        let needs = if number == 0 { String::new() } else { needs.join(", ") };
        let _ = writeln!(text, "  - {{ id: s{number}, uses: test.look, needs: [{needs}] }}");
    }
    plan(&text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_has_no_circle_has_an_order(needs in prop::collection::vec(prop::collection::vec(0usize..40, 0..4), 1..40)) {
        let plan = compiled(&generated(&needs)).expect("valid").plan;
        let place: HashMap<&str, usize> = plan.topological().enumerate().map(|(place, step)| (step.id.as_str(), place)).collect();
        prop_assert_eq!(place.len(), needs.len());
        for step in plan.steps() {
            for dependency in plan.dependencies(step.id.as_str()) {
                prop_assert!(place[dependency.step.as_str()] < place[step.id.as_str()]);
                prop_assert!(plan.dependents(dependency.step.as_str()).contains(&step.id));
            }
        }
        let longest = plan.critical_path(|_| Duration::from_secs(1));
        prop_assert_eq!(longest.total.as_secs(), u64::try_from(longest.steps.len()).expect("small"));
        for pair in longest.steps.windows(2) {
            prop_assert!(plan.dependencies(pair[1].as_str()).iter().any(|dependency| dependency.step == pair[0]));
        }
        prop_assert_eq!(export::mermaid(&plan), export::mermaid(&compiled(&generated(&needs)).expect("valid").plan));
    }

    #[test]
    fn whatever_has_a_circle_is_refused_with_the_circle(length in 2usize..12, more in 0usize..5) {
        let mut text = String::from("steps:\n");
        for number in 0..length + more {
            let before = if number < length { (number + length - 1) % length } else { number - 1 };
            let _ = writeln!(text, "  - {{ id: s{number}, uses: test.look, needs: [s{before}] }}");
        }
        let result = compiled(&plan(&text));
        prop_assert_eq!(codes(&result), ["cycle"]);
        let errors = result.expect_err("invalid");
        prop_assert_eq!(errors.errors()[0].places().len(), length);
    }
}

#[test]
fn a_thousand_steps_that_hang_together_are_checked() {
    let mut text = String::from("steps:\n  - { id: s0, uses: test.look }\n");
    for number in 1..1000 {
        let before = number - 1;
        let _ = writeln!(
            text,
            "  - id: s{number}\n    uses: test.look\n    with: {{ message: \"after ${{{{ steps.s{before}.outputs.found | default('nothing') }}}}\", times: 3, names: ['${{{{ steps.s{before}.outputs.names[0] | default(1) }}}}'] }}\n    if: '${{{{ steps.s{before}.outputs.present }}}}'"
        );
    }
    // How long that takes is measured by `tests/bench`, beside a peer.
    assert_eq!(codes(&compiled(&plan(&text))), [""; 0]);
}
