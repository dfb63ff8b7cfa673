//! The words of the command line. Doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Recovery as code: runs disaster-recovery and backup plans written in YAML.
#[derive(Debug, Parser)]
#[command(
    name = "jm",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 2 wrong use, 3 invalid plan or findings, 4 a step failed, 5 stopped (resume it), 6 waits for a person, 7 state unusable, 8 locked, 9 degraded or an objective missed, 10 refused by a guard."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// When to colour what is said.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Say nothing but results and errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Say more.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check, look at, run and resume plans.
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Look at runs, and say how they go on.
    #[command(subcommand)]
    Run(RunCommand),
    /// Look at step types, and run one by itself.
    #[command(subcommand)]
    Step(StepCommand),
    /// Print a JSON Schema: `plan`, `targets`, `journal`, `events` or `steps/TYPE`.
    Schema(SchemaArgs),
    /// Rehearse a plan.
    Drill(DrillArgs),
    /// Stand-ins for PostgreSQL, S3 and Kubernetes on this machine.
    #[command(subcommand)]
    Sandbox(SandboxCommand),
    /// The locks that keep two runs from the same targets.
    #[command(subcommand)]
    Lock(LockCommand),
    /// Explain the code of a finding, such as `jm::plan::unknown_step`.
    Explain(ExplainArgs),
    /// Print a completion script.
    Completions(CompletionsArgs),
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// For programs: one versioned document.
    Json,
}

/// `jm plan`.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Check plans without touching anything: no network, no credentials.
    Validate(ValidateArgs),
    /// List the plans of a directory.
    List(ListArgs),
    /// Show a plan: its inputs, steps, targets and objectives.
    Show(ShowArgs),
    /// Print a plan's graph.
    Graph(GraphArgs),
    /// Run a plan, or show what it would do.
    Run(PlanRunArgs),
    /// Go on with a run that stopped, failed or waits.
    Resume(ResumeArgs),
}

/// `jm plan validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Plan or targets files, or directories of them. Left out: `plans`.
    pub(crate) files: Vec<PathBuf>,
    /// Targets file. Left out: `targets.yaml` beside each plan.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// Let warnings fail, too.
    #[arg(long)]
    pub(crate) strict: bool,
    /// How findings are printed.
    #[arg(long, value_enum, default_value_t = FindingsFormat::Human)]
    pub(crate) format: FindingsFormat,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindingsFormat {
    /// For people, with the lines of the file.
    Human,
    /// For programs.
    Json,
    /// For code scanning (SARIF 2.1.0).
    Sarif,
    /// As annotations of a GitHub workflow.
    Github,
}

/// `jm plan list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Where the plans are.
    #[arg(default_value = "plans")]
    pub(crate) directory: PathBuf,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm plan show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Plan file.
    pub(crate) plan: PathBuf,
    /// Targets file. Left out: `targets.yaml` beside the plan.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm plan graph`.
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Plan file.
    pub(crate) plan: PathBuf,
    /// Targets file. Left out: `targets.yaml` beside the plan.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// How it is drawn.
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub(crate) format: GraphFormat,
}

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Mermaid, as Markdown renders it.
    Mermaid,
    /// DOT, for Graphviz.
    Dot,
    /// Lines of text.
    Text,
}

/// Values for a plan's inputs, and the systems that its targets are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bindings {
    /// Set an input. A secret one only as `NAME=env:VARIABLE` or `NAME=file:PATH`.
    #[arg(long = "input", short = 'i', value_name = "NAME=VALUE")]
    pub(crate) inputs: Vec<String>,
    /// Read inputs from a YAML or JSON file.
    #[arg(long = "inputs", value_name = "FILE")]
    pub(crate) inputs_file: Option<PathBuf>,
    /// Targets file. Left out: `targets.yaml` beside the plan.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
}

