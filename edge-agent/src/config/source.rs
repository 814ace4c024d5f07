use std::{path::PathBuf, time::Duration};

use super::{ConfigError, raw, validate::Validator};
use crate::source::camera::CameraAddress;

/// Frames a second of a camera, where nothing is said.
const CAMERA_RATE: f64 = 5.0;

/// Size of a camera's pictures in pixels, where nothing is said: the whole field of view of Raspberry
/// Pi's second camera, in its fast mode.
const CAMERA_SIZE: (u32, u32) = (1640, 1232);

/// How long a camera may be silent, where nothing is said.
const STALL: Duration = Duration::from_secs(10);

/// Where frames come from.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// A directory, a camera, or the cameras of a proxy.
    pub kind: SourceKind,
    /// Least time between two frames; `None` for as fast as possible.
    pub period: Option<Duration>,
}

/// The kind of a source.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// The images of a directory.
    Directory {
        /// Its images are read, those of its subdirectories are not.
        path: PathBuf,
        /// Begin again at the end, for ever.
        repeat: bool,
    },
    /// A camera, which never ends.
    Camera(CameraConfig),
    /// Cameras that the agent is a proxy of; see [`super::ProxyConfig`].
    Proxied,
}

/// How a camera is reached, and when it counts as dead.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraConfig {
    /// A program, a port of the device, or an address.
    pub kind: CameraKind,
    /// It counts as dead after this time without a picture.
    pub stall: Duration,
}

/// How a camera is reached.
#[derive(Clone, PartialEq)]
pub enum CameraKind {
    /// A program that writes MJPEG to its standard output.
    Command {
        /// Name or path; looked for in `PATH`, started without a shell.
        program: String,
        /// Passed on as they are; they may hold passwords.
        arguments: Vec<String>,
    },
    /// A camera at the CSI port of a Raspberry Pi.
    Rpicam {
        /// Width and height, in pixels.
        size: (u32, u32),
        /// Frames a second.
        rate: f64,
    },
    /// An MJPEG stream over HTTP.
    Mjpeg(CameraAddress),
    /// A JPEG per HTTP request.
    Snapshot(CameraAddress),
    /// A USB camera that gives MJPEG, through `v4l2-ctl`.
    V4l2 {
        /// Such as `/dev/video0`.
        device: PathBuf,
        /// Width and height, in pixels.
        size: (u32, u32),
    },
}

impl std::fmt::Debug for CameraKind {
    /// Without arguments: addresses with passwords may be among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command { program, .. } => write!(f, "Command({program})"),
            Self::Rpicam { size, rate } => write!(f, "Rpicam({size:?}, {rate})"),
            Self::Mjpeg(address) => write!(f, "Mjpeg({address})"),
            Self::Snapshot(address) => write!(f, "Snapshot({address})"),
            Self::V4l2 { device, size } => write!(f, "V4l2({}, {size:?})", device.display()),
        }
    }
}

impl SourceConfig {
    /// The source ends by itself.
    #[must_use]
    pub fn ends(&self) -> bool {
        matches!(self.kind, SourceKind::Directory { repeat: false, .. })
    }
}

impl Validator<'_> {
    pub(super) fn source(&self, raw: raw::Source) -> Result<SourceConfig, ConfigError> {
        let raw::Source { kind, path, command, url, device, width, height, stall_timeout, rate, repeat } =
            raw;
        let kind = self.required("source.kind", kind)?;
        let (directory, child, http, v4l2) = match kind {
            raw::SourceKind::Directory => (true, false, false, false),
            raw::SourceKind::Command => (false, true, false, false),
            raw::SourceKind::Rpicam => (false, false, false, false),
            raw::SourceKind::Mjpeg | raw::SourceKind::Snapshot => (false, false, true, false),
            raw::SourceKind::V4l2 => (false, false, false, true),
        };
        let sized = v4l2 || matches!(kind, raw::SourceKind::Rpicam);
        // A key that has no effect would be taken for one that has.
        for (key, set, fits) in [
            ("source.path", path.is_some(), directory),
            ("source.loop", repeat.is_some(), directory),
            ("source.command", command.is_some(), child),
            ("source.url", url.is_some(), http),
            ("source.device", device.is_some(), v4l2),
            ("source.width", width.is_some(), sized),
            ("source.height", height.is_some(), sized),
            ("source.stall_timeout", stall_timeout.is_some(), !directory),
        ] {
            if set && !fits {
                return Err(self.wrong(key, "is not for this kind of source"));
            }
        }
        let rate = rate.or((!directory).then_some(CAMERA_RATE));
        let rate = match rate {
            Some(rate) if !(0.001..=1000.0).contains(&rate) => {
                return Err(self.wrong("source.rate", "must be 0.001 to 1000 frames a second"));
            }
            rate => rate,
        };
        let period = rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        if directory {
            let (path, repeat) = (self.path_of("source.path", path)?, repeat.unwrap_or(false));
            return Ok(SourceConfig { kind: SourceKind::Directory { path, repeat }, period });
        }
        let side = |key, value: Option<u32>, default| self.within(key, value.unwrap_or(default), 16..=8192);
        let size =
            (side("source.width", width, CAMERA_SIZE.0)?, side("source.height", height, CAMERA_SIZE.1)?);
        let address = |url| {
            let url: String = self.required("source.url", url)?;
            CameraAddress::parse(&url).map_err(|error| self.wrong("source.url", error))
        };
        let kind = match kind {
            raw::SourceKind::Directory | raw::SourceKind::Rpicam => {
                CameraKind::Rpicam { size, rate: rate.unwrap_or(CAMERA_RATE) }
            }
            raw::SourceKind::Command => {
                let mut words = self.required("source.command", command)?.into_iter();
                let program = words.next().filter(|program| !program.is_empty());
                let program = program.ok_or_else(|| self.wrong("source.command", "is empty"))?;
                CameraKind::Command { program, arguments: words.collect() }
            }
            raw::SourceKind::Mjpeg => CameraKind::Mjpeg(address(url)?),
            raw::SourceKind::Snapshot => CameraKind::Snapshot(address(url)?),
            raw::SourceKind::V4l2 => {
                let device = device.unwrap_or_else(|| PathBuf::from("/dev/video0"));
                CameraKind::V4l2 { device, size }
            }
        };
        let stall = self.seconds("source.stall_timeout", stall_timeout, STALL, 0.5..=3600.0)?;
        Ok(SourceConfig { kind: SourceKind::Camera(CameraConfig { kind, stall }), period })
    }
}
