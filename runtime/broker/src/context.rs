//! What a handler knows about the request besides its body.

use std::{net::SocketAddr, sync::Arc};

use crate::broker::Broker;

/// One request's surroundings.
#[derive(Clone)]
pub struct RequestContext {
    pub broker: Arc<Broker>,
    /// The version that the client chose; responses are encoded in it.
    pub api_version: i16,
    pub client_id: Option<String>,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address at which the client reached us.
    pub local: SocketAddr,
}

impl RequestContext {
    /// The client's host as group descriptions show it (`/127.0.0.1`, as Kafka prints it).
    pub fn client_host(&self) -> String {
        format!("/{}", self.peer.ip())
    }
}