/// What a person agrees to beforehand, and how a run is shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunOptions {
    /// Do not ask before the start.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Agree to irreversible steps on protected targets, by the name of the targets file.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Agree to lose data that is newer than the backup, up to this much, while old data is still served.
    #[arg(long, value_name = "DURATION")]
    pub(crate) accept_data_loss: Option<String>,
    /// Accept another system under a target's name.
    #[arg(long, value_name = "TARGET=ID")]
    pub(crate) accept_identity: Vec<String>,
    /// Stop before this step.
    #[arg(long, value_name = "STEP")]
    pub(crate) until: Option<String>,
    /// Write every event as a line of JSON to a file, or to standard output as `-`.
    #[arg(long, value_name = "FILE|-")]
    pub(crate) events: Option<PathBuf>,
}

/// How a dry run is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRunFormat {
    /// For people.
    Human,
    /// For programs: one versioned document.
    Json,
    /// For a pull request: the same for the same plan and the same world.
    Markdown,
}

/// `jm plan run`.
#[derive(Debug, Args)]
pub(crate) struct PlanRunArgs {
    /// Plan file.
    pub(crate) plan: PathBuf,
    /// Show what every step would do, with connections that cannot write, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// In a dry run, read no system either.
    #[arg(long, requires = "dry_run")]
    pub(crate) offline: bool,
    /// Mark the run as a drill.
    #[arg(long)]
    pub(crate) drill: bool,
    #[command(flatten)]
    pub(crate) bindings: Bindings,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    /// How the dry run, or the summary at the end, is printed. `markdown` is for dry runs.
    #[arg(long, value_enum, default_value_t = DryRunFormat::Human)]
    pub(crate) format: DryRunFormat,
}

/// `jm plan resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The run, or the beginning or end of its id. Left out: the newest that can be resumed.
    pub(crate) run: Option<String>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Targets file, where this machine is another one.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    /// How the dry run, or the summary at the end, is printed.
    #[arg(long, value_enum, default_value_t = DryRunFormat::Human)]
    pub(crate) format: DryRunFormat,
}

/// `jm run`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// List runs, newest first.
    List(RunListArgs),
    /// Show a run: what was done, how long it took, what failed and what to do next.
    Show(RunArgs),
    /// Watch a run that another jm carries out.
    Watch(RunArgs),
    /// Print what the steps of a run wrote.
    Logs(LogsArgs),
    /// Say yes to the question that a step asks.
    Approve(StepWordArgs),
    /// Say no to the question that a step asks.
    Reject(StepWordArgs),
    /// Do a step anew, and what came after it.
    Retry(StepWordArgs),
    /// Go on without a step.
    Skip(StepWordArgs),
    /// Say that a step was done by other means.
    MarkDone(StepWordArgs),
    /// End a run: nothing new starts but `finally`.
    Abort(RunWordArgs),
}

/// `jm run list`.
#[derive(Debug, Args)]
pub(crate) struct RunListArgs {
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// A run.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The run, or the beginning or end of its id. Left out: the newest.
    pub(crate) run: Option<String>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm run logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The run, or the beginning or end of its id. Left out: the newest.
    pub(crate) run: Option<String>,
    /// Only this step.
    #[arg(long, value_name = "STEP")]
    pub(crate) step: Option<String>,
}

