//! `cavs models`

use std::path::PathBuf;

use cavs_models::{
    ColorOrder, DetectorSource, FacePipeline, ImportOptions, Pack, PipelineOptions, Precision, RefinerSource,
    import_and_tell,
};

use crate::{error::CliError, printer::Printer, view::PackView};

/// What `cavs models` does.
#[derive(Debug, clap::Subcommand)]
pub enum ModelsCommand {
    /// Make a model pack from ONNX files
    Import(Box<ImportArgs>),
    /// Check every file of a model pack, and that its networks can be built
    Verify {
        /// Folder of the pack; the built-in one without it
        #[arg(value_name = "DIR")]
        pack: Option<PathBuf>,
    },
    /// Show what a model pack says of itself
    Show {
        /// Folder of the pack; the built-in one without it
        #[arg(value_name = "DIR")]
        pack: Option<PathBuf>,
    },
}

/// Options of `cavs models import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The detector and its family: yunet=FILE or scrfd=FILE
    #[arg(long, value_name = "FAMILY=FILE", value_parser = detector)]
    detector: DetectorSource,
    /// Longest side of the faces that the detector was made for, in pixels of its input
    #[arg(long, value_name = "PIXELS")]
    largest_face: Option<f32>,
    /// The longer side, in pixels, to which pictures are scaled for the detector where nobody says otherwise
    #[arg(long, value_name = "PIXELS")]
    detect_long_side: Option<u32>,
    /// A landmark refiner: a square crop around a face in, five points and a score out
    #[arg(long, value_name = "FILE")]
    refiner: Option<PathBuf>,
    /// Side of the refiner's crop, as a multiple of the root of the area of the face's box
    #[arg(long, value_name = "FACTOR", default_value_t = 1.48, requires = "refiner")]
    refiner_box_scale: f32,
    /// How much lower than the box's middle that of the refiner's crop is, as a multiple of the same
    #[arg(
        long,
        value_name = "FACTOR",
        default_value_t = 0.01,
        requires = "refiner",
        allow_negative_numbers = true
    )]
    refiner_box_shift: f32,
    /// The embedder: 112x112 faces in, one vector out
    #[arg(long, value_name = "FILE")]
    embedder: PathBuf,
    /// The order in which the embedder takes colours: rgb, or bgr as AdaFace's
    #[arg(long, value_name = "ORDER", default_value = "rgb", value_parser = color_order)]
    embedder_color: ColorOrder,
    /// A liveness network and the scale of its crop, such as 2.7=FILE; may be repeated
    #[arg(long, value_name = "SCALE=FILE", value_parser = liveness)]
    liveness: Vec<(f32, PathBuf)>,
    /// Name of the pack
    #[arg(long)]
    name: String,
    /// Version of the pack
    #[arg(long = "pack-version", value_name = "VERSION", default_value = "1")]
    pack_version: String,
    /// Terms under which the weights may be used
    #[arg(long, value_name = "TEXT")]
    license: String,
    /// Where the weights came from
    #[arg(long, value_name = "TEXT", default_value = "")]
    source: String,
    /// Thresholds and measured errors: a TOML file with the tables `thresholds` and `calibration`
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Measure thresholds and errors: a folder with pictures of at least 20 people, a folder each
    #[arg(long, value_name = "DIR", conflicts_with = "calibration")]
    calibrate: Option<PathBuf>,
    /// Store weights as 16-bit floats: half the size
    #[arg(long)]
    half: bool,
    /// Folder to make; it must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(command: ModelsCommand, printer: &Printer) -> Result<(), CliError> {
    match command {
        ModelsCommand::Import(args) => {
            let out = args.out.clone();
            let bar = printer.progress_bar(0);
            let mut left_out = 0;
            import_and_tell(&(*args).into(), &mut |told| {
                bar.set_length(told.of as u64);
                bar.set_position(told.done as u64);
                left_out = told.left_out;
            })?;
            bar.finish_and_clear();
            if left_out > 0 {
                printer.note(&format!(
                    "{left_out} pictures show no one face, or can't be read: they were left out"
                ));
            }
            printer.report(&PackView::from(&Pack::open(&out)?))
        }
        ModelsCommand::Verify { pack } => {
            let pack = Pack::open_or_built_in(pack.as_deref())?;
            FacePipeline::new(&pack, PipelineOptions::default())?;
            printer.report(&PackView::from(&pack))?;
            printer.note("every file is as it was imported, and the networks can be built");
            Ok(())
        }
        ModelsCommand::Show { pack } => {
            printer.report(&PackView::from(&Pack::open_or_built_in(pack.as_deref())?))
        }
    }
}

impl From<ImportArgs> for ImportOptions {
    fn from(args: ImportArgs) -> Self {
        let ImportArgs {
            detector,
            largest_face,
            detect_long_side,
            refiner,
            refiner_box_scale: box_scale,
            refiner_box_shift: box_shift,
            embedder,
            embedder_color,
            liveness,
            name,
            pack_version: version,
            license,
            source,
            calibration,
            calibrate,
            half,
            out,
        } = args;
        let refiner = refiner.map(|file| RefinerSource { file, box_scale, box_shift });
        let precision = if half { Precision::Half } else { Precision::Single };
        Self {
            detector,
            largest_face,
            detect_long_side,
            refiner,
            embedder,
            embedder_color,
            liveness,
            name,
            version,
            license,
            source,
            calibration,
            calibrate,
            precision,
            out,
        }
    }
}

fn detector(text: &str) -> Result<DetectorSource, String> {
    match text.split_once('=') {
        Some(("yunet", file)) => Ok(DetectorSource::Yunet(file.into())),
        Some(("scrfd", file)) => Ok(DetectorSource::Scrfd(file.into())),
        _ => Err("expected yunet=FILE or scrfd=FILE".to_owned()),
    }
}

fn color_order(text: &str) -> Result<ColorOrder, String> {
    match text {
        "rgb" => Ok(ColorOrder::Rgb),
        "bgr" => Ok(ColorOrder::Bgr),
        _ => Err("expected rgb or bgr".to_owned()),
    }
}

fn liveness(text: &str) -> Result<(f32, PathBuf), String> {
    let refused = || "expected SCALE=FILE, such as 2.7=liveness.onnx".to_owned();
    let (scale, file) = text.split_once('=').ok_or_else(refused)?;
    Ok((scale.parse().map_err(|_| refused())?, file.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_scales_are_read() {
        assert!(matches!(detector("yunet=a=b.onnx"), Ok(DetectorSource::Yunet(file)) if file == *"a=b.onnx"));
        assert!(matches!(detector("scrfd=a"), Ok(DetectorSource::Scrfd(_))));
        for wrong in ["a.onnx", "YUNET=a", "=a", ""] {
            detector(wrong).unwrap_err();
        }
        assert_eq!(color_order("bgr"), Ok(ColorOrder::Bgr));
        color_order("BGR").unwrap_err();
        assert_eq!(liveness("2.7=a"), Ok((2.7, "a".into())));
        for wrong in ["a", "x=a", "=a"] {
            liveness(wrong).unwrap_err();
        }
    }
}
