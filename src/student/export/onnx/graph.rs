//! Builds a graph from nodes, constants and weights.

use super::proto::{
    ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS, Attribute, Dimension, Extent, FLOAT, Graph,
    INT64, Node, Shape, TensorData, TensorType, Type, ValueInfo,
};

/// A weight of the file, and how it is derived from the checkpoint's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weight {
    /// Its name in the graph.
    pub name: String,
    /// The checkpoint's tensor.
    pub tensor: String,
    /// Shape of the checkpoint's tensor.
    pub shape: Vec<usize>,
    pub form: Form,
}

/// How a checkpoint's tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Same,
    /// As `[inputs, outputs]` instead of `[outputs, inputs]`, for `MatMul`.
    Transposed,
    /// The first row of a table, as a vector.
    FirstRow,
}

impl Weight {
    /// Shape in the graph.
    pub(super) fn dims(&self) -> Vec<usize> {
        match self.form {
            Form::Same => self.shape.clone(),
            Form::Transposed => self.shape.iter().rev().copied().collect(),
            Form::FirstRow => self.shape[1..].to_vec(),
        }
    }
}

/// Builds a graph. Each operation returns the name of its result.
#[derive(Default)]
pub(super) struct Builder {
    graph: Graph,
    weights: Vec<Weight>,
}

/// The name of a value in the graph.
pub(super) type Name = String;

impl Builder {
    /// Adds a node `op` named `name` on `inputs`, with one result of the same name.
    pub(super) fn node(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> Name {
        let name = format!("{name}/{op}");
        self.graph.node.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: Some(name.clone()),
            op_type: Some(op.to_owned()),
            attribute: attributes,
        });
        name
    }

    /// A node without attributes.
    pub(super) fn plain(&mut self, op: &str, name: &str, inputs: &[&str]) -> Name {
        self.node(op, name, inputs, Vec::new())
    }

    /// A weight of the checkpoint.
    pub(super) fn weight(&mut self, tensor: &str, shape: &[usize], form: Form) -> Name {
        let name = match form {
            Form::Same => tensor.to_owned(),
            Form::Transposed => format!("{tensor}.transposed"),
            Form::FirstRow => format!("{tensor}.row_0"),
        };
        let (tensor, shape) = (tensor.to_owned(), shape.to_vec());
        self.weights.push(Weight { name: name.clone(), tensor, shape, form });
        name
    }

    /// A float constant.
    pub(super) fn float(&mut self, name: &str, value: f32) -> Name {
        self.constant(name, FLOAT, Vec::new(), value.to_le_bytes().to_vec())
    }

    /// An integer constant, `[values]`.
    pub(super) fn ints(&mut self, name: &str, values: &[i64]) -> Name {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, INT64, vec![values.len() as i64], bytes)
    }

    /// A scalar integer constant.
    pub(super) fn int(&mut self, name: &str, value: i64) -> Name {
        self.constant(name, INT64, Vec::new(), value.to_le_bytes().to_vec())
    }

    /// The constant of that name, created at its first use.
    fn constant(&mut self, name: &str, data_type: i32, dims: Vec<i64>, bytes: Vec<u8>) -> Name {
        let name = format!("constant/{name}");
        if !self.graph.initializer.iter().any(|known| known.name.as_ref() == Some(&name)) {
            let raw_data = Some(bytes);
            let data_type = Some(data_type);
            let tensor = TensorData { dims, data_type, name: Some(name.clone()), raw_data };
            self.graph.initializer.push(tensor);
        }
        name
    }

    /// Renames the value `from` to `to`.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        for node in &mut self.graph.node {
            for name in node.output.iter_mut().chain(&mut node.input).filter(|name| *name == from) {
                to.clone_into(name);
            }
        }
    }

    /// The graph named `name`, without its weights, and the weights.
    pub(super) fn finish(
        mut self,
        name: &str,
        inputs: Vec<ValueInfo>,
        output: ValueInfo,
    ) -> (Graph, Vec<Weight>) {
        self.graph.name = Some(name.to_owned());
        self.graph.input = inputs;
        self.graph.output = vec![output];
        (self.graph, self.weights)
    }
}

/// Name, element type and dimensions of an input or output.
pub(super) fn value(name: &str, element: i32, extents: Vec<Extent>) -> ValueInfo {
    let dim = extents.into_iter().map(|extent| Dimension { extent: Some(extent) }).collect();
    let tensor = TensorType { element: Some(element), shape: Some(Shape { dim }) };
    ValueInfo { name: Some(name.to_owned()), kind: Some(Type { tensor: Some(tensor) }) }
}

/// An integer attribute.
pub(super) fn int(name: &str, value: i64) -> Attribute {
    let kind = Some(ATTRIBUTE_INT);
    Attribute { name: Some(name.to_owned()), i: Some(value), kind, ..Attribute::default() }
}

/// An attribute that is a list of integers.
pub(super) fn ints(name: &str, values: &[i64]) -> Attribute {
    let kind = Some(ATTRIBUTE_INTS);
    Attribute { name: Some(name.to_owned()), ints: values.to_vec(), kind, ..Attribute::default() }
}

/// A float attribute.
pub(super) fn float(name: &str, value: f32) -> Attribute {
    let kind = Some(ATTRIBUTE_FLOAT);
    Attribute { name: Some(name.to_owned()), f: Some(value), kind, ..Attribute::default() }
}
