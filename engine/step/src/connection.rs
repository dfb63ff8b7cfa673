//! Connections to the systems that steps act on: opened once per run, with a reader that cannot write.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Holding, InputIssue, NamedFile, Policy, Right, Rights, RunId, Secrets, Standing, StepError, TargetName, schema,
};

mod connections;
pub use connections::Connections;

/// A client for one kind of system.
pub trait Connection: Send + Sync + Sized + 'static {
    /// The provider whose targets it opens, such as `postgres`.
    const PROVIDER: &'static str;
    /// What a targets file says of such a target.
    type Config: DeserializeOwned + JsonSchema + Send;
    /// The same system without a single method that writes.
    type Reader: Send + Sync;

    /// Makes the client. Lazy clients may put off reaching the system until [`Connection::ping`].
    fn open(config: Self::Config, cx: &OpenContext) -> impl Future<Output = Result<Self, StepError>> + Send;
    /// Asks the system for a sign of life.
    fn ping(&self) -> impl Future<Output = Result<(), StepError>> + Send;
    /// Which system this really is.
    fn identity(&self) -> impl Future<Output = Result<Identity, StepError>> + Send;
    /// The side of it that cannot write.
    fn reader(&self) -> &Self::Reader;

    /// What people should know of how it was opened.
    fn notice(&self) -> Option<String> {
        None
    }

    /// What a schema cannot say of the configuration: an address that is none, one field that needs another. Pure: the
    /// system is not reached and no file is read. The environment is the one that the connection would open in.
    fn check(_: &Self::Config, _: &Environment) -> Vec<InputIssue> {
        Vec::new()
    }

    /// The files that it would read to open: those that somebody names, in the configuration or by a variable that its
    /// clients follow. Pure, as [`Connection::check`] is: whoever reads files looks whether they can be read.
    fn files(_: &Self::Config, _: &Environment) -> Vec<NamedFile> {
        Vec::new()
    }

    /// Whether runs may share such a system, for nothing that one does to it is in another's way: a webhook, a store of
    /// backups that only grows. A run that writes to any other system has it for itself.
    const SHARED: bool = false;

    /// Where the system is, without secrets, as far as that is known without asking it: `db.example:5432/app`. What a run
    /// holds until it knows the system's identity.
    fn address(_: &Self::Config, _: &OpenContext) -> Option<String> {
        None
    }

    /// What chooses the system where the configuration leaves that open, such as the current context of a kubeconfig: it may
    /// be another one tomorrow. `None` where the configuration says by itself which one it is.
    fn follows(_: &Self::Config) -> Option<&'static str> {
        None
    }

    /// The program that opening it starts on this machine, with its arguments, where a file that somebody gave names one. It
    /// runs with all rights of whoever runs jm, so people are told before it is started.
    fn starts(_: &Self::Config, _: &OpenContext) -> Option<String> {
        None
    }

    /// What two runs may not act on at once, by its identity: the system, or the part of it that is meant.
    fn held_as(&self, identity: &Identity) -> String {
        identity.to_string()
    }

    /// Holds the system against runs everywhere, where it has a lock that ends with whoever holds it.
    fn hold(&self) -> impl Future<Output = Result<Holding, StepError>> + Send {
        std::future::ready(Ok(Holding::Unable))
    }

    /// Whether this is a right that such a system gives. One that gives none by name, such as a webhook, knows none.
    fn knows_right(_: &str) -> bool {
        false
    }

    /// How it stands with these rights, and which others the credentials have, as far as it can be asked without doing
    /// anything.
    fn rights(_: &Self::Reader, needed: &Rights) -> impl Future<Output = Result<Vec<Right>, StepError>> + Send {
        let not_asked = |right: &&str| Right::new(*right, Standing::NotAsked).note("such systems are not asked");
        std::future::ready(Ok(needed.iter().map(not_asked).collect()))
    }

    /// What an administrator applies to give just these rights. Whoever gets them and has no name in the configuration
    /// gets this one.
    fn policy(_: &Self::Reader, _: &Rights, _: &str) -> impl Future<Output = Result<Option<Policy>, StepError>> + Send {
        std::future::ready(Ok(None))
    }
}

/// Which system a target really is. One entry for each of its locations, by the location's name; most targets have the
/// one location `""`. A location that could not be reached is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Identity(pub BTreeMap<String, String>);

/// How the identity of a location begins to which nothing was ever written.
const UNWRITTEN: &str = "never written to: ";

impl Identity {
    /// The identity of a target with one location, such as `system 7301…` or a UID.
    pub fn single(id: impl Into<String>) -> Self {
        Self(BTreeMap::from([(String::new(), id.into())]))
    }

    /// What stands for a location that answers and bears no mark yet, for nothing was ever written to it.
    pub fn unwritten(place: &str) -> String {
        format!("{UNWRITTEN}{place}")
    }

