//! Shape arithmetic: exporters compute target shapes from other values' dimensions
//! (`Shape` -> `Gather` -> `Unsqueeze` -> `Concat` -> `Reshape`). It is followed symbolically.

use super::lower::{Lowering, Value};
use crate::{
    graph::ValueId,
    onnx::{Constant, Data, Node},
};

/// One element of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dim {
    Known(i64),
    /// Dimension of a value.
    Of(ValueId, usize),
}

pub(super) type Dims = Vec<Dim>;

/// All four dimensions of an image. `Shape` of lower ranks is not used by these networks; reading
/// an axis that does not exist fails where the shape is used.
pub(super) fn of(value: ValueId) -> Dims {
    (0..4).map(|axis| Dim::Of(value, axis)).collect()
}

/// Evaluates a node over shapes and constants.
pub(super) fn step(lowering: &Lowering, node: &Node) -> Result<Value, String> {
    let first = lowering.value(node, 0)?;
    match node.operator.as_str() {
        "Unsqueeze" | "Squeeze" => regroup(lowering, node, first),
        "Floor" => Ok(first.clone()),
        "Gather" => gather(lowering, node, first).map(Value::Shape),
        "Slice" => slice(lowering, node, first).map(Value::Shape),
        _ => {
            let mut all = Dims::new();
            for at in 0..node.inputs.len() {
                all.extend(lowering.value(node, at)?.dims()?);
            }
            // All known: an ordinary constant again.
            let known: Option<Vec<i64>> = all
                .iter()
                .map(|d| match d {
                    Dim::Known(v) => Some(*v),
                    Dim::Of(..) => None,
                })
                .collect();
            Ok(match known {
                Some(v) => Value::Constant(Constant { dims: vec![v.len()], data: Data::Int(v) }),
                None => Value::Shape(all),
            })
        }
    }
}

/// `Unsqueeze` and `Squeeze` move no elements; a vector of dimensions stays one.
fn regroup(lowering: &Lowering, node: &Node, value: &Value) -> Result<Value, String> {
    let Value::Constant(constant) = value else { return Ok(value.clone()) };
    let axes = match node.ints("axes") {
        Some(axes) => axes.to_vec(),
        None => lowering.optional(node, 1)?.map_or(Ok(vec![]), |c| c.ints().map(<[i64]>::to_vec))?,
    };
    let mut dims = constant.dims.clone();
    if node.operator == "Unsqueeze" {
        let rank = dims.len() + axes.len();
        let mut axes: Vec<usize> = axes.iter().map(|a| axis(*a, rank)).collect::<Result<_, _>>()?;
        axes.sort_unstable();
        for at in axes {
            if at > dims.len() {
                return Err("an axis is out of range".into());
            }
            dims.insert(at, 1);
        }
    } else {
        let axes: Vec<usize> = axes.iter().map(|a| axis(*a, dims.len())).collect::<Result<_, _>>()?;
        let mut at = 0;
        dims.retain(|d| {
            at += 1;
            !(*d == 1 && (axes.is_empty() || axes.contains(&(at - 1))))
        });
    }
    Ok(Value::Constant(Constant { dims, data: constant.data.clone() }))
}

fn gather(lowering: &Lowering, node: &Node, value: &Value) -> Result<Dims, String> {
    let dims = value.dims()?;
    let indices = lowering.constant(node, 1)?.ints()?;
    indices.iter().map(|i| Ok(dims[axis(*i, dims.len())?])).collect()
}

fn slice(lowering: &Lowering, node: &Node, value: &Value) -> Result<Dims, String> {
    let dims = value.dims()?;
    let bound = |name: &str, at: usize| -> Result<i64, String> {
        match node.ints(name) {
            Some([v]) => Ok(*v),
            Some(_) => Err(format!("{name}: one number is expected")),
            None => match lowering.constant(node, at)?.ints()? {
                [v] => Ok(*v),
                _ => Err(format!("{name}: one number is expected")),
            },
        }
    };
    if let Some(steps) = lowering.optional(node, 4)?
        && steps.ints()? != [1]
    {
        return Err("steps other than 1 are not supported".into());
    }
    let length = dims.len() as i64;
    let clamp = |v: i64| (if v < 0 { v.saturating_add(length) } else { v }).clamp(0, length) as usize;
    let (start, end) = (clamp(bound("starts", 1)?), clamp(bound("ends", 2)?));
    Ok(dims.get(start..end).unwrap_or_default().to_vec())
}

/// An axis, counted from the end where negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    from_start
        .and_then(|a| usize::try_from(a).ok())
        .filter(|a| *a < rank)
        .ok_or_else(|| format!("axis {axis} is out of range"))
}
