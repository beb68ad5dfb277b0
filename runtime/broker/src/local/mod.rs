//! The broker without sockets, for tasks that run in the same process: the same code paths and the same fencing as
//! the APIs.

mod groups;
mod partition;
mod pipelines;
mod topics;
mod transactions;
mod unread;

use std::sync::Arc;

use crate::broker::Broker;

pub use groups::{FetchedOffset, SyntheticMember};
pub use partition::LocalPartition;
pub use topics::TopicInfo;
pub use transactions::{MemberStamp, OffsetCommit, TransactionalProducer};
pub use unread::RemovedUnread;

/// The broker's surface in process. Cheap to clone.
#[derive(Clone)]
pub struct Local {
    pub(crate) broker: Arc<Broker>,
}

impl Local {
    pub(crate) fn new(broker: Arc<Broker>) -> Local {
        Local { broker }
    }
}
