//! Reads an ONNX file back from disk and computes it, node by node.
//!
//! A second implementation that shares nothing with the one that wrote the file but the messages:
//! it knows the operators that our graphs use and takes each at the specification's word. What it
//! computes must be what the classifier says, or the export has failed.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use prost::Message;

use super::{
    super::ExportError,
    layout::{IDS, LOGITS, MASK},
    proto::{Attribute, FLOAT, Graph, INT64, Model, Node, TensorData},
    tensor::{Tensor, Value, erf, layer_norm, softmax},
};

/// A graph that was read from a file, ready to be computed.
pub(in crate::student::export) struct Interpreter {
    graph: Graph,
    weights: HashMap<String, Rc<Value>>,
    /// For each node, the values that nothing after it needs.
    spent: Vec<Vec<String>>,
    origin: String,
}

impl Interpreter {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// An unreadable file, one that is no ONNX model, a weight that is not what its header says.
    pub(crate) fn read(path: &Path) -> Result<Self, ExportError> {
        let origin = path.display().to_string();
        let bytes =
            fs::read(path).map_err(|source| ExportError::Read { path: path.to_owned(), source })?;
        let fault = |message: String| ExportError::Onnx { origin: origin.clone(), message };
        let model = Model::decode(bytes.as_slice()).map_err(|error| fault(error.to_string()))?;
        drop(bytes);
        let mut graph = model.graph.ok_or_else(|| fault("there is no graph".to_owned()))?;
        let mut weights = HashMap::new();
        for tensor in std::mem::take(&mut graph.initializer) {
            let name = tensor.name.clone().unwrap_or_default();
            let value = constant(tensor)
                .ok_or_else(|| fault(format!("the weight {name} cannot be read")))?;
            weights.insert(name, Rc::new(value));
        }
        let spent = spent(&graph);
        Ok(Self { graph, weights, spent, origin })
    }

    /// Logits of each of `texts`, token ids that are padded to one rectangle: `[texts][classes]`.
    ///
    /// # Errors
    /// A node that cannot be computed, by its name.
    pub(crate) fn logits(&self, texts: &[&[u32]], pad: u32) -> Result<Vec<Vec<f32>>, ExportError> {
        let width = texts.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for text in texts {
            ids.extend(text.iter().map(|&id| i64::from(id)));
            ids.resize(ids.len() + width - text.len(), i64::from(pad));
            mask.resize(mask.len() + text.len(), 1);
            mask.resize(mask.len() + width - text.len(), 0);
        }
        let shape = [texts.len(), width];
        let inputs = [(IDS, ids), (MASK, mask)]
            .map(|(name, data)| (name, Value::Int(Tensor::new(&shape, data))));
        match self.run(inputs.into(), LOGITS)? {
            Value::Float(logits) if logits.shape.len() == 2 && logits.shape[0] == texts.len() => {
                let classes = logits.shape[1].max(1);
                Ok(logits.data.chunks_exact(classes).map(<[f32]>::to_vec).collect())
            }
            other => Err(self.fault(format!("the output is no table of logits but {other:?}"))),
        }
    }

    /// The value called `wanted`, given `inputs`.
    pub(super) fn run(
        &self,
        inputs: HashMap<&str, Value>,
        wanted: &str,
    ) -> Result<Value, ExportError> {
        let mut values: HashMap<&str, Rc<Value>> =
            self.weights.iter().map(|(name, value)| (name.as_str(), Rc::clone(value))).collect();
        values.extend(inputs.into_iter().map(|(name, value)| (name, Rc::new(value))));
        for (node, spent) in self.graph.node.iter().zip(&self.spent) {
            let name = node.name.as_deref().unwrap_or_default();
            let op = node.op_type.as_deref().unwrap_or_default();
            let given = node.input.iter().map(|input| values.get(input.as_str()).cloned());
            let given = given.collect::<Option<Vec<_>>>();
            let given = given
                .ok_or_else(|| self.fault(format!("an input of the node {name} is not there")))?;
            let result = compute(op, node, &given).ok_or_else(|| {
                self.fault(format!("the node {name} ({op}) cannot be computed from its inputs"))
            })?;
            drop(given);
            let output = node.output.first().map_or(name, String::as_str);
            values.insert(output, Rc::new(result));
            for name in spent {
                values.remove(name.as_str());
            }
        }
        let found = values.get(wanted);
        let value =
            found.ok_or_else(|| self.fault(format!("there is no output called {wanted}")))?;
        Ok(Value::clone(value))
    }

    fn fault(&self, message: String) -> ExportError {
        ExportError::Onnx { origin: self.origin.clone(), message }
    }
}

/// The values that each node is the last to use; outputs are needed to the end.
fn spent(graph: &Graph) -> Vec<Vec<String>> {
    let mut seen: Vec<&str> = graph.output.iter().filter_map(|out| out.name.as_deref()).collect();
    let mut spent = vec![Vec::new(); graph.node.len()];
    let mut known: std::collections::HashSet<&str> = seen.drain(..).collect();
    for (at, node) in graph.node.iter().enumerate().rev() {
        for input in &node.input {
            if known.insert(input) {
                spent[at].push(input.clone());
            }
        }
    }
    spent
}

