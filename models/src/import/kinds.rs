//! Whether an imported network is of the kind it was given as, and how it is used.

use std::path::Path;

use crate::{
    ImportError,
    graph::{Graph, Op, Params},
    pack::manifest::{ColorOrder, DetectorKind, DetectorLevel, Normalization},
    shapes::{self, Shape},
};

/// Strides of the three feature maps of both detector families.
const STRIDES: [usize; 3] = [8, 16, 32];

/// Anchors a cell of SCRFD.
pub(crate) const SCRFD_ANCHORS: usize = 2;

/// What a detector's manifest entry says beside its files.
pub(super) struct DetectorTraits {
    pub(super) input: Normalization,
    pub(super) levels: Vec<DetectorLevel>,
}

/// What an embedder's or liveness network's entry says beside its files.
pub(super) struct SquareTraits {
    pub(super) input: Normalization,
    pub(super) side: usize,
    pub(super) outputs: usize,
}

/// Finds out how a detector's outputs are named, and frees its input size where the graph allows.
pub(super) fn detector(
    path: &Path,
    kind: DetectorKind,
    graph: &mut Graph,
    params: &Params,
) -> Result<DetectorTraits, ImportError> {
    let wrong = |problem: String| ImportError::WrongKind {
        path: path.to_path_buf(),
        kind: match kind {
            DetectorKind::Yunet => "a YuNet detector",
            DetectorKind::Scrfd => "an SCRFD detector with key points",
        },
        problem,
    };
    let fixed = graph.input;
    graph.input = [fixed[0], 0, 0];
    // Sizes of different parity at every level: shape arithmetic that was fixed at export shows.
    let mut probe = [320, 416];
    if shapes::infer(graph, params, [fixed[0], probe[0], probe[1]]).is_err() {
        graph.input = fixed;
        probe = [fixed[1], fixed[2]].map(|d| if d == 0 { 640 } else { d });
    }
    let all = shapes::infer(graph, params, [fixed[0], probe[0], probe[1]]).map_err(&wrong)?;
    let outputs: Vec<(&str, &Shape)> =
        graph.outputs.iter().map(|o| (o.name.as_str(), &all[o.value])).collect();
    let (levels, input) = match kind {
        DetectorKind::Yunet => (yunet(&outputs), raw(ColorOrder::Bgr)),
        DetectorKind::Scrfd => {
            (scrfd(&outputs, probe), Normalization { color: ColorOrder::Rgb, mean: 127.5, deviation: 128.0 })
        }
    };
    let levels = levels.map_err(&wrong)?;
    for level in &levels {
        let cells = probe[0].div_ceil(level.stride) * probe[1].div_ceil(level.stride);
        let (anchors, objectness) = match kind {
            DetectorKind::Yunet => (1, level.objectness.as_ref()),
            DetectorKind::Scrfd => (SCRFD_ANCHORS, None),
        };
        let wanted =
            [(Some(&level.score), 1), (objectness, 1), (Some(&level.boxes), 4), (Some(&level.landmarks), 10)];
        for (name, width) in wanted.into_iter().filter_map(|(name, width)| Some((name?, width))) {
            let found = outputs.iter().find(|(n, _)| n == name).map_or(0, |(_, s)| s.iter().product());
            if found != cells * anchors * width {
                return Err(wrong(format!(
                    "output {name} has {found} numbers where {} are expected",
                    cells * anchors * width
                )));
            }
        }
    }
    Ok(DetectorTraits { input, levels })
}

/// Pixels as they are.
const fn raw(color: ColorOrder) -> Normalization {
    Normalization { color, mean: 0.0, deviation: 1.0 }
}

/// YuNet's outputs have one naming in all published files: `cls_8`, `obj_8`, `bbox_8`, `kps_8`...
fn yunet(outputs: &[(&str, &Shape)]) -> Result<Vec<DetectorLevel>, String> {
    let named = |kind: &str, stride: usize| {
        let name = format!("{kind}_{stride}");
        outputs
            .iter()
            .any(|(n, _)| *n == name)
            .then_some(name.clone())
            .ok_or(format!("there is no output {name}"))
    };
    STRIDES
        .into_iter()
        .map(|stride| {
            Ok(DetectorLevel {
                stride,
                score: named("cls", stride)?,
                objectness: Some(named("obj", stride)?),
                boxes: named("bbox", stride)?,
                landmarks: named("kps", stride)?,
            })
        })
        .collect()
}

