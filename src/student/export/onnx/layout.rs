//! A classifier as an ONNX graph (opset 17): DistilBERT and BERT of any size, from token ids and
//! their mask to logits.
//!
//! Batch and sequence are free. Padding gets the lowest finite score in front of each softmax, so
//! that its share is exactly zero. Dense layers are `MatMul` over weights that stand transposed in
//! the file, then `Add`: the form that runtimes fuse.

use candle_nn::Activation;

use super::{
    super::super::Pooling,
    graph::{self, Builder, Form, Name, Weight},
    proto::{Extent, FLOAT, Graph, INT64},
};
use crate::student::model_spec::{HeadActivation, LayerParts, ModelSpec};

/// Names of the graph's inputs, `[batch, sequence]` of int64, and of its output,
/// `[batch, classes]` of float.
pub(super) const IDS: &str = "input_ids";
pub(super) const MASK: &str = "attention_mask";
pub(super) const LOGITS: &str = "logits";

/// The graph of the classifier that `spec` describes, without its weights, and what these are.
pub(super) fn lay_out(spec: &ModelSpec) -> (Graph, Vec<Weight>) {
    let mut room = Room { net: spec, to: Builder::default() };
    let mut hidden = room.embeddings();
    let bias = room.mask_bias();
    for parts in &spec.layers {
        hidden = room.layer(parts, &hidden, &bias);
    }
    let pooled = room.pool(&hidden);
    room.head(&pooled);
    let free = |name: &str| Extent::Free(name.to_owned());
    let rectangle = || vec![free("batch"), free("sequence")];
    let inputs = [IDS, MASK].map(|name| graph::value(name, INT64, rectangle())).into();
    let shape = vec![free("batch"), Extent::Fixed(spec.classes as i64)];
    room.to.finish("classifier", inputs, graph::value(LOGITS, FLOAT, shape))
}

struct Room<'a> {
    net: &'a ModelSpec,
    to: Builder,
}

