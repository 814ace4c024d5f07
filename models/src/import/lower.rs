//! From ONNX nodes to the graph: constants are evaluated, shape arithmetic is resolved, and each
//! operator that remains is appended (and fused, where [`super::fuse`] can).

use std::collections::HashMap;

use super::{
    builder::Builder,
    operators,
    shape::{Dim, Dims},
};
use crate::{
    graph::{Graph, Params, ValueId},
    onnx::{Constant, Node, Onnx},
};

/// What an ONNX name stands for.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A tensor that is known at import.
    Constant(Constant),
    /// A value of the graph.
    Graph(ValueId),
    /// A vector of integers made from the dimensions of graph values.
    Shape(Dims),
}

/// A node that can't be imported.
#[derive(Debug)]
pub(super) struct LowerError {
    pub(super) node: String,
    pub(super) operator: String,
    pub(super) problem: String,
}

/// State of one import: what names mean, and the graph so far.
pub(super) struct Lowering {
    pub(super) opset: i64,
    values: HashMap<String, Value>,
    pub(super) builder: Builder,
}

impl Lowering {
    /// What the input at a position stands for.
    pub(super) fn value(&self, node: &Node, at: usize) -> Result<&Value, String> {
        let name = node.input(at).ok_or_else(|| format!("input {at} is missing"))?;
        self.values.get(name).ok_or_else(|| format!("input {name} is not defined before it is read"))
    }

    /// The input at a position, which must be computed by the network.
    pub(super) fn graph(&self, node: &Node, at: usize) -> Result<ValueId, String> {
        match self.value(node, at)? {
            Value::Graph(id) => Ok(*id),
            Value::Constant(_) | Value::Shape(_) => {
                Err(format!("input {at} is a constant where a computed value is expected"))
            }
        }
    }

    /// The input at a position, which must be known at import.
    pub(super) fn constant(&self, node: &Node, at: usize) -> Result<&Constant, String> {
        match self.value(node, at)? {
            Value::Constant(constant) => Ok(constant),
            Value::Graph(_) | Value::Shape(_) => Err(format!("input {at} is not a constant")),
        }
    }

    /// An optional constant input.
    pub(super) fn optional(&self, node: &Node, at: usize) -> Result<Option<&Constant>, String> {
        if node.input(at).is_none() { Ok(None) } else { self.constant(node, at).map(Some) }
    }
}

/// Lowers a whole network.
///
/// # Errors
/// The first node that can't be imported, and why.
pub(super) fn lower(onnx: Onnx) -> Result<(Graph, Params), LowerError> {
    let Onnx { opset, nodes, constants, input: (input, dims), outputs } = onnx;
    let whole = |problem: String| LowerError { node: input.clone(), operator: "graph".into(), problem };
    let [_, channels, height, width] = dims[..] else {
        return Err(whole(format!("the input has {} dimensions where 4 are expected", dims.len())));
    };
    if channels == 0 {
        return Err(whole("the input's number of channels is not fixed".into()));
    }
    let mut values: HashMap<_, _> =
        constants.into_iter().map(|(name, c)| (name, Value::Constant(c))).collect();
    values.insert(input.clone(), Value::Graph(0));
    let mut lowering = Lowering { opset, values, builder: Builder::new([channels, height, width]) };

    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in nodes.iter().flat_map(|n| &n.inputs).chain(&outputs) {
        *uses.entry(name).or_default() += 1;
    }
    for node in &nodes {
        let value = step(&mut lowering, node).map_err(|problem| LowerError {
            node: node.name.clone(),
            operator: node.operator.clone(),
            problem,
        })?;
        let Some(output) = node.outputs.first() else { continue };
        if let Value::Graph(id) = value {
            lowering.builder.set_uses(id, uses.get(output.as_str()).copied().unwrap_or(0));
        }
        lowering.values.insert(output.clone(), value);
    }
    let mut named = Vec::with_capacity(outputs.len());
    for name in &outputs {
        match lowering.values.get(name) {
            Some(Value::Graph(id)) => named.push((name.clone(), *id)),
            _ => return Err(whole(format!("output {name} is not computed by the network"))),
        }
    }
    Ok(lowering.builder.finish(named))
}

/// Lowers one node to what its first output stands for.
fn step(lowering: &mut Lowering, node: &Node) -> Result<Value, String> {
    if node.outputs.iter().skip(1).any(|o| !o.is_empty()) && node.operator != "Dropout" {
        return Err("more than one output is not supported".into());
    }
    let shapes = node.inputs.iter().any(|name| matches!(lowering.values.get(name), Some(Value::Shape(_))));
    match node.operator.as_str() {
        "Constant" => constant_node(node).map(Value::Constant),
        "Identity" | "Dropout" | "Cast" => {
            let value = lowering.value(node, 0)?.clone();
            if let Value::Graph(id) = value {
                // Two names for one value: fusing through either would change the other.
                lowering.builder.pin(id);
            }
            Ok(value)
        }
        "Shape" => Ok(Value::Shape(super::shape::of(lowering.graph(node, 0)?))),
        "Gather" | "Slice" | "Unsqueeze" | "Squeeze" | "Concat" | "Floor"
            if shapes || known(lowering, node) =>
        {
            super::shape::step(lowering, node)
        }
        _ => operators::step(lowering, node).map(Value::Graph),
    }
}

/// Whether all inputs are constants.
fn known(lowering: &Lowering, node: &Node) -> bool {
    node.inputs
        .iter()
        .all(|name| name.is_empty() || matches!(lowering.values.get(name), Some(Value::Constant(_))))
}

fn constant_node(node: &Node) -> Result<Constant, String> {
    use crate::onnx::Data;
    if let Some(value) = node.tensor("value")? {
        return Ok(value);
    }
    if node.has("value_float") {
        return Ok(Constant { dims: vec![], data: Data::Float(vec![node.float("value_float", 0.0)]) });
    }
    if node.has("value_int") {
        return Ok(Constant { dims: vec![], data: Data::Int(vec![node.int("value_int", 0)]) });
    }
    match node.ints("value_ints") {
        Some(v) => Ok(Constant { dims: vec![v.len()], data: Data::Int(v.to_vec()) }),
        None => Err("a constant of this kind is not supported".into()),
    }
}

impl Value {
    /// A vector of integers, if the value is one.
    pub(super) fn dims(&self) -> Result<Dims, String> {
        match self {
            Self::Shape(dims) => Ok(dims.clone()),
            Self::Constant(c) => Ok(c.ints()?.iter().map(|v| Dim::Known(*v)).collect()),
            Self::Graph(_) => Err("a computed value where a shape is expected".into()),
        }
    }
}
