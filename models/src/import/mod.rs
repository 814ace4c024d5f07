//! From ONNX files to a pack.

mod builder;
mod calibrate;
mod kinds;
mod lower;
mod operators;
mod shape;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cavs_embedding::PackDigest;

pub use self::calibrate::CalibrationProgress;
pub(crate) use self::kinds::SCRFD_ANCHORS;

use crate::{
    Calibration, ColorOrder, ImportError, Pack, PackError, Precision, Thresholds,
    graph::{Graph, Params},
    onnx::Onnx,
    pack::manifest::{
        BOX_SCALES, BOX_SHIFTS, CalibrationFile, DetectorEntry, DetectorKind, EmbedderEntry, FORMAT, FileRef,
        LARGEST_FACES, LONG_SIDES, LivenessEntry, Manifest, NetworkFiles, RefinerEntry, ThresholdValues,
    },
    weights,
};

/// Longest ONNX file: the largest embedder that people use (IResNet-100) has 250 MB.
const MAX_ONNX_BYTES: u64 = 1 << 30;

/// A detector's ONNX file and its family, which says how its outputs are decoded.
#[derive(Debug, Clone)]
pub enum DetectorSource {
    /// YuNet (libfacedetection).
    Yunet(PathBuf),
    /// SCRFD with key points (InsightFace).
    Scrfd(PathBuf),
}

/// A landmark refiner's ONNX file, and which crop it was trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct RefinerSource {
    /// A square crop around a detection in; x and y of five points, in halves of the crop's side from its
    /// middle, and a logit out.
    pub file: PathBuf,
    /// Side of the crop as a multiple of the root of the box's area, 0.5 to 4.
    pub box_scale: f32,
    /// How much lower than that of the box its middle is, as a multiple of the same, -1 to 1.
    pub box_shift: f32,
}

/// The ONNX files of a pack, and what its manifest says of them.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The detector's file and kind.
    pub detector: DetectorSource,
    /// Longest side of the faces that the detector was made for, in pixels of its input: what is
    /// larger is looked for in a smaller picture. `None` where it has no such limit.
    pub largest_face: Option<f32>,
    /// The longer side, in pixels, to which pictures are scaled for the detector where nobody says
    /// otherwise; 640 where `None`.
    pub detect_long_side: Option<u32>,
    /// The refiner, where the pack is to have one.
    pub refiner: Option<RefinerSource>,
    /// The embedder: 112x112 aligned faces in, one vector out.
    pub embedder: PathBuf,
    /// The order in which the embedder takes colours.
    pub embedder_color: ColorOrder,
    /// MiniFASNet files, each with the factor by which the face box is scaled before the crop.
    pub liveness: Vec<(f32, PathBuf)>,
    /// Name of the pack.
    pub name: String,
    /// Version of the pack.
    pub version: String,
    /// Terms of the weights.
    pub license: String,
    /// Where the weights came from.
    pub source: String,
    /// A TOML file with the tables `thresholds` and `calibration`; the cautious defaults where `None`.
    pub calibration: Option<PathBuf>,
    /// Instead of it: a folder with pictures of people, a folder each, from which they are measured.
    pub calibrate: Option<PathBuf>,
    /// How the weights are stored.
    pub precision: Precision,
    /// The folder to make; it must not exist.
    pub out: PathBuf,
}

/// As [`import_and_tell`], without telling.
///
/// # Errors
/// Any [`ImportError`]; nothing is left behind.
pub fn import(options: &ImportOptions) -> Result<PackDigest, ImportError> {
    import_and_tell(options, &mut |_| {})
}

