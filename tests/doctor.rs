//! The least privilege: who has what `jm doctor --permissions --policy` prints runs the plan, and has no more; who lacks
//! something of it, or has more, is told. On separately started servers that refuse: PostgreSQL's roles, RBAC of a control
//! plane, users and bucket policies of versitygw.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{BUCKET, DATABASE, NAMESPACE};
use serde_json::{Value, json};

use crate::backup_kubernetes::BACK_UP;
use crate::cluster_loss::kubectl;
use crate::environment::{RECOVER, World, has_words, journal, of_kind, said};
use crate::printed::document_in;

const DUMP: &str = "plans/backup-database.yaml";
const EXPORT: &str = "plans/backup-kubernetes.yaml";
/// A user of the store.
const UPLOADER: &str = "uploader";
/// A value that no test keeps secret.
const PASSWORD: &str = "not-a-real-secret";

/// Somebody else in a world: the variables that he comes with.
struct Somebody<'w> {
    world: &'w World,
    variables: Vec<(&'static str, String)>,
}

impl Somebody<'_> {
    fn jm(&self, words: &[&str]) -> Result<Output> {
        let mut command: Command = self.world.jm();
        command
            .args(words)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command.output()?)
    }

    /// What is printed for a target of a plan.
    fn policy(&self, plan: &str, target: &str) -> Result<String> {
        let output = self.jm(&["doctor", "--permissions", "--policy", plan, "--target", target])?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The rights that stand so, after a look that ends with this code.
    fn rights(&self, plan: &str, target: &str, code: i32, standing: &str) -> Result<Vec<String>> {
        let words = ["doctor", "--permissions", plan, "--target", target, "--format", "json"];
        let output = self.jm(&words)?;
        ensure!(output.status.code() == Some(code), "{}", said(&output));
        let document = document_in(&output, "commands/doctor-permissions")?;
        let rights = document["targets"][0]["rights"].as_array().context("rights")?;
        let of = rights.iter().filter(|right| right["standing"] == standing);
        Ok(of
            .filter_map(|right| right["right"].as_str().map(str::to_owned))
            .collect())
    }

    fn runs(&self, words: &[&str], code: i32) -> Result<()> {
        let output = self.jm(words)?;
        ensure!(output.status.code() == Some(code), "{}", said(&output));
        Ok(())
    }
}