impl Room<'_> {
    /// Words, positions and, in BERT, the one token type: `[batch, sequence, hidden]`.
    fn embeddings(&mut self) -> Name {
        let (net, to) = (self.net, &mut self.to);
        let words = to.weight(&net.words, &[net.words_kept, net.hidden], Form::Same);
        let words = to.plain("Gather", &net.words, &[&words, IDS]);
        // The first `sequence` rows of the position table.
        let shape = to.plain("Shape", IDS, &[IDS]);
        let (zero, one, two) =
            (to.ints("ints_0", &[0]), to.ints("ints_1", &[1]), to.ints("ints_2", &[2]));
        let length = to.plain("Slice", "sequence", &[&shape, &one, &two, &zero]);
        let table = to.weight(&net.positions, &[net.max_positions, net.hidden], Form::Same);
        let positions = to.plain("Slice", &net.positions, &[&table, &zero, &length, &zero]);
        let mut sum = to.plain("Add", &net.positions, &[&words, &positions]);
        if let Some(types) = &net.types {
            let first = to.weight(types, &[net.token_types, net.hidden], Form::FirstRow);
            sum = to.plain("Add", types, &[&sum, &first]);
        }
        self.norm(&net.embedding_norm, &sum)
    }

    /// What is added to the attention's scores: 0 for a token, the lowest finite number for
    /// padding, `[batch, 1, 1, sequence]`.
    fn mask_bias(&mut self) -> Name {
        let to = &mut self.to;
        let mask = to.node("Cast", MASK, &[MASK], vec![graph::int("to", FLOAT.into())]);
        let one = to.float("1", 1.0);
        let padding = to.plain("Sub", "padding", &[&one, &mask]);
        let lowest = to.float("lowest", f32::MIN);
        let bias = to.plain("Mul", "padding", &[&padding, &lowest]);
        let axes = to.ints("ints_1_2", &[1, 2]);
        to.plain("Unsqueeze", "padding", &[&bias, &axes])
    }

    /// One transformer layer over `[batch, sequence, hidden]`.
    fn layer(&mut self, parts: &LayerParts, hidden: &str, bias: &str) -> Name {
        let (width, inner) = (self.net.hidden, self.net.intermediate);
        let attended = self.attention(parts, hidden, bias);
        let attended = self.dense(&parts.output, &attended, width, width);
        let sum = self.to.plain("Add", &format!("{}/residual", parts.output), &[&attended, hidden]);
        let middle = self.norm(&parts.attention_norm, &sum);
        let up = self.dense(&parts.up, &middle, width, inner);
        let up = self.activation(&parts.up, &up);
        let down = self.dense(&parts.down, &up, inner, width);
        let sum = self.to.plain("Add", &format!("{}/residual", parts.down), &[&down, &middle]);
        self.norm(&parts.norm, &sum)
    }

    /// Softmax(Q·Kᵀ / √width + bias)·V of every head (Vaswani et al. 2017, section 3.2).
    fn attention(&mut self, parts: &LayerParts, hidden: &str, bias: &str) -> Name {
        let (width, heads) = (self.net.hidden, self.net.heads);
        let per_head = width / heads;
        let split = self.to.ints("split_heads", &[0, 0, heads as i64, per_head as i64]);
        let mut rows = |part: &str, order: &[i64]| {
            let x = self.dense(part, hidden, width, width);
            let x = self.to.plain("Reshape", part, &[&x, &split]);
            self.to.node("Transpose", part, &[&x], vec![graph::ints("perm", order)])
        };
        let query = rows(&parts.query, &[0, 2, 1, 3]);
        let key = rows(&parts.key, &[0, 2, 3, 1]);
        let value = rows(&parts.value, &[0, 2, 1, 3]);
        let to = &mut self.to;
        let name = format!("{}/attention", parts.output);
        let scale = to.float("attention_scale", 1.0 / (per_head as f32).sqrt());
        let query = to.plain("Mul", &name, &[&query, &scale]);
        let scores = to.plain("MatMul", &format!("{name}/scores"), &[&query, &key]);
        let scores = to.plain("Add", &format!("{name}/scores"), &[&scores, bias]);
        let shares = to.node("Softmax", &name, &[&scores], vec![graph::int("axis", -1)]);
        let mixed = to.plain("MatMul", &format!("{name}/mixed"), &[&shares, &value]);
        let order = vec![graph::ints("perm", &[0, 2, 1, 3])];
        let mixed = to.node("Transpose", &name, &[&mixed], order);
        let joined = to.ints("join_heads", &[0, 0, width as i64]);
        to.plain("Reshape", &name, &[&mixed, &joined])
    }

    /// One vector per text, `[batch, hidden]`.
    fn pool(&mut self, hidden: &str) -> Name {
        let to = &mut self.to;
        match self.net.pooling {
            Pooling::First => {
                let first = to.int("int_0", 0);
                let axis = vec![graph::int("axis", 1)];
                to.node("Gather", "pool", &[hidden, &first], axis)
            }
            Pooling::Mean => {
                let mask =
                    to.node("Cast", "pool/mask", &[MASK], vec![graph::int("to", FLOAT.into())]);
                let (last, axis) = (to.ints("ints_2", &[2]), to.ints("ints_1", &[1]));
                let weights = to.plain("Unsqueeze", "pool", &[&mask, &last]);
                let tokens = to.plain("Mul", "pool", &[hidden, &weights]);
                let no_axis = || vec![graph::int("keepdims", 0)];
                let sum = to.node("ReduceSum", "pool/sum", &[&tokens, &axis], no_axis());
                let count = to.node("ReduceSum", "pool/count", &[&weights, &axis], no_axis());
                to.plain("Div", "pool", &[&sum, &count])
            }
        }
    }

    /// From pooled vectors to logits.
    fn head(&mut self, pooled: &str) {
        let (net, width) = (self.net, self.net.hidden);
        let x = self.dense(&net.dense, pooled, width, width);
        let op = match net.head_activation {
            HeadActivation::Relu => "Relu",
            HeadActivation::Tanh => "Tanh",
        };
        let x = self.to.plain(op, &net.dense, &[&x]);
        let logits = self.dense(&net.classifier, &x, width, net.classes);
        self.to.rename(&logits, LOGITS);
    }

    /// x·Wᵀ + b.
    fn dense(&mut self, part: &str, x: &str, inputs: usize, outputs: usize) -> Name {
        let to = &mut self.to;
        let weight = to.weight(&format!("{part}.weight"), &[outputs, inputs], Form::Transposed);
        let bias = to.weight(&format!("{part}.bias"), &[outputs], Form::Same);
        let product = to.plain("MatMul", part, &[x, &weight]);
        to.plain("Add", part, &[&product, &bias])
    }

    fn norm(&mut self, part: &str, x: &str) -> Name {
        let (net, to) = (self.net, &mut self.to);
        let weight = to.weight(&format!("{part}.weight"), &[net.hidden], Form::Same);
        let bias = to.weight(&format!("{part}.bias"), &[net.hidden], Form::Same);
        let attributes = vec![graph::int("axis", -1), graph::float("epsilon", net.layer_norm_eps)];
        to.node("LayerNormalization", part, &[x, &weight, &bias], attributes)
    }

    /// The feed-forward layer's activation.
    fn activation(&mut self, part: &str, x: &str) -> Name {
        let to = &mut self.to;
        let name = format!("{part}/activation");
        match self.net.activation {
            Activation::Relu => to.plain("Relu", &name, &[x]),
            Activation::Silu => {
                let gate = to.plain("Sigmoid", &name, &[x]);
                to.plain("Mul", &name, &[x, &gate])
            }
            // x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))) (Hendrycks & Gimpel 2016).
            Activation::NewGelu => {
                let square = to.plain("Mul", &format!("{name}/square"), &[x, x]);
                let cube = to.plain("Mul", &format!("{name}/cube"), &[&square, x]);
                let share = to.float("gelu_cube", 0.044_715);
                let cube = to.plain("Mul", &format!("{name}/share"), &[&cube, &share]);
                let sum = to.plain("Add", &format!("{name}/sum"), &[x, &cube]);
                let factor = to.float("gelu_factor", (2.0 / std::f32::consts::PI).sqrt());
                let inner = to.plain("Mul", &format!("{name}/inner"), &[&sum, &factor]);
                let gate = to.plain("Tanh", &name, &[&inner]);
                self.half_times_one_plus(&name, x, &gate)
            }
            // x/2 · (1 + erf(x/√2)). Config reads no other activation.
            _ => {
                let root = to.float("sqrt_2", std::f32::consts::SQRT_2);
                let inner = to.plain("Div", &name, &[x, &root]);
                let gate = to.plain("Erf", &name, &[&inner]);
                self.half_times_one_plus(&name, x, &gate)
            }
        }
    }

    /// x · (1 + gate) · 1/2, in the order in which runtimes look for a GELU.
    fn half_times_one_plus(&mut self, name: &str, x: &str, gate: &str) -> Name {
        let to = &mut self.to;
        let (one, half) = (to.float("1", 1.0), to.float("half", 0.5));
        let gate = to.plain("Add", name, &[gate, &one]);
        let product = to.plain("Mul", &format!("{name}/product"), &[x, &gate]);
        to.plain("Mul", name, &[&product, &half])
    }
}
