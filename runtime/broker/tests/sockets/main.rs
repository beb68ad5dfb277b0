//! The broker over real sockets, with `millstream-wire` as the client.

mod configs;
mod fetch;
mod framing;
mod idempotence;
mod offsets;
mod produce;
mod support;
mod topics;
