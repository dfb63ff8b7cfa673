//! Whether a backup can be restored on a server, asked before anything is touched: programs, versions, room, extensions,
//! roles.

use jm_client_postgres::{Inventory, Reader, ServerFacts};
use jm_step::StepError;

use crate::catalogue::Entry;
use crate::content::DatabaseContent;
use crate::manifest::Manifest;
use crate::name::{ContentKind, Format};
use crate::refusals::of_another_kind;
use crate::tools::Toolbox;

/// Where a backup goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Target {
    /// A new database beside the one that is meant.
    #[default]
    Aside,
    /// The database that is meant.
    InPlace,
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
pub async fn fitness(reader: &Reader, entry: &Entry, target: Target, tools: &Toolbox) -> Result<Fitness, StepError> {
    let server = reader.server().await?;
    may_restore(&server, target)?;
    if entry.kind() != ContentKind::Database {
        return Err(of_another_kind(&entry.name, entry.kind(), ContentKind::Database));
    }
    let database = entry.manifest().and_then(Manifest::database);
    if let Some(database) = database {
        new_enough(&server, &database.inventory)?;
    }
    programs(entry, server.major(), tools).await?;
    let Some(database) = database else {
        let note = format!(
            "`{}` has no manifest: extensions, roles and room cannot be checked beforehand, nor of which database it is",
            entry.name
        );
        return Ok(Fitness {
            notes: vec![note],
            ..Fitness::default()
        });
    };
    let mut fitness = Fitness::default();
    fitness.notes.extend(room(reader, database).await?);
    extensions(reader, database).await?;
    fitness.left_out = single(reader, database, target).await?;
    fitness.missing_roles = missing_roles(reader, database).await?;
    Ok(fitness)
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
    let format = entry.manifest().map_or(entry.name.format(), |manifest| manifest.dump);
    if format == Format::Custom {
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

async fn extensions(reader: &Reader, database: &DatabaseContent) -> Result<(), StepError> {
    let session = reader.maintenance(None).await?;
    let rows = session
        .query("SELECT name::text FROM pg_available_extensions", &[])
        .await?;
    let available: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let missing: Vec<&str> = database
        .inventory
        .extensions
        .keys()
        .filter(|name| !available.contains(name))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(StepError::failed(format!(
        "the server lacks extensions that the backup has: {}",
        missing.join(", ")
    ))
    .hint("install their packages on the server"))
}

/// `pg_cron` can be created in one database of a server only, and its jobs must not run twice.
async fn single(reader: &Reader, database: &DatabaseContent, target: Target) -> Result<Vec<String>, StepError> {
    if !database.inventory.extensions.contains_key("pg_cron") {
        return Ok(Vec::new());
    }
    let session = reader.maintenance(None).await?;
    let row = session
        .query_one("SELECT current_setting('cron.database_name', true)", &[])
        .await?;
    let home: Option<String> = row.get(0);
    let at_home = target == Target::InPlace && home.as_deref() == Some(reader.database());
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
