//! A first region that is gone, comes back, or lets jm see no more than a part of it.

use super::*;

#[test]
fn a_first_region_that_is_gone_is_no_obstacle() -> Result<()> {
    let mut regions = Regions::up()?;
    let data = regions.first.fingerprint()?;
    // Nothing listens there any more; backups and CDN live elsewhere.
    let nowhere = format!("postgresql://jm@127.0.0.1:1/{DATABASE}");
    let settings = regions.cluster_settings()?;
    regions.address_cluster(&settings, Some("https://127.0.0.1:1"))?;
    let environment = &mut regions.first.systems.environment;
    environment.insert("DATABASE_URL".to_owned(), nowhere);
    // Nor are its backups there, but a copy of them elsewhere.
    let copy = "journeyman-copy";
    regions.first.aws(&["s3api", "create-bucket", "--bucket", copy])?;
    let (from, to) = (format!("s3://{}", journeyman::BUCKET), format!("s3://{copy}"));
    regions.first.aws(&["s3", "sync", &from, &to])?;
    let empty = regions.first.folder().join("no-backups").display().to_string();
    for (name, value) in [
        ("BACKUP_S3_BUCKET", "gone-with-the-region"),
        ("STANDBY_BACKUP_S3_BUCKET", copy),
        ("BACKUP_DIR", &empty),
    ] {
        let environment = &mut regions.first.systems.environment;
        environment.insert(name.to_owned(), value.to_owned());
    }

    let replicas = format!("replicas={REPLICAS}");
    let text = regions.start(FAILOVER, &[&replicas], 6)?;
    ensure!(
        has_words(
            &text,
            "the cluster cannot be looked at, and may serve, the database does not answer jm, and may serve others"
        ),
        "{text}"
    );
    // Nobody could fence it: whoever brings it up again has to know that.
    let text = regions.approve(9)?;
    ensure!(
        has_words(&text, "degraded") && text.contains("primary-cluster"),
        "{text}"
    );
    ensure!(has_words(&text, "so that nothing has closed it"), "{text}");
    ensure!(regions.second.fingerprint()? == data, "other data in the second region");
    ensure!(regions.second.ready_replicas()? == REPLICAS, "other replicas");
    let begun = regions.begun(FAILOVER)?;
    ensure!(!begun.iter().any(|step| step.starts_with("fence")), "{begun:?}");
    ensure!(begun.iter().any(|step| step == "stop-unseen"), "{begun:?}");
    Ok(())
}

/// Up to an hour lies between the looks and the answer: a region that is back by then would write beside the second.
#[test]
fn a_first_region_that_comes_back_before_the_answer_is_fenced() -> Result<()> {
    let mut regions = Regions::up()?;
    let data = regions.first.fingerprint()?;
    let settings = regions.cluster_settings()?;
    regions.address_cluster(&settings, Some("https://127.0.0.1:1"))?;
    let url = regions.first.systems.variable("DATABASE_URL").to_owned();
    let port = url.rsplit_once(':').and_then(|(_, end)| end.split_once('/'));
    let port = port.context("a port")?.0;
    let away = Port::hold()?;
    let through = format!(
        "{}?sslmode=disable",
        url.replace(&format!(":{port}/"), &format!(":{}/", away.number()?))
    );
    let environment = &mut regions.first.systems.environment;
    environment.insert("DATABASE_URL".to_owned(), through);

    let text = regions.start(FAILOVER, &[], 6)?;
    ensure!(
        has_words(
            &text,
            "the cluster cannot be looked at, and may serve, the database does not answer jm, and may serve others"
        ),
        "{text}"
    );
    regions.address_cluster(&settings, None)?;
    let _wire = Wire::at(away, port.parse()?)?;
    // The look that failed is told of: what the person was asked by is what stands in the report.
    let text = regions.approve(9)?;
    let begun = regions.begun(FAILOVER)?;
    for fence in ["fence-application", "fence-database"] {
        ensure!(begun.iter().any(|step| step == fence), "{fence}: {text}");
    }
    fenced(&regions.first)?;
    ensure!(regions.second.fingerprint()? == data, "other data in the second region");
    Ok(())
}

/// It may serve everybody else: nothing is restored beside it unless it is closed.
#[test]
fn a_first_region_that_refuses_jm_is_not_taken_for_gone() -> Result<()> {
    let mut regions = Regions::up()?;
    let count = declared(&regions.first)?;
    let url = regions.first.systems.variable("DATABASE_URL").to_owned();
    let (_, server) = url.split_once('@').context("a user")?;
    let stranger = format!("postgresql://stranger@{server}");
    let environment = &mut regions.first.systems.environment;
    environment.insert("DATABASE_URL".to_owned(), stranger);

    let text = regions.start(FAILOVER, &[], 6)?;
    ensure!(
        has_words(&text, "the database cannot be looked at, and may serve"),
        "{text}"
    );
    regions.approve(4)?;
    let begun = regions.begun(FAILOVER)?;
    ensure!(begun.iter().any(|step| step == "fence-database"), "{begun:?}");
    ensure!(!begun.iter().any(|step| step == "restore"), "{begun:?}");
    ensure!(declared(&regions.first)? == count, "{} pods", declared(&regions.first)?);
    Ok(())
}

/// jm may stop the application there and not look at the nodes: what it stopped runs again where the failover fails.
#[test]
fn what_was_stopped_unseen_runs_again_where_the_failover_fails() -> Result<()> {
    // The stand-in gives everybody every right.
    let mut regions = Regions::beside(World::real()?)?;
    let count = declared(&regions.first)?;
    let (variable, settings) = crate::doctor::of_cluster(&regions.first, FAILOVER)?;
    let account = format!("--serviceaccount={NAMESPACE}:jm-{FAILOVER}");
    let here = [
        "create",
        "rolebinding",
        "jm",
        "--clusterrole=admin",
        &account,
        "-n",
        NAMESPACE,
    ];
    kubectl(&regions.first, &here)?;
    let identity = [
        "create",
        "clusterrole",
        "jm-identity",
        "--verb=get",
        "--resource=namespaces",
    ];
    kubectl(&regions.first, &identity)?;
    let known = [
        "create",
        "clusterrolebinding",
        "jm",
        "--clusterrole=jm-identity",
        &account,
    ];
    kubectl(&regions.first, &known)?;
    let environment = &mut regions.first.systems.environment;
    let admin = environment.insert(variable.to_owned(), settings);

    let text = regions.start(FAILOVER, &[r#"critical_tables=["users", "never_there"]"#], 6)?;
    ensure!(
        has_words(&text, "the cluster cannot be looked at, and may serve"),
        "{text}"
    );
    let text = regions.approve(4)?;
    ensure!(text.contains("never_there"), "{text}");
    let begun = regions.begun(FAILOVER)?;
    for step in ["stop-unseen", "put-back-unseen"] {
        ensure!(begun.iter().any(|one| one == step), "{step}: {begun:?}");
    }
    let environment = &mut regions.first.systems.environment;
    environment.insert(variable.to_owned(), admin.context("an administrator's")?);
    let put_back = declared(&regions.first)?;
    ensure!(put_back == count, "{put_back} of {count} pods: {text}");
    Ok(())
}
