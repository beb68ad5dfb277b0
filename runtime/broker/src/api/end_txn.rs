//! EndTxn: a producer commits or aborts its transaction.

use millstream_wire::{
    ErrorCode,
    end_txn::{EndTxnRequest, EndTxnResponse},
};

use crate::{context::RequestContext, transaction::Producer};

/// The first version that knows PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;

pub(super) async fn handle(context: &RequestContext, request: EndTxnRequest) -> EndTxnResponse {
    let producer = Producer {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let ended = context
        .broker
        .transactions()
        .end(&request.transactional_id, producer, request.committed)
        .await;
    let error = for_version(context.api_version, FENCED_FROM, ended);
    EndTxnResponse {
        throttle_time_ms: 0,
        error_code: error.code(),
    }
}

/// The outcome as a client of this version knows it: before `fenced_from`, a fenced producer is told
/// INVALID_PRODUCER_EPOCH.
pub(super) fn for_version<T>(
    version: i16,
    fenced_from: i16,
    result: Result<T, ErrorCode>,
) -> ErrorCode {
    match result {
        Ok(_) => ErrorCode::None,
        Err(ErrorCode::ProducerFenced) if version < fenced_from => ErrorCode::InvalidProducerEpoch,
        Err(error) => error,
    }
}
