//! Finds the shared prefixes of all prompts before anything is evaluated.
//!
//! Thousands of requests begin alike: all of them share the instructions and the class list, many
//! share the examples. Sorted by their tokens, the prompts form a tree, and its inner nodes are the
//! shared prefixes. Each node is evaluated once, in depth-first order, and its cells in the KV
//! cache serve every request below it.

use llama_cpp_2::token::LlamaToken;

/// Levels of the tree. Each holds a sequence while the levels below it wait.
const MAX_DEPTH: usize = 24;

/// A node must save the model at least this many tokens: its own step costs about as much.
const MIN_SAVED_TOKENS: usize = 16;

/// A shared prefix: the tokens `start..end` of every prompt below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub parent: Option<usize>,
    /// Number of nodes above it.
    pub depth: usize,
    /// Where the parent ends; 0 at a root.
    pub start: usize,
    pub end: usize,
    /// One of the prompts below, to take the tokens from.
    pub prompt: usize,
    /// Number of nodes and prompts directly below it.
    pub children: usize,
}

impl Node {
    /// Number of its own tokens.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }
}

/// The tree over a list of prompts. Parents come before their children.
#[derive(Debug, Default)]
pub(super) struct PrefixTree {
    pub nodes: Vec<Node>,
    /// Prompt numbers in depth-first order, in which prefixes are reused best.
    pub order: Vec<usize>,
    /// The deepest node of each prompt, by prompt number.
    pub node_of: Vec<Option<usize>>,
}

/// A prefix of `depth` tokens that the prompts `first..last` (positions in the sorted order) share.
struct Span {
    depth: usize,
    first: usize,
    last: usize,
}

impl PrefixTree {
    /// Finds the shared prefixes of `prompts`. Every prompt keeps at least its last token to
    /// itself, since only an evaluated token gives logits.
    pub(super) fn new(prompts: &[&[LlamaToken]]) -> Self {
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by(|&a, &b| {
            let tokens = |prompt: usize| prompts[prompt].iter().map(|token| token.0);
            tokens(a).cmp(tokens(b)).then(a.cmp(&b))
        });
        let mut tree = Self { nodes: Vec::new(), order, node_of: vec![None; prompts.len()] };
        for span in tree.spans(prompts) {
            tree.add(&span);
        }
        for node in 0..tree.nodes.len() {
            if let Some(parent) = tree.nodes[node].parent {
                tree.nodes[parent].children += 1;
            }
        }
        for node in tree.node_of.iter().flatten() {
            tree.nodes[*node].children += 1;
        }
        tree
    }

    /// The nodes above `prompt`, from the root down.
    pub(super) fn path(&self, prompt: usize) -> Vec<usize> {
        let mut path: Vec<usize> =
            std::iter::successors(self.node_of[prompt], |node| self.nodes[*node].parent).collect();
        path.reverse();
        path
    }

    /// Number of leading tokens that `prompt` gets from its nodes.
    pub(super) fn shared(&self, prompt: usize) -> usize {
        self.node_of[prompt].map_or(0, |node| self.nodes[node].end)
    }

    /// All maximal runs of prompts with a common prefix, outer runs before inner ones: the
    /// intervals of the longest-common-prefix array, found with a stack.
    fn spans(&self, prompts: &[&[LlamaToken]]) -> Vec<Span> {
        let common = |place: usize| {
            let (a, b) = (prompts[self.order[place - 1]], prompts[self.order[place]]);
            let limit = a.len().min(b.len()).saturating_sub(1);
            a[..limit].iter().zip(b).take_while(|(a, b)| a == b).count()
        };
        let mut open: Vec<Span> = Vec::new();
        let mut spans = Vec::new();
        for place in 1..=prompts.len() {
            let depth = if place < prompts.len() { common(place) } else { 0 };
            let mut first = place - 1;
            while let Some(mut span) = open.pop_if(|span| span.depth > depth) {
                first = span.first;
                span.last = place;
                spans.push(span);
            }
            if depth > open.last().map_or(0, |span| span.depth) {
                open.push(Span { depth, first, last: place });
            }
        }
        spans.sort_by_key(|span| (span.first, usize::MAX - span.last, span.depth));
        spans
    }

