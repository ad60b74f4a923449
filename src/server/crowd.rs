//! The open connections, oldest first, so that the oldest can be asked to close when the cap is reached.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// All open connections of a listener in the order they came.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One connection's entry; removed when dropped.
#[derive(Debug)]
pub(super) struct Membership {
    number: u64,
    crowd: Arc<Crowd>,
    /// Resolves when this connection should make room for another.
    pub(super) eviction: oneshot::Receiver<()>,
}

impl Crowd {
    /// Adds a connection.
    pub(super) fn join(self: &Arc<Self>) -> Membership {
        let (sender, eviction) = oneshot::channel();
        let mut members = self.members();
        let number = members.next;
        members.next += 1;
        members.waiting.insert(number, sender);
        drop(members);
        Membership {
            number,
            crowd: Arc::clone(self),
            eviction,
        }
    }

    /// Asks the oldest connection that was not asked yet to close.
    pub(super) fn evict_oldest(&self) {
        let oldest = self.members().waiting.pop_first();
        if let Some((_, sender)) = oldest {
            // A connection that is closing already does not need the signal.
            let _ = sender.send(());
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        // No code that can panic runs under this lock.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.crowd.members().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_those_who_left_are_not_asked() {
        let crowd = Arc::new(Crowd::default());
        let left = crowd.join();
        let mut oldest = crowd.join();
        let mut newest = crowd.join();
        drop(left);

        crowd.evict_oldest();
        assert_eq!(oldest.eviction.try_recv(), Ok(()));
        assert_eq!(
            newest.eviction.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        );

        crowd.evict_oldest();
        assert_eq!(newest.eviction.try_recv(), Ok(()));

        crowd.evict_oldest();
        drop((oldest, newest));
        assert!(crowd.members().waiting.is_empty());
    }
}
