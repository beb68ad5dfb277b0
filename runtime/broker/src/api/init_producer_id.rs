//! InitProducerId: an idempotent producer gets a fresh id, a transactional one its own, and fences its forerunner.

use millstream_wire::{
    ErrorCode,
    init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
};

use super::end_txn::for_version;
use crate::{context::RequestContext, transaction::Producer};

/// The first version that knows PRODUCER_FENCED.
const FENCED_FROM: i16 = 4;

pub(super) async fn handle(
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let result = match &request.transactional_id {
        None => context
            .broker
            .producer_ids()
            .next()
            .await
            .map(|id| Producer { id, epoch: 0 }),
        Some(id) => transactional(context, id, &request).await,
    };
    match result {
        Ok(producer) => InitProducerIdResponse {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            ..InitProducerIdResponse::default()
        },
        Err(_) => InitProducerIdResponse {
            error_code: for_version(context.api_version, FENCED_FROM, result).code(),
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdResponse::default()
        },
    }
}

async fn transactional(
    context: &RequestContext,
    id: &str,
    request: &InitProducerIdRequest,
) -> Result<Producer, ErrorCode> {
    let expected = match (request.producer_id, request.producer_epoch) {
        (-1, -1) => None,
        (id, epoch) if id >= 0 && epoch >= 0 => Some(Producer { id, epoch }),
        _ => return Err(ErrorCode::InvalidRequest),
    };
    context
        .broker
        .transactions()
        .init_producer_id(id, request.transaction_timeout_ms, expected)
        .await
}
