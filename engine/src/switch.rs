//! Another policy while the engine runs.
//!
//! An engine is built for the most that it is to do. Then what it knows of servers' memory is kept
//! up under every policy that it is switched to, also where nothing is decided by it: each request
//! that may write is followed from its binding to its end, whatever it became. So a policy that is
//! switched on finds what it needs, and nothing is on its way that it does not know of.
//!
//! What a request becomes is decided once. Which server queue pair it goes to is decided when it is
//! accepted, whether it is steered or replaced when it is bound; what its client is told follows
//! from what it became. Server queue pairs host what the engine was built for, so no place moves.

use crate::engine::Engine;
use crate::policy::{Atomics, Choices, SwitchError};
use crate::rules::Rule;

impl Engine {
    /// What the engine does now, of what it was built for.
    #[must_use]
    pub fn choices(&self) -> Choices {
        self.choices
    }

    /// The most that the engine was built for.
    #[must_use]
    pub fn most(&self) -> Choices {
        self.policy.choices()
    }

    /// Switches to another policy, as far as policies may change: to less than what the engine was
    /// built for, and back. READs that are accepted from now on are mapped so, and what is bound
    /// from now on is steered and replaced so. What was accepted or bound before stays what it is.
    ///
    /// # Errors
    /// See [`SwitchError`]; then nothing has changed.
    pub fn switch(&mut self, to: Choices) -> Result<(), SwitchError> {
        if to == self.choices {
            return Ok(());
        }
        if self.config.records {
            return Err(SwitchError::Records);
        }
        if self.shards > 1 {
            return Err(SwitchError::Shards);
        }
        self.policy.check_switch(to)?;
        self.choices = to;
        self.counters.switches += 1;
        Ok(())
    }

    /// Whether what is known of memory is kept up: also while no request depends on it.
    pub(crate) fn follows_memory(&self) -> bool {
        let needed = self.choices.know_memory() || self.config.keeps(Rule::MemoryIsFollowed);
        self.policy.knows_memory() && needed
    }

    /// The same of what words hold, and of who writes them.
    pub(crate) fn follows_words(&self) -> bool {
        let replaces = self.choices.atomics == Atomics::Replace;
        let needed = replaces || self.config.keeps(Rule::MemoryIsFollowed);
        self.policy.atomics == Atomics::Replace && needed
    }
}
