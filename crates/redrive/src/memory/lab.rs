//! What only a test may do to a world in memory.

use super::Memory;
use crate::names::Source;

impl Memory {
    /// Destroys a group, as an operator or a lost key does; what waits on it is told.
    pub(crate) fn forget_group(&self, source: &Source) {
        if let Some(stream) = self.world.kept().streams.get_mut(&source.stream) {
            stream.groups.remove(&source.group);
        }
        self.world.changed.notify_waiters();
    }
}
