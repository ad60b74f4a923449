//! The threads that parse and evaluate conditions: few, with large stacks, and they outlive a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::{failed, refused};
use crate::domain::Invalid;

/// Room for the frames of parser and evaluator at the deepest nesting and the longest chain; measured: a
/// quarter of it is enough for an unoptimised build.
const STACK_BYTES: usize = 32 * 1024 * 1024;
/// Threads that evaluate, in the whole process. A client with a token of a public platform can cause
/// evaluations; the rest of the machine serves the other clients.
pub(super) const WORKERS: usize = 4;
/// Evaluations that wait for a thread; a further one waits until there is room.
const QUEUE_MAX: usize = 64;
/// One permit for each worker, for callers that must not block.
pub(super) static TURNS: Semaphore = Semaphore::const_new(WORKERS);

/// Work for a worker.
type Job = Box<dyn FnOnce() + Send>;

/// Does `work` on a worker and waits for it.
pub(super) fn on_a_worker<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Invalid> + Send + 'static,
) -> Result<T, Invalid> {
    let (answer, answered) = sync_channel(1);
    submit(Box::new(move || {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let _ = answer.send(outcome.unwrap_or_else(|_| Err(failed())));
    }))?;
    answered.recv().unwrap_or_else(|_| Err(failed()))
}

/// Queues a job; the workers are started with the first, and tried again when none could be.
pub(super) fn submit(job: Job) -> Result<(), Invalid> {
    static JOBS: Mutex<Option<SyncSender<Job>>> = Mutex::new(None);
    let none = || refused("cannot be evaluated: no thread is left for it");
    let jobs = {
        let mut jobs = JOBS.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.is_none() {
            *jobs = start_workers();
        }
        jobs.clone().ok_or_else(none)?
    };
    jobs.send(job).map_err(|_| none())
}

/// Starts the workers; `None` when no thread can be started.
fn start_workers() -> Option<SyncSender<Job>> {
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    let receiver = Arc::new(Mutex::new(receiver));
    let started = (0..WORKERS)
        .filter(|_| {
            let receiver = Arc::clone(&receiver);
            let worker = std::thread::Builder::new()
                .name("cel".to_owned())
                .stack_size(STACK_BYTES);
            worker.spawn(move || work(&receiver)).is_ok()
        })
        .count();
    (started > 0).then_some(sender)
}

/// Jobs catch their own panics, so that a worker ends with the process alone.
fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}
