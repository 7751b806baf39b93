//! Decides which request is evaluated next. Requests wait in the order of the prefix tree; each is
//! admitted as soon as sequences and cells are free, after the prefixes that it shares with others.
//!
//! A shared prefix is evaluated once, in a sequence of its own, beside the requests that are
//! running. After that step its cells are shared with the requests below it. Its sequence is
//! released when the last of them has been admitted; its cells stay in use while any of them is
//! running.

use std::{ops::Range, sync::Arc};

use llama_cpp_2::token::LlamaToken;

use super::{
    super::TeacherError,
    memory::Demand,
    prefix::PrefixTree,
    session::{BatchToken, Session},
};
use crate::counted::{agree, counted};

/// The state of one node of the prefix tree.
#[derive(Clone, Copy, Default)]
struct NodeState {
    begun: bool,
    /// Its tokens were evaluated in an earlier step.
    ready: bool,
    /// The sequence that holds it for the children that are still waiting.
    sequence: Option<i32>,
    /// Number of children (nodes and requests) that were admitted.
    admitted: usize,
    /// Number of children that are still running.
    running: usize,
}

/// A request that was admitted.
pub(super) struct Admitted {
    pub request: usize,
    pub sequences: Arc<[i32]>,
    /// The range of its own tokens in the batch; the last of them requests its logits.
    pub batch_range: Range<usize>,
}

/// The waiting requests, and the cells in use.
pub(super) struct AdmissionQueue<'a> {
    prompts: &'a [&'a [LlamaToken]],
    demands: &'a [Demand],
    tree: &'a PrefixTree,
    nodes: Vec<NodeState>,
    /// Nodes that were begun in the last step.
    begun: Vec<usize>,
    /// Index of the next request in the tree's order.
    next: usize,
    /// Cells of the context.
    cells: usize,
    /// Cells in use or reserved.
    used: usize,
    /// Of those, cells of shared prefixes.
    prefix: usize,
}