    /// Whether others of it are news to us: a location that we do not know, or knew before anything was written to it.
    pub fn learns_from(&self, other: &Self) -> bool {
        other.0.iter().any(|(location, theirs)| {
            let ours = self.0.get(location);
            ours.is_none_or(|ours| is_unwritten(ours) && ours != theirs)
        })
    }

    /// The first location at which the two differ: its name, ours, theirs. Locations that only one has do not count, nor
    /// does one that was not written to when we saw it: it has got its mark since.
    pub fn differs_from<'a>(&'a self, other: &'a Self) -> Option<(&'a str, &'a str, &'a str)> {
        self.0.iter().find_map(|(location, ours)| {
            let theirs = other.0.get(location)?;
            (ours != theirs && !is_unwritten(ours)).then_some((location.as_str(), ours.as_str(), theirs.as_str()))
        })
    }
}

fn is_unwritten(id: &str) -> bool {
    id.starts_with(UNWRITTEN)
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (location, id)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            if location.is_empty() {
                write!(f, "{comma}{id}")?;
            } else {
                write!(f, "{comma}{location}: {id}")?;
            }
        }
        Ok(())
    }
}

/// What a step expects of a system that is opened anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The system that the run knows.
    Same,
    /// A system that the plan has just brought back: its identity may be new, and is held to from here on.
    New,
    /// A system that a person has named, in the targets file or for this run. Every other one is refused.
    Named,
}

/// The environment as jm found it. Only the command line reads the real one.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Takes the variables.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What a connection may use while it opens.
#[derive(Debug, Clone)]
pub struct OpenContext {
    /// The masker: what a connection derives from its secrets (a URL's password) is registered here.
    pub secrets: Secrets,
    /// The environment, for clients that follow conventions of their own (`PG*`, `KUBECONFIG`, `AWS_*`).
    pub environment: Environment,
    /// The run, so that sessions on a server can be told apart and a resume finds those of its own run.
    pub run: RunId,
}

/// A target of the targets file, rendered, not yet opened.
#[derive(Clone)]
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// How to open it.
    pub connection: Arc<dyn AnyConnectionType>,
    /// Its configuration, secrets and all: so never shown.
    pub config: Value,
    /// The identity that the targets file pins, if it does.
    pub pinned: Option<String>,
}

impl Target {
    /// What chooses its system, where neither the configuration nor an identity does; see [`Connection::follows`].
    pub fn follows(&self) -> Option<&'static str> {
        let follows = self.connection.follows(&self.config)?;
        self.pinned.is_none().then_some(follows)
    }

    /// In words, what opening it starts on this machine; see [`Connection::starts`].
    pub fn starts(&self, cx: &OpenContext) -> Option<String> {
        let program = self.connection.starts(&self.config, cx)?;
        Some(format!("`{program}` is started on this machine for its credentials"))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("provider", &self.connection.provider())
            .finish_non_exhaustive()
    }
}

/// An opened connection of any type.
pub trait AnyConnection: Send + Sync + 'static {
    /// See [`Connection::ping`].
    fn ping(&self) -> BoxFuture<'_, Result<(), StepError>>;
    /// See [`Connection::identity`].
    fn identity(&self) -> BoxFuture<'_, Result<Identity, StepError>>;
    /// See [`Connection::notice`].
    fn notice(&self) -> Option<String>;
    /// See [`Connection::held_as`].
    fn held_as(&self, identity: &Identity) -> String;
    /// See [`Connection::hold`].
    fn hold(&self) -> BoxFuture<'_, Result<Holding, StepError>>;
    /// See [`Connection::rights`].
    fn rights<'a>(&'a self, needed: &'a Rights) -> BoxFuture<'a, Result<Vec<Right>, StepError>>;
    /// See [`Connection::policy`].
    fn policy<'a>(&'a self, needed: &'a Rights, holder: &'a str) -> BoxFuture<'a, Result<Option<Policy>, StepError>>;
    /// For the way back to the type.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<C: Connection> AnyConnection for C {
    fn ping(&self) -> BoxFuture<'_, Result<(), StepError>> {
        Connection::ping(self).boxed()
    }
    fn identity(&self) -> BoxFuture<'_, Result<Identity, StepError>> {
        Connection::identity(self).boxed()
    }
    fn notice(&self) -> Option<String> {
        Connection::notice(self)
    }
    fn held_as(&self, identity: &Identity) -> String {
        Connection::held_as(self, identity)
    }
    fn hold(&self) -> BoxFuture<'_, Result<Holding, StepError>> {
        Connection::hold(self).boxed()
    }
    fn rights<'a>(&'a self, needed: &'a Rights) -> BoxFuture<'a, Result<Vec<Right>, StepError>> {
        C::rights(self.reader(), needed).boxed()
    }
    fn policy<'a>(&'a self, needed: &'a Rights, holder: &'a str) -> BoxFuture<'a, Result<Option<Policy>, StepError>> {
        C::policy(self.reader(), needed, holder).boxed()
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// A connection type of any kind.
pub trait AnyConnectionType: Send + Sync {
    /// The provider's name.
    fn provider(&self) -> &'static str;
    /// JSON Schema of the configuration.
    fn config_schema(&self) -> Value;
    /// See [`Connection::check`]. Of a configuration that does not fit the schema nothing more is said.
    fn check(&self, config: &Value, environment: &Environment) -> Vec<InputIssue>;
    /// See [`Connection::files`]. A configuration that does not fit names none.
    fn files(&self, config: &Value, environment: &Environment) -> Vec<NamedFile>;
    /// See [`Connection::SHARED`].
    fn is_shared(&self) -> bool;
    /// See [`Connection::knows_right`].
    fn knows_right(&self, right: &str) -> bool;
    /// See [`Connection::address`]. A configuration that does not fit has none.
    fn address(&self, config: &Value, cx: &OpenContext) -> Option<String>;
    /// See [`Connection::follows`]. A configuration that does not fit follows nothing.
    fn follows(&self, config: &Value) -> Option<&'static str>;
    /// See [`Connection::starts`]. A configuration that does not fit starts nothing.
    fn starts(&self, config: &Value, cx: &OpenContext) -> Option<String>;
    /// Opens a connection.
    fn open<'a>(
        &'a self,
        config: Value,
        cx: &'a OpenContext,
    ) -> BoxFuture<'a, Result<Arc<dyn AnyConnection>, StepError>>;
}

