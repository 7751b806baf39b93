//! Who is evaluated next: requests wait in the order of the prefix tree and are let in as soon as
//! sequences and cells are free, each after the prefixes it shares with others.
//!
//! A prefix is evaluated in a sequence of its own, once, beside whatever else runs; when the step is
//! over its cells are shared with the requests beneath it. The sequence is given back when the last
//! of them has been let in; the cells live on as long as one of them runs.

use std::{ops::Range, sync::Arc};

use llama_cpp_2::token::LlamaToken;

use super::{
    super::TeacherError,
    memory::Need,
    prefix::PrefixTree,
    session::{Cell, Session},
};

/// A prefix's place in the context.
#[derive(Clone, Copy, Default)]
struct Live {
    begun: bool,
    /// Its tokens were evaluated in a step that is over.
    ready: bool,
    /// The sequence that keeps it for those who still wait.
    sequence: Option<i32>,
    /// Nodes and requests beneath that were let in.
    let_in: usize,
    /// Nodes and requests beneath that still run.
    running: usize,
}

/// A request that was let in.
pub(super) struct Admitted {
    pub request: usize,
    pub sequences: Arc<[i32]>,
    /// Where its own tokens stand among the step's cells; the last of them asks for logits.
    pub cells: Range<usize>,
}

/// The requests that wait, and the cells that are taken.
pub(super) struct Queue<'a> {
    prompts: &'a [&'a [LlamaToken]],
    needs: &'a [Need],
    tree: &'a PrefixTree,
    live: Vec<Live>,
    /// Nodes that were begun in the last step.
    begun: Vec<usize>,
    /// Place in the tree's order of the next request.
    next: usize,
    /// Cells of the context.
    cells: usize,
    /// Cells that are used or promised.
    taken: usize,
    /// Cells of shared prefixes among them.
    prefix: usize,
}

