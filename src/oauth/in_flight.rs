//! Limits the concurrent requests of one client. An authenticated client that sends more waits for its own
//! requests, in order of arrival; other clients do not wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::id::AgentId;

/// Concurrent requests of one authenticated client: an eighth of a commit's batch, so that eight such clients
/// still share each commit.
const IN_FLIGHT_MAX: usize = 32;

/// The places of all clients with a request in flight; other clients are not kept.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    clients: Mutex<HashMap<AgentId, Arc<Semaphore>>>,
}

/// A client's place for one request, released on drop.
#[derive(Debug)]
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    client: AgentId,
    places: Option<Arc<Semaphore>>,
    in_flight: Arc<InFlight>,
}

impl InFlight {
    /// A place for one more request of a client, after its earlier requests.
    pub(super) async fn place(self: &Arc<Self>, client: &AgentId) -> Place {
        let client = client.clone();
        let places = Arc::clone(
            self.clients()
                .entry(client.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(IN_FLIGHT_MAX))),
        );
        // Made before the wait, so that a request that is dropped while it waits is cleaned up.
        let mut place = Place {
            permit: None,
            client,
            places: Some(Arc::clone(&places)),
            in_flight: Arc::clone(self),
        };
        // The semaphore is never closed.
        place.permit = places.acquire_owned().await.ok();
        place
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<AgentId, Arc<Semaphore>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.permit = None;
        let mut clients = self.in_flight.clients();
        // Under the lock, so that of two concurrent drops the second sees that only the map still holds it.
        self.places = None;
        if clients
            .get(&self.client)
            .is_some_and(|places| Arc::strong_count(places) == 1)
        {
            clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_waits_for_its_own_requests_alone_and_leaves_nothing_behind() {
        let in_flight = Arc::new(InFlight::default());
        let (busy, calm) = (AgentId::from_text("busy"), AgentId::from_text("calm"));
        let mut held = Vec::new();
        for _ in 0..IN_FLIGHT_MAX {
            held.push(in_flight.place(&busy).await);
        }
        let mut one_more = std::pin::pin!(in_flight.place(&busy));
        assert!(futures_now(one_more.as_mut()).await.is_none());
        assert!(
            futures_now(std::pin::pin!(in_flight.place(&calm)))
                .await
                .is_some()
        );
        held.pop();
        assert!(futures_now(one_more.as_mut()).await.is_some());
        held.clear();
        assert!(in_flight.clients().is_empty());
    }

    /// The output of a future that is ready now; `None` if it is pending.
    async fn futures_now<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(value) => Some(value),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
