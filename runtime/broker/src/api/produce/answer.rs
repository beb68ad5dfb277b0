//! What a Produce request is answered, partition by partition, and the flush that the answer waits for.

use std::{sync::Arc, time::Duration};

use millstream_log::{AppendError, Log, journal::Lsn};
use millstream_wire::{
    ErrorCode,
    produce::{BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse},
};

use crate::{error_codes::append_error, partition::Partition, prepare::PrepareError};

/// Why a partition's batch was not appended.
pub(super) struct Failure {
    code: ErrorCode,
    message: Option<String>,
    /// The records at fault, when only they are (KIP-467).
    record_errors: Vec<BatchIndexAndErrorMessage>,
    /// -1 where no log was found.
    log_start: i64,
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Failure {
        Failure {
            code,
            message: None,
            record_errors: Vec::new(),
            log_start: -1,
        }
    }
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Failure {
        let record_error = |(batch_index, message)| BatchIndexAndErrorMessage {
            batch_index,
            batch_index_error_message: Some(message),
        };
        Failure {
            record_errors: error.records().into_iter().map(record_error).collect(),
            ..Failure::because(error.code(), error.to_string())
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Failure {
        Failure::because(append_error(&error), error.to_string())
    }
}

impl Failure {
    pub fn because(code: ErrorCode, message: String) -> Failure {
        Failure {
            message: Some(message),
            ..Failure::from(code)
        }
    }

    /// The same, of a partition whose log is known.
    pub fn of(self, partition: &Partition) -> Failure {
        Failure {
            log_start: partition.log.offsets().log_start,
            ..self
        }
    }

    /// How many records it names.
    pub fn named_records(&self) -> usize {
        self.record_errors.len()
    }
}

/// The request's outcome before the flush.
pub(crate) struct Appended {
    pub(super) response: ProduceResponse,
    pub(super) wait: Option<FlushWait>,
}

/// What has to be durable before the client is told so.
pub(super) struct FlushWait {
    pub log: Arc<Log>,
    pub lsn: Lsn,
    pub limit: Duration,
}

/// One partition's answer, and what it waits for.
pub(super) fn answer(
    index: i32,
    done: Result<(Arc<Log>, millstream_log::Appended), Failure>,
) -> (Option<(Arc<Log>, Lsn)>, PartitionProduceResponse) {
    match done {
        Ok((log, appended)) => {
            let response = PartitionProduceResponse {
                index,
                error_code: ErrorCode::None.code(),
                base_offset: appended.base_offset,
                log_append_time_ms: appended.log_append_time,
                log_start_offset: appended.log_start_offset,
                ..PartitionProduceResponse::default()
            };
            (Some((log, appended.lsn)), response)
        }
        Err(failure) => (None, failed(index, failure)),
    }
}

fn failed(index: i32, failure: Failure) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: failure.code.code(),
        base_offset: -1,
        log_start_offset: failure.log_start,
        record_errors: failure.record_errors,
        error_message: failure.message,
        ..PartitionProduceResponse::default()
    }
}

impl Appended {
    /// The first partition's error, in the request's order.
    pub(crate) fn first_error(&self) -> Option<ErrorCode> {
        let partitions = self
            .response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        let code = partitions
            .map(|partition| partition.error_code)
            .find(|code| *code != ErrorCode::None.code())?;
        Some(ErrorCode::try_from(code).unwrap_or(ErrorCode::UnknownServerError))
    }

    /// The response, when nothing is to be waited for.
    pub(crate) fn settled(self) -> Result<ProduceResponse, Appended> {
        match self.wait {
            None => Ok(self.response),
            Some(_) => Err(self),
        }
    }

    /// Waits until everything is durable. What is not in time, or never will be, is an error of its partition.
    pub(crate) async fn flushed(mut self) -> ProduceResponse {
        let Some(wait) = self.wait.take() else {
            return self.response;
        };
        let (code, message) =
            match tokio::time::timeout(wait.limit, wait.log.flushed(wait.lsn)).await {
                Ok(Ok(())) => return self.response,
                Ok(Err(error)) => (ErrorCode::KafkaStorageError, error.to_string()),
                Err(_) => (
                    ErrorCode::RequestTimedOut,
                    format!("the flush took longer than {:?}", wait.limit),
                ),
            };
        for topic in &mut self.response.responses {
            for partition in &mut topic.partition_responses {
                if partition.error_code == ErrorCode::None.code() {
                    let failure = Failure {
                        log_start: partition.log_start_offset,
                        ..Failure::because(code, message.clone())
                    };
                    *partition = failed(partition.index, failure);
                }
            }
        }
        self.response
    }
}
