//! AddOffsetsToTxn: a group's offsets join a producer's transaction.

use millstream_wire::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::end_txn::for_version;
use crate::{
    context::RequestContext,
    transaction::{Durability, Producer},
};

/// The first version that knows PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;

pub(super) async fn handle(
    context: &RequestContext,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let producer = Producer {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let added = context
        .broker
        .transactions()
        .add_offsets(
            &request.transactional_id,
            producer,
            &request.group_id,
            Durability::Flushed,
        )
        .await;
    let error = for_version(context.api_version, FENCED_FROM, added);
    AddOffsetsToTxnResponse {
        throttle_time_ms: 0,
        error_code: error.code(),
    }
}
