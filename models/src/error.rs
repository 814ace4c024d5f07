use std::path::PathBuf;

use cavs_embedding::EmbeddingError;
use thiserror::Error;

use crate::UnreadFormat;

/// Why some bytes are no picture that this crate works on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageError {
    /// There are no bytes, or the picture has no pixels.
    #[error("the image is empty")]
    Empty,
    /// The bytes are of no supported format.
    #[error("the image is {0}")]
    FormatUnsupported(UnreadFormat),
    /// The picture is larger than the limits allow.
    #[error(
        "the image has {width}x{height} pixels, where at most {max_side} a side and {max_pixels} in all are accepted: save it smaller, or as a baseline JPEG"
    )]
    TooLarge {
        /// Claimed width, in pixels.
        width: u32,
        /// Claimed height, in pixels.
        height: u32,
        /// Longest accepted side, in pixels.
        max_side: u32,
        /// Most accepted pixels.
        max_pixels: u64,
    },
    /// The encoded file is larger than the limits allow.
    #[error("the image file has {bytes} bytes, where at most {max_bytes} are accepted")]
    FileTooLarge {
        /// Length of the file, in bytes.
        bytes: usize,
        /// Longest accepted file, in bytes.
        max_bytes: usize,
    },
    /// The decoder found no picture in it, or only a part of one.
    #[error("the image is damaged: {0}")]
    Corrupt(String),
    /// The program that converts HEIC and AVIF does not work; nothing is said of the picture.
    #[error("the image can't be converted now: {0}; try again, or export it as JPEG")]
    ConverterFailed(String),
    /// A crop does not touch the picture, or has no size.
    #[error("the crop lies outside the image")]
    CropOutside,
    /// The JPEG encoder failed.
    #[error("the crop could not be encoded: {0}")]
    Encode(String),
}

impl ImageError {
    /// A stable reason for programs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "IMAGE_EMPTY",
            Self::FormatUnsupported(_) => "IMAGE_FORMAT_UNSUPPORTED",
            Self::TooLarge { .. } | Self::FileTooLarge { .. } => "IMAGE_TOO_LARGE",
            Self::Corrupt(_) => "IMAGE_CORRUPT",
            Self::ConverterFailed(_) => "IMAGE_CONVERTER_FAILED",
            Self::CropOutside => "IMAGE_CROP_OUTSIDE",
            Self::Encode(_) => "IMAGE_ENCODE_FAILED",
        }
    }
}

/// Why a folder is no model pack that can be used.
#[derive(Debug, Error)]
pub enum PackError {
    /// There is no `pack.toml` in the folder.
    #[error("{0}: no model pack here (pack.toml is missing); `cavs models import` makes one")]
    NotFound(PathBuf),
    /// A file of the pack can't be read.
    #[error("{path}: {source}")]
    Read {
        /// The file of the pack, or of the import.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not the one that was imported.
    #[error(
        "{path}: the SHA-256 differs from the one in pack.toml; import the pack again or restore the file"
    )]
    ChecksumMismatch {
        /// The file of the pack, or of the import.
        path: PathBuf,
    },
    /// A file of the pack does not say what it should.
    #[error("{path}: {problem}")]
    Invalid {
        /// The file of the pack, or of the import.
        path: PathBuf,
        /// What is wrong with it, to stand behind its name.
        problem: String,
    },
}

impl PackError {
    /// A stable reason for programs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "PACK_NOT_FOUND",
            Self::Read { .. } => "PACK_UNREADABLE",
            Self::ChecksumMismatch { .. } => "PACK_CHECKSUM_MISMATCH",
            Self::Invalid { .. } => "PACK_INVALID",
        }
    }

    pub(crate) fn invalid(path: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Self::Invalid { path: path.into(), problem: problem.to_string() }
    }
}

/// Why ONNX files did not become a pack.
#[derive(Debug, Error)]
pub enum ImportError {
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file of the pack, or of the import.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The destination is there already; a pack is never overwritten.
    #[error("{0}: exists already; choose another folder or remove it first")]
    OutputExists(PathBuf),
    /// The bytes are no ONNX model.
    #[error("{path}: no ONNX model: {problem}")]
    NotOnnx {
        /// The file of the pack, or of the import.
        path: PathBuf,
        /// What is wrong with it, to stand behind its name.
        problem: String,
    },
    /// The network uses something that the executor can't run.
    #[error("{path}: node {node} ({operator}): {problem}")]
    Unsupported {
        /// The file of the pack, or of the import.
        path: PathBuf,
        /// Name of the node in the graph.
        node: String,
        /// Its operator.
        operator: String,
        /// What is not supported about it.
        problem: String,
    },
    /// The network runs, but is not of the kind it was given as.
    #[error("{path}: not {kind}: {problem}")]
    WrongKind {
        /// The file of the pack, or of the import.
        path: PathBuf,
        /// What was expected.
        kind: &'static str,
        /// In what the network differs from it.
        problem: String,
    },
    /// An option makes no sense.
    #[error("{option}: {problem}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What is wrong with it, to stand behind its name.
        problem: String,
    },
    /// The pictures say nothing of the pack's errors.
    #[error("{path}: {problem}")]
    Calibration {
        /// The folder of pictures.
        path: PathBuf,
        /// What is wrong with them, to stand behind its name.
        problem: String,
    },
    /// The written pack could not be opened again.
    #[error("the imported pack does not open: {0}")]
    Pack(#[from] PackError),
}

impl ImportError {
    /// A stable reason for programs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::File { .. } => "IMPORT_FILE_FAILED",
            Self::OutputExists(_) => "IMPORT_OUTPUT_EXISTS",
            Self::NotOnnx { .. } => "IMPORT_NOT_ONNX",
            Self::Unsupported { .. } => "IMPORT_OPERATOR_UNSUPPORTED",
            Self::WrongKind { .. } => "IMPORT_WRONG_NETWORK",
            Self::Option { .. } => "IMPORT_OPTION_INVALID",
            Self::Calibration { .. } => "IMPORT_CALIBRATION",
            Self::Pack(e) => e.reason(),
        }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// Why a pipeline could not be built or an image could not be analysed.
#[derive(Debug, Error)]
pub enum VisionError {
    /// A file of the pack was changed or removed since it was opened.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A network can't run on what it was given.
    #[error("network {network}: {problem}")]
    Network {
        /// Which network of the pack.
        network: String,
        /// The inference's own words.
        problem: String,
    },
    /// A network's output is no embedding (not finite, or zero).
    #[error("the embedder's output is no embedding: {0}")]
    Embedding(#[from] EmbeddingError),
    /// An option makes no sense.
    #[error("{option}: {problem}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What is wrong with it, to stand behind its name.
        problem: String,
    },
}

impl VisionError {
    /// A stable reason for programs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Pack(e) => e.reason(),
            Self::Network { .. } => "VISION_NETWORK_FAILED",
            Self::Embedding(_) => "VISION_EMBEDDING_INVALID",
            Self::Option { .. } => "VISION_OPTION_INVALID",
        }
    }

    pub(crate) fn network(network: impl Into<String>, problem: impl ToString) -> Self {
        Self::Network { network: network.into(), problem: problem.to_string() }
    }
}
