//! A loaded network.

use std::path::Path;

use crate::{
    ImportError, Pack, VisionError,
    graph::{Graph, Params},
    import,
    pack::manifest::NetworkFiles,
    reference,
};

/// One result of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Dimensions.
    pub dims: Vec<usize>,
    /// Elements in row-major order.
    pub data: Vec<f32>,
}

/// A network, ready to run on one picture at a time.
pub struct Network {
    name: String,
    graph: Graph,
    params: Params,
}

impl Network {
    /// Reads a network straight from an ONNX file, folded and fused as in a pack.
    ///
    /// # Errors
    /// `File`, `NotOnnx`, `Unsupported`.
    pub fn from_onnx(path: &Path) -> Result<Self, ImportError> {
        let (graph, params) = import::read(path)?;
        Ok(Self { name: path.display().to_string(), graph, params })
    }

    /// Loads a network of a pack; `name` is for messages.
    ///
    /// # Errors
    /// `Pack` where its files can't be used.
    pub(crate) fn load(pack: &Pack, name: &str, files: &NetworkFiles) -> Result<Self, VisionError> {
        let (graph, params) = pack.load(files)?;
        Ok(Self { name: name.to_owned(), graph, params })
    }

    /// Names of the outputs, in the order in which [`run`](Self::run) gives them.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.graph.outputs.iter().map(|o| o.name.as_str())
    }

    /// Runs on one input of `[1, C, H, W]`. Images among the outputs are `[1, C, H, W]`.
    ///
    /// # Errors
    /// `Network` where the input does not fit.
    pub fn run(&mut self, input: &[f32], size: [usize; 3]) -> Result<Vec<Output>, VisionError> {
        reference::run(&self.graph, &self.params, input, size)
            .map_err(|problem| VisionError::network(&self.name, problem))
    }

    /// As [`run`](Self::run), but images among the outputs are `[1, H, W, C]`.
    pub(crate) fn run_channels_last(
        &mut self,
        input: &[f32],
        size: [usize; 3],
    ) -> Result<Vec<Output>, VisionError> {
        Ok(self.run(input, size)?.into_iter().map(channels_last).collect())
    }

    /// Height and width of the input; 0 where any is accepted.
    pub(crate) fn input(&self) -> [usize; 2] {
        [self.graph.input[1], self.graph.input[2]]
    }

    /// Position of a named output.
    ///
    /// # Errors
    /// `Network` where there is no such output.
    pub(crate) fn output(&self, name: &str) -> Result<usize, VisionError> {
        let found = self.outputs().position(|o| o == name);
        found.ok_or_else(|| VisionError::network(&self.name, format!("there is no output {name}")))
    }
}

/// `[1, C, H, W]` as `[1, H, W, C]`; anything else as it is.
fn channels_last(output: Output) -> Output {
    let [1, c, h, w] = output.dims[..] else { return output };
    let data = (0..h * w).flat_map(|cell| output.data[cell..].iter().step_by(h * w).copied()).collect();
    Output { dims: vec![1, h, w, c], data }
}
