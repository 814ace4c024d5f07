//! A loaded network.

use std::path::Path;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor};

use crate::{
    ImportError, Pack, VisionError,
    engine::{Engine, InputView, OutputView},
    graph::{Graph, Params},
    import,
    pack::manifest::NetworkFiles,
    reference,
};

/// One result of a network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// Dimensions.
    pub dims: Vec<usize>,
    /// Elements in row-major order.
    pub data: Vec<f32>,
}

/// A network, ready to run on one picture at a time.
pub struct Network {
    name: String,
    engine: Engine,
}

impl Network {
    /// Reads a network straight from an ONNX file, folded and fused as in a pack.
    ///
    /// # Errors
    /// `File`, `NotOnnx`, `Unsupported`.
    pub fn from_onnx(path: &Path) -> Result<Self, ImportError> {
        let (graph, params) = import::read(path)?;
        let engine = Engine::new(graph, params)
            .map_err(|problem| ImportError::NotOnnx { path: path.to_path_buf(), problem })?;
        Ok(Self { name: path.display().to_string(), engine })
    }

    /// Loads a network of a pack; `name` is for messages.
    ///
    /// # Errors
    /// `Pack` where its files can't be used, `Network` where they do not fit together.
    pub(crate) fn load(pack: &Pack, name: &str, files: &NetworkFiles) -> Result<Self, VisionError> {
        let (graph, params) = pack.load(files)?;
        Self::new(name, graph, params)
    }

    fn new(name: &str, graph: Graph, params: Params) -> Result<Self, VisionError> {
        let engine = Engine::new(graph, params).map_err(|problem| VisionError::network(name, problem))?;
        Ok(Self { name: name.to_owned(), engine })
    }

