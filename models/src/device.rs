//! On what the networks run.

use std::{fmt, str::FromStr};

use candle_core::Device;
use serde::Deserialize;

use crate::VisionError;

/// On what the networks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum ComputeDevice {
    /// The processor, by kernels that were made for it.
    #[default]
    Cpu,
    /// The processor, by candle's own operators: slow; what the other devices are compared with.
    CpuPortable,
    /// An NVIDIA card, counted from 0; needs the feature `cuda`.
    Cuda(usize),
    /// A graphics processor of Apple's, counted from 0; needs the feature `metal`.
    Metal(usize),
}

impl ComputeDevice {
    /// The device for candle's operators; `None` for the fused executor.
    ///
    /// # Errors
    /// `Option` where the device is not there, or the program was built without it.
    pub(crate) fn open(self) -> Result<Option<Device>, VisionError> {
        let device = match self {
            Self::Cpu => return Ok(None),
            Self::CpuPortable => Ok(Device::Cpu),
            Self::Cuda(ordinal) => Device::new_cuda(ordinal),
            Self::Metal(ordinal) => Device::new_metal(ordinal),
        };
        let problem = |e: candle_core::Error| VisionError::Option {
            option: "device",
            problem: format!("{self} can't be used: {e}"),
        };
        device.map(Some).map_err(problem)
    }
}

impl fmt::Display for ComputeDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::CpuPortable => f.write_str("cpu-portable"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Self::Metal(ordinal) => write!(f, "metal:{ordinal}"),
        }
    }
}

impl FromStr for ComputeDevice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, ordinal) = text.split_once(':').unwrap_or((text, "0"));
        let ordinal = ordinal.parse();
        match (kind, ordinal) {
            _ if text == "cpu" => Ok(Self::Cpu),
            _ if text == "cpu-portable" => Ok(Self::CpuPortable),
            ("cuda", Ok(ordinal)) => Ok(Self::Cuda(ordinal)),
            ("metal", Ok(ordinal)) => Ok(Self::Metal(ordinal)),
            _ => Err(format!("{text:?}: cpu, cuda, cuda:N, metal or metal:N is expected")),
        }
    }
}

impl TryFrom<String> for ComputeDevice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_they_are_read() {
        for name in ["cpu", "cpu-portable", "cuda:0", "cuda:3", "metal:0"] {
            assert_eq!(name.parse::<ComputeDevice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(ComputeDevice::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cpu:1", "CPU"] {
            assert!(wrong.parse::<ComputeDevice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        for device in [ComputeDevice::Cuda(99), ComputeDevice::Metal(99)] {
            let error = device.open().unwrap_err();
            assert_eq!(error.reason(), "VISION_OPTION_INVALID");
            assert!(error.to_string().starts_with(&format!("device: {device} can't be used")), "{error}");
        }
    }
}
