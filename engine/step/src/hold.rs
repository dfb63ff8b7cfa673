//! Holding a system against other runs, by the system itself: that reaches further than one machine's files.

/// What came of asking a system to be held.
pub enum Holding {
    /// It has no lock of its own. Those of this machine have to do.
    Unable,
    /// It is held.
    Held(Box<dyn Hold>),
    /// Somebody else holds it.
    Taken {
        /// Who, as far as the system tells.
        by: String,
        /// How to make it free where they are gone.
        hint: String,
    },
}

/// A system that is held. Dropping it lets go; so does the end of this process, however it comes.
pub trait Hold: Send + Sync {
    /// Whether the system still knows of it, as far as is known without asking.
    fn is_held(&self) -> bool;
}