impl<'a> Queue<'a> {
    pub(super) fn new(
        prompts: &'a [&'a [LlamaToken]],
        needs: &'a [Need],
        tree: &'a PrefixTree,
        cells: usize,
    ) -> Self {
        let live = vec![Live::default(); tree.nodes.len()];
        Self { prompts, needs, tree, live, begun: Vec::new(), next: 0, cells, taken: 0, prefix: 0 }
    }

    /// Checks that nobody waits any more.
    ///
    /// # Errors
    /// Requests that found no place although nothing runs: a fault of the context's measures.
    pub(super) fn finish(&self) -> Result<(), TeacherError> {
        match self.tree.order.len() - self.next {
            0 => Ok(()),
            waiting => Err(TeacherError::Decode {
                message: format!(
                    "{waiting} requests found no place in a context of {} tokens",
                    self.cells
                ),
            }),
        }
    }

    /// Cells that shared prefixes hold now.
    pub(super) fn prefix_cells(&self) -> usize {
        self.prefix
    }

    /// Lets in up to `room` requests and appends the cells of their own tokens (and of prefixes that
    /// come next) to `cells`, which is the whole of the coming step.
    pub(super) fn admit(
        &mut self,
        session: &mut Session<'_>,
        room: usize,
        batch_tokens: usize,
        cells: &mut Vec<Cell>,
    ) -> Result<Vec<Admitted>, TeacherError> {
        // What was begun in the last step is in the cache by now.
        for node in self.begun.drain(..) {
            self.live[node].ready = true;
        }
        let mut admitted = Vec::new();
        while admitted.len() < room && cells.len() < batch_tokens {
            let Some(&request) = self.tree.order.get(self.next) else { break };
            let chain = self.tree.chain(request);
            if let Some(&node) = chain.iter().find(|node| !self.live[**node].begun) {
                if !self.begin(node, session, cells)? {
                    break;
                }
                continue;
            }
            if chain.last().is_some_and(|node| !self.live[*node].ready) {
                break;
            }
            let Some(entry) = self.let_in(request, session, cells)? else { break };
            admitted.push(entry);
            self.next += 1;
        }
        Ok(admitted)
    }

    /// Takes leave of a request that is answered.
    pub(super) fn release(
        &mut self,
        session: &mut Session<'_>,
        gone: &Admitted,
    ) -> Result<(), TeacherError> {
        for sequence in gone.sequences.iter() {
            session.give_back(*sequence)?;
        }
        self.taken -= self.own(gone.request);
        if let Some(node) = self.tree.node_of[gone.request] {
            self.live[node].running -= 1;
            self.free(node);
        }
        Ok(())
    }

    /// Evaluates `node`'s own tokens in the coming step, unless its parent or room is missing.
    fn begin(
        &mut self,
        node: usize,
        session: &mut Session<'_>,
        cells: &mut Vec<Cell>,
    ) -> Result<bool, TeacherError> {
        let shared = &self.tree.nodes[node];
        let parent = shared.parent;
        if parent.is_some_and(|parent| !self.live[parent].ready)
            || self.taken + shared.len() > session.cells()
        {
            return Ok(false);
        }
        let Some(sequence) = session.take() else { return Ok(false) };
        if let Some(from) = parent.and_then(|parent| self.live[parent].sequence) {
            session.share(from, sequence)?;
        }
        let sequences: Arc<[i32]> = Arc::new([sequence]);
        let tokens = self.prompts[shared.prompt];
        cells.extend((shared.start..shared.end).map(|position| Cell {
            token: tokens[position],
            position,
            sequences: Arc::clone(&sequences),
            logits: false,
        }));
        self.taken += shared.len();
        self.prefix += shared.len();
        self.live[node] = Live { begun: true, sequence: Some(sequence), ..Live::default() };
        self.begun.push(node);
        if let Some(parent) = parent {
            self.attach(parent, session)?;
        }
        Ok(true)
    }

    fn let_in(
        &mut self,
        request: usize,
        session: &mut Session<'_>,
        cells: &mut Vec<Cell>,
    ) -> Result<Option<Admitted>, TeacherError> {
        let need = self.needs[request];
        let own = self.own(request);
        if session.free_sequences() < need.sequences || self.taken + own > session.cells() {
            return Ok(None);
        }
        let sequences: Arc<[i32]> = (0..need.sequences).filter_map(|_| session.take()).collect();
        let node = self.tree.node_of[request];
        if let Some(from) = node.and_then(|node| self.live[node].sequence) {
            for &sequence in sequences.iter() {
                session.share(from, sequence)?;
            }
        }
        let first = cells.len();
        let tokens = self.prompts[request];
        cells.extend((self.tree.shared(request)..tokens.len()).map(|position| Cell {
            token: tokens[position],
            position,
            sequences: Arc::clone(&sequences),
            logits: position + 1 == tokens.len(),
        }));
        self.taken += own;
        if let Some(node) = node {
            self.attach(node, session)?;
        }
        Ok(Some(Admitted { request, sequences, cells: first..cells.len() }))
    }

    /// One more hangs on `node`; after the last one its sequence is not needed any more.
    fn attach(&mut self, node: usize, session: &mut Session<'_>) -> Result<(), TeacherError> {
        let live = &mut self.live[node];
        live.let_in += 1;
        live.running += 1;
        if live.let_in == self.tree.nodes[node].children
            && let Some(sequence) = live.sequence.take()
        {
            session.give_back(sequence)?;
        }
        Ok(())
    }

    /// Counts the cells of `node` as free once nobody holds them, and so upwards.
    fn free(&mut self, node: usize) {
        let live = self.live[node];
        if live.sequence.is_some() || live.running > 0 {
            return;
        }
        self.taken -= self.tree.nodes[node].len();
        self.prefix -= self.tree.nodes[node].len();
        if let Some(parent) = self.tree.nodes[node].parent {
            self.live[parent].running -= 1;
            self.free(parent);
        }
    }

    /// Cells that a request takes beyond what it shares.
    fn own(&self, request: usize) -> usize {
        let need = self.needs[request];
        need.prompt - self.tree.shared(request) + need.beyond
    }
}
