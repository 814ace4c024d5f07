//! Reads ONNX files: protobuf bytes to nodes, attributes and constant tensors, all checked.

pub(crate) mod proto;

use std::collections::HashMap;

use prost::Message;

/// Most elements of one tensor: 1 GiB of f32, far above any face network's layer.
const MAX_ELEMENTS: usize = 1 << 28;

/// A constant tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Constant {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data,
}

/// Elements of a constant. Half and double precision become f32, all integers i64.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Constant {
    /// The elements of a floating-point constant.
    pub(crate) fn floats(&self) -> Result<&[f32], String> {
        match &self.data {
            Data::Float(v) => Ok(v),
            Data::Int(_) => Err("an integer constant where real numbers are expected".into()),
        }
    }

    /// The elements of an integer constant.
    pub(crate) fn ints(&self) -> Result<&[i64], String> {
        match &self.data {
            Data::Int(v) => Ok(v),
            Data::Float(_) => Err("a real constant where integers are expected".into()),
        }
    }
}

/// One operator of the graph.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) operator: String,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    attributes: HashMap<String, proto::Attribute>,
}

impl Node {
    /// An integer attribute, or the specification's default.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attributes.get(name).map_or(default, |a| a.i)
    }

    /// A real attribute, or the specification's default.
    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.attributes.get(name).map_or(default, |a| a.f)
    }

    /// A list of integers, where given.
    pub(crate) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attributes.get(name).map(|a| a.ints.as_slice())
    }

    /// A text attribute, or the specification's default.
    pub(crate) fn text<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, String> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(a) => std::str::from_utf8(&a.s).map_err(|_| format!("attribute {name} is no text")),
        }
    }

    /// A tensor attribute, where given.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Constant>, String> {
        self.attributes.get(name).and_then(|a| a.t.as_ref()).map(constant).transpose()
    }

    /// Whether an attribute is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    /// A non-empty input name; ONNX leaves optional inputs out by an empty name.
    pub(crate) fn input(&self, at: usize) -> Option<&str> {
        self.inputs.get(at).map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// A network as the file says it.
#[derive(Debug)]
pub(crate) struct Onnx {
    /// Version of the default operator set.
    pub(crate) opset: i64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) constants: HashMap<String, Constant>,
    /// Name and dimensions (0 where symbolic) of the network's one input.
    pub(crate) input: (String, Vec<usize>),
    pub(crate) outputs: Vec<String>,
}

impl Onnx {
    /// Parses the bytes of an ONNX file.
    ///
    /// Memory stays within a constant factor of the length of the bytes.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let model = proto::Model::decode(bytes).map_err(|e| e.to_string())?;
        let opset = model.opset_import.iter().find(|o| o.domain.is_empty() || o.domain == "ai.onnx");
        let opset = opset.ok_or("the default operator set is not named")?.version;
        let graph = model.graph.ok_or("there is no graph")?;
        let mut constants = HashMap::new();
        for tensor in &graph.initializer {
            let value = constant(tensor).map_err(|e| format!("tensor {}: {e}", tensor.name))?;
            if constants.insert(tensor.name.clone(), value).is_some() {
                return Err(format!("tensor {} is there twice", tensor.name));
            }
        }
        let mut inputs = graph.input.iter().filter(|i| !constants.contains_key(&i.name));
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            return Err("a network with exactly one input is expected".into());
        };
        let input = (input.name.clone(), dimensions(input));
        let outputs: Vec<_> = graph.output.into_iter().map(|o| o.name).collect();
        if outputs.is_empty() {
            return Err("there is no output".into());
        }
        let nodes = graph.node.into_iter().enumerate().map(|(at, node)| self::node(at, node));
        let nodes = nodes.collect::<Result<_, _>>()?;
        Ok(Self { opset, nodes, constants, input, outputs })
    }
}

fn dimensions(value: &proto::ValueInfo) -> Vec<usize> {
    let shape = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).and_then(|t| t.shape.as_ref());
    shape.map_or_else(Vec::new, |s| s.dim.iter().map(|d| usize::try_from(d.dim_value).unwrap_or(0)).collect())
}

fn node(at: usize, node: proto::Node) -> Result<Node, String> {
    let name = if node.name.is_empty() {
        node.output.first().cloned().unwrap_or_else(|| format!("#{at}"))
    } else {
        node.name
    };
    if !node.domain.is_empty() && node.domain != "ai.onnx" {
        return Err(format!("node {name}: operators of the domain {} are unknown", node.domain));
    }
    let attributes = node.attribute.into_iter().map(|a| (a.name.clone(), a)).collect();
    Ok(Node { name, operator: node.op_type, inputs: node.input, outputs: node.output, attributes })
}

/// Converts a tensor; its element types are numbered in `TensorProto.DataType`.
fn constant(tensor: &proto::Tensor) -> Result<Constant, String> {
    if tensor.data_location != 0 {
        return Err("external data is not supported; save the model with its weights inside".into());
    }
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|d| usize::try_from(*d).ok()).collect();
    let dims = dims.ok_or("a dimension is negative")?;
    let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= MAX_ELEMENTS);
    let count = count.ok_or("the tensor is too large")?;
    let raw = &tensor.raw_data;
    let data = match tensor.data_type {
        1 if raw.is_empty() => Data::Float(tensor.float_data.clone()),
        1 => Data::Float(elements(raw, f32::from_le_bytes)?),
        6 if raw.is_empty() => Data::Int(tensor.int32_data.iter().map(|v| i64::from(*v)).collect()),
        6 => Data::Int(elements(raw, |b| i64::from(i32::from_le_bytes(b)))?),
        7 if raw.is_empty() => Data::Int(tensor.int64_data.clone()),
        7 => Data::Int(elements(raw, i64::from_le_bytes)?),
        10 if raw.is_empty() => Data::Float(tensor.int32_data.iter().map(|v| half(*v as u16)).collect()),
        10 => Data::Float(elements(raw, |b| half(u16::from_le_bytes(b)))?),
        11 if raw.is_empty() => Data::Float(tensor.double_data.iter().map(|v| *v as f32).collect()),
        11 => Data::Float(elements(raw, |b| f64::from_le_bytes(b) as f32)?),
        other => return Err(format!("element type {other} is not supported")),
    };
    let length = match &data {
        Data::Float(v) => v.len(),
        Data::Int(v) => v.len(),
    };
    if length != count {
        return Err(format!("{length} elements where the dimensions say {count}"));
    }
    if let Data::Float(v) = &data
        && v.iter().any(|x| !x.is_finite())
    {
        return Err("an element is not finite".into());
    }
    Ok(Constant { dims, data })
}

fn elements<const N: usize, T>(raw: &[u8], convert: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (chunks, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are no whole number of elements", raw.len()));
    }
    Ok(chunks.iter().map(|c| convert(*c)).collect())
}

/// IEEE 754 half precision to single.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        e => (1024.0 + fraction) * 2f32.powi(e - 25),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_precision() {
        for (bits, value) in [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2f32.powi(-24))] {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn a_tensor_must_hold_what_it_claims() {
        let tensor = proto::Tensor { dims: vec![i64::MAX, i64::MAX], data_type: 1, ..Default::default() };
        assert!(constant(&tensor).is_err());
        let tensor =
            proto::Tensor { dims: vec![2], data_type: 1, raw_data: vec![0; 9], ..Default::default() };
        assert!(constant(&tensor).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Onnx::parse(&bytes);
        }
    }
}
