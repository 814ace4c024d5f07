use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{JpegSplitter, MAX_PICTURE_BYTES, PictureStream, dropped_text};

/// How much is read at once, in bytes: what a pipe holds.
const PORTION: usize = 64 << 10;

/// The pictures in a stream of bytes.
#[derive(Debug)]
pub(super) struct PictureReader<R> {
    stream: R,
    splitter: JpegSplitter,
    buffer: Box<[u8]>,
    /// What of the buffer is still to be split.
    unread: std::ops::Range<usize>,
}

impl<R> PictureReader<R> {
    pub(super) fn new(stream: R) -> Self {
        let buffer = vec![0; PORTION].into_boxed_slice();
        Self { stream, splitter: JpegSplitter::new(MAX_PICTURE_BYTES), buffer, unread: 0..0 }
    }
}

impl<R: AsyncRead + Unpin + Send + 'static> PictureStream for PictureReader<R> {
    async fn next_picture(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if self.unread.is_empty() {
                let count = self.stream.read(&mut self.buffer).await?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.unread = 0..count;
            }
            let (taken, picture) = self.splitter.feed(&self.buffer[self.unread.clone()]);
            self.unread.start += taken;
            if let Some(picture) = picture {
                return Ok(picture);
            }
        }
    }

    fn failure_hint(&self) -> String {
        dropped_text(self.splitter.dropped())
    }
}
