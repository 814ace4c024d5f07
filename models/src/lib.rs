//! Face detection, alignment and embedding with candle: model packs and the frame-to-faces pipeline.
//!
//! [`import`] turns ONNX files into a model pack, [`Pack::open`] verifies one, and a
//! [`FacePipeline`] finds and embeds the faces of an [`Image`]. Everything is synchronous and
//! works on the calling thread (plus worker threads of its own, if asked for): no network, no
//! database, no async runtime.

mod align;
mod detect;
mod detector;
mod device;
mod engine;
mod error;
mod exif;
mod face;
mod format;
mod graph;
mod heif;
mod image;
mod import;
mod jpeg;
mod liveness;
mod network;
mod onnx;
mod pack;
mod photograph;
mod picture;
mod pipeline;
mod portable;
mod quality;
mod reader;
mod refiner;
mod sampling;
mod shapes;
mod upright;
mod weights;

pub use device::ComputeDevice;
pub use error::{ImageError, ImportError, PackError, VisionError};
pub use face::{BoundingBox, Face, Point};
pub use format::UnreadFormat;
pub use heif::HeifConverter;
pub use image::{DecodeLimits, Image};
pub use import::{
    CalibrationProgress, DetectorSource, ImportOptions, RefinerSource, import, import_and_tell,
};
pub use jpeg::with_huffman_tables;
pub use liveness::{LivenessCalibration, LivenessSamples};
pub use network::{Network, Output};
pub use pack::{Calibration, ColorOrder, Distribution, FalseMatchRate, FalseMatches, Pack, Thresholds};
pub use photograph::PhotographReader;
pub use picture::Picture;
pub use pipeline::{FacePipeline, PipelineOptions};
pub use quality::{FaceGeometry, HeadPose, QualityFault, QualityGate};
pub use upright::{MAX_TILT, Upright};
pub use weights::Precision;