/// A person's word on a step.
#[derive(Debug, Args)]
pub(crate) struct StepWordArgs {
    /// The step.
    pub(crate) step: String,
    /// The run, or the beginning or end of its id. Left out: the newest.
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Why. Goes into the journal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// A person's word on a run.
#[derive(Debug, Args)]
pub(crate) struct RunWordArgs {
    /// The run, or the beginning or end of its id. Left out: the newest.
    pub(crate) run: Option<String>,
    /// Why. Goes into the journal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `jm step`.
#[derive(Debug, Subcommand)]
pub(crate) enum StepCommand {
    /// List the step types.
    List(StepListArgs),
    /// Show a step type: what it does, takes and gives.
    Show(StepShowArgs),
    /// Run one step as a run of its own.
    Run(StepRunArgs),
}

/// `jm step list`.
#[derive(Debug, Args)]
pub(crate) struct StepListArgs {
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm step show`.
#[derive(Debug, Args)]
pub(crate) struct StepShowArgs {
    /// Step type, such as `postgres.inspect`.
    #[arg(value_name = "TYPE")]
    pub(crate) step_type: String,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `jm step run`.
#[derive(Debug, Args)]
pub(crate) struct StepRunArgs {
    /// Step type, such as `postgres.inspect`.
    #[arg(value_name = "TYPE")]
    pub(crate) step_type: String,
    /// Set a field of its input: text, or JSON where it reads as such.
    #[arg(long = "with", short = 'w', value_name = "FIELD=VALUE")]
    pub(crate) with: Vec<String>,
    /// The target, where there are several of its provider.
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Targets file. Left out: `targets.yaml` here or in `plans`.
    #[arg(long, env = "JM_TARGETS", value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// Show what it would do, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = DryRunFormat::Human)]
    pub(crate) format: DryRunFormat,
}

/// `jm schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Which: `plan`, `targets`, `journal`, `events` or `steps/TYPE`. Left out: the names of all.
    pub(crate) name: Option<String>,
    /// Write all of them below a directory instead.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "name")]
    pub(crate) write: Option<PathBuf>,
}

/// `jm drill`.
#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    /// Plan file.
    pub(crate) plan: PathBuf,
    /// Start everything that the plan needs on this machine, break it, and repair it.
    #[arg(long)]
    pub(crate) sandbox: bool,
    /// How many rows the sandbox's database has: 1 is some thousands.
    #[arg(long, default_value_t = 1, value_name = "N", requires = "sandbox")]
    pub(crate) scale: u32,
    /// Which Kubernetes the sandbox starts.
    #[arg(long, value_enum, default_value_t = KubernetesKind::Embedded, requires = "sandbox")]
    pub(crate) kubernetes: KubernetesKind,
    /// Leave the sandbox up afterwards.
    #[arg(long, requires = "sandbox")]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) bindings: Bindings,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    /// How the summary at the end is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// Which Kubernetes a sandbox has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KubernetesKind {
    /// jm's own small API server.
    Embedded,
    /// A real control plane, from `KUBEBUILDER_ASSETS` or the test cache.
    Real,
}

/// `jm sandbox`.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Start a sandbox that stays up, and print the environment that leads to it.
    Up(SandboxUpArgs),
    /// Run a command in a sandbox: with a cleared environment that leads to it.
    Run(SandboxRunArgs),
    /// End a sandbox and forget its data.
    Down(SandboxDownArgs),
}

/// `jm sandbox up`.
#[derive(Debug, Args)]
pub(crate) struct SandboxUpArgs {
    /// Where its data lives. Left out: below the state directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
    /// How many rows its database has: 1 is some thousands.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) scale: u32,
    /// Which Kubernetes it starts.
    #[arg(long, value_enum, default_value_t = KubernetesKind::Embedded)]
    pub(crate) kubernetes: KubernetesKind,
}

/// `jm sandbox run`.
#[derive(Debug, Args)]
pub(crate) struct SandboxRunArgs {
    /// Where its data lives. Left out: below the state directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
    /// The command, after `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// `jm sandbox down`.
#[derive(Debug, Args)]
pub(crate) struct SandboxDownArgs {
    /// Where its data lives. Left out: below the state directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
}

/// `jm lock`.
#[derive(Debug, Subcommand)]
pub(crate) enum LockCommand {
    /// Show who holds which targets.
    Show(RunListArgs),
    /// Take a lock away from an owner that is gone.
    Release(LockReleaseArgs),
}

/// `jm lock release`.
#[derive(Debug, Args)]
pub(crate) struct LockReleaseArgs {
    /// The lock's name, as `jm lock show` prints it.
    pub(crate) name: String,
    /// Take it even where its owner seems to live.
    #[arg(long)]
    pub(crate) force: bool,
}

/// `jm explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The code; the prefix `jm::plan::` may be left out.
    pub(crate) code: String,
}

/// `jm completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}
