//! The least privilege: who has what `jm doctor --permissions --policy` prints runs the plan, and has no more; who lacks
//! something of it, or has more, is told. On separately started servers that refuse: PostgreSQL's roles, RBAC of a control
//! plane, users and bucket policies of versitygw.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{BUCKET, DATABASE, NAMESPACE};
use serde_json::{Value, json};

use crate::backup_kubernetes::BACK_UP;
use crate::cluster_loss::kubectl;
use crate::environment::{World, journal, of_kind, said};

const DUMP: &str = "plans/backup-database.yaml";
const EXPORT: &str = "plans/backup-kubernetes.yaml";
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
        let document: Value = serde_json::from_slice(&output.stdout)?;
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

fn database_role(world: &World) -> Result<()> {
    let url = world.systems.variable("DATABASE_URL");
    let (_, at) = url.rsplit_once('@').or(url.split_once("://")).context("an address")?;
    let dumper = Somebody {
        world,
        variables: vec![("DATABASE_URL", format!("postgresql://dumper:{PASSWORD}@{at}"))],
    };
    world.query("postgres", &format!("CREATE ROLE dumper LOGIN PASSWORD '{PASSWORD}'"))?;
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

fn bucket_user(world: &World) -> Result<()> {
    let uploader = Somebody {
        world,
        variables: vec![
            ("AWS_ACCESS_KEY_ID", "uploader".to_owned()),
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
        "uploader",
        "--secret",
        PASSWORD,
        "--role",
        "user",
    ];
    world.run(&versitygw, &[&admin[..], &user].concat())?;
    let missing = uploader.rights(DUMP, "backups", 4, "missing")?;
    ensure!(missing.iter().any(|right| right == "s3:PutObject"), "{missing:?}");

    // This store has no users' policies, only those of buckets, and they know no conditions.
    let allow = |policy: &mut Value, actions: Option<Value>| -> Result<()> {
        for statement in policy["Statement"].as_array_mut().context("statements")? {
            statement["Principal"] = json!({ "AWS": ["uploader"] });
            statement["Action"] = actions.clone().unwrap_or_else(|| statement["Action"].take());
            statement.as_object_mut().context("a statement")?.remove("Condition");
        }
        world.aws(&[
            "s3api",
            "put-bucket-policy",
            "--bucket",
            BUCKET,
            "--policy",
            &policy.to_string(),
        ])?;
        Ok(())
    };
    let mut policy: Value = serde_json::from_str(&uploader.policy(DUMP, "backups")?)?;
    ensure!(!policy.to_string().contains("Delete"), "{policy}");
    allow(&mut policy, None)?;
    let excess = uploader.rights(DUMP, "backups", 0, "excess")?;
    ensure!(excess.is_empty(), "{excess:?}");
    uploader.runs(&["plan", "run", DUMP, "--yes"], 0)?;

    let everything = json!([{ "Sid": "All", "Effect": "Allow", "Action": "s3:*",
        "Resource": [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")] }]);
    allow(&mut json!({ "Version": "2012-10-17", "Statement": everything }), None)?;
    let excess = uploader.rights(DUMP, "backups", 9, "excess")?;
    for right in ["s3:DeleteObjectVersion", "s3:PutObject outside of `backups/`"] {
        ensure!(excess.iter().any(|one| one == right), "{right}: {excess:?}");
    }
    Ok(())
}

fn cluster_account(world: &World) -> Result<()> {
    let admin = Somebody {
        world,
        variables: Vec::new(),
    };
    let excess = admin.rights(EXPORT, "cluster", 9, "excess")?;
    ensure!(excess.iter().any(|right| right == "cluster * *.*"), "{excess:?}");

    let file = world.folder().join("roles.yaml");
    std::fs::write(&file, admin.policy(EXPORT, "cluster")?)?;
    kubectl(
        world,
        &["create", "serviceaccount", "jm-backup-kubernetes", "-n", NAMESPACE],
    )?;
    let token = kubectl(world, &["create", "token", "jm-backup-kubernetes", "-n", NAMESPACE])?;
    let own = world.folder().join("account.kubeconfig");
    std::fs::copy(world.systems.variable("KUBECONFIG"), &own)?;
    let own = own.display().to_string();
    kubectl(
        world,
        &[
            "--kubeconfig",
            &own,
            "config",
            "set-credentials",
            "admin",
            "--token",
            token.trim(),
        ],
    )?;
    let account = Somebody {
        world,
        variables: vec![("KUBECONFIG", own)],
    };
    let missing = account.rights(EXPORT, "cluster", 4, "missing")?;
    for right in ["cluster get namespaces kube-system", "list secrets"] {
        ensure!(missing.iter().any(|one| one == right), "{right}: {missing:?}");
    }

    kubectl(world, &["apply", "-f", &file.display().to_string()])?;
    let excess = account.rights(EXPORT, "cluster", 0, "excess")?;
    ensure!(excess.is_empty(), "{excess:?}");
    // No pod of the tests' nodes says which image it runs; of kinds that cannot be read nothing is said.
    let output = account.jm(&BACK_UP)?;
    ensure!(output.status.code() == Some(9), "{}", said(&output));
    ensure!(!said(&output).contains("cannot be read"), "{}", said(&output));
    let records = journal(&world.state())?;
    ensure!(of_kind(&records, "step-succeeded").len() >= 2, "{records:#?}");
    Ok(())
}

#[test]
fn the_printed_rights_are_enough_and_no_more() -> Result<()> {
    let world = World::real()?;
    database_role(&world).context("database")?;
    bucket_user(&world).context("bucket")?;
    cluster_account(&world).context("cluster")
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
    let document: Value = serde_json::from_slice(&output.stdout)?;
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
    let words = world.jm().arg("doctor").output()?;
    ensure!(words.status.code() == Some(2), "{}", said(&words));
    Ok(())
}
