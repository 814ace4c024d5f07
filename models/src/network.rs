//! A loaded network: a candle module from pixels to the values of its outputs.

use std::{path::Path, sync::Arc};

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Storage, Tensor, WithDType};
use candle_nn::Module;
use parking_lot::Mutex;

use crate::{
    ComputeDevice, ImportError, Pack, VisionError,
    engine::Engine,
    graph::{Graph, Params},
    import,
    pack::manifest::{ColorOrder, NetworkFiles, Normalization},
    portable::{self, Portable},
    shapes::{self, Shape},
};

/// Height and width.
type InputSize = [usize; 2];

/// Pixels as they come from a picture: nothing is to be done to them.
const AS_THEY_ARE: Normalization = Normalization { color: ColorOrder::Rgb, mean: 0.0, deviation: 1.0 };

/// One result of a network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// Dimensions.
    pub dims: Vec<usize>,
    /// Elements in row-major order.
    pub data: Vec<f32>,
}

/// A network, ready to run: a [`Module`] from RGB pixels `[N, 3, H, W]`, 0-255 as u8 or f32 and in any
/// strides, to `[N, total]` f32, the outputs of each picture one after the other, images with their
/// channels last. The network's order of colours and its normalisation are part of it.
///
/// On the processor the whole network is one operator of candle's, the fused executor; on another
/// device it runs by candle's own operators.
pub struct Network {
    name: String,
    outputs: Vec<String>,
    /// Height and width; 0 where any is accepted.
    input: [usize; 2],
    /// Both sides of the input are multiples of this; what the picture does not fill is black.
    multiple: usize,
    normalization: Normalization,
    executor: Executor,
    /// Dimensions of the outputs for the last size of the input.
    dims: Mutex<Option<(InputSize, Arc<[Shape]>)>>,
}

enum Executor {
    Fused(Mutex<Engine>),
    Portable(Portable),
}

impl Network {
    /// Reads a network straight from an ONNX file, folded and fused as in a pack; its pixels are not
    /// normalised.
    ///
    /// # Errors
    /// `File`, `NotOnnx`, `Unsupported`; `NotOnnx` also where the device can't be used.
    pub fn from_onnx(path: &Path, device: ComputeDevice) -> Result<Self, ImportError> {
        let (graph, params) = import::read(path)?;
        let problem = |problem: String| ImportError::NotOnnx { path: path.to_path_buf(), problem };
        Self::new(&path.display().to_string(), graph, params, AS_THEY_ARE, device)
            .map_err(|e| problem(e.to_string()))
    }

    /// Loads a network of a pack; `name` is for messages.
    ///
    /// # Errors
    /// `Pack` where its files can't be used, `Network` where they do not fit together, `Option` where
    /// the device can't be used.
    pub(crate) fn load(
        pack: &Pack,
        name: &str,
        files: &NetworkFiles,
        normalization: Normalization,
        device: ComputeDevice,
    ) -> Result<Self, VisionError> {
        let (graph, params) = pack.load(files)?;
        Self::new(name, graph, params, normalization, device)
    }

    /// As [`load`](Self::load), for a network whose input is a square of this side.
    ///
    /// # Errors
    /// As [`load`](Self::load); `Network` where the side is another one.
    pub(crate) fn load_square(
        pack: &Pack,
        name: &str,
        files: &NetworkFiles,
        side: usize,
        normalization: Normalization,
        device: ComputeDevice,
    ) -> Result<Self, VisionError> {
        let network = Self::load(pack, name, files, normalization, device)?;
        if network.input() != [side, side] {
            return Err(VisionError::network(name, "the side in pack.toml is not the network's"));
        }
        Ok(network)
    }

    fn new(
        name: &str,
        graph: Graph,
        params: Params,
        normalization: Normalization,
        device: ComputeDevice,
    ) -> Result<Self, VisionError> {
        let outputs = graph.outputs.iter().map(|o| o.name.clone()).collect();
        let [_, height, width] = graph.input;
        let executor = match device.open()? {
            None => Engine::new(graph, params).map(|engine| Executor::Fused(Mutex::new(engine))),
            Some(device) => {
                Portable::new(graph, params, device).map(Executor::Portable).map_err(|e| e.to_string())
            }
        };
        Ok(Self {
            name: name.to_owned(),
            outputs,
            input: [height, width],
            multiple: 1,
            normalization,
            executor: executor.map_err(|problem| VisionError::network(name, problem))?,
            dims: Mutex::new(None),
        })
    }

