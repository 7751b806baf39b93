//! The names of a question's candidates as a token trie: what they share is evaluated once, and
//! each branch is a sequence of its own that sees the prompt and its own path only.

use std::ops::Range;

use llama_cpp_2::token::LlamaToken;

/// A node: the token that leads to it and what may follow. Node 0 is the prompt itself.
#[derive(Debug)]
pub(super) struct Node {
    pub token: LlamaToken,
    /// Tokens from the prompt to here.
    pub depth: usize,
    /// The branches that run through it.
    pub branches: Range<usize>,
    /// Tokens that lead on, each with its node.
    pub next: Vec<(LlamaToken, usize)>,
}

/// What a row of logits says about a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Step {
    /// ln p of each of the node's `next` tokens.
    pub next: Vec<f64>,
    /// ln p that the answer ends here.
    pub end: f64,
}

/// All candidates of a question. Parents stand before their children.
#[derive(Debug)]
pub(super) struct Trie {
    pub nodes: Vec<Node>,
    /// For each name the places `(node, index into its next)` from the prompt on, and its last node.
    names: Vec<(Vec<(usize, usize)>, usize)>,
    /// Number of branches, at least 1.
    pub branches: usize,
}

impl Trie {
    /// Builds the trie over `names` (tokens of each, possibly equal, possibly one a prefix of another).
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
        trie.branches = trie.number(0, 0).max(1);
        trie.nodes[0].branches = 0..trie.branches;
        trie
    }

    /// Tokens of each name.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.names.iter().map(|(path, _)| path.len()).collect()
    }

    /// ln p(name, end of the turn | prompt) of each name, from the `steps` of all nodes.
    pub(super) fn log_probs(&self, steps: &[Step]) -> Vec<f32> {
        let log_prob = |(path, last): &(Vec<(usize, usize)>, usize)| {
            let tokens: f64 = path.iter().map(|&(node, index)| steps[node].next[index]).sum();
            (tokens + steps[*last].end) as f32
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

    /// Gives the leaves beneath `node` the branches from `first` on; returns the next free one.
    fn number(&mut self, node: usize, first: usize) -> usize {
        let children: Vec<usize> = self.nodes[node].next.iter().map(|(_, child)| *child).collect();
        let mut next = first;
        for child in &children {
            next = self.number(*child, next);
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
    fn what_names_share_is_one_node() {
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
        let steps = [
            Step { next: vec![ln(0.5), ln(0.25)], end: ln(0.1) },
            Step { next: vec![ln(0.5)], end: ln(0.25) },
            Step { next: vec![], end: ln(0.5) },
            Step { next: vec![], end: ln(1.0) },
        ];
        let found: Vec<f32> = trie.log_probs(&steps).iter().map(|value| value.exp()).collect();
        for (found, wanted) in found.iter().zip([0.125, 0.125, 0.25]) {
            assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
        }
    }

    #[test]
    fn no_name_and_an_empty_name_are_the_bare_prompt() {
        assert_eq!(trie(&[]).branches, 1);
        assert_eq!(trie(&[&[]]).nodes.len(), 1);
    }
}
