use std::{io, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::target::Connection;

/// Longest answer that a camera has room for, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;
/// Size of a piece of a body that is sent in chunks, in bytes.
const CHUNK: usize = 1024;

/// A connection that speaks HTTP/1.1, one request after the other.
pub(crate) struct Http1 {
    io: Box<dyn Connection>,
    buffer: BytesMut,
}

/// A response of HTTP/1.1, read as a whole.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A header's value; the name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    #[cfg(test)]
    pub(crate) fn of(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { status, headers: headers.collect(), body: body.to_vec() }
    }

    /// Whether another request may follow on the connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        !self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Http1 {
    pub(crate) fn new(io: Box<dyn Connection>) -> Self {
        Self { io, buffer: BytesMut::new() }
    }

    /// Sends a request: the head without its last lines, then the body with its length or in chunks.
    /// `cut` ends it after so many bytes of the body.
    pub(crate) async fn send(
        &mut self,
        head: &str,
        body: &[u8],
        chunked: bool,
        cut: Option<usize>,
    ) -> io::Result<()> {
        let sent = &body[..cut.unwrap_or(body.len()).min(body.len())];
        if chunked {
            self.io.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await?;
            for chunk in sent.chunks(CHUNK) {
                self.io.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                self.io.write_all(chunk).await?;
                self.io.write_all(b"\r\n").await?;
            }
            if cut.is_none() {
                self.io.write_all(b"0\r\n\r\n").await?;
            }
        } else {
            self.io.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).await?;
            self.io.write_all(sent).await?;
        }
        self.io.flush().await
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Says that nothing more will come.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }

    /// Reads a response, up to its last trailer.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof` where the connection ends before; `InvalidData` where it is no HTTP.
    pub(crate) async fn receive(&mut self, patience: Duration) -> io::Result<Response> {
        timeout(patience, self.read()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads whatever comes until the connection ends.
    ///
    /// # Errors
    /// `TimedOut`; whatever else ends it is an end.
    pub(crate) async fn drain(&mut self, patience: Duration) -> io::Result<()> {
        let end = async {
            while self.io.read_buf(&mut self.buffer).await.is_ok_and(|count| count > 0) {
                self.buffer.clear();
            }
        };
        timeout(patience, end).await.map_err(|_| io::ErrorKind::TimedOut.into())
    }

    async fn read(&mut self) -> io::Result<Response> {
        let mut response = loop {
            let end = loop {
                match find(&self.buffer, b"\r\n\r\n") {
                    Some(end) => break end,
                    None => self.more().await?,
                }
            };
            let head = self.buffer.split_to(end + 4);
            let response = parse_head(&String::from_utf8_lossy(&head)).ok_or_else(invalid)?;
            // 100 Continue and its kind precede the answer.
            if response.status >= 200 {
                break response;
            }
        };
        if response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            response.body = self.read_chunks().await?;
        } else if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().map_err(|_| invalid())?;
            if length > LONGEST_ANSWER {
                return Err(invalid());
            }
            response.body = self.take(length).await?;
        } else if response.status != 204 && response.status != 304 {
            while self.io.read_buf(&mut self.buffer).await? > 0 {
                if self.buffer.len() > LONGEST_ANSWER {
                    return Err(invalid());
                }
            }
            response.body = self.buffer.split().to_vec();
        }
        Ok(response)
    }

    async fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid())?;
            if body.len().saturating_add(size) > LONGEST_ANSWER {
                return Err(invalid());
            }
            if size == 0 {
                // Trailers, up to an empty line.
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size).await?);
            self.take(2).await?;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.advance(end + 2);
                return Ok(line);
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(self.buffer.split_to(length).to_vec())
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.buffer.len() > LONGEST_ANSWER {
            return Err(invalid());
        }
        match self.io.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn parse_head(head: &str) -> Option<Response> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.splitn(3, ' ');
    if !first.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let status = first.next()?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Response { status, headers, body: Vec::new() })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP/1.1")
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn answers(text: &'static str) -> Http1 {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(text.as_bytes()).await.unwrap();
        Http1::new(Box::new(near))
    }

    #[tokio::test]
    async fn answers_of_every_shape_are_read() {
        let mut http = answers(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 429 ThrottledStream\r\n\
             Retry-After: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nTrailer: 1\r\n\r\n\
             HTTP/1.1 503 Full\r\nConnection: close\r\n\r\nrest",
        )
        .await;
        let first = http.receive(PATIENCE).await.unwrap();
        assert_eq!((first.status, first.body.as_slice(), first.keeps_alive()), (200, b"ok".as_slice(), true));
        let second = http.receive(PATIENCE).await.unwrap();
        assert_eq!((second.status, second.body.as_slice()), (429, b"abcde".as_slice()));
        assert_eq!(second.header("retry-after"), Some("3"));
        let third = http.receive(PATIENCE).await.unwrap();
        assert_eq!(
            (third.status, third.body.as_slice(), third.keeps_alive()),
            (503, b"rest".as_slice(), false)
        );
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        for (text, kind) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", io::ErrorKind::UnexpectedEof),
            ("SSH-2.0\r\n\r\n", io::ErrorKind::InvalidData),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", io::ErrorKind::InvalidData),
        ] {
            assert_eq!(answers(text).await.receive(PATIENCE).await.unwrap_err().kind(), kind, "{text}");
        }
    }
}