    /// Names of the outputs, in their order.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(String::as_str)
    }

    /// Lets a run use several threads of the surrounding rayon pool.
    pub fn set_threads(&mut self, threads: usize) {
        match &mut self.executor {
            Executor::Fused(engine) => engine.get_mut().set_threads(threads),
            Executor::Portable(_) => {}
        }
    }

    /// Makes both sides of the input multiples of a number, by black below and to the right of the
    /// picture.
    pub(crate) fn set_multiple(&mut self, multiple: usize) {
        self.multiple = multiple;
    }

    /// Runs on one input of `[3, H, W]`; the outputs are in the dimensions that the graph gives them.
    ///
    /// # Errors
    /// `Network` where the input does not fit.
    pub fn run(
        &self,
        input: &[f32],
        [channels, height, width]: [usize; 3],
    ) -> Result<Vec<Output>, VisionError> {
        let pixels = Tensor::from_slice(input, (1, channels, height, width), &Device::Cpu);
        let outputs = pixels.map_err(|e| self.failed(e)).and_then(|pixels| self.outputs_of(&pixels))?;
        outputs.read(0, |values| {
            let dims = outputs.dims.iter();
            dims.zip(values)
                .map(|(dims, data)| Output { dims: dims.clone(), data: row_major(data, dims) })
                .collect()
        })
    }

    /// Height and width of the input; 0 where any is accepted.
    pub(crate) fn input(&self) -> [usize; 2] {
        self.input
    }

    /// Height and width of the input for a picture of `[height, width]`.
    pub(crate) fn padded(&self, picture: [usize; 2]) -> [usize; 2] {
        let [h, w] = picture.map(|side| side.next_multiple_of(self.multiple));
        match self.input {
            [0, _] | [_, 0] => [h, w],
            fixed => fixed,
        }
    }

    /// Position of a named output.
    ///
    /// # Errors
    /// `Network` where there is no such output.
    pub(crate) fn output(&self, name: &str) -> Result<usize, VisionError> {
        let found = self.outputs().position(|o| o == name);
        found.ok_or_else(|| self.failed(format!("there is no output {name}")))
    }

    /// As [`Module::forward`], with the outputs of each picture apart.
    ///
    /// # Errors
    /// `Network` where the input does not fit.
    pub(crate) fn outputs_of(&self, pixels: &Tensor) -> Result<Outputs<'_>, VisionError> {
        let values = self.forward(pixels).and_then(|values| values.to_device(&Device::Cpu));
        let values = values.map_err(|e| self.failed(e))?;
        let (_, _, height, width) = pixels.dims4().map_err(|e| self.failed(e))?;
        let dims = self.dims(self.padded([height, width])).map_err(|e| self.failed(e))?;
        Ok(Outputs { network: self, values, dims })
    }

    /// Dimensions of the outputs of one picture.
    fn dims(&self, [height, width]: [usize; 2]) -> Result<Arc<[Shape]>, String> {
        let mut known = self.dims.lock();
        if let Some((size, dims)) = &*known
            && *size == [height, width]
        {
            return Ok(Arc::clone(dims));
        }
        let infer = |graph: &Graph, params: &Params| -> Result<Arc<[Shape]>, String> {
            let shapes = shapes::infer(graph, params, [3, height, width])?;
            Ok(graph.outputs.iter().map(|o| shapes[o.value].clone()).collect())
        };
        let dims = match &self.executor {
            Executor::Fused(engine) => {
                let engine = engine.lock();
                infer(engine.graph(), engine.params())
            }
            Executor::Portable(portable) => infer(portable.graph(), portable.params()),
        }?;
        *known = Some(([height, width], Arc::clone(&dims)));
        Ok(dims)
    }

    fn failed(&self, problem: impl ToString) -> VisionError {
        VisionError::network(&self.name, problem)
    }
}

impl Module for Network {
    fn forward(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
        let (_, channels, height, width) = pixels.dims4()?;
        let padded = self.padded([height, width]);
        if channels != 3 || height > padded[0] || width > padded[1] {
            candle_core::bail!(
                "pictures of {channels}x{height}x{width} where 3x{}x{} is expected",
                padded[0],
                padded[1]
            );
        }
        match &self.executor {
            Executor::Fused(engine) => {
                pixels.apply_op1_no_bwd(&Fused { engine, padded, normalization: self.normalization })
            }
            Executor::Portable(portable) => {
                let Normalization { color, mean, deviation } = self.normalization;
                let swap = matches!(color, ColorOrder::Bgr);
                let device = portable.device();
                portable.run(&portable::normalized(pixels, padded, swap, mean, deviation, device)?)
            }
        }
    }
}

/// What a network said of one or several pictures.
pub(crate) struct Outputs<'a> {
    network: &'a Network,
    /// `[N, total]` f32 on the processor.
    values: Tensor,
    dims: Arc<[Shape]>,
}

