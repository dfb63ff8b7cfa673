//! The systems of a run.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::Mutex;

use super::{AnyConnection, Connection, Expect, Identity, IdentityGate, OpenContext, Target, decoded};
use crate::{StepError, StepErrorKind, TargetName};

/// The targets of a run and their connections, each opened once, when it is first asked for.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    slots: BTreeMap<TargetName, Slot>,
    gate: Arc<dyn IdentityGate>,
    cx: OpenContext,
}

struct Slot {
    target: Target,
    opened: Mutex<Option<Arc<dyn AnyConnection>>>,
    /// What people were told that opening it starts.
    announced: std::sync::Mutex<Option<String>>,
}

impl Slot {
    /// What opening it starts, where people were not told yet: the file that names it may have come with the system.
    fn news(&self, cx: &OpenContext) -> Option<String> {
        let starts = self.target.starts(cx)?;
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = announced.as_ref() == Some(&starts);
        (!is_known).then(|| announced.insert(starts).clone())
    }
}

impl Connections {
    /// Nothing is opened yet.
    pub fn new(targets: impl IntoIterator<Item = Target>, gate: Arc<dyn IdentityGate>, cx: OpenContext) -> Self {
        let slots = targets
            .into_iter()
            .map(|target| {
                (
                    target.name.clone(),
                    Slot {
                        target,
                        opened: Mutex::new(None),
                        announced: std::sync::Mutex::new(None),
                    },
                )
            })
            .collect();
        Self(Arc::new(Inner { slots, gate, cx }))
    }

    /// The environment that connections open in.
    pub fn open_context(&self) -> &OpenContext {
        &self.0.cx
    }

    /// Opens a target, or gives the connection that is open. A system that the run does not know is refused.
    pub async fn open(&self, name: &TargetName) -> Result<Arc<dyn AnyConnection>, StepError> {
        let slot = self.slot(name)?;
        let mut opened = slot.opened.lock().await;
        if let Some(connection) = opened.as_ref() {
            return Ok(connection.clone());
        }
        let connection = self.connect_and_hold(slot, Expect::Same).await?;
        *opened = Some(connection.clone());
        Ok(connection)
    }

    /// Opens a target anew: what was open before is forgotten.
    pub async fn reopen(&self, name: &TargetName, expect: Expect) -> Result<Arc<dyn AnyConnection>, StepError> {
        let slot = self.slot(name)?;
        let mut opened = slot.opened.lock().await;
        *opened = None;
        let connection = self.connect_and_hold(slot, expect).await?;
        *opened = Some(connection.clone());
        Ok(connection)
    }

    /// Opens a target only to look at it: nobody is asked whether it is the right system, nothing is recorded, and
    /// nothing is kept.
    pub(crate) async fn look(&self, name: &TargetName) -> Result<Arc<dyn AnyConnection>, StepError> {
        let connection = self.client(name).await?;
        let pinged = connection.ping().await;
        pinged.map_err(|error| error.context(format_args!("target `{name}`")))?;
        Ok(connection)
    }

    /// The client of a target, whether or not there is such a system: nobody is asked, and nothing is kept.
    pub(crate) async fn client(&self, name: &TargetName) -> Result<Arc<dyn AnyConnection>, StepError> {
        self.made(self.slot(name)?).await
    }

    /// Makes the client, and tells first what that starts.
    async fn made(&self, slot: &Slot) -> Result<Arc<dyn AnyConnection>, StepError> {
        let target = &slot.target;
        if let Some(starts) = slot.news(&self.0.cx) {
            self.0.gate.notice(format!("target `{}`: {starts}", target.name)).await;
        }
        let opened = target.connection.open(target.config.clone(), &self.0.cx).await;
        opened.map_err(|error| error.context(format_args!("target `{}`", target.name)))
    }

    /// What is said of a target, which may be of no system.
    pub(crate) fn config<C: Connection>(&self, name: &TargetName) -> Result<C::Config, StepError> {
        let target = &self.slot(name)?.target;
        decoded::<C>(target.config.clone()).map_err(|error| error.context(format_args!("target `{}`", target.name)))
    }

