//! Whether a backup can be restored on a server, asked before anything is touched: programs, versions, room, extensions,
//! roles.

use std::collections::BTreeMap;

use jm_client_postgres::{Inventory, Reader, ServerFacts};
use jm_step::StepError;

use crate::belongings::KeptBelongings;
use crate::catalogue::Entry;
use crate::content::DatabaseContent;
use crate::manifest::Manifest;
use crate::name::{ContentKind, Format};
use crate::refusals::of_another_kind;
use crate::tools::Toolbox;

/// What becomes of owners and grants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Owners {
    /// As in the backup; where the server lacks a role, all belongs to the role that restores, and the run is degraded.
    #[default]
    Auto,
    /// As in the backup; a role that the server lacks is an error.
    Keep,
    /// All belongs to the role that restores, and nothing is granted.
    None,
}

/// Where a backup goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Target {
    /// A new database beside the one that is meant.
    #[default]
    Aside,
    /// The database that is meant.
    InPlace,
}

/// What a restore is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Meant<'a> {
    /// The database that is meant.
    pub database: &'a str,
    /// Where the backup goes.
    pub target: Target,
    /// What becomes of owners and grants.
    pub owners: Owners,
}

/// What is not as it was, and does not stop a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fitness {
    /// Roles of the backup that the server does not have.
    pub missing_roles: Vec<String>,
    /// Extensions that can live in one database only, which is not the copy.
    pub left_out: Vec<String>,
    /// What could not be found out.
    pub notes: Vec<String>,
}

/// Refuses what cannot be, and tells the rest.
pub async fn fitness(reader: &Reader, entry: &Entry, meant: Meant<'_>, tools: &Toolbox) -> Result<Fitness, StepError> {
    let server = reader.server().await?;
    may_restore(&server, meant.target)?;
    if entry.kind() != ContentKind::Database {
        return Err(of_another_kind(&entry.name, entry.kind(), ContentKind::Database));
    }
    let database = entry.manifest().and_then(Manifest::database);
    if let Some(database) = database {
        new_enough(&server, &database.inventory)?;
    }
    programs(entry, server.major(), tools).await?;
    let mut fitness = Fitness::default();
    if let Some(database) = database {
        fitness.notes.extend(room(reader, database).await?);
        fitness.left_out = single(reader, database, meant).await?;
        fitness
            .notes
            .extend(extensions(reader, &server, database, &fitness.left_out).await?);
        fitness.missing_roles = missing_roles(reader, database).await?;
    } else {
        fitness.notes.push(format!(
            "`{}` has no manifest: extensions, roles and room cannot be checked beforehand, nor of which database it is",
            entry.name
        ));
    }
    if format(entry) == Format::Plain {
        fitness.whole_or_not(meant.owners)?;
    }
    if !fitness.without_owners(meant.owners) {
        lacking(&fitness.missing_roles)?;
        let replaced = reader.find_database(meant.database).await?;
        let replaced = replaced.as_ref().map(|replaced| replaced.owner.as_str());
        let owners = database.map_or(&[][..], |database| &database.owners);
        may_give(
            reader,
            entry,
            owners,
            replaced.filter(|_| meant.target == Target::Aside),
        )
        .await?;
        if let Some(database) = database.filter(|_| !server.superuser) {
            fitness.notes.extend(of_others(reader, entry, database, replaced));
        }
    }
    Ok(fitness)
}

impl Fitness {
    /// Whether owners and grants are left out.
    pub(crate) fn without_owners(&self, owners: Owners) -> bool {
        match owners {
            Owners::None => true,
            Owners::Keep => false,
            Owners::Auto => !self.missing_roles.is_empty(),
        }
    }

    /// Refuses to leave something out of a plain dump, which is SQL as it stands.
    pub(crate) fn whole_or_not(&self, owners: Owners) -> Result<(), StepError> {
        let whole = "a plain dump is restored whole or not at all";
        if owners == Owners::None {
            return Err(
                StepError::refused(format!("{whole}, so its owners and grants cannot be left out"))
                    .hint("restore it with its owners, or use a backup in custom format"),
            );
        }
        let lacks = [&self.missing_roles[..], &self.left_out[..]].concat();
        if lacks.is_empty() {
            return Ok(());
        }
        Err(
            StepError::failed(format!("{whole}, and the server lacks {}", lacks.join(", ")))
                .hint("create the missing roles and extensions, or use a backup in custom format"),
        )
    }
}

/// As its manifest says, or else its name.
fn format(entry: &Entry) -> Format {
    entry.manifest().map_or(entry.name.format(), |manifest| manifest.dump)
}

fn lacking(missing: &[String]) -> Result<(), StepError> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(StepError::failed(format!(
        "the server lacks roles that the backup has: {}",
        missing.join(", ")
    ))
    .hint("create them, or restore with `owners: none`"))
}

/// Only who has an owner's rights can give it what is its own. The copy is also to belong to the owner of the database that
/// it replaces.
async fn may_give(reader: &Reader, entry: &Entry, owners: &[String], replaced: Option<&str>) -> Result<(), StepError> {
    let mut owners = owners.to_vec();
    owners.extend(replaced.map(str::to_owned));
    let strangers = reader.strangers(&owners).await?;
    if strangers.roles.is_empty() {
        return Ok(());
    }
    // A copy that is all our own cannot take the place of a database that is not.
    let is_replaced = replaced.is_some_and(|owner| strangers.roles.iter().any(|role| role == owner));
    let without = if format(entry) == Format::Plain || is_replaced {
        ""
    } else {
        "; or restore with `owners: none` (where the plan has it: `-i owners=none`)"
    };
    Err(StepError::denied(format!(
        "role `{}` cannot give what the backup holds to its owners, for it has not the rights of {}",
        reader.user(),
        strangers.roles.join(", ")
    ))
    .hint(format!("{}{without}", strangers.remedy)))
}

