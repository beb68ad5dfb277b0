//! The headers in front of requests and responses.

use bytes::{BufMut, Bytes, BytesMut};

use crate::ApiKey;
use crate::codec::{At, DecodeError, EncodeError, Encoder, Value};
use crate::codec::{read_i16, read_i32, read_unsigned_varint, take};

/// What precedes every request.
///
/// ```text
/// i16 api key | i16 api version | i32 correlation id | nullable string client id | v2: tagged fields
/// ```
/// The client id's length is 16 bits in both versions, so that a broker can read it before it
/// knows the version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API, which need not be one that we know.
    pub api_key: i16,
    /// The version of the request that follows.
    pub api_version: i16,
    /// Comes back in the response's header.
    pub correlation_id: i32,
    /// The name that the client gave itself.
    pub client_id: Option<String>,
}

/// What precedes every response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The request's.
    pub correlation_id: i32,
}

/// The header's version for a request: 2 from the first flexible version on, 1 before.
pub fn request_header_version(api: ApiKey, version: i16) -> i16 {
    if version >= api.flexible_from() { 2 } else { 1 }
}

/// The header's version for a response: 1 from the first flexible version on, 0 before and always
/// for ApiVersions, whose answer a client reads before it knows what the broker speaks.
pub fn response_header_version(api: ApiKey, version: i16) -> i16 {
    match api {
        ApiKey::ApiVersions => 0,
        _ if version >= api.flexible_from() => 1,
        _ => 0,
    }
}

impl RequestHeader {
    /// The header's fixed part: key, version and correlation id, which are at the same place for
    /// every API and version, so that an unsupported one can still be answered.
    pub fn peek(frame: &[u8]) -> Option<RequestHeader> {
        let fixed: &[u8; 8] = frame.first_chunk()?;
        Some(RequestHeader {
            api_key: i16::from_be_bytes([fixed[0], fixed[1]]),
            api_version: i16::from_be_bytes([fixed[2], fixed[3]]),
            correlation_id: i32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            client_id: None,
        })
    }

    /// Takes the header off a request's frame and leaves the body. The header's version comes from
    /// the API key and version in it.
    pub fn decode(buf: &mut Bytes) -> Result<RequestHeader, DecodeError> {
        let api_key = read_i16(buf, "RequestHeader.api_key")?;
        let api_version = read_i16(buf, "RequestHeader.api_version")?;
        let correlation_id = read_i32(buf, "RequestHeader.correlation_id")?;
        let api = ApiKey::try_from(api_key).map_err(|_| DecodeError::UnknownApi(api_key))?;
        let client_id = Value::read(buf, CLIENT_ID)?;
        if request_header_version(api, api_version) >= 2 {
            skip_tags(buf, "RequestHeader")?;
        }
        Ok(RequestHeader {
            api_key,
            api_version,
            correlation_id,
            client_id,
        })
    }

    /// Appends the header.
    pub fn encode(&self, buf: &mut BytesMut) -> Result<(), EncodeError> {
        buf.put_i16(self.api_key);
        buf.put_i16(self.api_version);
        buf.put_i32(self.correlation_id);
        let mut out = Encoder::flat(std::mem::take(buf));
        let written = self.client_id.write(&mut out, CLIENT_ID);
        *buf = out.into_flat();
        written?;
        match ApiKey::try_from(self.api_key) {
            Ok(api) if request_header_version(api, self.api_version) >= 2 => buf.put_u8(0),
            _ => {}
        }
        Ok(())
    }
}

impl ResponseHeader {
    /// Takes the header off a response's frame and leaves the body.
    pub fn decode(
        buf: &mut Bytes,
        api: ApiKey,
        version: i16,
    ) -> Result<ResponseHeader, DecodeError> {
        let correlation_id = read_i32(buf, "ResponseHeader.correlation_id")?;
        if response_header_version(api, version) >= 1 {
            skip_tags(buf, "ResponseHeader")?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    /// Appends the header.
    pub fn encode(&self, buf: &mut BytesMut, api: ApiKey, version: i16) {
        buf.put_i32(self.correlation_id);
        if response_header_version(api, version) >= 1 {
            buf.put_u8(0);
        }
    }
}

const CLIENT_ID: At = At {
    version: 0,
    flexible: false,
    nullable: true,
    field: "RequestHeader.client_id",
};

fn skip_tags(buf: &mut Bytes, field: &'static str) -> Result<(), DecodeError> {
    let count = read_unsigned_varint(buf, field)?;
    for _ in 0..count {
        read_unsigned_varint(buf, field)?;
        let size = read_unsigned_varint(buf, field)?;
        take(buf, size as usize, field)?;
    }
    Ok(())
}
