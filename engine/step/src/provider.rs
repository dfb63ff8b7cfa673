//! A provider: one connection type at most, and its step types.

use std::sync::Arc;

use crate::connection::{AnyConnectionType, Connection, ConnectionType};
use crate::{AnyStepType, StepType};

/// What a provider crate offers. Each has `pub fn provider() -> Provider`.
pub struct Provider {
    pub(crate) name: &'static str,
    pub(crate) connection: Option<Arc<dyn AnyConnectionType>>,
    pub(crate) step_types: Vec<Arc<dyn AnyStepType>>,
}

impl Provider {
    /// A provider without a system of its own, such as `command`.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            connection: None,
            step_types: Vec::new(),
        }
    }

    /// A provider of connections of type `C`, under the name that `C` has.
    pub fn of<C: Connection>() -> Self {
        Self {
            connection: Some(Arc::new(ConnectionType::<C>::new())),
            ..Self::new(C::PROVIDER)
        }
    }

    /// Adds a step type.
    pub fn step(mut self, step_type: impl StepType) -> Self {
        self.step_types.push(Arc::new(step_type));
        self
    }
}
