//! The codes of findings: stable names, how grave each is, and a paragraph of explanation for `jm explain`.

use miette::Severity;

macro_rules! codes {
    ($($variant:ident $name:literal $severity:ident $text:literal)*) => {
        /// The kinds of findings.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Code { $($variant),* }

        impl Code {
            /// The stable name, such as `jm::plan::unknown_step`.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => concat!("jm::plan::", $name)),* }
            }
            /// How grave it is.
            pub(crate) fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),* }
            }
            fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
        const ALL: &[Code] = &[$(Code::$variant),*];
    };
}

/// What a code means and what to do about it, for `jm explain CODE`. `None` for a code that is not jm's. The prefix
/// `jm::plan::` may be left out.
pub fn explain(code: &str) -> Option<&'static str> {
    find(code).map(Code::explanation)
}

/// The whole name of a code whose prefix may be left out.
pub fn full_code(code: &str) -> Option<&'static str> {
    find(code).map(Code::name)
}

fn find(code: &str) -> Option<Code> {
    let short = code.strip_prefix("jm::plan::").unwrap_or(code);
    let mut all = ALL.iter().copied();
    all.find(|known| known.name().ends_with(&format!("::{short}")))
}

/// All codes, for completion and the documentation.
pub fn codes() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|code| code.name())
}

