//! The candidate names of a question as a token trie: shared prefixes are evaluated once, and each
//! branch is a sequence that sees only the prompt and its own path.
//!
//! Two scores of a name come from one walk along its path. They differ in the factor at a node
//! ([`LabelScoring`]): the probability of the next token among all tokens, or among the *options*
//! there, which are the tokens that continue a name and, where a name ends, the end of the turn.
//! With the latter, a node with a single option needs no evaluation.

use std::ops::Range;

use llama_cpp_2::token::LlamaToken;

use super::LabelScoring;

/// A node: the token that leads to it, and the tokens that may follow. Node 0 is the prompt itself.
#[derive(Debug)]
pub(super) struct Node {
    pub token: LlamaToken,
    /// Tokens from the prompt to here.
    pub depth: usize,
    /// The branches that run through it.
    pub branches: Range<usize>,
    /// The tokens that may follow, each with its node.
    pub next: Vec<(LlamaToken, usize)>,
    /// Whether a name ends here.
    ends: bool,
    /// Whether its token is evaluated: probabilities are needed here or further down.
    evaluated: bool,
}

/// The log-probabilities at one node, read from its row of logits.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeLogProbs {
    /// ln p of each of the node's `next` tokens.
    pub next: Vec<f64>,
    /// ln p that the answer ends here.
    pub end: f64,
}

/// The probabilities that are needed at one node.
#[cfg(all(target_os = "linux", feature = "remote"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub node: usize,
    /// The tokens from the prompt to the node.
    pub path: Vec<LlamaToken>,
    /// The tokens that may follow.
    pub next: Vec<LlamaToken>,
    /// Whether the answer may end here.
    pub end: bool,
}

/// All candidates of a question. Parents come before their children.
#[derive(Debug)]
pub(super) struct Trie {
    pub(super) nodes: Vec<Node>,
    /// For each name its path from the prompt, as `(node, index into its next)`, and its last node.
    names: Vec<(Vec<(usize, usize)>, usize)>,
    /// Number of branches, at least 1.
    pub branches: usize,
    scoring: LabelScoring,
}

impl Trie {
    /// Builds the trie over `names` in tokens. Names may be equal or prefixes of each other.
    pub(super) fn new(names: &[Vec<LlamaToken>], scoring: LabelScoring) -> Self {
        let mut trie = Self { nodes: Vec::new(), names: Vec::new(), branches: 0, scoring };
        trie.push(LlamaToken(0), 0);
        for name in names {
            let mut node = 0;
            let mut path = Vec::with_capacity(name.len());
            for &token in name {
                let index = trie.child(node, token);
                path.push((node, index));
                node = trie.nodes[node].next[index].1;
            }
            trie.nodes[node].ends = true;
            trie.names.push((path, node));
        }
        for node in (1..trie.nodes.len()).rev() {
            let mut below = trie.nodes[node].next.iter().map(|(_, child)| *child);
            let needed = below.any(|child| trie.nodes[child].evaluated);
            trie.nodes[node].evaluated = needed || trie.is_read(node);
        }
        trie.branches = trie.number_branches(0, 0).max(1);
        trie.nodes[0].branches = 0..trie.branches;
        trie
    }

