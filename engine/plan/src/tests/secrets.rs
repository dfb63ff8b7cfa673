//! Findings about secrets.

use insta::assert_snapshot;

use crate::testing::{codes, compiled, findings, findings_with, plan};

const SECRET: &str = "inputs: { token: { type: secret } }\n";

fn with(fields: &str) -> String {
    findings(&format!(
        "{SECRET}steps:\n  - id: a\n    uses: test.look\n    with: {{ {fields} }}\n"
    ))
}

#[test]
fn a_secret_is_the_whole_value_of_a_secret_field() {
    assert_eq!(with("password: '${{ inputs.token }}'"), "nothing");
    assert_eq!(with("password: \"${{ inputs.token | default('') }}\""), "nothing");
}

#[test]
fn a_secret_is_nothing_else() {
    for fields in [
        "message: '${{ inputs.token }}'",
        "password: 'x${{ inputs.token }}'",
        "password: '${{ inputs.token ~ 1 }}'",
        "password: '${{ inputs.token[:4] }}'",
        "password: '${{ inputs.token | upper }}'",
        "password: '${{ inputs.token | default(1) | string }}'",
        "loud: \"${{ inputs.token == 'x' }}\"",
        "names: ['${{ inputs.token }}']",
        "anything: { deep: '${{ inputs.token }}' }",
    ] {
        let text = plan(&format!(
            "{SECRET}steps: [{{ id: a, uses: test.look, with: {{ {fields} }} }}]\n"
        ));
        assert_eq!(codes(&compiled(&text)), ["secret_misused"], "{fields}");
    }
    assert_snapshot!(with("message: 'the token is ${{ inputs.token }}'"), @r#"
    jm::plan::secret_misused

      × a secret cannot be used here
       ╭─[plan.yaml:7:40]
     6 │     uses: test.look
     7 │     with: { message: 'the token is ${{ inputs.token }}' }
       ·                                        ────────────
       ╰────
      help: it may be the whole value of a field that is marked secret, with `default(...)`
            at most
    "#);
}

#[test]
fn no_condition_and_no_output_reads_a_secret() {
    let text = plan(&format!(
        "{SECRET}steps: [{{ id: a, uses: test.look, if: '${{{{ inputs.token }}}}' }}]\noutputs: {{ x: '${{{{ inputs.token }}}}' }}\n"
    ));
    assert_eq!(codes(&compiled(&text)), ["secret_misused", "secret_misused"]);
}

#[test]
fn a_secret_in_argv_is_refused() {
    assert_snapshot!(findings(&format!("{SECRET}steps:\n  - {{ id: v, uses: test.verify }}\n  - {{ id: a, uses: test.run, needs: [v], with: {{ argv: [login, '${{{{ inputs.token }}}}'] }} }}\n")), @r#"
    jm::plan::secret_misused

      × a secret cannot be used here
       ╭─[plan.yaml:6:69]
     5 │   - { id: v, uses: test.verify }
     6 │   - { id: a, uses: test.run, needs: [v], with: { argv: [login, '${{ inputs.token }}'] } }
       ·                                                                     ────────────
       ╰────
      help: it may be the whole value of a field that is marked secret, with `default(...)`
            at most
    "#);
}

#[test]
fn secrets_are_not_written_down() {
    assert_snapshot!(findings("# was AKIAIOSFODNN7EXAMPLX\nsteps:\n  - { id: a, uses: test.look, with: { message: 'postgres://app:hunter2@db/app', password: hunter3 } }\n"), @r#"
    jm::plan::secret_in_plan

      × an AWS access key stands in the file
       ╭─[plan.yaml:3:7]
     2 │ name: test
     3 │ # was ********************
       ·       ────────────────────
     4 │ steps:
       ╰────
      help: plans and targets files are read by many: take it from the environment, and
            change it, for it is known now
    jm::plan::secret_in_plan

      × a URL with a password stands in the file
       ╭─[plan.yaml:5:64]
     4 │ steps:
     5 │   - { id: a, uses: test.look, with: { message: 'postgres://app:*******@db/app', password: ******* } }
       ·                                                                ───────
       ╰────
      help: plans and targets files are read by many: take it from the environment, and
            change it, for it is known now
    jm::plan::secret_in_plan

      × a secret stands in the plan
       ╭─[plan.yaml:5:91]
     4 │ steps:
     5 │   - { id: a, uses: test.look, with: { message: 'postgres://app:*******@db/app', password: ******* } }
       ·                                                                                           ───┬───
       ·                                                                                              ╰── this field holds secrets
       ╰────
      help: declare an input of `type: secret` and write `${{ inputs.NAME }}` here
    "#);
}

#[test]
fn a_secret_is_not_shown_where_the_file_is_torn_after_it() {
    let torn = findings("description: postgres://app:hunter2@db/app\nsteps: [{ id: a, uses: [\n");
    assert!(
        !torn.contains("hunter2") && torn.contains("postgres://app:*******@db/app"),
        "{torn}"
    );
}

#[test]
fn a_secret_is_not_shown_where_there_are_more_findings_than_are_kept() {
    let unknown: Vec<String> = (0..60).map(|number| format!("      unknown{number}: 1\n")).collect();
    let unknown = unknown.concat();
    let step = |number: i32| format!("  - id: s{number}\n    uses: test.look\n    with:\n{unknown}");
    let steps: Vec<String> = (0..10).map(step).collect();
    let text = format!("steps:\n{}      password: hunter3\n", steps.concat());
    let many = findings(&text);
    assert!(many.contains("more than 500 findings"), "{many}");
    assert!(
        !many.contains("hunter3") && many.contains("password: *******"),
        "{many}"
    );
}

#[test]
fn a_warning_shows_no_secret_either() {
    let targets = "targets:\n  one: { provider: store, url: hunter2 }\n";
    let said = findings_with("steps: [{ id: a, uses: test.look }]\n", targets);
    assert!(
        !said.contains("hunter2") && said.contains("secret_in_targets"),
        "{said}"
    );
}

#[test]
fn what_may_be_a_secret_need_not_be_one() {
    assert_eq!(
        with("env: { PGHOST: localhost, TOKEN: '${{ inputs.token }}' }"),
        "nothing"
    );
    let text = plan("steps: [{ id: a, uses: test.look, with: { env: { PGPASSWORD: hunter2 } } }]\n");
    assert_eq!(codes(&compiled(&text)), ["secret_in_plan"]);
}

#[test]
fn no_value_is_put_into_a_script() {
    assert_snapshot!(findings("steps:\n  - id: a\n    uses: test.look\n    with:\n      script: |\n        set -e\n        echo ${{ run.id }} $HOME ${X}\n"), @r#"
    jm::plan::expression_in_literal

      × `script` is taken as it is written: no value can be put into it
       ╭─[plan.yaml:9:18]
     8 │         set -e
     9 │         echo ${{ run.id }} $HOME ${X}
       ·                  ──────
       ╰────
      help: hand the value over as a variable or a parameter, and name that here
    "#);
}

#[test]
fn examples_of_urls_are_no_secrets() {
    assert_eq!(
        findings(
            "description: postgres://user:password@host/db\nsteps: [{ id: a, uses: test.look, with: { password: 'https://host/path' } }]\n"
        ),
        "nothing"
    );
}

#[test]
fn a_targets_file_takes_secrets_from_the_environment() {
    let steps = "steps: [{ id: a, uses: test.look }]\n";
    assert_snapshot!(findings_with(steps, "targets:\n  one: { provider: store, url: hunter2 }\n  two: { provider: store, url: 'https://${{ env.USER }}@host' }\n  three: { provider: store, url: '${{ env.URL | lower }}' }\n  four: { provider: store, url: 'https://a:hunter2@host' }\n  five: { provider: store, url: \"${{ env.URL | default('https://host') }}\" }\n"), @r#"
    jm::plan::secret_in_targets

      ⚠ a secret stands in the targets file
       ╭─[targets.yaml:5:32]
     4 │ targets:
     5 │   one: { provider: store, url: ******* }
       ·                                ───────
     6 │   two: { provider: store, url: 'https://${{ env.USER }}@host' }
       ╰────
      help: write `${{ env.NAME }}`
    jm::plan::secret_misused

      × a secret is the whole value of its field, and nothing is done with it
       ╭─[targets.yaml:6:45]
     5 │   one: { provider: store, url: ******* }
     6 │   two: { provider: store, url: 'https://${{ env.USER }}@host' }
       ·                                             ────────
     7 │   three: { provider: store, url: '${{ env.URL | lower }}' }
       ╰────
      help: write `${{ env.NAME }}` or `${{ env.NAME | default('') }}`, and nothing else in
            the value
    jm::plan::secret_misused

      × a secret is the whole value of its field, and nothing is done with it
       ╭─[targets.yaml:7:39]
     6 │   two: { provider: store, url: 'https://${{ env.USER }}@host' }
     7 │   three: { provider: store, url: '${{ env.URL | lower }}' }
       ·                                       ───────────────
     8 │   four: { provider: store, url: 'https://a:*******@host' }
       ╰────
      help: write `${{ env.NAME }}` or `${{ env.NAME | default('') }}`, and nothing else in
            the value
    jm::plan::secret_in_plan

      × a URL with a password stands in the file
       ╭─[targets.yaml:8:44]
     7 │   three: { provider: store, url: '${{ env.URL | lower }}' }
     8 │   four: { provider: store, url: 'https://a:*******@host' }
       ·                                            ───────
     9 │   five: { provider: store, url: "${{ env.URL | default('https://host') }}" }
       ╰────
      help: plans and targets files are read by many: take it from the environment, and
            change it, for it is known now
    "#);
}