impl<'a> AdmissionQueue<'a> {
    pub(super) fn new(
        prompts: &'a [&'a [LlamaToken]],
        demands: &'a [Demand],
        tree: &'a PrefixTree,
        cells: usize,
    ) -> Self {
        let nodes = vec![NodeState::default(); tree.nodes.len()];
        Self {
            prompts,
            demands,
            tree,
            nodes,
            begun: Vec::new(),
            next: 0,
            cells,
            used: 0,
            prefix: 0,
        }
    }

    /// Checks that no request is waiting.
    ///
    /// # Errors
    /// Requests are waiting although none is running: the context was sized wrongly.
    pub(super) fn finish(&self) -> Result<(), TeacherError> {
        match self.tree.order.len() - self.next {
            0 => Ok(()),
            waiting => Err(TeacherError::Decode {
                message: format!(
                    "{} {} not fit into a context of {} tokens",
                    counted(waiting, "request"),
                    agree(waiting, "does", "do"),
                    self.cells
                ),
            }),
        }
    }

    /// Cells that shared prefixes hold now.
    pub(super) fn prefix_cells(&self) -> usize {
        self.prefix
    }

    /// Admits up to `slots` requests and appends their own tokens, and those of the prefixes that
    /// are needed next, to `batch`, the whole batch of the coming step.
    pub(super) fn admit(
        &mut self,
        session: &mut Session<'_>,
        slots: usize,
        batch_tokens: usize,
        batch: &mut Vec<BatchToken>,
    ) -> Result<Vec<Admitted>, TeacherError> {
        // What was begun in the last step is in the cache by now.
        for node in self.begun.drain(..) {
            self.nodes[node].ready = true;
        }
        let mut admitted = Vec::new();
        while admitted.len() < slots && batch.len() < batch_tokens {
            let Some(&request) = self.tree.order.get(self.next) else { break };
            let path = self.tree.path(request);
            if let Some(&node) = path.iter().find(|node| !self.nodes[**node].begun) {
                if !self.begin_node(node, session, batch)? {
                    break;
                }
                continue;
            }
            if path.last().is_some_and(|node| !self.nodes[*node].ready) {
                break;
            }
            let Some(entry) = self.admit_one(request, session, batch)? else { break };
            admitted.push(entry);
            self.next += 1;
        }
        Ok(admitted)
    }

    /// Releases the sequences and cells of a request that was answered.
    pub(super) fn release(
        &mut self,
        session: &mut Session<'_>,
        finished: &Admitted,
    ) -> Result<(), TeacherError> {
        for sequence in finished.sequences.iter() {
            session.release_sequence(*sequence)?;
        }
        self.used -= self.own_cells(finished.request);
        if let Some(node) = self.tree.node_of[finished.request] {
            self.nodes[node].running -= 1;
            self.free_unused(node);
        }
        Ok(())
    }

    /// Adds `node`'s own tokens to the coming step. Returns false if its parent is not ready, or if
    /// no sequence or too few cells are free.
    fn begin_node(
        &mut self,
        node: usize,
        session: &mut Session<'_>,
        batch: &mut Vec<BatchToken>,
    ) -> Result<bool, TeacherError> {
        let shared = &self.tree.nodes[node];
        let parent = shared.parent;
        if parent.is_some_and(|parent| !self.nodes[parent].ready)
            || self.used + shared.len() > session.cells()
        {
            return Ok(false);
        }
        let Some(sequence) = session.take_sequence() else { return Ok(false) };
        if let Some(from) = parent.and_then(|parent| self.nodes[parent].sequence) {
            session.share(from, sequence)?;
        }
        let sequences: Arc<[i32]> = Arc::new([sequence]);
        let tokens = self.prompts[shared.prompt];
        batch.extend((shared.start..shared.end).map(|position| BatchToken {
            token: tokens[position],
            position,
            sequences: Arc::clone(&sequences),
            logits: false,
        }));
        self.used += shared.len();
        self.prefix += shared.len();
        self.nodes[node] =
            NodeState { begun: true, sequence: Some(sequence), ..NodeState::default() };
        self.begun.push(node);
        if let Some(parent) = parent {
            self.count_child(parent, session)?;
        }
        Ok(true)
    }

    /// Adds `request`'s own tokens to the coming step, if enough sequences and cells are free.
    fn admit_one(
        &mut self,
        request: usize,
        session: &mut Session<'_>,
        batch: &mut Vec<BatchToken>,
    ) -> Result<Option<Admitted>, TeacherError> {
        let wanted = self.demands[request].sequences;
        let own = self.own_cells(request);
        if session.free_sequences() < wanted || self.used + own > session.cells() {
            return Ok(None);
        }
        let sequences: Arc<[i32]> = (0..wanted).filter_map(|_| session.take_sequence()).collect();
        let node = self.tree.node_of[request];
        if let Some(from) = node.and_then(|node| self.nodes[node].sequence) {
            for &sequence in sequences.iter() {
                session.share(from, sequence)?;
            }
        }
        let first = batch.len();
        let tokens = self.prompts[request];
        batch.extend((self.tree.shared(request)..tokens.len()).map(|position| BatchToken {
            token: tokens[position],
            position,
            sequences: Arc::clone(&sequences),
            logits: position + 1 == tokens.len(),
        }));
        self.used += own;
        if let Some(node) = node {
            self.count_child(node, session)?;
        }
        Ok(Some(Admitted { request, sequences, batch_range: first..batch.len() }))
    }

    /// Counts one more running child of `node`. After the last one, the node's sequence is
    /// released.
    fn count_child(&mut self, node: usize, session: &mut Session<'_>) -> Result<(), TeacherError> {
        let state = &mut self.nodes[node];
        state.admitted += 1;
        state.running += 1;
        if state.admitted == self.tree.nodes[node].children
            && let Some(sequence) = state.sequence.take()
        {
            session.release_sequence(sequence)?;
        }
        Ok(())
    }

    /// Counts the cells of `node` as free if nothing uses them any more, then those of its
    /// ancestors.
    fn free_unused(&mut self, node: usize) {
        let state = self.nodes[node];
        if state.sequence.is_some() || state.running > 0 {
            return;
        }
        self.used -= self.tree.nodes[node].len();
        self.prefix -= self.tree.nodes[node].len();
        if let Some(parent) = self.tree.nodes[node].parent {
            self.nodes[parent].running -= 1;
            self.free_unused(parent);
        }
    }

    /// Cells that a request uses beyond the prefixes that it shares.
    fn own_cells(&self, request: usize) -> usize {
        self.demands[request].cells() - self.tree.shared(request)
    }
}