impl Outputs<'_> {
    /// Lends the elements of each output of one picture, images with their channels last.
    ///
    /// # Errors
    /// `Network` where there is no such picture.
    pub(crate) fn read<R>(
        &self,
        picture: usize,
        read: impl FnOnce(&[&[f32]]) -> R,
    ) -> Result<R, VisionError> {
        let wrong = || self.network.failed("there is no such output");
        let (storage, layout) = self.values.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { return Err(wrong()) };
        let all = storage.as_slice::<f32>().map_err(|e| self.network.failed(e))?;
        let total = self.dims.iter().map(|d| d.iter().product::<usize>()).sum::<usize>();
        let start = layout.start_offset() + picture * total;
        let mut rest = all.get(start..start + total).ok_or_else(wrong)?;
        let mut values = Vec::with_capacity(self.dims.len());
        for dims in self.dims.iter() {
            let (value, after) = rest.split_at(dims.iter().product());
            values.push(value);
            rest = after;
        }
        Ok(read(&values))
    }
}

/// Pixels of pictures of one size, row by row and with their channels together, as `[N, 3, H, W]`.
///
/// # Errors
/// `Network` where they are not as many.
pub(crate) fn pixels<T: WithDType>(
    data: Vec<T>,
    [count, height, width]: [usize; 3],
) -> Result<Tensor, VisionError> {
    Tensor::from_vec(data, (count, height, width, 3), &Device::Cpu)
        .and_then(|pixels| pixels.permute((0, 3, 1, 2)))
        .map_err(|e| VisionError::network("input", e))
}

/// An image with its channels last in row-major order; other values are in it already.
fn row_major(data: &[f32], dims: &[usize]) -> Vec<f32> {
    let [_, channels, height, width] = dims[..] else { return data.to_vec() };
    let plane = height * width;
    let mut rows = vec![0.0; data.len()];
    for (at, pixel) in data.chunks_exact(channels.max(1)).enumerate() {
        pixel.iter().enumerate().for_each(|(channel, value)| rows[channel * plane + at] = *value);
    }
    rows
}

/// A whole network as one operator of candle's.
struct Fused<'a> {
    engine: &'a Mutex<Engine>,
    /// Height and width of the network's input.
    padded: [usize; 2],
    normalization: Normalization,
}

impl Fused<'_> {
    /// Runs on each picture; gives all outputs one after the other.
    fn run<T: WithDType>(
        &self,
        data: &[T],
        layout: &Layout,
        value: fn(T) -> f32,
    ) -> Result<Vec<f32>, String> {
        let (count, _, height, width) = layout.shape().dims4().map_err(|e| e.to_string())?;
        let &[next, channel, row, column] = layout.stride() else {
            return Err("four strides are expected".into());
        };
        let data = data.get(layout.start_offset()..).ok_or("the pixels are missing")?;
        let black = normalize([0.0; 3], &self.normalization);
        let mut engine = self.engine.lock();
        let mut all = vec![];
        for picture in 0..count {
            let mut view = engine.input([3, self.padded[0], self.padded[1]])?;
            for y in 0..self.padded[0] {
                let filled = if y < height { width } else { 0 };
                let start = picture * next + y * row;
                let dark = std::iter::repeat_n(black, self.padded[1] - filled);
                if (channel, column) == (1, 3) {
                    let line = data.get(start..start + 3 * filled).unwrap_or_default().as_chunks::<3>().0;
                    let pixels = line.iter().map(|pixel| normalize(pixel.map(value), &self.normalization));
                    view.row(y, pixels.chain(dark));
                } else {
                    let at = |x: usize, c: usize| value(data[start + x * column + c * channel]);
                    let pixels =
                        (0..filled).map(|x| normalize([at(x, 0), at(x, 1), at(x, 2)], &self.normalization));
                    view.row(y, pixels.chain(dark));
                }
            }
            engine.run()?;
            let outputs = engine.graph().outputs.len();
            for at in 0..outputs {
                engine.output(at).ok_or("there is no output")?.append_channels_last(&mut all);
            }
            if picture == 0 {
                all.reserve_exact(all.len() * (count - 1));
            }
        }
        Ok(all)
    }
}

impl CustomOp1 for Fused<'_> {
    fn name(&self) -> &'static str {
        "face-network"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, candle_core::Shape)> {
        let count = layout.dims()[0];
        let all = if let CpuStorage::U8(data) = storage {
            self.run(data, layout, f32::from)
        } else {
            self.run(storage.as_slice::<f32>()?, layout, |v| v)
        };
        let all = all.map_err(candle_core::Error::msg)?;
        let total = all.len() / count.max(1);
        Ok((CpuStorage::F32(all), (count, total).into()))
    }
}

/// A pixel as the network wants it.
fn normalize([r, g, b]: [f32; 3], input: &Normalization) -> [f32; 3] {
    let ordered = match input.color {
        ColorOrder::Rgb => [r, g, b],
        ColorOrder::Bgr => [b, g, r],
    };
    ordered.map(|v| (v - input.mean) / input.deviation)
}
