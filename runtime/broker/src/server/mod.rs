//! Sockets: the listener, the connections and the framing. What a request means is `crate::api`'s business.

mod connection;
mod frame;
mod listener;
mod output;

pub use listener::{ListenError, ListenerHandle};

pub(crate) use listener::Listener;