/// A weight as a value; `None` where its type is unknown or its numbers do not fill its shape.
fn constant(tensor: TensorData) -> Option<Value> {
    let shape: Vec<usize> =
        tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<_>>()?;
    let raw = tensor.raw_data?;
    let count: usize = shape.iter().product();
    match tensor.data_type? {
        FLOAT if raw.len() == 4 * count => {
            let data = raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            Some(Value::Float(Tensor::new(&shape, data.collect())))
        }
        INT64 if raw.len() == 8 * count => {
            let data = raw.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
            Some(Value::Int(Tensor::new(&shape, data.collect())))
        }
        _ => None,
    }
}

/// The result of a node, `None` where the operator is unknown or its inputs do not fit it.
fn compute(op: &str, node: &Node, given: &[Rc<Value>]) -> Option<Value> {
    let float = |at: usize| match &**given.get(at)? {
        Value::Float(tensor) => Some(tensor),
        Value::Int(_) => None,
    };
    let int = |at: usize| match &**given.get(at)? {
        Value::Int(tensor) => Some(tensor),
        Value::Float(_) => None,
    };
    let map = |change: fn(f32) -> f32| Some(Value::Float(float(0)?.map(change)));
    let zip = |change: fn(f32, f32) -> f32| Some(Value::Float(float(0)?.zip(float(1)?, change)?));
    match op {
        "Add" => zip(|a, b| a + b),
        "Sub" => zip(|a, b| a - b),
        "Mul" => zip(|a, b| a * b),
        "Div" => zip(|a, b| a / b),
        "Erf" => map(erf),
        "Tanh" => map(f32::tanh),
        "Relu" => map(|x| x.max(0.0)),
        "Sigmoid" => map(|x| 1.0 / (1.0 + (-x).exp())),
        "MatMul" => Some(Value::Float(float(0)?.matmul(float(1)?)?)),
        "Softmax" => {
            let x = float(0)?;
            is_last(whole(node, "axis").unwrap_or(-1), x)?;
            Some(Value::Float(x.rows(softmax)))
        }
        "LayerNormalization" => {
            let (x, scale, bias) = (float(0)?, float(1)?, float(2)?);
            is_last(whole(node, "axis").unwrap_or(-1), x)?;
            let epsilon = attribute(node, "epsilon").and_then(|found| found.f).unwrap_or(1e-5);
            let width = x.shape.last();
            if scale.shape.last() != width || bias.shape != scale.shape {
                return None;
            }
            Some(Value::Float(x.rows(|row| layer_norm(row, &scale.data, &bias.data, epsilon))))
        }
        "ReduceSum" => {
            let (x, [axis]) = (float(0)?, int(1)?.data.as_slice()) else { return None };
            let sum = x.sum(usize::try_from(*axis).ok()?)?;
            match whole(node, "keepdims").unwrap_or(1) {
                0 => Some(Value::Float(sum)),
                _ => Some(Value::Float(sum.unsqueeze(&[*axis])?)),
            }
        }
        "Cast" if whole(node, "to") == Some(FLOAT.into()) => {
            Some(Value::Float(int(0)?.map(|value| value as f32)))
        }
        "Shape" => {
            let shape = match &**given.first()? {
                Value::Float(tensor) => &tensor.shape,
                Value::Int(tensor) => &tensor.shape,
            };
            let sizes: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
            Some(Value::Int(Tensor::new(&[sizes.len()], sizes)))
        }
        "Slice" => {
            let bound = |at: usize| match int(at)?.data.as_slice() {
                [bound] => Some(*bound),
                _ => None,
            };
            let (start, end) = (bound(1)?, bound(2)?);
            if bound(3)? != 0 || given.len() > 4 {
                return None;
            }
            match &**given.first()? {
                Value::Float(x) => Some(Value::Float(x.slice(start, end)?)),
                Value::Int(x) => Some(Value::Int(x.slice(start, end)?)),
            }
        }
        "Gather" => {
            let axis = usize::try_from(whole(node, "axis").unwrap_or(0)).ok()?;
            Some(Value::Float(float(0)?.gather(axis, int(1)?)?))
        }
        "Reshape" => Some(Value::Float(float(0)?.reshape(&int(1)?.data)?)),
        "Unsqueeze" => Some(Value::Float(float(0)?.unsqueeze(&int(1)?.data)?)),
        "Transpose" => Some(Value::Float(float(0)?.transpose(&attribute(node, "perm")?.ints)?)),
        _ => None,
    }
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

fn whole(node: &Node, name: &str) -> Option<i64> {
    attribute(node, name)?.i
}

/// `Some` where `axis` is the last one of `x`.
fn is_last(axis: i64, x: &Tensor<f32>) -> Option<()> {
    (axis == -1 || axis + 1 == x.shape.len() as i64).then_some(())
}
