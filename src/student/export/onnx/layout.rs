//! A classifier as an ONNX graph (opset 17): DistilBERT and BERT of any size, from token ids and
//! attention mask to logits.
//!
//! Batch size and sequence length are dynamic. Padding has the lowest finite attention score, so
//! that its softmax is exactly zero. A dense layer is a `MatMul` with a weight that is stored
//! transposed, then an `Add`: the form that runtimes fuse.

use candle_nn::Activation;

use super::{
    super::super::Pooling,
    graph::{self, Builder, Form, Name, Weight},
    proto::{Extent, FLOAT, Graph, INT64},
};
use crate::student::model_spec::{HeadActivation, HeadParts, LayerParts, MIN_NORM, ModelSpec};

/// Names of the graph's inputs, `[batch, sequence]` of int64, and of its output,
/// `[batch, classes]` of float.
pub(super) const IDS: &str = "input_ids";
pub(super) const MASK: &str = "attention_mask";
pub(super) const LOGITS: &str = "logits";

/// The graph of the classifier of `spec`, without its weights, and the weights.
pub(super) fn build_graph(spec: &ModelSpec) -> (Graph, Vec<Weight>) {
    let mut assembly = Assembly { spec, graph: Builder::default() };
    let mut hidden = assembly.embeddings();
    let bias = assembly.mask_bias();
    for parts in &spec.layers {
        hidden = assembly.layer(parts, &hidden, &bias);
    }
    let pooled = assembly.pool(&hidden);
    assembly.head(&pooled);
    let free = |name: &str| Extent::Free(name.to_owned());
    let rectangle = || vec![free("batch"), free("sequence")];
    let inputs = [IDS, MASK].map(|name| graph::value(name, INT64, rectangle())).into();
    let shape = vec![free("batch"), Extent::Fixed(spec.classes as i64)];
    assembly.graph.finish("classifier", inputs, graph::value(LOGITS, FLOAT, shape))
}

struct Assembly<'a> {
    spec: &'a ModelSpec,
    graph: Builder,
}