    /// Adds a node for `span` below the existing ones, if it saves enough.
    fn add(&mut self, span: &Span) {
        let parent = self.node_of[self.order[span.first]];
        let start = parent.map_or(0, |node| self.nodes[node].end);
        let prompts = span.last - span.first;
        let depth = parent.map_or(0, |node| self.nodes[node].depth + 1);
        if depth >= MAX_DEPTH || (span.depth - start) * (prompts - 1) < MIN_SAVED_TOKENS {
            return;
        }
        let prompt = self.order[span.first];
        self.nodes.push(Node { parent, depth, start, end: span.depth, prompt, children: 0 });
        for place in span.first..span.last {
            self.node_of[self.order[place]] = Some(self.nodes.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use rand::Rng as _;

    fn tokens(text: &str) -> Vec<LlamaToken> {
        text.bytes().map(|byte| LlamaToken(i32::from(byte))).collect()
    }

    fn tree(texts: &[&str]) -> PrefixTree {
        let prompts: Vec<Vec<LlamaToken>> = texts.iter().map(|text| tokens(text)).collect();
        PrefixTree::new(&prompts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn groups_are_below_the_prefix_that_all_share() {
        let tree = tree(&[
            "common to everybody/group one of them/x",
            "common to everybody/the other group/xy",
            "common to everybody/group one of them/y",
            "common to everybody/the other group/xz",
        ]);
        let ends: Vec<(Option<usize>, usize, usize, usize)> = tree
            .nodes
            .iter()
            .map(|node| (node.parent, node.start, node.end, node.children))
            .collect();
        assert_eq!(ends, [(None, 0, 20, 2), (Some(0), 20, 38, 2), (Some(0), 20, 37, 2)]);
        assert_eq!(tree.order, [0, 2, 1, 3]);
        assert_eq!(tree.path(3), [0, 2]);
        assert_eq!(tree.shared(2), 38);
    }

    #[test]
    fn a_short_prefix_is_no_node_and_equal_prompts_keep_their_last_token() {
        assert!(tree(&["abc1", "abc2"]).nodes.is_empty());
        let same = "the very same text, twice";
        let tree = tree(&[same, same]);
        assert_eq!((tree.nodes.len(), tree.shared(1)), (1, same.len() - 1));
        assert!(PrefixTree::new(&[]).order.is_empty());
    }

    #[test]
    fn nested_prefixes_do_not_exceed_the_maximum_depth() {
        let rung = "one more of the same words; ";
        let texts: Vec<String> = (1..100).map(|rungs| rung.repeat(rungs)).collect();
        let tree = tree(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert!((0..texts.len()).all(|prompt| tree.path(prompt).len() <= MAX_DEPTH));
    }

    #[test]
    fn every_prompt_begins_with_the_tokens_of_its_nodes() {
        let mut rng = Rng::for_item(3, "test", 0);
        let prompts: Vec<Vec<LlamaToken>> = (0..300)
            .map(|_| {
                let length = rng.random_range(1..60);
                (0..length).map(|place| LlamaToken(rng.random_range(0..1 + place / 12))).collect()
            })
            .collect();
        let slices: Vec<&[LlamaToken]> = prompts.iter().map(Vec::as_slice).collect();
        let tree = PrefixTree::new(&slices);
        let mut order = tree.order.clone();
        order.sort_unstable();
        assert_eq!(order, (0..300).collect::<Vec<_>>());
        assert!(tree.nodes.len() > 5);
        let mut evaluated: usize = tree.nodes.iter().map(Node::len).sum();
        for (number, prompt) in prompts.iter().enumerate() {
            let mut at = 0;
            for node in tree.path(number) {
                let node = &tree.nodes[node];
                assert_eq!(node.start, at);
                assert_eq!(prompts[node.prompt][at..node.end], prompt[at..node.end]);
                at = node.end;
            }
            assert!(at < prompt.len());
            evaluated += prompt.len() - at;
        }
        assert!(evaluated < prompts.iter().map(Vec::len).sum::<usize>());
        for (number, node) in tree.nodes.iter().enumerate() {
            assert!(node.parent.is_none_or(|parent| parent < number));
            assert!(node.children >= 2);
        }
    }
}