pub(crate) struct ConnectionType<C>(PhantomData<fn() -> C>);

impl<C: Connection> ConnectionType<C> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C: Connection> AnyConnectionType for ConnectionType<C> {
    fn provider(&self) -> &'static str {
        C::PROVIDER
    }
    fn config_schema(&self) -> Value {
        schema::of::<C::Config>()
    }
    fn check(&self, config: &Value, environment: &Environment) -> Vec<InputIssue> {
        let config = serde_json::from_value::<C::Config>(config.clone());
        config.map_or_else(|_| Vec::new(), |config| C::check(&config, environment))
    }
    fn files(&self, config: &Value, environment: &Environment) -> Vec<NamedFile> {
        let config = serde_json::from_value::<C::Config>(config.clone());
        config.map_or_else(|_| Vec::new(), |config| C::files(&config, environment))
    }
    fn is_shared(&self) -> bool {
        C::SHARED
    }
    fn knows_right(&self, right: &str) -> bool {
        C::knows_right(right)
    }
    fn address(&self, config: &Value, cx: &OpenContext) -> Option<String> {
        C::address(&serde_json::from_value(config.clone()).ok()?, cx)
    }
    fn follows(&self, config: &Value) -> Option<&'static str> {
        C::follows(&serde_json::from_value(config.clone()).ok()?)
    }
    fn starts(&self, config: &Value, cx: &OpenContext) -> Option<String> {
        C::starts(&serde_json::from_value(config.clone()).ok()?, cx)
    }
    fn open<'a>(
        &'a self,
        config: Value,
        cx: &'a OpenContext,
    ) -> BoxFuture<'a, Result<Arc<dyn AnyConnection>, StepError>> {
        async move {
            let connection: Arc<dyn AnyConnection> = Arc::new(C::open(decoded::<C>(config)?, cx).await?);
            Ok(connection)
        }
        .boxed()
    }
}

fn decoded<C: Connection>(config: Value) -> Result<C::Config, StepError> {
    serde_json::from_value(config)
        .map_err(|error| StepError::invalid_input(format!("the configuration does not fit: {error}")))
}

/// Says whether a system may be used under a target's name, and writes down which one it was. The engine implements it.
pub trait IdentityGate: Send + Sync {
    /// Refuses another system than the recorded or pinned one; records one that is seen for the first time. Returns
    /// once that is on disk.
    fn admit<'a>(
        &'a self,
        target: &'a Target,
        identity: Identity,
        expect: Expect,
    ) -> BoxFuture<'a, Result<(), StepError>>;

    /// Tells people something about a system: what opening it starts, or how it was opened.
    fn notice(&self, _: String) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    /// Holds an admitted system against other runs, before a step gets it. A gate that only looks holds nothing.
    fn hold<'a>(
        &'a self,
        _: &'a Target,
        _: &'a Identity,
        _: &'a Arc<dyn AnyConnection>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// A connection's reader, kept open while it is held.
pub struct ReaderOf<C: Connection>(Arc<C>);

impl<C: Connection> ReaderOf<C> {
    pub(crate) fn new(connection: Arc<C>) -> Self {
        Self(connection)
    }
}

impl<C: Connection> Deref for ReaderOf<C> {
    type Target = C::Reader;
    fn deref(&self) -> &C::Reader {
        self.0.reader()
    }
}
