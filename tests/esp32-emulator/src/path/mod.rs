mod grpc;
mod plain;
mod verdict;
mod web;

use std::{io, str::FromStr};

use bytes::Bytes;
use cavs_proto::v1;
use jiff::{SignedDuration, Timestamp};

use crate::{
    Behaviour, Outcome, Target,
    http1::{Http1, Response},
    target::Protocol,
};

/// The ways to the proxy on which a camera speaks first. On the fourth, the proxy asks: [`crate::WebCamera`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// gRPC, a call for each frame.
    Grpc,
    /// gRPC, one stream for all frames.
    GrpcStream,
    /// gRPC-Web, a unary call over HTTP/1.1.
    GrpcWeb,
    /// `POST /v1/capture` with a JPEG.
    Post,
    /// `POST /v1/capture` with a form.
    Form,
}

impl Path {
    /// Every path, in the order of the documents.
    pub const ALL: [Self; 5] = [Self::Grpc, Self::GrpcStream, Self::GrpcWeb, Self::Post, Self::Form];

    /// As the command line writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::GrpcStream => "grpc-stream",
            Self::GrpcWeb => "grpc-web",
            Self::Post => "post",
            Self::Form => "form",
        }
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|path| path.name() == text)
            .ok_or_else(|| format!("must be one of {}", names()))
    }
}

/// A frame on its way.
#[derive(Debug, Clone)]
pub(crate) struct OutgoingFrame {
    /// Never used for another frame.
    pub(crate) id: String,
    /// When it was taken, by the camera's clock.
    pub(crate) captured_at: Option<Timestamp>,
    pub(crate) image: Bytes,
    /// The request ends in the middle of the picture.
    pub(crate) cut: bool,
}

impl OutgoingFrame {
    /// As it stands on the wire. The fields are written in the order of their numbers: the picture last.
    pub(crate) fn request(&self, target: &Target, sent_at: Option<Timestamp>) -> v1::SubmitFrameRequest {
        v1::SubmitFrameRequest {
            device_id: target.device_id.clone(),
            frame_id: self.id.clone(),
            capture_time: self.captured_at.map(cavs_proto::to_timestamp),
            send_time: sent_at.map(cavs_proto::to_timestamp),
            classroom: String::new(),
            image: self.image.clone(),
        }
    }
}

/// The camera's clock.
pub(crate) fn clock(behaviour: &Behaviour) -> Option<Timestamp> {
    let error: SignedDuration = behaviour.clock_error?;
    Timestamp::now().checked_add(error).ok()
}

/// One camera's connection over one path.
pub(crate) struct Sender {
    target: Target,
    behaviour: Behaviour,
    path: Path,
    http: Option<Http1>,
    grpc: Option<grpc::Grpc>,
}

impl Sender {
    pub(crate) fn new(target: Target, behaviour: Behaviour, path: Path) -> Self {
        Self { target, behaviour, path, http: None, grpc: None }
    }

    /// Sends a frame once.
    pub(crate) async fn send(&mut self, outgoing: &OutgoingFrame) -> Outcome {
        let tried = match self.path {
            Path::Grpc | Path::GrpcStream => self.send_grpc(outgoing).await,
            Path::GrpcWeb => {
                self.send_http(outgoing, &web::request(&self.target, outgoing, clock(&self.behaviour))).await
            }
            Path::Post => {
                self.send_http(outgoing, &plain::request(&self.target, outgoing, clock(&self.behaviour)))
                    .await
            }
            Path::Form => {
                self.send_http(outgoing, &plain::form(&self.target, outgoing, clock(&self.behaviour))).await
            }
        };
        match tried {
            Ok(outcome) => outcome,
            Err(_) if outgoing.cut => {
                self.hang_up();
                Outcome::CutOff
            }
            Err(error) => {
                self.hang_up();
                Outcome::Lost { reason: error.kind().to_string() }
            }
        }
    }

    fn hang_up(&mut self) {
        (self.http, self.grpc) = (None, None);
    }

    async fn send_http(&mut self, outgoing: &OutgoingFrame, request: &Request) -> io::Result<Outcome> {
        let mut reused = self.http.is_some();
        let response = loop {
            let mut http = match self.http.take() {
                Some(http) => http,
                None => Http1::new(self.target.connect(&self.behaviour, Protocol::Http1).await?),
            };
            let cut = outgoing.cut.then_some(request.body.len() / 2);
            let sent = http.send(&request.head, &request.body, self.behaviour.chunked, cut).await;
            if outgoing.cut {
                // The radio is gone: no answer can be read.
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            // A server that has refused the head may have closed before it took the body: its answer counts.
            let received = http.receive(self.behaviour.patience).await;
            match (sent, received) {
                (_, Ok(response)) => {
                    self.http = response.keeps_alive().then_some(http);
                    break response;
                }
                // It was closed while it was idle: that is no loss, and no second try.
                (_, Err(error)) if reused && is_closed(&error) => reused = false,
                (Err(error), Err(_)) | (Ok(()), Err(error)) => return Err(error),
            }
        };
        (request.interpret)(&response)
    }

    async fn send_grpc(&mut self, outgoing: &OutgoingFrame) -> io::Result<Outcome> {
        if self.grpc.is_none() {
            let streaming = self.path == Path::GrpcStream;
            self.grpc = Some(grpc::Grpc::connect(&self.target, &self.behaviour, streaming).await?);
        }
        let Some(grpc) = &mut self.grpc else { return Err(io::ErrorKind::NotConnected.into()) };
        let request = outgoing.request(&self.target, clock(&self.behaviour));
        grpc.send(request, &self.behaviour, outgoing.cut).await
    }
}

/// A request of HTTP/1.1 and how to read its answer.
pub(crate) struct Request {
    /// Without the line of the body's length, and without the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    interpret: fn(&Response) -> io::Result<Outcome>,
}

pub(crate) use self::{
    plain::{form as form_request, request as plain_request},
    web::request as web_request,
};

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn authorization(target: &Target) -> String {
    target.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default()
}
