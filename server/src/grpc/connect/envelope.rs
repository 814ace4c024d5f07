//! Messages of streams: a byte of flags, the length as four bytes (big-endian), and the message. gRPC and Connect do
//! so alike; Connect's end of a stream is a message with a flag, gRPC's are trailers.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cavs_types::ErrorReason;
use futures_util::{Stream, stream};
use http::HeaderMap;
use http_body_util::BodyExt;
use tonic::{Status, body::Body};

use super::failure::Failure;

/// Flag of the last message of a Connect stream.
pub(super) const END: u8 = 2;
/// Flags and length.
const HEAD: usize = 5;

/// What comes out of a stream.
#[derive(Debug)]
pub(super) enum Envelope {
    Message(Bytes),
    /// The end of a gRPC stream.
    Trailers(HeaderMap),
}

/// A message with its head.
pub(super) fn frame(flags: u8, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(HEAD + message.len());
    framed.put_u8(flags);
    // Messages are shorter than their limit, which is far below 4 GiB.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    framed.freeze()
}

/// Takes the next message out of what has come, where it is whole.
fn take(buffer: &mut BytesMut, longest: usize) -> Result<Option<Bytes>, Status> {
    let Some((head, _)) = buffer.split_at_checked(HEAD) else { return Ok(None) };
    let [flags, length @ ..] = head else { return Ok(None) };
    if *flags != 0 {
        let message =
            "a message has flags: it is compressed, or the end of a stream, which requests don't have";
        return Err(cavs_proto::status(ErrorReason::MessageInvalid, message));
    }
    let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    if length > longest {
        let message = format!("a message is of {length} bytes, and may be of {longest}");
        return Err(cavs_proto::status(ErrorReason::MessageTooLarge, message));
    }
    if buffer.len() < HEAD + length {
        return Ok(None);
    }
    buffer.advance(HEAD);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// The messages of a body, each of at most `longest` bytes. Nothing comes after an error.
pub(super) fn read_envelopes(body: Body, longest: usize) -> impl Stream<Item = Result<Envelope, Status>> {
    let begun = (body, BytesMut::new());
    stream::try_unfold(begun, move |(mut body, mut buffer)| async move {
        loop {
            if let Some(message) = take(&mut buffer, longest)? {
                return Ok(Some((Envelope::Message(message), (body, buffer))));
            }
            match body.frame().await.transpose()?.map(hyper::body::Frame::into_data) {
                Some(Ok(data)) => buffer.extend_from_slice(&data),
                Some(Err(other)) => {
                    if let Ok(trailers) = other.into_trailers() {
                        return Ok(Some((Envelope::Trailers(trailers), (body, buffer))));
                    }
                }
                None if buffer.is_empty() => return Ok(None),
                None => {
                    let message = "the body ends within a message";
                    return Err(cavs_proto::status(ErrorReason::MessageInvalid, message));
                }
            }
        }
    })
}

/// The message of an answer that has one.
pub(super) fn only_message(bytes: Bytes) -> Result<Bytes, Failure> {
    let mut buffer = BytesMut::from(bytes);
    match take(&mut buffer, usize::MAX)? {
        Some(message) if buffer.is_empty() => Ok(message),
        _ => Err(Failure::from(cavs_proto::status(ErrorReason::Internal, "the answer is no message"))),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, TryStreamExt};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use proptest::prelude::*;

    use super::*;

    /// Reads a body that comes in these pieces.
    fn read(pieces: Vec<Vec<u8>>, longest: usize) -> Result<Vec<Bytes>, Status> {
        let frames = stream::iter(pieces).map(|piece| Ok::<_, Status>(Frame::data(Bytes::from(piece))));
        let messages =
            read_envelopes(Body::new(StreamBody::new(frames)), longest).map_ok(|read| match read {
                Envelope::Message(message) => message,
                Envelope::Trailers(_) => panic!("trailers"),
            });
        messages.try_collect().now_or_never().unwrap()
    }

    proptest! {
        #[test]
        fn messages_survive_any_cuts(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cut in 1_usize..30,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| frame(0, message)).collect();
            let pieces = bytes.chunks(cut).map(<[u8]>::to_vec).collect();
            let found = read(pieces, 40).unwrap();
            prop_assert_eq!(found, messages.into_iter().map(Bytes::from).collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_break_the_reader(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let whole = pieces.concat();
            match read(pieces, 64) {
                Ok(messages) => {
                    let again: Vec<u8> = messages.iter().flat_map(|message| frame(0, message)).collect();
                    prop_assert_eq!(again, whole);
                }
                Err(status) => prop_assert!(cavs_proto::error_reason(&status).is_some()),
            }
        }
    }

    #[test]
    fn what_is_too_long_or_flagged_or_cut_is_refused() {
        for (bytes, reason) in [
            (frame(0, &[0; 65]).to_vec(), ErrorReason::MessageTooLarge),
            (vec![0, 255, 255, 255, 255], ErrorReason::MessageTooLarge),
            (frame(1, b"x").to_vec(), ErrorReason::MessageInvalid),
            (frame(END, b"{}").to_vec(), ErrorReason::MessageInvalid),
            (frame(0, b"xyz")[..6].to_vec(), ErrorReason::MessageInvalid),
        ] {
            let refused = read(vec![bytes.clone()], 64).unwrap_err();
            assert_eq!(cavs_proto::error_reason(&refused), Some(reason), "{bytes:?}");
        }
    }
}