/// Who is neither a superuser nor an owner of the copy may own something in a schema only where that is granted, and a
/// backup brings grants after owners.
fn of_others(reader: &Reader, entry: &Entry, database: &DatabaseContent, replaced: Option<&str>) -> Option<String> {
    let kept = database.belongings.as_ref().map(KeptBelongings::owner);
    let of_copy = replaced.or(kept);
    let is_other = |owner: &&str| *owner != reader.user() && Some(*owner) != of_copy;
    let others: Vec<&str> = database.owners.iter().map(String::as_str).filter(is_other).collect();
    (!others.is_empty()).then(|| {
        format!(
            "`{}` holds things of {}: whether they may own something in its schemas, which the server asks of a role that \
             is no superuser, is seen only while it is restored",
            entry.name,
            others.join(", ")
        )
    })
}

fn may_restore(server: &ServerFacts, target: Target) -> Result<(), StepError> {
    if server.in_recovery {
        return Err(
            StepError::denied("the server is a standby, which cannot be restored into")
                .hint("point the target at the primary"),
        );
    }
    if target == Target::Aside && !server.may_create_databases {
        return Err(
            StepError::denied("the role may not create databases, which a restore aside needs")
                .hint("grant CREATEDB, or restore `into: in_place`"),
        );
    }
    Ok(())
}

/// Those that a restore runs. What a file without a manifest holds is known only once it is opened: its name says it.
async fn programs(entry: &Entry, server: u32, tools: &Toolbox) -> Result<(), StepError> {
    tools.tool("psql", 0, server).await?;
    if format(entry) == Format::Custom {
        tools.tool("pg_restore", entry.made_by_major(), server).await?;
    }
    Ok(())
}

fn new_enough(server: &ServerFacts, inventory: &Inventory) -> Result<(), StepError> {
    let made_on = inventory.server_version_num / 10_000;
    if server.major() >= made_on {
        return Ok(());
    }
    Err(StepError::refused(format!(
        "the backup is of PostgreSQL {made_on}, and the server is PostgreSQL {}: an older server does not understand it",
        server.major()
    ))
    .hint(format!("restore it on PostgreSQL {made_on} or newer")))
}

/// As much as the database had, and a little for the log that is written meanwhile.
async fn room(reader: &Reader, database: &DatabaseContent) -> Result<Option<String>, StepError> {
    let needed = database.inventory.size_bytes / 10 * 11;
    match reader.free_bytes().await? {
        Some(free) if free < needed => Err(StepError::failed(format!(
            "there is no room for a restored copy: the server's disk has {free} bytes free, and about {needed} are needed"
        ))
        .hint("free space on the server's disk, or restore `into: in_place`")),
        Some(_) => Ok(None),
        None => Ok(Some(format!(
            "how much room the server's disk has cannot be told from here; about {needed} bytes are needed"
        ))),
    }
}

/// Those that the server lacks are refused. Of others only a superuser is sure that he may create them: some services let
/// their administrators, who are none.
async fn extensions(
    reader: &Reader,
    server: &ServerFacts,
    database: &DatabaseContent,
    left_out: &[String],
) -> Result<Option<String>, StepError> {
    let session = reader.maintenance(None).await?;
    // Since PostgreSQL 13 there are some that who owns a database may create in it. A dump names no version: it gets the
    // default one.
    let trusted = if server.major() >= 13 { "v.trusted" } else { "false" };
    let sql = format!(
        "SELECT e.name::text, NOT $1 AND coalesce(v.superuser AND NOT {trusted}, false) FROM pg_available_extensions e
        LEFT JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version"
    );
    let rows = session.query(&sql, &[&server.superuser]).await?;
    let available: BTreeMap<String, bool> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let (mut missing, mut doubtful) = (Vec::new(), Vec::new());
    for name in database.inventory.extensions.keys() {
        match available.get(name) {
            // What is left out is not created, and every database has this one from the beginning.
            _ if left_out.contains(name) || name == "plpgsql" => {}
            None => missing.push(name.as_str()),
            Some(true) => doubtful.push(name.as_str()),
            Some(false) => {}
        }
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let error = StepError::failed(format!("the server lacks extensions that the backup has: {missing}"));
        return Err(error.hint("install their packages on the server"));
    }
    Ok((!doubtful.is_empty()).then(|| {
        format!(
            "whether role `{}`, which is no superuser, may create the extensions {} is seen only while it is restored",
            reader.user(),
            doubtful.join(", ")
        )
    }))
}

/// `pg_cron` can be created in one database of a server only, and its jobs must not run twice.
async fn single(reader: &Reader, database: &DatabaseContent, meant: Meant<'_>) -> Result<Vec<String>, StepError> {
    if !database.inventory.extensions.contains_key("pg_cron") {
        return Ok(Vec::new());
    }
    let session = reader.maintenance(None).await?;
    let row = session
        .query_one("SELECT current_setting('cron.database_name', true)", &[])
        .await?;
    let home: Option<String> = row.get(0);
    let at_home = meant.target == Target::InPlace && home.as_deref() == Some(meant.database);
    Ok(if at_home {
        Vec::new()
    } else {
        vec!["pg_cron".to_owned()]
    })
}

async fn missing_roles(reader: &Reader, database: &DatabaseContent) -> Result<Vec<String>, StepError> {
    let session = reader.maintenance(None).await?;
    let rows = session.query("SELECT rolname::text FROM pg_roles", &[]).await?;
    let there: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(database
        .roles
        .iter()
        .filter(|role| !there.contains(role))
        .cloned()
        .collect())
}