    /// Whether the system behind a target is one that a person has named. Nothing is kept open.
    pub(crate) async fn is_named(&self, name: &TargetName) -> Result<bool, StepError> {
        match self.connect(self.slot(name)?, Expect::Named).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == StepErrorKind::Refused => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn connect_and_hold(&self, slot: &Slot, expect: Expect) -> Result<Arc<dyn AnyConnection>, StepError> {
        let (connection, identity) = self.connect(slot, expect).await?;
        self.0.gate.hold(&slot.target, &identity, &connection).await?;
        Ok(connection)
    }

    async fn connect(&self, slot: &Slot, expect: Expect) -> Result<(Arc<dyn AnyConnection>, Identity), StepError> {
        let target = &slot.target;
        let opening = |error: StepError| error.context(format_args!("target `{}`", target.name));
        let connection = self.made(slot).await?;
        connection.ping().await.map_err(opening)?;
        let identity = connection.identity().await.map_err(opening)?;
        self.0.gate.admit(target, identity.clone(), expect).await?;
        if let Some(notice) = connection.notice() {
            self.0.gate.notice(format!("target `{}`: {notice}", target.name)).await;
        }
        Ok((connection, identity))
    }

    /// The one target among these whose provider is this one.
    pub(crate) fn only_of<'a>(
        &self,
        mut names: impl Iterator<Item = &'a TargetName>,
        provider: &str,
    ) -> Option<&'a TargetName> {
        names.find(|name| {
            self.0
                .slots
                .get(*name)
                .is_some_and(|slot| slot.target.connection.provider() == provider)
        })
    }

    fn slot(&self, name: &TargetName) -> Result<&Slot, StepError> {
        self.0.slots.get(name).ok_or_else(|| {
            StepError::invalid_input(format!("target `{name}` is not configured"))
                .hint("bind it to a system in the targets file")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;

    use futures::future::{BoxFuture, FutureExt};
    use serde_json::json;

    use super::*;
    use crate::connection::ConnectionType;
    use crate::{Environment, RunId, Secrets};

    /// What happens, in order. Of this test alone.
    static HAPPENED: StdMutex<Vec<String>> = StdMutex::new(Vec::new());

    fn happens(what: &str) {
        HAPPENED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what.to_owned());
    }

    /// A system to which a program opens the way, as the environment names it.
    struct Guarded;

    impl Connection for Guarded {
        const PROVIDER: &'static str = "guarded";
        type Config = serde_json::Value;
        type Reader = ();

        async fn open(_: Self::Config, _: &OpenContext) -> Result<Self, StepError> {
            happens("opened");
            Ok(Self)
        }

        async fn ping(&self) -> Result<(), StepError> {
            Ok(())
        }

        async fn identity(&self) -> Result<Identity, StepError> {
            Ok(Identity::single("it"))
        }

        fn starts(config: &Self::Config, _: &OpenContext) -> Option<String> {
            Some(config.as_str()?.to_owned())
        }

        fn reader(&self) -> &() {
            &()
        }
    }

    struct Tells;

    impl IdentityGate for Tells {
        fn admit<'a>(&'a self, _: &'a Target, _: Identity, _: Expect) -> BoxFuture<'a, Result<(), StepError>> {
            async { Ok(()) }.boxed()
        }

        fn notice(&self, text: String) -> BoxFuture<'_, ()> {
            async move { happens(&text) }.boxed()
        }
    }

    #[tokio::test]
    async fn what_opening_starts_is_told_once_and_before() {
        let target = |name: &str, config| Target {
            name: name.parse().expect("a name"),
            connection: Arc::new(ConnectionType::<Guarded>::new()),
            config,
            pinned: None,
        };
        let cx = OpenContext {
            secrets: Secrets::new(),
            environment: Environment::default(),
            run: RunId::generate(),
        };
        let targets = [target("one", json!("login --now")), target("two", json!(null))];
        let connections = Connections::new(targets, Arc::new(Tells), cx);
        let (one, two) = ("one".parse().expect("a name"), "two".parse().expect("a name"));
        connections.look(&one).await.expect("opened");
        connections.open(&one).await.expect("opened");
        connections.reopen(&one, Expect::New).await.expect("opened");
        connections.open(&two).await.expect("opened");
        let happened = HAPPENED.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let told = "target `one`: `login --now` is started on this machine for its credentials";
        assert_eq!(happened, [told, "opened", "opened", "opened", "opened"]);
    }
}