/// SCRFD's outputs are numbered by exporters, so they are told apart by their shapes: the last
/// dimension (or the channels) says what they are, the number of cells says the stride.
fn scrfd(outputs: &[(&str, &Shape)], size: [usize; 2]) -> Result<Vec<DetectorLevel>, String> {
    let find = |stride: usize, width: usize, what: &str| {
        let cells = size[0].div_ceil(stride) * size[1].div_ceil(stride);
        let fits = |shape: &Shape| match shape[..] {
            [1, channels, h, w] => channels == width * SCRFD_ANCHORS && h * w == cells,
            _ => {
                shape.last() == Some(&width)
                    && shape.iter().product::<usize>() == cells * SCRFD_ANCHORS * width
            }
        };
        let mut found = outputs.iter().filter(|(_, shape)| fits(shape));
        match (found.next(), found.next()) {
            (Some((name, _)), None) => Ok((*name).to_owned()),
            (None, _) => Err(format!("no output looks like the {what} of stride {stride}")),
            _ => Err(format!("several outputs look like the {what} of stride {stride}")),
        }
    };
    STRIDES
        .into_iter()
        .map(|stride| {
            Ok(DetectorLevel {
                stride,
                score: find(stride, 1, "scores")?,
                objectness: None,
                boxes: find(stride, 4, "boxes")?,
                landmarks: find(stride, 10, "key points")?,
            })
        })
        .collect()
}

/// An embedder: a square face in, one vector out.
pub(super) fn embedder(
    path: &Path,
    color: ColorOrder,
    graph: &mut Graph,
    params: &Params,
) -> Result<SquareTraits, ImportError> {
    let (side, outputs) = square(path, "a face embedder", 112, graph, params)?;
    let input = Normalization { color, ..normalization(graph, params) };
    if !(16..=cavs_embedding::MAX_DIMENSION).contains(&outputs) {
        return Err(ImportError::WrongKind {
            path: path.to_path_buf(),
            kind: "a face embedder",
            problem: format!("the output has {outputs} components"),
        });
    }
    Ok(SquareTraits { input, side, outputs })
}

/// The convention of InsightFace's own loader: a network that starts by subtracting and multiplying takes
/// raw pixels; all others take (pixel - 127.5) / 127.5.
fn normalization(graph: &Graph, params: &Params) -> Normalization {
    let inside = graph
        .nodes
        .first()
        .is_some_and(|n| n.inputs == [0] && matches!(n.op, Op::Affine { .. }) && scalar(&n.op, params));
    if inside {
        raw(ColorOrder::Rgb)
    } else {
        Normalization { color: ColorOrder::Rgb, mean: 127.5, deviation: 127.5 }
    }
}

/// A landmark refiner: a square crop in, five points and a logit out.
pub(super) fn refiner(path: &Path, graph: &mut Graph, params: &Params) -> Result<SquareTraits, ImportError> {
    let kind = "a landmark refiner";
    let (side, outputs) = square(path, kind, 64, graph, params)?;
    if outputs != crate::refiner::OUTPUTS {
        let problem = format!("the output has {outputs} numbers where five points and a score are 11");
        return Err(ImportError::WrongKind { path: path.to_path_buf(), kind, problem });
    }
    Ok(SquareTraits { input: normalization(graph, params), side, outputs })
}

/// Whether an affine operator scales all channels alike, as a normalisation of pixels does; a
/// batch normalisation of the input, as some residual networks have, does not count.
fn scalar(op: &Op, params: &Params) -> bool {
    let Op::Affine { scale, bias, .. } = op else { return false };
    [scale, bias].iter().all(|name| params.get(*name).is_some_and(|p| p.data.len() == 1))
}

/// A liveness network: a square crop in, class probabilities out.
pub(super) fn liveness(path: &Path, graph: &mut Graph, params: &Params) -> Result<SquareTraits, ImportError> {
    let (side, outputs) = square(path, "a MiniFASNet liveness network", 80, graph, params)?;
    let softmax = graph.outputs.first().and_then(|o| graph.nodes.get(o.value.wrapping_sub(1)));
    if !(2..=8).contains(&outputs) || !softmax.is_some_and(|n| matches!(n.op, Op::Softmax { .. })) {
        return Err(ImportError::WrongKind {
            path: path.to_path_buf(),
            kind: "a MiniFASNet liveness network",
            problem: "the output is not a softmax over a few classes".into(),
        });
    }
    Ok(SquareTraits { input: raw(ColorOrder::Bgr), side, outputs })
}

/// Checks a network with a square input and one vector as output; fixes a free input size.
fn square(
    path: &Path,
    kind: &'static str,
    default: usize,
    graph: &mut Graph,
    params: &Params,
) -> Result<(usize, usize), ImportError> {
    let wrong = |problem: String| ImportError::WrongKind { path: path.to_path_buf(), kind, problem };
    let [channels, height, width] = graph.input.map(|d| if d == 0 { default } else { d });
    if channels != 3 || height != width || height > 512 {
        return Err(wrong(format!("the input is {channels}x{height}x{width}")));
    }
    graph.input = [channels, height, width];
    let all = shapes::infer(graph, params, graph.input).map_err(&wrong)?;
    let [output] = &graph.outputs[..] else {
        return Err(wrong(format!("{} outputs where one is expected", graph.outputs.len())));
    };
    match all[output.value][..] {
        [1, n] | [1, n, 1, 1] => Ok((height, n)),
        ref shape => Err(wrong(format!("the output is {shape:?}"))),
    }
}
