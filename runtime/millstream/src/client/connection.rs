//! One connection: frames, versions, one request at a time.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millstream_wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_wire::{
    ApiKey, ErrorCode, FRAME_PREFIX_LEN, Request, decode_response, encode_request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ClientError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A frame of more bytes is taken for garbage.
const FRAME_LEN_MAX: usize = 1 << 30;
/// The buffer grows by no more than this ahead of the bytes that arrive.
const READ_AHEAD: usize = 1 << 20;
const CLIENT_NAME: &str = "millstream";

/// A connection that has agreed on versions.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: TcpStream,
    /// The lowest and highest version of each API key.
    versions: BTreeMap<i16, (i16, i16)>,
    correlation_id: i32,
}

impl Connection {
    /// Connects and asks what the node speaks.
    pub async fn open(address: &str) -> Result<Connection, ClientError> {
        let failed = |cause| ClientError::Connect {
            address: address.to_owned(),
            cause,
        };
        let connecting = TcpStream::connect(address);
        let stream = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        stream.set_nodelay(true).map_err(failed)?;
        let mut connection = Connection {
            address: address.to_owned(),
            stream,
            versions: BTreeMap::new(),
            correlation_id: 0,
        };
        connection.ask_versions().await?;
        Ok(connection)
    }

    /// Version 3 says who asks; a node that does not know it answers in version 0.
    async fn ask_versions(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: CLIENT_NAME.to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let frame = self.exchange(&request, 3).await?;
        let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
        // The error code is the first field behind the correlation id in every version.
        let response = match frame.get(4..6) == Some(&unsupported[..]) {
            true => {
                let frame = self.exchange(&request, 0).await?;
                self.decode::<ApiVersionsRequest>(frame, 0)?
            }
            false => self.decode::<ApiVersionsRequest>(frame, 3)?,
        };
        self.versions = version_table(&response);
        ErrorCode::check(response.error_code)
            .map_err(|code| ClientError::refused(format!("talking to {}", self.address), code))
    }

    /// The highest version that both sides know.
    pub fn version<R: Request>(&self) -> Result<i16, ClientError> {
        let Some(&(lowest, highest)) = self.versions.get(&(R::API as i16)) else {
            return Err(ClientError::NotSpoken {
                address: self.address.clone(),
                api: R::API,
            });
        };
        let version = highest.min(*R::VALID_VERSIONS.end());
        match version >= lowest.max(*R::VALID_VERSIONS.start()) {
            true => Ok(version),
            false => Err(ClientError::NoCommonVersion {
                address: self.address.clone(),
                api: R::API,
                lowest,
                highest,
            }),
        }
    }

    /// Sends a request in the highest common version and waits for its answer. When this fails or
    /// is abandoned, the connection must not be used again.
    pub async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, ClientError> {
        let version = self.version::<R>()?;
        let frame = self.exchange(request, version).await?;
        self.decode::<R>(frame, version)
    }

    async fn exchange<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<Bytes, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = encode_request(version, self.correlation_id, Some(CLIENT_NAME), request)
            .map_err(|cause| ClientError::Unwritable { api: R::API, cause })?;
        match timeout(ANSWER_TIMEOUT, self.exchange_frames(R::API, frame)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Timeout {
                address: self.address.clone(),
                api: R::API,
                seconds: ANSWER_TIMEOUT.as_secs(),
            }),
        }
    }

    async fn exchange_frames(&mut self, api: ApiKey, frame: Bytes) -> Result<Bytes, ClientError> {
        let address = &self.address;
        let broken = |cause| ClientError::Broken {
            address: address.clone(),
            api,
            cause,
        };
        self.stream.write_all(&frame).await.map_err(broken)?;
        let mut prefix = [0; FRAME_PREFIX_LEN];
        self.stream.read_exact(&mut prefix).await.map_err(broken)?;
        let length = i32::from_be_bytes(prefix);
        let wanted = usize::try_from(length)
            .ok()
            .filter(|length| *length <= FRAME_LEN_MAX)
            .ok_or_else(|| ClientError::FrameLength {
                address: address.clone(),
                api,
                length,
            })?;
        let mut buffer = BytesMut::new();
        while buffer.len() < wanted {
            let missing = wanted - buffer.len();
            buffer.reserve(missing.min(READ_AHEAD));
            let mut limited = (&mut self.stream).take(missing as u64);
            if limited.read_buf(&mut buffer).await.map_err(broken)? == 0 {
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(buffer.freeze())
    }

    fn decode<R: Request>(&self, frame: Bytes, version: i16) -> Result<R::Response, ClientError> {
        let (correlation_id, response) =
            decode_response::<R>(frame, version).map_err(|cause| ClientError::Malformed {
                address: self.address.clone(),
                api: R::API,
                cause,
            })?;
        match correlation_id == self.correlation_id {
            true => Ok(response),
            false => Err(ClientError::OutOfStep {
                address: self.address.clone(),
                api: R::API,
            }),
        }
    }
}

fn version_table(response: &ApiVersionsResponse) -> BTreeMap<i16, (i16, i16)> {
    let entry = |api: &millstream_wire::api_versions::ApiVersion| {
        (api.api_key, (api.min_version, api.max_version))
    };
    response.api_keys.iter().map(entry).collect()
}
