//! Whole frames: a length prefix, a header, a body. Reading the prefix off a socket, and refusing
//! one that is too long, is the connection's affair.

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{Encoder, EncoderRef};
use crate::{DecodeError, EncodeError, Message, Request, RequestHeader, ResponseHeader};

/// The bytes of the length in front of every frame, a big-endian i32 that does not count itself.
pub const FRAME_PREFIX_LEN: usize = 4;

/// Byte fields from this length on stay uncopied in [`encode_response_chunks`]: below it, a copy is
/// cheaper than one more piece of a vectored write.
const SPLICE_FROM: usize = 4096;

/// A request as one frame with its length prefix.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
) -> Result<Bytes, EncodeError> {
    let header = RequestHeader {
        api_key: R::API as i16,
        api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    let mut buf = BytesMut::with_capacity(256);
    buf.put_i32(0);
    header.encode(&mut buf)?;
    request.encode(&mut buf, version)?;
    set_length(&mut buf, 0)?;
    Ok(buf.freeze())
}

/// A response as one frame with its length prefix.
pub fn encode_response<R: Request>(
    version: i16,
    correlation_id: i32,
    response: &R::Response,
) -> Result<Bytes, EncodeError> {
    let mut buf = start_response::<R>(version, correlation_id);
    response.encode(&mut buf, version)?;
    set_length(&mut buf, 0)?;
    Ok(buf.freeze())
}

/// A response as one frame in pieces for a vectored write: record sets are not copied.
pub fn encode_response_chunks<R: Request>(
    version: i16,
    correlation_id: i32,
    response: &R::Response,
) -> Result<Vec<Bytes>, EncodeError> {
    let buf = start_response::<R>(version, correlation_id);
    let mut out = Encoder::splicing(buf, SPLICE_FROM);
    response.encode_into(&mut EncoderRef(&mut out), version)?;
    let spliced = out.len() - out.buf().len();
    set_length(out.buf(), spliced)?;
    Ok(out.into_chunks())
}

/// Reads a response's frame (without its length prefix): the correlation id and the body.
pub fn decode_response<R: Request>(
    mut frame: Bytes,
    version: i16,
) -> Result<(i32, R::Response), DecodeError> {
    let header = ResponseHeader::decode(&mut frame, R::API, version)?;
    let body = R::Response::decode(&mut frame, version)?;
    Ok((header.correlation_id, body))
}

fn start_response<R: Request>(version: i16, correlation_id: i32) -> BytesMut {
    let mut buf = BytesMut::with_capacity(256);
    buf.put_i32(0);
    ResponseHeader { correlation_id }.encode(&mut buf, R::API, version);
    buf
}

/// Writes the prefix of a frame of which `elsewhere` bytes are not in `buf`.
fn set_length(buf: &mut BytesMut, elsewhere: usize) -> Result<(), EncodeError> {
    let length = buf.len() - FRAME_PREFIX_LEN + elsewhere;
    let prefix = i32::try_from(length).map_err(|_| EncodeError::FrameTooLong(length))?;
    buf[..FRAME_PREFIX_LEN].copy_from_slice(&prefix.to_be_bytes());
    Ok(())
}
