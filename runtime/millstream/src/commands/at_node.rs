//! What commands that talk to a running node share: its address, the runtime, the way they end.

use std::io;

use clap::Args;

use crate::client::{Client, ClientError};
use crate::outcome::{Failure, FailureKind, Outcome};

/// The option that names the node.
#[derive(Clone, Debug, Args)]
pub struct NodeAddress {
    /// The node to talk to
    #[arg(
        long,
        env = "MILLSTREAM_NODE",
        value_name = "ADDR",
        default_value = "127.0.0.1:9092"
    )]
    pub node: String,
}

/// Connects and runs a command until it ends or Ctrl-C is pressed.
pub fn on_node<F>(address: &NodeAddress, command: impl FnOnce(Client) -> F) -> Outcome
where
    F: Future<Output = Result<(), ClientError>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let work = async {
            let client = Client::connect(&address.node).await?;
            command(client).await
        };
        tokio::select! {
            result = work => end(result),
            _ = tokio::signal::ctrl_c() => Err(interrupted()),
        }
    });
    // A read of standard input may still wait for a line that nobody will type.
    runtime.shutdown_background();
    outcome
}

/// A reader that went away, such as `head`, has had enough: that is no failure.
fn end(result: Result<(), ClientError>) -> Outcome {
    match result {
        Err(ClientError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error.into_failure()),
        Ok(()) => Ok(()),
    }
}

fn interrupted() -> Failure {
    Failure::new(FailureKind::Interrupted, anyhow::anyhow!("interrupted"))
}

/// An offset, or a dash where there is none.
pub fn offset(offset: Option<i64>) -> String {
    offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string())
}
