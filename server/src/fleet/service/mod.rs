mod cameras;
mod devices;
mod streams;

pub use devices::Devices;
pub use streams::DeviceStreams;
pub(crate) use streams::refused;