    /// Names of the outputs, in the order in which [`run`](Self::run) gives them.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.engine.graph().outputs.iter().map(|o| o.name.as_str())
    }

    /// Lets a run use several threads of the surrounding rayon pool.
    pub fn set_threads(&mut self, threads: usize) {
        self.engine.set_threads(threads);
    }

    /// Runs on one input of `[1, 3, H, W]`. Images among the outputs are `[1, C, H, W]`.
    ///
    /// # Errors
    /// `Network` where the input does not fit.
    pub fn run(&mut self, input: &[f32], size: [usize; 3]) -> Result<Vec<Output>, VisionError> {
        self.set_input(input, size)?;
        self.execute()?;
        Ok((0..self.outputs().count()).filter_map(|at| self.read(at)).collect())
    }

    /// As [`run`](Self::run), by candle's own convolutions and plain loops: slow, and the meaning of
    /// the operators against which the fast executor is tested.
    ///
    /// # Errors
    /// `Network` where the input does not fit.
    pub fn run_reference(&self, input: &[f32], size: [usize; 3]) -> Result<Vec<Output>, VisionError> {
        reference::run(self.engine.graph(), self.engine.params(), input, size).map_err(|e| self.failed(e))
    }

    /// As [`run`](Self::run) for candle tensors on the CPU: an input of `[1, 3, H, W]` f32, one
    /// tensor per output.
    ///
    /// # Errors
    /// `Network` where the input does not fit.
    pub fn forward(&mut self, input: &Tensor) -> Result<Vec<Tensor>, VisionError> {
        let op = NetworkOp(std::sync::Mutex::new(self));
        let joined = input.apply_op1_no_bwd(&op);
        let this = op.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let split = |joined: Tensor| -> candle_core::Result<Vec<Tensor>> {
            let mut first = 0;
            let mut tensors = Vec::new();
            for at in 0..this.outputs().count() {
                let Some(output) = this.engine.output(at) else { continue };
                let count = output.dims.iter().product();
                tensors.push(joined.narrow(0, first, count)?.reshape(output.dims)?);
                first += count;
            }
            Ok(tensors)
        };
        joined.and_then(split).map_err(|e| this.failed(e.to_string()))
    }

    /// Height and width of the input; 0 where any is accepted.
    pub(crate) fn input(&self) -> [usize; 2] {
        let [_, height, width] = self.engine.graph().input;
        [height, width]
    }

    /// Position of a named output.
    ///
    /// # Errors
    /// `Network` where there is no such output.
    pub(crate) fn output(&self, name: &str) -> Result<usize, VisionError> {
        let found = self.outputs().position(|o| o == name);
        found.ok_or_else(|| self.failed(format!("there is no output {name}")))
    }

    /// Lends the memory of an input of `[3, height, width]`; every pixel must be written.
    ///
    /// # Errors
    /// `Network` where the network can't run on such an input.
    pub(crate) fn prepare(&mut self, [height, width]: [usize; 2]) -> Result<InputView<'_>, VisionError> {
        let name = &self.name;
        self.engine.input([3, height, width]).map_err(|problem| VisionError::network(name, problem))
    }

    /// Runs on the input that was written last; may be repeated.
    ///
    /// # Errors
    /// `Network` where no input was written.
    pub fn execute(&mut self) -> Result<(), VisionError> {
        let name = &self.name;
        self.engine.run().map_err(|problem| VisionError::network(name, problem))
    }

    /// An output of the last run.
    ///
    /// # Errors
    /// `Network` where there was no run.
    pub(crate) fn view(&self, at: usize) -> Result<OutputView<'_>, VisionError> {
        self.engine.output(at).ok_or_else(|| self.failed("there is no output".into()))
    }

    /// Writes an input in the order `[3, H, W]`, for [`execute`](Self::execute).
    ///
    /// # Errors
    /// `Network` where the input does not fit.
    pub fn set_input(
        &mut self,
        input: &[f32],
        [channels, height, width]: [usize; 3],
    ) -> Result<(), VisionError> {
        let plane = height * width;
        if channels != 3 || plane == 0 || input.len() != 3 * plane {
            return Err(self.failed(format!("{} numbers for {channels}x{height}x{width}", input.len())));
        }
        let mut view = self.prepare([height, width])?;
        let (red, rest) = input.split_at(plane);
        let (green, blue) = rest.split_at(plane);
        let rows = red.chunks_exact(width).zip(green.chunks_exact(width)).zip(blue.chunks_exact(width));
        for (row, ((r, g), b)) in rows.enumerate() {
            view.row(row, r.iter().zip(g).zip(b).map(|((r, g), b)| [*r, *g, *b]));
        }
        Ok(())
    }

    fn read(&self, at: usize) -> Option<Output> {
        let view = self.engine.output(at)?;
        let mut output = Output { dims: view.dims.to_vec(), data: vec![] };
        view.row_major(&mut output.data);
        Some(output)
    }

    fn failed(&self, problem: String) -> VisionError {
        VisionError::network(&self.name, problem)
    }
}

/// A whole network as one operator of candle; its outputs come one after the other.
struct NetworkOp<'a>(std::sync::Mutex<&'a mut Network>);

impl CustomOp1 for NetworkOp<'_> {
    fn name(&self) -> &'static str {
        "face-network"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (1, channels, height, width) = layout.shape().dims4()? else {
            candle_core::bail!("one picture at a time");
        };
        if storage.as_slice::<f32>().is_err() || !layout.is_contiguous() {
            candle_core::bail!("a contiguous tensor of {:?} is expected", DType::F32);
        }
        let input = &storage.as_slice::<f32>()?[layout.start_offset()..][..channels * height * width];
        let mut network = self.0.lock().map_err(|_| candle_core::Error::Msg("a run panicked".into()))?;
        let outputs = network.run(input, [channels, height, width]).map_err(candle_core::Error::wrap)?;
        let all: Vec<f32> = outputs.into_iter().flat_map(|o| o.data).collect();
        let count = all.len();
        Ok((CpuStorage::F32(all), Shape::from(count)))
    }
}
