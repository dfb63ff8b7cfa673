//! All step types and connection types, by name. Made once, from an explicit list.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::connection::AnyConnectionType;
use crate::{AnyStepType, Provider};

/// The step types and connection types that plans and targets files may name.
#[derive(Clone, Default)]
pub struct Registry {
    step_types: BTreeMap<&'static str, Arc<dyn AnyStepType>>,
    connections: BTreeMap<&'static str, Arc<dyn AnyConnectionType>>,
}

impl Registry {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a provider.
    ///
    /// # Panics
    /// Where a step type's name is taken or does not begin with the provider's: a bug that the first start shows.
    pub fn with(mut self, provider: Provider) -> Self {
        if let Some(connection) = provider.connection {
            self.connections.insert(provider.name, connection);
        }
        for step_type in provider.step_types {
            let name = step_type.name();
            let prefix = name.split_once('.').map(|(prefix, _)| prefix);
            assert_eq!(
                prefix,
                Some(provider.name),
                "step type `{name}` is not of provider `{}`",
                provider.name
            );
            assert!(
                self.step_types.insert(name, step_type).is_none(),
                "step type `{name}` is registered twice"
            );
        }
        self
    }

    /// The step type of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn AnyStepType>> {
        self.step_types.get(name)
    }

    /// All step types, by name.
    pub fn step_types(&self) -> impl Iterator<Item = &Arc<dyn AnyStepType>> {
        self.step_types.values()
    }

    /// The connection type of a provider.
    pub fn connection(&self, provider: &str) -> Option<&Arc<dyn AnyConnectionType>> {
        self.connections.get(provider)
    }

    /// All connection types with their providers' names.
    pub fn connections(&self) -> impl Iterator<Item = (&'static str, &Arc<dyn AnyConnectionType>)> {
        self.connections.iter().map(|(name, connection)| (*name, connection))
    }
}