/// Reads ONNX files and writes a pack. The folder appears complete or not at all. Where it is to be
/// calibrated, `told` hears of each picture.
///
/// # Errors
/// Any [`ImportError`]; nothing is left behind.
pub fn import_and_tell(
    options: &ImportOptions,
    told: &mut dyn FnMut(CalibrationProgress),
) -> Result<PackDigest, ImportError> {
    check(options)?;
    let parent = match options.out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(ImportError::file(parent))?;
    let folder = tempfile::Builder::new().prefix(".cavs-import-").tempdir_in(parent);
    let folder = folder.map_err(ImportError::file(parent))?;
    let mut manifest = write(options, folder.path())?;
    let mut pack = Pack::open(folder.path())?;
    if let Some(pictures) = &options.calibrate {
        let measured = calibrate::calibrate(&pack, pictures, told)?;
        (manifest.thresholds, manifest.calibration) = (measured.thresholds, measured.calibration);
        write_manifest(&manifest, folder.path())?;
        pack = Pack::open(folder.path())?;
    }
    let digest = pack.digest();
    // rename() replaces an empty folder silently, so the check is made again at the last moment.
    if options.out.symlink_metadata().is_ok() {
        return Err(ImportError::OutputExists(options.out.clone()));
    }
    share(folder.path())
        .and_then(|()| fs::rename(folder.path(), &options.out))
        .map_err(ImportError::file(&options.out))?;
    // The folder has moved: there is nothing for the guard to remove.
    let _ = folder.keep();
    Ok(digest)
}

fn check(options: &ImportOptions) -> Result<(), ImportError> {
    if options.out.symlink_metadata().is_ok() {
        return Err(ImportError::OutputExists(options.out.clone()));
    }
    let wrong = |option, problem: &str| ImportError::Option { option, problem: problem.to_owned() };
    if options.name.trim().is_empty() {
        return Err(wrong("name", "a pack needs a name"));
    }
    if options.license.trim().is_empty() {
        return Err(wrong("license", "say under which terms the weights may be used"));
    }
    if options.largest_face.is_some_and(|side| !LARGEST_FACES.contains(&side)) {
        return Err(wrong("largest-face", "must be between 32 and 4096 pixels"));
    }
    if options.detect_long_side.is_some_and(|side| !LONG_SIDES.contains(&side)) {
        return Err(wrong("detect-long-side", "must be between 32 and 4096 pixels"));
    }
    if let Some(RefinerSource { box_scale, box_shift, .. }) = &options.refiner {
        if !BOX_SCALES.contains(box_scale) {
            return Err(wrong("refiner-box-scale", "must be between 0.5 and 4"));
        }
        if !BOX_SHIFTS.contains(box_shift) {
            return Err(wrong("refiner-box-shift", "must be between -1 and 1"));
        }
    }
    if options.liveness.iter().any(|(scale, _)| !(1.0..=8.0).contains(scale)) {
        return Err(wrong("liveness", "the scale of the crop must be between 1 and 8"));
    }
    Ok(())
}

/// Thresholds and what is known of the errors at them.
fn calibration(file: Option<&Path>) -> Result<(ThresholdValues, Option<Calibration>), ImportError> {
    let Some(path) = file else {
        return Ok((Thresholds::default().into(), None));
    };
    let text = fs::read_to_string(path).map_err(ImportError::file(path))?;
    let read: CalibrationFile =
        toml::from_str(&text).map_err(|e| PackError::invalid(path, e.message().to_owned()))?;
    // Here, the message can still name the file that says so.
    Thresholds::try_from(read.thresholds).map_err(|e| PackError::invalid(path, e))?;
    Ok((read.thresholds, read.calibration))
}

