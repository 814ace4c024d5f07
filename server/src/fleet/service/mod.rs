mod cameras;
mod devices;
mod streams;
mod watches;

pub use devices::Devices;
pub use streams::DeviceStreams;
pub(crate) use streams::refused;
pub use watches::DeviceWatches;