codes! {
    Unreadable "unreadable" Error
        "A file cannot be read. A plan or a targets file: it is not UTF-8 text, or may not be opened; what is wrong with the other files is said all the same. A kubeconfig, certificates or a key: the targets file, or a variable that its systems' clients follow, names a file that is not there or may not be opened."
    YamlSyntax "yaml_syntax" Error
        "The file is not YAML 1.2. The label shows where reading stopped; the mistake is there or on the line before. Indentation is made of spaces, never of tabs; a text that begins with `*`, `&`, `!`, `{`, `[`, `@` or a backtick, or that holds `: ` or ` #`, needs quotes."
    YamlDuplicateKey "yaml_duplicate_key" Error
        "A mapping has the same key twice. YAML readers differ in which of the two they take, so jm takes neither. Remove one."
    YamlLimit "yaml_limit" Error
        "The file is larger, deeper or more entangled than any plan has reason to be: 4 MiB of text, 64 levels, 200,000 values counting what aliases repeat. The limits keep a hostile or broken file from using up memory before a recovery starts."
    TooMany "too_many" Error
        "The file has more mistakes than are shown. Mend those that are, and look again."
    YamlUnsupported "yaml_unsupported" Error
        "The file uses a part of YAML that plans have no use for: a byte order mark, tags such as `!!binary`, several documents in one file, or keys that are not text. Save it as plain UTF-8, one document, without tags."
    NotThisKind "not_this_kind" Error
        "The file is of another kind than the one asked for: plans and targets files begin with `apiVersion: jm/v1`, and targets files say `kind: Targets` besides. A version that this jm does not know needs a newer jm."
    MissingField "missing_field" Error
        "A field that is needed is not there. The help says what it holds."
    UnknownField "unknown_field" Error
        "A field is not known at this place. It would have no effect, so it is refused rather than ignored: a mistyped `timeout` must not be found out in an emergency. The help names what was probably meant, or the fields there are."
    WrongType "wrong_type" Error
        "A value is of another type than its field takes: text where a number is wanted, a list where one value is wanted, or an expression whose result cannot be of the type. In YAML 1.2 only `true` and `false` are booleans: `yes`, `no`, `on` and `off` are text. Text that looks like a number or a boolean needs quotes where text is wanted. An expression that is to keep its type stands alone in the value."
    InvalidValue "invalid_value" Error
        "A value is of the right type, and not one that the field takes: not among the values listed, outside the range, not matching the pattern, not a date or a duration, or refused by the step type itself."
    InvalidName "invalid_name" Error
        "A name does not follow its form. Steps, targets and plans: a lower-case letter, then lower-case letters, digits and `-`, at most 63 characters. Inputs and outputs: a letter, then letters, digits and `_`."
    DuplicateId "duplicate_id" Error
        "Two steps of the plan have the same `id`. Steps are known by their ids in references, in the journal and on the command line, so each has one of its own, `steps` and `finally` taken together."
    ExpressionSyntax "expression_syntax" Error
        "What stands between `${{` and `}}` is not an expression. Expressions are those of minijinja (Jinja): names, literals, comparisons, `and`, `or`, `not`, `in`, arithmetic, `~`, filters such as `| default('')` and tests such as `is defined`. There are no statements and no methods."
    UnknownName "unknown_name" Error
        "An expression uses a name that is not in scope. In a plan there are `inputs`, `steps`, `run` and `objectives`; in a targets file there is `env`. A plan cannot read the environment: declare an input, or put it into the targets file."
    UnknownFunction "unknown_function" Error
        "An expression uses a filter, test or function that does not exist. Only those are offered that have no side effect and depend on their arguments alone."
    UnknownInput "unknown_input" Error
        "An input is used, or set on the command line, that the plan does not declare under `inputs`."
    UnknownStep "unknown_step" Error
        "A step is named that the plan does not have: in `needs`, in `undoes`, or in an expression. Steps are named by their `id`, as it stands: `steps[inputs.x]` is not possible, for dependencies must be known before the run."
    UnknownOutput "unknown_output" Error
        "A step's output has no such field. `jm step show TYPE` lists the outputs of a step type."
    LaterStep "later_step" Error
        "An expression reads a step that comes later in the file. Steps are written in the order in which they are read; a value can only flow downwards. Move the step, or say with `needs` what order is meant."
    FinallyStep "finally_step" Error
        "A step of `steps` names one of `finally`. Those run when the run has ended, so nothing can wait for them. A step of `finally` cannot have `needs` either: they run one after the other as written."
    SelfDependency "self_dependency" Error
        "A step depends on itself, by `needs` or by reading its own output. It could never start."
    Cycle "cycle" Error
        "Steps wait for each other in a circle, so that none of them could ever start. The whole circle is shown with the place of each dependency. Remove the one that is not meant."
    UnguardedOutput "unguarded_output" Error
        "A field of a step's output is read although the step may have been skipped or may have failed by then: it has an `if`, or `on_failure: continue`, or the reader stands in `finally`. Then the field would not be there, and the recovery would stop at this place. Give a value for that case (`| default(...)`), or an `if` that rules it out (`steps.x.status == 'succeeded'`). Passing on the whole `steps.x.outputs` is always possible."
    UnknownStatus "unknown_status" Error
        "A step's status is compared with a word that is never a status. There are `not-started`, `running`, `succeeded`, `failed`, `skipped` and `blocked`."
    ExpressionInLiteral "expression_in_literal" Error
        "An expression stands in a field that is taken as it is written: a script, a query. Put there, a value would be read as code, and a name with a quote in it could do anything. Hand the value over by the way that the step type has for it: a variable in `env`, a parameter."
    ExpressionFailed "expression_failed" Error
        "An expression whose parts are all known cannot be evaluated: a division by zero, a comparison of things that have no order, a filter that does not take such a value, or more work than an expression may cause."
    UnknownStepType "unknown_step_type" Error
        "`uses` names a step type that this jm does not have. `jm step list` shows them all."
    ForEach "for_each" Error
        "`for_each` comes with a later version of jm. Until then, write one step for each item."
    UnknownTarget "unknown_target" Error
        "A target is named that the targets file does not have. Plans name systems; the targets file (`targets.yaml` beside the plan, or `--targets FILE`) binds the names to addresses."
    NoTarget "no_target" Error
        "A step uses a system of a provider of which the targets file has no target. Add one under `targets`, with `provider:` set to the one named."
    AmbiguousTarget "ambiguous_target" Error
        "A step uses a system of a provider of which the targets file has several targets. jm does not guess which database is meant: say it with `target: NAME`, or with `targets: { ROLE: NAME }` where the step uses several systems."
    WrongTarget "wrong_target" Error
        "A step is given a target of another provider than it uses, or a role that its step type does not have. `jm step show TYPE` lists the roles."
    UnknownContact "unknown_contact" Error
        "The plan names a contact that the targets file does not have under `contacts`."
    InvalidArgument "invalid_argument" Error
        "An argument (`-i name=value` or a line of `--inputs FILE`) cannot be used: it is not of the form, or its value is not one that the input takes. A secret is given as `env:NAME` or `file:PATH`, never as its value, so that it shows in no process list and a resume can read it again."
    MissingArgument "missing_argument" Error
        "An input without a default was not given. Set it with `-i name=value` or in a file with `--inputs FILE`."
    UnusedInput "unused_input" Warning
        "An input is declared and nothing reads it: setting it would have no effect. Remove it, or use it."
    UnreachableStep "unreachable_step" Error
        "A step can never run: its `if` is always false, or asks for a status that the named step cannot have at that moment. A step that failed ends the plan unless it says `on_failure: continue`, so in `steps` nothing runs after it: react to a failure in `finally`."
    UnprovenIrreversible "unproven_irreversible" Error
        "A step that cannot be taken back has nothing before it that proves that it is right to do it: no step that verifies (such as `postgres.verify`, `backup.verify`, `check.assert`) and none in which a person approves (`manual.approve`). Add one, and let the irreversible step need it. One that may fail under `on_failure: continue` proves nothing."
    BudgetOverRto "budget_over_rto" Error
        "The budgets of the steps on the longest path add up to more than the recovery time objective: the plan could keep every budget and miss its objective. Shorten a budget, let steps run side by side, or state the objective honestly."
    PlaceholderContact "placeholder_contact" Warning
        "A contact in the targets file has no way to be reached, or one that looks like a placeholder. The people named there are printed when a recovery fails; then it is too late to look for a number."
    ReviewOverdue "review_overdue" Warning
        "The plan's last review (`reviewed`) is longer ago than `review_every` allows. Read it against the systems as they are, drill it, and set `reviewed` to the day."
    ScheduleNotKept "schedule_not_kept" Warning
        "A `schedule` says when the plan, or its drill, is to run, and jm starts nothing by itself: without something that does, the plan never runs. Let cron, a systemd timer or a CronJob call `jm plan run` at these times."
    SecretInPlan "secret_in_plan" Error
        "The file holds what looks like a secret: a literal in a field marked secret, a URL with a password, an access key, a private key or a token. Plans are read by many and kept in git. Put `${{ env.NAME }}` into the targets file, or declare an input of type `secret`."
    SecretInTargets "secret_in_targets" Warning
        "The targets file holds a literal in a field marked secret. Read it from the environment, `${{ env.NAME }}`, or from a file named by `NAME_FILE`."
    SecretMisused "secret_misused" Error
        "A secret stands somewhere else than as the whole value of a field that is marked secret. There it would be joined, compared or shown, and end in a log or a process list. `default(...)` is the one filter allowed on it. If a program needs the secret, hand it over in its environment or on its standard input."
    UndoLeavesDependents "undo_leaves_dependents" Advice
        "A step undoes others; steps that depend on those keep their results, so a resume will not do them again. That is often right (a restored copy is still good after the application was let run again). Look at each that is listed: add it to `undoes` if its result is no longer true, otherwise leave it. This is advice and never fails a plan."
    UnknownProvider "unknown_provider" Error
        "A target names a provider that this jm does not have, or one that has no systems to connect to."
    MissingVariable "missing_variable" Error
        "The targets file reads an environment variable that is not set, and the target is used by the plan. Set NAME, or NAME_FILE to a file that holds the value, or give a default: `${{ env.NAME | default('') }}`."
    MalformedVariable "malformed_variable" Error
        "The value that an environment variable gives does not fit the field that it fills, such as a word where a number is wanted. The text of a variable is read as the field's type: `true`, `yes`, `on` and `1` are booleans there."
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_unique_and_explained() {
        let names: BTreeSet<_> = codes().collect();
        assert_eq!(names.len(), ALL.len());
        for code in ALL {
            let text = explain(code.name()).expect("explained");
            assert!(text.len() > 60 && text.ends_with('.'), "{}: {text}", code.name());
            assert_eq!(explain(code.name().trim_start_matches("jm::plan::")), Some(text));
        }
        assert_eq!(explain("jm::plan::nonsense"), None);
        assert_eq!(explain(""), None);
    }
}