fn write(options: &ImportOptions, folder: &Path) -> Result<Manifest, ImportError> {
    let (thresholds, calibration) = calibration(options.calibration.as_deref())?;
    let detector = {
        let (architecture, path) = match &options.detector {
            DetectorSource::Yunet(path) => (DetectorKind::Yunet, path),
            DetectorSource::Scrfd(path) => (DetectorKind::Scrfd, path),
        };
        let (mut graph, params) = read(path)?;
        let traits = kinds::detector(path, architecture, &mut graph, &params)?;
        let files = save(folder, "detector", &graph, &params, options.precision)?;
        DetectorEntry {
            architecture,
            largest_face: options.largest_face,
            long_side: options.detect_long_side,
            input: traits.input,
            files,
            levels: traits.levels,
        }
    };
    let refiner = match &options.refiner {
        None => None,
        Some(RefinerSource { file, box_scale, box_shift }) => {
            let (mut graph, params) = read(file)?;
            let traits = kinds::refiner(file, &mut graph, &params)?;
            let files = save(folder, "refiner", &graph, &params, options.precision)?;
            let (box_scale, box_shift) = (*box_scale, *box_shift);
            Some(RefinerEntry { side: traits.side, box_scale, box_shift, input: traits.input, files })
        }
    };
    let embedder = {
        let (mut graph, params) = read(&options.embedder)?;
        let traits = kinds::embedder(&options.embedder, options.embedder_color, &mut graph, &params)?;
        let files = save(folder, "embedder", &graph, &params, options.precision)?;
        EmbedderEntry { side: traits.side, dimension: traits.outputs, input: traits.input, files }
    };
    let mut liveness = Vec::with_capacity(options.liveness.len());
    for (at, (scale, path)) in options.liveness.iter().enumerate() {
        let (mut graph, params) = read(path)?;
        let traits = kinds::liveness(path, &mut graph, &params)?;
        let files = save(folder, &format!("liveness-{at}"), &graph, &params, options.precision)?;
        // Class 1 of MiniFASNet is a live face; 0 and 2 are prints and screens.
        liveness.push(LivenessEntry {
            scale: *scale,
            side: traits.side,
            live_class: 1,
            input: traits.input,
            files,
        });
    }
    let manifest = Manifest {
        format: FORMAT,
        name: options.name.clone(),
        version: options.version.clone(),
        license: options.license.clone(),
        source: options.source.clone(),
        thresholds,
        detector,
        refiner,
        embedder,
        liveness,
        calibration,
    };
    write_manifest(&manifest, folder)?;
    Ok(manifest)
}

fn write_manifest(manifest: &Manifest, folder: &Path) -> Result<(), ImportError> {
    let path = folder.join("pack.toml");
    let text = toml::to_string(manifest).map_err(|e| PackError::invalid(&path, e))?;
    put(&path, text.as_bytes())
}

/// Reads and lowers one ONNX file.
pub(crate) fn read(path: &Path) -> Result<(Graph, Params), ImportError> {
    let length = fs::metadata(path).map_err(ImportError::file(path))?.len();
    let not_onnx = |problem: String| ImportError::NotOnnx { path: path.to_path_buf(), problem };
    if length > MAX_ONNX_BYTES {
        return Err(not_onnx(format!("{length} bytes, where at most {MAX_ONNX_BYTES} are accepted")));
    }
    let bytes = fs::read(path).map_err(ImportError::file(path))?;
    let onnx = Onnx::parse(&bytes).map_err(not_onnx)?;
    lower::lower(onnx).map_err(|e| ImportError::Unsupported {
        path: path.to_path_buf(),
        node: e.node,
        operator: e.operator,
        problem: e.problem,
    })
}

fn save(
    folder: &Path,
    name: &str,
    graph: &Graph,
    params: &Params,
    precision: Precision,
) -> Result<NetworkFiles, ImportError> {
    let store = |file: String, bytes: &[u8]| -> Result<FileRef, ImportError> {
        put(&folder.join(&file), bytes)?;
        Ok(FileRef { sha256: weights::sha256_hex(bytes), file })
    };
    let json = serde_json::to_vec(graph).map_err(|e| PackError::invalid(folder, e))?;
    let tensors = weights::encode(params, precision).map_err(|e| PackError::invalid(folder, e))?;
    Ok(NetworkFiles {
        graph: store(format!("{name}.graph.json"), &json)?,
        weights: store(format!("{name}.safetensors"), &tensors)?,
    })
}

/// Writes and syncs: the rename that publishes the pack must not come before its contents.
fn put(path: &Path, bytes: &[u8]) -> Result<(), ImportError> {
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(path)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    };
    write().map_err(ImportError::file(path))
}

/// Temporary folders are private; a pack is read by services of other users.
#[cfg(unix)]
fn share(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn share(_: &Path) -> io::Result<()> {
    Ok(())
}