impl Assembly<'_> {
    /// Words, positions and, in BERT, the one token type: `[batch, sequence, hidden]`.
    fn embeddings(&mut self) -> Name {
        let (spec, graph) = (self.spec, &mut self.graph);
        let words = graph.weight(&spec.words, &[spec.words_kept, spec.hidden], Form::Same);
        let words = graph.plain("Gather", &spec.words, &[&words, IDS]);
        // The first `sequence` rows of the position table.
        let shape = graph.plain("Shape", IDS, &[IDS]);
        let (zero, one, two) =
            (graph.ints("ints_0", &[0]), graph.ints("ints_1", &[1]), graph.ints("ints_2", &[2]));
        let length = graph.plain("Slice", "sequence", &[&shape, &one, &two, &zero]);
        let table = graph.weight(&spec.positions, &[spec.max_positions, spec.hidden], Form::Same);
        let positions = graph.plain("Slice", &spec.positions, &[&table, &zero, &length, &zero]);
        let mut sum = graph.plain("Add", &spec.positions, &[&words, &positions]);
        if let Some(types) = &spec.types {
            let first = graph.weight(types, &[spec.token_types, spec.hidden], Form::FirstRow);
            sum = graph.plain("Add", types, &[&sum, &first]);
        }
        self.norm(&spec.embedding_norm, &sum)
    }

    /// The bias of the attention scores: 0 for a token, the lowest finite number for padding,
    /// `[batch, 1, 1, sequence]`.
    fn mask_bias(&mut self) -> Name {
        let graph = &mut self.graph;
        let mask = graph.node("Cast", MASK, &[MASK], vec![graph::int("to", FLOAT.into())]);
        let one = graph.float("1", 1.0);
        let padding = graph.plain("Sub", "padding", &[&one, &mask]);
        let lowest = graph.float("lowest", f32::MIN);
        let bias = graph.plain("Mul", "padding", &[&padding, &lowest]);
        let axes = graph.ints("ints_1_2", &[1, 2]);
        graph.plain("Unsqueeze", "padding", &[&bias, &axes])
    }

    /// One transformer layer over `[batch, sequence, hidden]`.
    fn layer(&mut self, parts: &LayerParts, hidden: &str, bias: &str) -> Name {
        let (width, inner) = (self.spec.hidden, self.spec.intermediate);
        let attended = self.attention(parts, hidden, bias);
        let attended = self.dense(&parts.output, &attended, width, width);
        let sum =
            self.graph.plain("Add", &format!("{}/residual", parts.output), &[&attended, hidden]);
        let middle = self.norm(&parts.attention_norm, &sum);
        let up = self.dense(&parts.up, &middle, width, inner);
        let up = self.activation(&parts.up, &up);
        let down = self.dense(&parts.down, &up, inner, width);
        let sum = self.graph.plain("Add", &format!("{}/residual", parts.down), &[&down, &middle]);
        self.norm(&parts.norm, &sum)
    }

    /// Softmax(Q·Kᵀ / √width + bias)·V of every head (Vaswani et al. 2017, section 3.2).
    fn attention(&mut self, parts: &LayerParts, hidden: &str, bias: &str) -> Name {
        let (width, heads) = (self.spec.hidden, self.spec.heads);
        let per_head = width / heads;
        let split = self.graph.ints("split_heads", &[0, 0, heads as i64, per_head as i64]);
        let mut rows = |part: &str, order: &[i64]| {
            let x = self.dense(part, hidden, width, width);
            let x = self.graph.plain("Reshape", part, &[&x, &split]);
            self.graph.node("Transpose", part, &[&x], vec![graph::ints("perm", order)])
        };
        let query = rows(&parts.query, &[0, 2, 1, 3]);
        let key = rows(&parts.key, &[0, 2, 3, 1]);
        let value = rows(&parts.value, &[0, 2, 1, 3]);
        let graph = &mut self.graph;
        let name = format!("{}/attention", parts.output);
        let scale = graph.float("attention_scale", 1.0 / (per_head as f32).sqrt());
        let query = graph.plain("Mul", &name, &[&query, &scale]);
        let scores = graph.plain("MatMul", &format!("{name}/scores"), &[&query, &key]);
        let scores = graph.plain("Add", &format!("{name}/scores"), &[&scores, bias]);
        let shares = graph.node("Softmax", &name, &[&scores], vec![graph::int("axis", -1)]);
        let mixed = graph.plain("MatMul", &format!("{name}/mixed"), &[&shares, &value]);
        let order = vec![graph::ints("perm", &[0, 2, 1, 3])];
        let mixed = graph.node("Transpose", &name, &[&mixed], order);
        let joined = graph.ints("join_heads", &[0, 0, width as i64]);
        graph.plain("Reshape", &name, &[&mixed, &joined])
    }

    /// One vector per text, `[batch, hidden]`.
    fn pool(&mut self, hidden: &str) -> Name {
        let graph = &mut self.graph;
        match self.spec.pooling() {
            Pooling::First => {
                let first = graph.int("int_0", 0);
                let axis = vec![graph::int("axis", 1)];
                graph.node("Gather", "pool", &[hidden, &first], axis)
            }
            Pooling::Mean => {
                let mask =
                    graph.node("Cast", "pool/mask", &[MASK], vec![graph::int("to", FLOAT.into())]);
                let (last, axis) = (graph.ints("ints_2", &[2]), graph.ints("ints_1", &[1]));
                let weights = graph.plain("Unsqueeze", "pool", &[&mask, &last]);
                let tokens = graph.plain("Mul", "pool", &[hidden, &weights]);
                let no_axis = || vec![graph::int("keepdims", 0)];
                let sum = graph.node("ReduceSum", "pool/sum", &[&tokens, &axis], no_axis());
                let count = graph.node("ReduceSum", "pool/count", &[&weights, &axis], no_axis());
                graph.plain("Div", "pool", &[&sum, &count])
            }
        }
    }

    /// From pooled vectors to logits.
    fn head(&mut self, pooled: &str) {
        let (spec, width) = (self.spec, self.spec.hidden);
        let x = match &spec.head {
            HeadParts::Mlp { dense, activation, .. } => {
                let x = self.dense(dense, pooled, width, width);
                let op = match activation {
                    HeadActivation::Relu => "Relu",
                    HeadActivation::Tanh => "Tanh",
                };
                self.graph.plain(op, dense, &[&x])
            }
            HeadParts::Linear(_) => self.normalise(pooled),
        };
        let logits = self.dense(&spec.classifier, &x, width, spec.classes);
        self.graph.rename(&logits, LOGITS);
    }

    /// Each vector of `[batch, hidden]` divided by its Euclidean norm, at least [`MIN_NORM`].
    fn normalise(&mut self, x: &str) -> Name {
        let (graph, name) = (&mut self.graph, "normalise");
        let rows = vec![graph::ints("axes", &[-1]), graph::int("keepdims", 1)];
        let norm = graph.node("ReduceL2", name, &[x], rows);
        let least = graph.float("min_norm", MIN_NORM);
        let norm = graph.plain("Max", name, &[&norm, &least]);
        graph.plain("Div", name, &[x, &norm])
    }

    /// x·Wᵀ + b.
    fn dense(&mut self, part: &str, x: &str, inputs: usize, outputs: usize) -> Name {
        let graph = &mut self.graph;
        let weight = graph.weight(&format!("{part}.weight"), &[outputs, inputs], Form::Transposed);
        let bias = graph.weight(&format!("{part}.bias"), &[outputs], Form::Same);
        let product = graph.plain("MatMul", part, &[x, &weight]);
        graph.plain("Add", part, &[&product, &bias])
    }

    fn norm(&mut self, part: &str, x: &str) -> Name {
        let (spec, graph) = (self.spec, &mut self.graph);
        let weight = graph.weight(&format!("{part}.weight"), &[spec.hidden], Form::Same);
        let bias = graph.weight(&format!("{part}.bias"), &[spec.hidden], Form::Same);
        let attributes = vec![graph::int("axis", -1), graph::float("epsilon", spec.layer_norm_eps)];
        graph.node("LayerNormalization", part, &[x, &weight, &bias], attributes)
    }

    /// The feed-forward layer's activation.
    fn activation(&mut self, part: &str, x: &str) -> Name {
        let graph = &mut self.graph;
        let name = format!("{part}/activation");
        match self.spec.activation {
            Activation::Relu => graph.plain("Relu", &name, &[x]),
            Activation::Silu => {
                let gate = graph.plain("Sigmoid", &name, &[x]);
                graph.plain("Mul", &name, &[x, &gate])
            }
            // x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))) (Hendrycks & Gimpel 2016).
            Activation::NewGelu => {
                let square = graph.plain("Mul", &format!("{name}/square"), &[x, x]);
                let cube = graph.plain("Mul", &format!("{name}/cube"), &[&square, x]);
                let share = graph.float("gelu_cube", 0.044_715);
                let cube = graph.plain("Mul", &format!("{name}/share"), &[&cube, &share]);
                let sum = graph.plain("Add", &format!("{name}/sum"), &[x, &cube]);
                let factor = graph.float("gelu_factor", (2.0 / std::f32::consts::PI).sqrt());
                let inner = graph.plain("Mul", &format!("{name}/inner"), &[&sum, &factor]);
                let gate = graph.plain("Tanh", &name, &[&inner]);
                self.half_times_one_plus(&name, x, &gate)
            }
            // x/2 · (1 + erf(x/√2)). `Config` accepts no other activation.
            _ => {
                let root = graph.float("sqrt_2", std::f32::consts::SQRT_2);
                let inner = graph.plain("Div", &name, &[x, &root]);
                let gate = graph.plain("Erf", &name, &[&inner]);
                self.half_times_one_plus(&name, x, &gate)
            }
        }
    }

    /// x · (1 + gate) · 1/2, in the order in which runtimes recognise a GELU.
    fn half_times_one_plus(&mut self, name: &str, x: &str, gate: &str) -> Name {
        let graph = &mut self.graph;
        let (one, half) = (graph.float("1", 1.0), graph.float("half", 0.5));
        let gate = graph.plain("Add", name, &[gate, &one]);
        let product = graph.plain("Mul", &format!("{name}/product"), &[x, &gate]);
        graph.plain("Mul", name, &[&product, &half])
    }
}
