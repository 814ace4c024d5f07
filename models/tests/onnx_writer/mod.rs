//! Writes ONNX graphs with random weights: just enough protobuf for the tests.

#![allow(dead_code, unreachable_pub, reason = "a module of tests, each of which uses a part of it")]

use std::f32::consts::TAU;

/// A graph under construction. Values are named by their number.
pub struct Writer {
    graph: Vec<u8>,
    outputs: Vec<u8>,
    input: [usize; 3],
    count: usize,
    seed: u32,
    /// Gain of convolutions: 2 keeps the variance through ReLU (He et al. 2015).
    pub gain: f32,
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn bytes(to: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(to, field << 3 | 2);
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

fn number(to: &mut Vec<u8>, field: u64, value: i64) {
    varint(to, field << 3);
    varint(to, value as u64);
}

/// `ValueInfoProto`.
fn value(name: &str, dims: &[usize]) -> Vec<u8> {
    let mut shape = vec![];
    for d in dims {
        let mut dim = vec![];
        number(&mut dim, 1, *d as i64);
        bytes(&mut shape, 1, &dim);
    }
    let (mut tensor, mut kind, mut info) = (vec![], vec![], vec![]);
    number(&mut tensor, 1, 1);
    bytes(&mut tensor, 2, &shape);
    bytes(&mut kind, 1, &tensor);
    bytes(&mut info, 1, name.as_bytes());
    bytes(&mut info, 2, &kind);
    info
}

impl Writer {
    pub fn new(input: [usize; 3]) -> Self {
        Self { graph: vec![], outputs: vec![], input, count: 0, seed: 1, gain: 2.0 }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    fn uniform(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.seed >> 8) as f32 / (1 << 24) as f32
    }

    /// A constant of real numbers.
    pub fn tensor(&mut self, dims: &[usize], mut f: impl FnMut(&mut Self) -> f32) -> String {
        let name = self.name();
        let raw: Vec<u8> = (0..dims.iter().product()).flat_map(|_: usize| f(self).to_le_bytes()).collect();
        self.constant(&name, dims, 1, &raw);
        name
    }

    fn constant(&mut self, name: &str, dims: &[usize], kind: i64, raw: &[u8]) {
        let mut tensor = vec![];
        dims.iter().for_each(|d| number(&mut tensor, 1, *d as i64));
        number(&mut tensor, 2, kind);
        bytes(&mut tensor, 8, name.as_bytes());
        bytes(&mut tensor, 9, raw);
        bytes(&mut self.graph, 5, &tensor);
    }

    fn integers(&mut self, values: &[i64]) -> String {
        let name = self.name();
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(&name, &[values.len()], 7, &raw);
        name
    }

    /// Normal numbers (Box-Muller) of a standard deviation.
    fn weights(&mut self, dims: &[usize], deviation: f32) -> String {
        self.tensor(dims, |w| {
            (-2.0 * (1.0 - w.uniform()).ln()).sqrt() * (TAU * w.uniform()).cos() * deviation
        })
    }

    /// An operator with integer attributes; one number is a scalar where the name says so.
    pub fn node(&mut self, operator: &str, inputs: &[&str], attributes: &[(&str, Vec<i64>)]) -> String {
        let name = self.name();
        self.node_as(name, operator, inputs, attributes)
    }

    /// As [`Self::node`], with a name for its value.
    fn node_as(
        &mut self,
        name: String,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Vec<i64>)],
    ) -> String {
        let mut node = vec![];
        inputs.iter().for_each(|i| bytes(&mut node, 1, i.as_bytes()));
        bytes(&mut node, 2, name.as_bytes());
        bytes(&mut node, 4, operator.as_bytes());
        for (key, values) in attributes {
            let mut attribute = vec![];
            bytes(&mut attribute, 1, key.as_bytes());
            if matches!(*key, "group" | "axis" | "ceil_mode" | "transB") {
                number(&mut attribute, 3, values[0]);
                number(&mut attribute, 20, 2);
            } else {
                values.iter().for_each(|v| number(&mut attribute, 8, *v));
                number(&mut attribute, 20, 7);
            }
            bytes(&mut node, 5, &attribute);
        }
        bytes(&mut self.graph, 1, &node);
        name
    }

    #[expect(clippy::too_many_arguments, reason = "the parameters of a convolution")]
    pub fn conv(
        &mut self,
        x: &str,
        from: usize,
        to: usize,
        k: usize,
        s: usize,
        p: usize,
        g: usize,
        bias: bool,
    ) -> String {
        let weight = self.weights(&[to, from / g, k, k], (self.gain / (from / g * k * k) as f32).sqrt());
        let bias = bias.then(|| self.weights(&[to], 0.1));
        let inputs: Vec<&str> = [x, &weight].into_iter().chain(bias.as_deref()).collect();
        let (s, p, g) = (s as i64, p as i64, g as i64);
        self.node("Conv", &inputs, &[("strides", vec![s, s]), ("pads", vec![p; 4]), ("group", vec![g])])
    }

    pub fn batch_norm(&mut self, x: &str, channels: usize) -> String {
        let gamma = self.tensor(&[channels], |w| 0.6 + 0.4 * w.uniform());
        let beta = self.weights(&[channels], 0.1);
        let mean = self.weights(&[channels], 0.1);
        let variance = self.tensor(&[channels], |w| 0.7 + 0.6 * w.uniform());
        self.node("BatchNormalization", &[x, &gamma, &beta, &mean, &variance], &[])
    }

    pub fn prelu(&mut self, x: &str, channels: usize) -> String {
        let slope = self.tensor(&[channels, 1, 1], |w| 0.3 * w.uniform());
        self.node("PRelu", &[x, &slope], &[])
    }

    pub fn gemm(&mut self, x: &str, from: usize, to: usize) -> String {
        let weight = self.weights(&[to, from], (1.0 / from as f32).sqrt());
        let bias = self.weights(&[to], 0.1);
        self.node("Gemm", &[x, &weight, &bias], &[("transB", vec![1])])
    }

    pub fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.integers(shape);
        self.node("Reshape", &[x, &shape], &[])
    }

    /// `Resize` to another value's size, with the shape arithmetic that exporters write.
    pub fn resize_like(&mut self, x: &str, like: &str) -> String {
        let (zero, two, four) = (self.integers(&[0]), self.integers(&[2]), self.integers(&[4]));
        let own = self.node("Shape", &[x], &[]);
        let channels = self.node("Slice", &[&own, &zero, &two], &[]);
        let other = self.node("Shape", &[like], &[]);
        let size = self.node("Slice", &[&other, &two, &four], &[]);
        let size = self.node("Concat", &[&channels, &size], &[("axis", vec![0])]);
        self.node("Resize", &[x, "", "", &size], &[])
    }

    pub fn output(&mut self, name: &str) {
        bytes(&mut self.outputs, 12, &value(name, &[]));
    }

    /// An output under a name of its own.
    pub fn output_as(&mut self, name: &str, x: &str) {
        let output = self.node_as(name.to_owned(), "Sigmoid", &[x], &[]);
        self.output(&output);
    }

    /// The bytes of the file.
    pub fn finish(self) -> Vec<u8> {
        let mut graph = self.graph;
        bytes(&mut graph, 11, &value("input", &[1, self.input[0], self.input[1], self.input[2]]));
        graph.extend(self.outputs);
        let (mut opset, mut model) = (vec![], vec![]);
        number(&mut opset, 2, 13);
        number(&mut model, 1, 8);
        bytes(&mut model, 7, &graph);
        bytes(&mut model, 8, &opset);
        model
    }
}
