//! The gate of a process: many handlers run inside it at once, or one alone.

use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The gate of all processors of this process that share its fate.
static OF_PROCESS: LazyLock<Gate> = LazyLock::new(Gate::default);

/// Lets handlers run beside each other, or one alone. Fair: who waits to be alone keeps all that
/// come later outside. Clones are the same gate.
///
/// Nobody may wait for another pass while holding one: that could last for ever.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<RwLock<()>>);

/// The right to run one handler. Given back when it is dropped: so it belongs into the task of the
/// handler, and ends when that really ends. Clones are one pass, which ends with the last of them.
#[derive(Clone, Debug)]
pub(crate) enum Pass {
    /// Others may run beside it; those that start together have clones of one.
    Shared {
        _inside: Arc<OwnedRwLockReadGuard<()>>,
    },
    /// Nobody else runs.
    Alone {
        _inside: Arc<OwnedRwLockWriteGuard<()>>,
    },
}

/// What else runs in the process of a run that begins. Only a run that began alone can be blamed
/// for the end of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Other handlers, or it is not known.
    Others,
    /// No other handler, until this run is settled.
    Nobody,
}

impl Gate {
    /// The one gate of this process: a crash ends all that runs in it.
    pub(crate) fn of_process() -> Self {
        OF_PROCESS.clone()
    }

    /// A pass beside others, unless somebody is alone or waits to be.
    pub(crate) fn try_enter(&self) -> Option<Pass> {
        let inside = Arc::clone(&self.0).try_read_owned().ok()?;
        Some(Pass::Shared {
            _inside: Arc::new(inside),
        })
    }

    /// A pass beside others, when nobody is alone any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future gives up its place, and nothing else.
    pub(crate) async fn enter(self) -> Pass {
        Pass::Shared {
            _inside: Arc::new(self.0.read_owned().await),
        }
    }

    /// A pass alone, when all that run now have ended. From the first poll on nobody else enters.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future gives up its place, and lets the others in.
    pub(crate) async fn enter_alone(self) -> Pass {
        Pass::Alone {
            _inside: Arc::new(self.0.write_owned().await),
        }
    }
}

impl Pass {
    /// Whether nobody else runs.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self, Self::Alone { .. })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use futures_util::{FutureExt, poll};

    use super::*;

    fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        future.now_or_never()
    }

    #[test]
    fn many_run_beside_each_other_and_one_alone() {
        let gate = Gate::default();
        let many: Vec<_> = (0..1_000).map(|_| gate.try_enter().unwrap()).collect();
        assert!(at_once(gate.clone().enter_alone()).is_none());
        drop(many);
        let alone = at_once(gate.clone().enter_alone()).unwrap();
        assert!(gate.try_enter().is_none());
        assert!(at_once(gate.clone().enter()).is_none());
        assert!(at_once(gate.clone().enter_alone()).is_none());
        let again = alone.clone();
        drop(alone);
        assert!(gate.try_enter().is_none());
        drop(again);
        assert!(gate.try_enter().is_some());
    }

    #[tokio::test]
    async fn who_waits_to_be_alone_keeps_later_ones_outside_and_comes_before_them() {
        let gate = Gate::default();
        let before = gate.try_enter().unwrap();
        let mut alone = Box::pin(gate.clone().enter_alone());
        assert!(poll!(&mut alone).is_pending());
        assert!(gate.try_enter().is_none());
        let mut later = Box::pin(gate.clone().enter());
        assert!(poll!(&mut later).is_pending());
        drop(before);
        assert!(poll!(&mut later).is_pending());
        assert!(gate.try_enter().is_none());
        let alone = alone.await;
        assert!(poll!(&mut later).is_pending());
        drop(alone);
        let _later = later.await;
        assert!(gate.try_enter().is_some());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_lets_the_others_in() {
        let gate = Gate::default();
        let _before = gate.try_enter().unwrap();
        let mut alone = Box::pin(gate.clone().enter_alone());
        assert!(poll!(&mut alone).is_pending());
        let mut later = Box::pin(gate.clone().enter());
        assert!(poll!(&mut later).is_pending());
        drop(alone);
        let _later = later.await;
        assert!(gate.try_enter().is_some());
    }

    #[test]
    fn a_process_has_one_gate() {
        let inside = Gate::of_process().try_enter();
        assert!(at_once(Gate::of_process().enter_alone()).is_none());
        drop(inside);
        assert!(at_once(Gate::of_process().enter_alone()).is_some());
    }
}
