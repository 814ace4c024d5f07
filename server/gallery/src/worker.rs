//! The background thread that builds the graph and keeps it up to date.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{
    Gallery,
    graph::Graph,
    hybrid::{Build, Shared},
    types::TemplateId,
};

/// What the owner and the background thread tell each other.
#[derive(Default)]
pub(crate) struct WorkerControl {
    state: Mutex<WorkerState>,
    to_worker: Condvar,
    from_worker: Condvar,
}

#[derive(Default)]
struct WorkerState {
    /// Something has changed since the worker last looked.
    changed: bool,
    compact: bool,
    /// Nothing new is begun.
    paused: bool,
    stop: bool,
    busy: bool,
}

impl WorkerControl {
    pub(crate) fn wake(&self) {
        self.update(|state| state.changed = true);
    }

    pub(crate) fn compact(&self) {
        self.update(|state| {
            state.changed = true;
            state.compact = true;
        });
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.update(|state| state.paused = paused);
    }

    pub(crate) fn stop(&self) {
        self.update(|state| state.stop = true);
        self.from_worker.notify_all();
    }

    pub(crate) fn is_busy(&self) -> bool {
        let state = self.state.lock();
        state.changed || state.busy
    }

    pub(crate) fn wait_idle(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.state.lock();
        while (state.changed || state.busy) && !state.stop {
            match deadline {
                Some(deadline) if self.from_worker.wait_until(&mut state, deadline).timed_out() => break,
                Some(_) => {}
                None => self.from_worker.wait(&mut state),
            }
        }
        !(state.changed || state.busy || state.stop)
    }

    fn update(&self, change: impl FnOnce(&mut WorkerState)) {
        change(&mut self.state.lock());
        self.to_worker.notify_one();
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().stop
    }

    /// Whether linking more templates into the present graph would be in vain.
    fn should_stop_linking(&self) -> bool {
        let state = self.state.lock();
        state.stop || state.compact
    }

    /// Waits for work: whether a compaction is part of it, or `None` at the end.
    fn next(&self) -> Option<bool> {
        let mut state = self.state.lock();
        state.busy = false;
        self.from_worker.notify_all();
        while (!state.changed || state.paused) && !state.stop {
            self.to_worker.wait(&mut state);
        }
        state.changed = false;
        state.busy = true;
        let compact = std::mem::take(&mut state.compact);
        (!state.stop).then_some(compact)
    }
}

/// The background thread.
pub(crate) struct Worker(pub(crate) Arc<Shared>);

impl Worker {
    /// Works until the gallery is dropped.
    pub(crate) fn run(self) {
        let _end = WorkerGuard(&self.0);
        while let Some(compact) = self.0.control.next() {
            self.maintain(compact);
        }
    }

    fn maintain(&self, compact: bool) {
        let len = self.0.exact.store().len();
        let graph = self.0.index.read().graph.clone();
        // Between half the crossover and the crossover a graph is kept, but none is built.
        let enough = if graph.is_some() && !compact { self.0.crossover / 2 } else { self.0.crossover };
        if len < enough {
            let old = self.0.index.write().clear();
            // Outside of the lock: erasing a large graph takes a while.
            drop((old, graph));
            return;
        }
        let waiting = self.0.index.read().waiting.len();
        // The old graph must not be held here any longer: it is erased when the new one takes its place.
        let good = graph.filter(|graph| !compact && !needs_rebuild(graph, len, waiting));
        if let Some(graph) = good.or_else(|| self.build()) {
            self.link_waiting(&graph);
        }
    }

    /// Builds a graph of all templates while the old one goes on answering, and puts it in its place.
    fn build(&self) -> Option<Arc<Graph>> {
        let expected = self.0.exact.store().len();
        let graph = Arc::new(Graph::new(self.0.exact.dimension(), expected));
        self.0.index.write().build = Some(Build { graph: Arc::clone(&graph), journal: Vec::new() });
        // Whatever is inserted from here on is in the journal, and whatever is removed is removed from the new graph.
        let ids: Vec<_> = self.0.exact.store().ids().collect();
        for id in ids {
            if self.0.control.is_stopped() {
                return None;
            }
            self.link(&graph, id);
        }
        let old = {
            let mut index = self.0.index.write();
            index.waiting = index.build.take().map(|build| build.journal.into()).unwrap_or_default();
            index.builds += 1;
            index.graph.replace(Arc::clone(&graph))
        };
        drop(old);
        Some(graph)
    }

    /// Links what is waiting, a few at a time.
    fn link_waiting(&self, graph: &Graph) {
        loop {
            let some: Vec<_> = self.0.index.read().waiting.iter().take(64).copied().collect();
            if some.is_empty() {
                return;
            }
            for id in &some {
                if self.0.control.should_stop_linking() {
                    return;
                }
                self.link(graph, *id);
            }
            self.0.index.write().waiting.drain(..some.len());
        }
    }

    fn link(&self, graph: &Graph, id: TemplateId) {
        let unlinked = {
            // No change comes in between: what is removed later is found by its id.
            let _index = self.0.index.read();
            let code = self.0.exact.store().get(id).map(|(_, code)| graph.encode_code(code));
            code.map(|code| graph.register(id, code))
        };
        if let Some(unlinked) = unlinked {
            graph.link(unlinked);
        }
    }
}

/// Whether so many of the graph's templates are gone that its searches come back half empty.
fn needs_rebuild(graph: &Graph, len: usize, waiting: usize) -> bool {
    let alive = len.saturating_sub(waiting);
    graph.templates().saturating_sub(alive) > (len / 5).max(1024)
}

/// However the thread ends, nobody waits for it in vain, and the scan answers everything.
struct WorkerGuard<'a>(&'a Shared);

impl Drop for WorkerGuard<'_> {
    fn drop(&mut self) {
        self.0.index.write().clear();
        self.0.control.stop();
    }
}
