use super::{
    DirectorySource, Frame, Source, SourceError,
    camera::{ChildCamera, MjpegCamera, SnapshotCamera, Supervised},
};

/// Any of the sources that can be configured.
#[derive(Debug)]
pub enum AnySource {
    /// Images of a directory.
    Directory(DirectorySource),
    /// A program that writes MJPEG.
    Child(Box<Supervised<ChildCamera>>),
    /// An MJPEG stream over HTTP.
    Mjpeg(Box<Supervised<MjpegCamera>>),
    /// A JPEG per HTTP request.
    Snapshot(Box<Supervised<SnapshotCamera>>),
}

impl Source for AnySource {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        match self {
            Self::Directory(source) => source.next_frame().await,
            Self::Child(source) => source.next_frame().await,
            Self::Mjpeg(source) => source.next_frame().await,
            Self::Snapshot(source) => source.next_frame().await,
        }
    }
}
