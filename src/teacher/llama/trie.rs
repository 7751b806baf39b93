//! The candidate names of a question as a token trie: shared prefixes are evaluated once, and each
//! branch is a sequence that sees only the prompt and its own path.

use std::ops::Range;

use llama_cpp_2::token::LlamaToken;

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
}

/// The log-probabilities at one node, read from its row of logits.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeLogProbs {
    /// ln p of each of the node's `next` tokens.
    pub next: Vec<f64>,
    /// ln p that the answer ends here.
    pub end: f64,
}

/// All candidates of a question. Parents come before their children.
#[derive(Debug)]
pub(super) struct Trie {
    pub nodes: Vec<Node>,
    /// For each name its path from the prompt, as `(node, index into its next)`, and its last node.
    names: Vec<(Vec<(usize, usize)>, usize)>,
    /// Number of branches, at least 1.
    pub branches: usize,
}

impl Trie {
    /// Builds the trie over `names` in tokens. Names may be equal or prefixes of each other.
    pub(super) fn new(names: &[Vec<LlamaToken>]) -> Self {
        let root = Node { token: LlamaToken(0), depth: 0, branches: 0..0, next: Vec::new() };
        let mut trie = Self { nodes: vec![root], names: Vec::new(), branches: 0 };
        for name in names {
            let mut node = 0;
            let mut path = Vec::with_capacity(name.len());
            for &token in name {
                let index = trie.child(node, token);
                path.push((node, index));
                node = trie.nodes[node].next[index].1;
            }
            trie.names.push((path, node));
        }
        trie.branches = trie.number_branches(0, 0).max(1);
        trie.nodes[0].branches = 0..trie.branches;
        trie
    }

    /// Number of tokens of each name.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.names.iter().map(|(path, _)| path.len()).collect()
    }

    /// ln p(name, end of the turn | prompt) of each name, from the log-probabilities at all
    /// `nodes`.
    pub(super) fn log_probs(&self, nodes: &[NodeLogProbs]) -> Vec<f32> {
        let log_prob = |(path, last): &(Vec<(usize, usize)>, usize)| {
            let tokens: f64 = path.iter().map(|&(node, index)| nodes[node].next[index]).sum();
            (tokens + nodes[*last].end) as f32
        };
        self.names.iter().map(log_prob).collect()
    }

    fn child(&mut self, node: usize, token: LlamaToken) -> usize {
        let known = self.nodes[node].next.iter().position(|(other, _)| *other == token);
        known.unwrap_or_else(|| {
            let new = self.nodes.len();
            let depth = self.nodes[node].depth + 1;
            self.nodes.push(Node { token, depth, branches: 0..0, next: Vec::new() });
            self.nodes[node].next.push((token, new));
            self.nodes[node].next.len() - 1
        })
    }

    /// Numbers the branches below `node`, one per leaf, from `first` on. Returns the next free
    /// number.
    fn number_branches(&mut self, node: usize, first: usize) -> usize {
        let children: Vec<usize> = self.nodes[node].next.iter().map(|(_, child)| *child).collect();
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
        let names: Vec<Vec<LlamaToken>> = names
            .iter()
            .map(|name| name.iter().map(|token| LlamaToken(*token)).collect())
            .collect();
        Trie::new(&names)
    }

    #[test]
    fn names_share_the_nodes_of_their_common_prefix() {
        let trie = trie(&[&[1, 2], &[1, 3, 4], &[5], &[1], &[5]]);
        assert_eq!((trie.nodes.len(), trie.branches), (6, 3));
        let ranges: Vec<Range<usize>> = trie.nodes.iter().map(|n| n.branches.clone()).collect();
        assert_eq!(ranges, [0..3, 0..2, 0..1, 1..2, 1..2, 2..3]);
        assert_eq!(trie.lengths(), [2, 3, 1, 1, 1]);
    }

    #[test]
    fn probabilities_multiply_along_the_path_and_end_with_the_turn() {
        let trie = trie(&[&[1, 2], &[1], &[3]]);
        let ln = |p: f64| p.ln();
        // Node 0: p(1) = 0.5, p(3) = 0.25. Node 1: p(2) = 0.5, end 0.25. Nodes 2 and 3: end 0.5, 1.
        let nodes = [
            NodeLogProbs { next: vec![ln(0.5), ln(0.25)], end: ln(0.1) },
            NodeLogProbs { next: vec![ln(0.5)], end: ln(0.25) },
            NodeLogProbs { next: vec![], end: ln(0.5) },
            NodeLogProbs { next: vec![], end: ln(1.0) },
        ];
        let found: Vec<f32> = trie.log_probs(&nodes).iter().map(|value| value.exp()).collect();
        for (found, wanted) in found.iter().zip([0.125, 0.125, 0.25]) {
            assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
        }
    }

    #[test]
    fn no_name_and_an_empty_name_leave_only_the_prompt() {
        assert_eq!(trie(&[]).branches, 1);
        assert_eq!(trie(&[&[]]).nodes.len(), 1);
    }
}