/// Somebody with a role of his own on the database's server.
fn of_database(world: &World, role: &str) -> Result<(&'static str, String)> {
    let url = world.systems.variable("DATABASE_URL");
    let (_, at) = url.rsplit_once('@').or(url.split_once("://")).context("an address")?;
    world.query("postgres", &format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"))?;
    Ok(("DATABASE_URL", format!("postgresql://{role}:{PASSWORD}@{at}")))
}

fn database_role(world: &World) -> Result<()> {
    let dumper = Somebody {
        world,
        variables: vec![of_database(world, "dumper")?],
    };
    let missing = dumper.rights(DUMP, "database", 4, "missing")?;
    ensure!(missing == ["pg_read_all_data"], "{missing:?}");
    let dump = ["plan", "run", DUMP, "--yes"];
    dumper.runs(&dump, 4)?;

    world.query(DATABASE, &dumper.policy(DUMP, "database")?)?;
    let held = dumper.rights(DUMP, "database", 0, "held")?;
    ensure!(held == ["CONNECT", "pg_read_all_data"], "{held:?}");
    dumper.runs(&dump, 0)?;

    world.query("postgres", "ALTER ROLE dumper CREATEDB; GRANT pg_monitor TO dumper")?;
    let excess = dumper.rights(DUMP, "database", 9, "excess")?;
    for right in ["CREATEDB", "pg_monitor"] {
        ensure!(excess.iter().any(|one| one == right), "{right}: {excess:?}");
    }
    Ok(())
}

/// Lets the uploader in. This store has no policies of users, only of buckets, and they know no conditions.
fn allow(world: &World, policy: &mut Value) -> Result<()> {
    for statement in policy["Statement"].as_array_mut().context("statements")? {
        statement["Principal"] = json!({ "AWS": [UPLOADER] });
        statement.as_object_mut().context("a statement")?.remove("Condition");
    }
    let policy = policy.to_string();
    world.aws(&["s3api", "put-bucket-policy", "--bucket", BUCKET, "--policy", &policy])?;
    Ok(())
}

fn bucket_user(world: &World) -> Result<()> {
    let uploader = Somebody {
        world,
        variables: vec![
            ("AWS_ACCESS_KEY_ID", UPLOADER.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", PASSWORD.to_owned()),
        ],
    };
    let versitygw = std::env::var("JM_TEST_VERSITYGW").context("JM_TEST_VERSITYGW is not set")?;
    let [endpoint, access, secret] =
        ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| world.systems.variable(name));
    let admin = [
        "admin",
        "--access",
        access,
        "--secret",
        secret,
        "--endpoint-url",
        endpoint,
    ];
    let user = [
        "create-user",
        "--access",
        UPLOADER,
        "--secret",
        PASSWORD,
        "--role",
        "user",
    ];
    world.run(&versitygw, &[&admin[..], &user].concat())?;
    let missing = uploader.rights(DUMP, "backups", 4, "missing")?;
    ensure!(missing.iter().any(|right| right == "s3:PutObject"), "{missing:?}");

    let mut policy: Value = serde_json::from_str(&uploader.policy(DUMP, "backups")?)?;
    ensure!(!policy.to_string().contains("Delete"), "{policy}");
    allow(world, &mut policy)?;
    let excess = uploader.rights(DUMP, "backups", 0, "excess")?;
    ensure!(excess.is_empty(), "{excess:?}");
    uploader.runs(&["plan", "run", DUMP, "--yes"], 0)?;

    let everything = json!([{ "Sid": "All", "Effect": "Allow", "Action": "s3:*",
        "Resource": [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")] }]);
    allow(world, &mut json!({ "Version": "2012-10-17", "Statement": everything }))?;
    let excess = uploader.rights(DUMP, "backups", 9, "excess")?;
    for right in ["s3:DeleteObjectVersion", "s3:PutObject outside of `backups/`"] {
        ensure!(excess.iter().any(|one| one == right), "{right}: {excess:?}");
    }
    Ok(())
}

/// Somebody with an account of his own in the cluster, named as the policy for a plan names it.
pub(crate) fn of_cluster(world: &World, plan: &str) -> Result<(&'static str, String)> {
    let account = format!("jm-{plan}");
    kubectl(world, &["create", "serviceaccount", &account, "-n", NAMESPACE])?;
    let token = kubectl(world, &["create", "token", &account, "-n", NAMESPACE])?;
    let own = world.folder().join(format!("{account}.kubeconfig"));
    std::fs::copy(world.systems.variable("KUBECONFIG"), &own)?;
    let own = own.display().to_string();
    let words = ["config", "set-credentials", "admin", "--token", token.trim()];
    kubectl(world, &[&["--kubeconfig", &own][..], &words].concat())?;
    Ok(("KUBECONFIG", own))
}

/// Gives what an administrator's jm prints for a plan.
fn give_roles(world: &World, plan: &str) -> Result<()> {
    let admin = Somebody {
        world,
        variables: Vec::new(),
    };
    let file = world.folder().join("roles.yaml");
    std::fs::write(&file, admin.policy(plan, "cluster")?)?;
    kubectl(world, &["apply", "-f", &file.display().to_string()]).map(drop)
}

fn cluster_account(world: &World) -> Result<()> {
    let admin = Somebody {
        world,
        variables: Vec::new(),
    };
    let excess = admin.rights(EXPORT, "cluster", 9, "excess")?;
    ensure!(excess.iter().any(|right| right == "cluster * *.*"), "{excess:?}");

    let exporter = Somebody {
        world,
        variables: vec![of_cluster(world, "backup-kubernetes")?],
    };
    let missing = exporter.rights(EXPORT, "cluster", 4, "missing")?;
    for right in ["cluster get namespaces kube-system", "list secrets"] {
        ensure!(missing.iter().any(|one| one == right), "{right}: {missing:?}");
    }
    let refused = exporter.jm(&BACK_UP)?;
    ensure!(refused.status.code() == Some(5), "{}", said(&refused));

    give_roles(world, EXPORT)?;
    let excess = exporter.rights(EXPORT, "cluster", 0, "excess")?;
    ensure!(excess.is_empty(), "{excess:?}");
    // No pod of the tests' nodes says which image it runs.
    exporter.runs(&BACK_UP, 9)?;
    let records = journal(&world.state())?;
    let exported = of_kind(&records, "step-succeeded")
        .into_iter()
        .find(|record| record["step"] == "export")
        .context("an export")?;
    ensure!(exported["output"]["inline"]["unreadable"] == json!([]), "{exported:#}");
    Ok(())
}

/// What a failed service is looked at and mended by.
fn service_account(world: &World) -> Result<()> {
    const PLAN: &str = "plans/single-service-failure.yaml";
    let mender = Somebody {
        world,
        variables: vec![of_cluster(world, "single-service-failure")?],
    };
    give_roles(world, PLAN)?;
    let excess = mender.rights(PLAN, "cluster", 0, "excess")?;
    ensure!(excess.is_empty(), "{excess:?}");
    let workload = "workload=deployment/backend-deployment";
    // A restart is no revision to go back to.
    let image = format!("backend=ghcr.io/your-org/journeyman-backend@sha256:{}", "b".repeat(64));
    kubectl(
        world,
        &["set", "image", "deployment/backend-deployment", &image, "-n", NAMESPACE],
    )?;
    // The nodes of the tests keep no logs.
    let looks = ["pods", "describe", "rollout_history"];
    for step in looks.into_iter().chain(["restart", "rollout_status", "rollout_undo"]) {
        let step = format!("kubernetes.{step}");
        let words = [
            "step",
            "run",
            &step,
            "--yes",
            "--targets",
            "plans/targets.yaml",
            "-w",
            workload,
        ];
        mender.runs(&words, 0).with_context(|| step.clone())?;
    }
    Ok(())
}

/// A lost database comes back by somebody who may do nothing but that in the cluster and in the bucket. What its owner needs
/// the tests of `faults` prove.
fn recovery(world: &World) -> Result<()> {
    const PLAN: &str = "plans/complete-db-loss.yaml";
    let recoverer = Somebody {
        world,
        variables: vec![
            of_cluster(world, "complete-db-loss")?,
            ("AWS_ACCESS_KEY_ID", UPLOADER.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", PASSWORD.to_owned()),
        ],
    };
    give_roles(world, PLAN)?;
    allow(world, &mut serde_json::from_str(&recoverer.policy(PLAN, "backups")?)?)?;
    for target in ["backups", "cluster"] {
        let excess = recoverer.rights(PLAN, target, 0, "excess")?;
        ensure!(excess.is_empty(), "{target}: {excess:?}");
    }
    let before = world.fingerprint()?;
    world.lose_database()?;
    recoverer.runs(&RECOVER, 0)?;
    ensure!(world.fingerprint()? == before, "other content than before");
    Ok(())
}

#[test]
fn the_printed_rights_are_enough_and_no_more() -> Result<()> {
    let world = World::real()?;
    database_role(&world).context("database")?;
    bucket_user(&world).context("bucket")?;
    cluster_account(&world).context("cluster")?;
    service_account(&world).context("service")?;
    recovery(&world).context("recovery")
}

/// The targets that the environment says nothing of keep nobody from asking the others.
#[test]
fn what_is_not_configured_is_told_beside_the_rest() -> Result<()> {
    let world = World::sandbox()?;
    let output = world
        .jm()
        .args(["doctor", "--permissions", "--format", "json"])
        .output()?;
    ensure!(output.status.code() == Some(3), "{}", said(&output));
    let document = document_in(&output, "commands/doctor-permissions")?;
    let targets = document["targets"].as_array().context("targets")?;
    let of = |name: &str| {
        targets
            .iter()
            .find(|target| target["target"] == name)
            .context("a target")
    };
    let lacks = of("database-standby")?["error"].as_str().context("an error")?;
    ensure!(lacks.contains("STANDBY_DATABASE_URL"), "{lacks}");
    ensure!(of("database")?["error"].is_null(), "{targets:?}");
    ensure!(document["missing"] == 0, "{targets:?}");
    let words = [
        "doctor",
        "--permissions",
        "--policy",
        "plans/complete-db-loss.yaml",
        "--format",
        "json",
    ];
    let policies = document_in(&world.jm().args(words).output()?, "commands/doctor-policy")?;
    let forms = policies["policies"]
        .as_array()
        .context("policies")?
        .iter()
        .map(|policy| &policy["form"]);
    ensure!(forms.eq(["iam", "rbac", "sql"]), "{policies:#}");
    let words = world.jm().arg("doctor").output()?;
    ensure!(words.status.code() == Some(2), "{}", said(&words));
    // A server that is not there holds nothing that could be counted.
    let down = world
        .jm()
        .args(["doctor", "--permissions", "plans/backup-database.yaml"])
        .env("DATABASE_URL", "postgresql://jm@127.0.0.1:1/x")
        .output()?;
    ensure!(down.status.code() == Some(4), "{}", said(&down));
    ensure!(
        has_words(&said(&down), "1 of 2 targets could not be asked"),
        "{}",
        said(&down)
    );
    Ok(())
}