    /// Number of tokens of each name.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.names.iter().map(|(path, _)| path.len()).collect()
    }

    /// The nodes of these `branches` whose tokens are evaluated, parents first. The prompt is not
    /// among them.
    pub(super) fn evaluated(&self, branches: &Range<usize>) -> Vec<usize> {
        let meets =
            |node: &Node| node.branches.start < branches.end && branches.start < node.branches.end;
        let evaluated = |node: &usize| self.nodes[*node].evaluated && meets(&self.nodes[*node]);
        (1..self.nodes.len()).filter(evaluated).collect()
    }

    /// Whether the log-probabilities at `node` are needed.
    pub(super) fn is_read(&self, node: usize) -> bool {
        let Node { next, ends, .. } = &self.nodes[node];
        match self.scoring {
            LabelScoring::Sequence => true,
            LabelScoring::Branch => next.len() + usize::from(*ends) > 1,
        }
    }

    /// Number of nodes.
    #[cfg(all(target_os = "linux", feature = "remote"))]
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What is read at each node where probabilities are needed, parents first.
    #[cfg(all(target_os = "linux", feature = "remote"))]
    pub(super) fn readings(&self) -> Vec<Reading> {
        let mut paths: Vec<Vec<LlamaToken>> = vec![Vec::new(); self.nodes.len()];
        for (node, Node { next, .. }) in self.nodes.iter().enumerate() {
            for &(token, child) in next {
                paths[child] = [paths[node].as_slice(), &[token]].concat();
            }
        }
        let read = (0..self.nodes.len()).filter(|&node| self.is_read(node));
        read.map(|node| Reading {
            node,
            path: std::mem::take(&mut paths[node]),
            next: self.nodes[node].next.iter().map(|(token, _)| *token).collect(),
            end: self.nodes[node].ends,
        })
        .collect()
    }

    /// The score of each name from the log-probabilities at all `nodes` that are read.
    pub(super) fn log_probs(&self, nodes: &[NodeLogProbs]) -> Vec<f32> {
        let log_prob = |(path, last): &(Vec<(usize, usize)>, usize)| {
            let steps = path.iter().map(|&(node, index)| (node, Some(index)));
            let steps = steps.chain([(*last, None)]);
            steps.map(|(node, next)| self.step(node, next, &nodes[node])).sum::<f64>() as f32
        };
        self.names.iter().map(log_prob).collect()
    }

    /// The logarithm of the factor at `node`: of its token number `next`, or of the end of the
    /// turn.
    fn step(&self, node: usize, next: Option<usize>, found: &NodeLogProbs) -> f64 {
        if !self.is_read(node) {
            return 0.0;
        }
        let log_prob = next.map_or(found.end, |index| found.next[index]);
        match self.scoring {
            LabelScoring::Sequence => log_prob,
            LabelScoring::Branch => {
                let end = self.nodes[node].ends.then_some(found.end);
                let options: Vec<f64> = found.next.iter().copied().chain(end).collect();
                let top = options.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = options.iter().map(|option| (option - top).exp()).sum();
                log_prob - top - sum.ln()
            }
        }
    }

    fn push(&mut self, token: LlamaToken, depth: usize) {
        let (branches, next, ends, evaluated) = (0..0, Vec::new(), false, false);
        self.nodes.push(Node { token, depth, branches, next, ends, evaluated });
    }

    fn child(&mut self, node: usize, token: LlamaToken) -> usize {
        let known = self.nodes[node].next.iter().position(|(other, _)| *other == token);
        known.unwrap_or_else(|| {
            let new = self.nodes.len();
            self.push(token, self.nodes[node].depth + 1);
            self.nodes[node].next.push((token, new));
            self.nodes[node].next.len() - 1
        })
    }

    /// Numbers the branches below `node`, one per leaf of what is evaluated, from `first` on.
    /// Returns the next free number.
    fn number_branches(&mut self, node: usize, first: usize) -> usize {
        let children = self.nodes[node].next.iter().map(|(_, child)| *child);
        let children: Vec<usize> = children.filter(|child| self.nodes[*child].evaluated).collect();
        let mut next = first;
        for child in &children {
            next = self.number_branches(*child, next);
        }
        if children.is_empty() && node > 0 {
            next += 1;
        }
        self.nodes[node].branches = first..next;
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trie(names: &[&[i32]]) -> Trie {
        trie_for(names, LabelScoring::Sequence)
    }

    fn trie_for(names: &[&[i32]], scoring: LabelScoring) -> Trie {
        let names: Vec<Vec<LlamaToken>> = names
            .iter()
            .map(|name| name.iter().map(|token| LlamaToken(*token)).collect())
            .collect();
        Trie::new(&names, scoring)
    }

    #[test]
    fn names_share_the_nodes_of_their_common_prefix() {
        let trie = trie(&[&[1, 2], &[1, 3, 4], &[5], &[1], &[5]]);
        assert_eq!((trie.nodes.len(), trie.branches), (6, 3));
        let ranges: Vec<Range<usize>> = trie.nodes.iter().map(|n| n.branches.clone()).collect();
        assert_eq!(ranges, [0..3, 0..2, 0..1, 1..2, 1..2, 2..3]);
        assert_eq!(trie.lengths(), [2, 3, 1, 1, 1]);
        assert_eq!(trie.evaluated(&(0..3)), [1, 2, 3, 4, 5]);
        assert_eq!(trie.evaluated(&(1..3)), [1, 3, 4, 5]);
    }

    fn exp(log_probs: &[f32], wanted: &[f32]) {
        assert_eq!(log_probs.len(), wanted.len());
        for (found, wanted) in log_probs.iter().zip(wanted) {
            assert!((found.exp() - wanted).abs() < 1e-6, "{log_probs:?} are not ln {wanted:?}");
        }
    }

    #[test]
    fn probabilities_multiply_along_the_path_and_end_with_the_turn() {
        let names: [&[i32]; 3] = [&[1, 2], &[1], &[3]];
        let ln = |p: f64| p.ln();
        // Node 0: p(1) = 0.5, p(3) = 0.25. Node 1: p(2) = 0.5, end 0.25. Nodes 2 and 3: end 0.5, 1.
        let nodes = [
            NodeLogProbs { next: vec![ln(0.5), ln(0.25)], end: ln(0.1) },
            NodeLogProbs { next: vec![ln(0.5)], end: ln(0.25) },
            NodeLogProbs { next: vec![], end: ln(0.5) },
            NodeLogProbs { next: vec![], end: ln(1.0) },
        ];
        exp(&trie(&names).log_probs(&nodes), &[0.125, 0.125, 0.25]);
        // Among what names allow: 2/3 and 1/3 at node 0, where none ends; 2/3 and 1/3 at node 1,
        // where one does. At nodes 2 and 3 the answer can only end.
        let branch = trie_for(&names, LabelScoring::Branch);
        exp(&branch.log_probs(&nodes), &[4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0]);
        let read: Vec<bool> = (0..4).map(|node| branch.is_read(node)).collect();
        assert_eq!(read, [true, true, false, false]);
        // Nothing is needed from the nodes that are not evaluated.
        assert_eq!((branch.evaluated(&(0..1)), branch.branches), (vec![1], 1));
        let [first, second, ..] = nodes;
        let nodes = [first, second, NodeLogProbs::default(), NodeLogProbs::default()];
        exp(&branch.log_probs(&nodes), &[4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0]);
    }

    #[test]
    fn what_does_not_branch_is_not_evaluated() {
        // The first token tells: nothing beyond the prompt.
        let first = trie_for(&[&[1, 2, 3], &[4], &[5, 2, 3]], LabelScoring::Branch);
        assert_eq!((first.evaluated(&(0..1)), first.branches), (vec![], 1));
        let root = NodeLogProbs { next: [0.1f64, 0.2, 0.1].map(f64::ln).to_vec(), end: 0.0 };
        let mut nodes = vec![NodeLogProbs::default(); first.nodes.len()];
        nodes[0] = root;
        exp(&first.log_probs(&nodes), &[0.25, 0.5, 0.25]);

        // 1 2 is common to two names, which differ after it; 7 8 9 has no branch.
        let names: [&[i32]; 3] = [&[1, 2, 3, 4], &[1, 2, 5, 6], &[7, 8, 9]];
        let later = trie_for(&names, LabelScoring::Branch);
        let tokens = |nodes: Vec<usize>| -> Vec<i32> {
            nodes.into_iter().map(|node| later.nodes[node].token.0).collect()
        };
        assert_eq!((tokens(later.evaluated(&(0..1))), later.branches), (vec![1, 2], 1));
        assert!(later.is_read(0) && !later.is_read(1) && later.is_read(2));
        let mut nodes = vec![NodeLogProbs::default(); later.nodes.len()];
        nodes[0].next = vec![0.03f64.ln(), 0.01f64.ln()];
        nodes[2].next = vec![0.1f64.ln(), 0.4f64.ln()];
        exp(&later.log_probs(&nodes), &[0.75 * 0.2, 0.75 * 0.8, 0.25]);
    }

    #[cfg(all(target_os = "linux", feature = "remote"))]
    #[test]
    fn what_is_read_comes_with_its_path() {
        let names: [&[i32]; 3] = [&[1, 2, 3], &[1, 2], &[7, 8]];
        let tokens = |list: &[i32]| list.iter().map(|it| LlamaToken(*it)).collect::<Vec<_>>();
        let reading = |node, path: &[i32], next: &[i32], end| Reading {
            node,
            path: tokens(path),
            next: tokens(next),
            end,
        };
        let branch = trie_for(&names, LabelScoring::Branch);
        let wanted = [reading(0, &[], &[1, 7], false), reading(2, &[1, 2], &[3], true)];
        assert_eq!(branch.readings(), wanted);
        let all = trie(&names).readings();
        assert_eq!(all.len(), 6);
        assert_eq!(all[3], reading(3, &[1, 2, 3], &[], true));
    }

    #[test]
    fn a_single_name_is_certain_if_only_branches_count() {
        let one = trie_for(&[&[1, 2]], LabelScoring::Branch);
        exp(&one.log_probs(&vec![NodeLogProbs::default(); 3]), &[1.0]);
        assert!(one.evaluated(&(0..1)).is_empty());
    }

    #[test]
    fn no_name_and_an_empty_name_leave_only_the_prompt() {
        assert_eq!(trie(&[]).branches, 1);
        assert_eq!(trie(&[&[]]).nodes.len(), 1);
    }
}
