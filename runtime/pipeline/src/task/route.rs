//! What a plugin did with its events, turned into records to send.

use millstream_plugin_host::frames::{CODE_UNAVAILABLE, EventsView};
use millstream_plugin_host::{Effects, OutcomeKind, Output, Outputs};
use millstream_records::BuildError;

use super::dead_letter::{CODE_OUTPUT_MISFIT, Refusal};
use super::frames::EventAt;
use super::outbox::{Misfit, Outbox, Outgoing};
use super::status::Counts;
use crate::manifest::RejectPolicy;

/// Where the outputs of a stage task go.
#[derive(Debug)]
pub struct Routes {
    pub pipeline: String,
    pub stage: String,
    /// The outbox topic of each output.
    pub outputs: Vec<usize>,
    pub on_reject: RejectPolicy,
    /// The outbox topic of dead letters and its partition count.
    pub dead_letters: Option<(usize, i32)>,
}

/// The input that the events came from.
#[derive(Debug, Clone, Copy)]
pub struct From<'r> {
    pub topic: &'r str,
    pub partition: i32,
    pub events: &'r [EventAt],
}

/// Why the stage cannot go on with these effects.
#[derive(Debug)]
pub enum RouteError {
    /// A record was refused, and the policy is to fail.
    Rejected {
        offset: i64,
        code: u32,
        message: String,
    },
    /// Something that the record needs is not there now. The records before it are in the outbox.
    Unavailable {
        event: u32,
        message: String,
    },
    /// A dead letter does not fit its topic.
    DeadLetter {
        offset: i64,
        misfit: Misfit,
    },
    Build(BuildError),
}

impl std::convert::From<BuildError> for RouteError {
    fn from(error: BuildError) -> Self {
        RouteError::Build(error)
    }
}

impl Routes {
    /// Puts everything that the consumed events brought about into the outbox.
    pub fn apply(
        &self,
        effects: &Effects<'_>,
        from: From<'_>,
        outbox: &mut Outbox,
        counts: &mut Counts,
    ) -> Result<(), RouteError> {
        for outcome in effects.outcomes() {
            let at = from.events[outcome.event as usize];
            match outcome.kind {
                OutcomeKind::Emitted(outputs) => {
                    // All outputs of a record are sent or none.
                    match self.check(outputs, at, outbox) {
                        Ok(()) => self.send(outputs, at, outbox, counts)?,
                        Err(misfit) => {
                            let message = misfit.to_string();
                            let refused = (outcome.event, CODE_OUTPUT_MISFIT, message.as_str());
                            self.reject(effects.events(), from, refused, outbox, counts)?;
                        }
                    }
                }
                OutcomeKind::Refused {
                    code: CODE_UNAVAILABLE,
                    message,
                } => {
                    counts.records_in += u64::from(outcome.event);
                    return Err(RouteError::Unavailable {
                        event: outcome.event,
                        message: message.to_owned(),
                    });
                }
                OutcomeKind::Refused { code, message } => {
                    let refused = (outcome.event, code, message);
                    self.reject(effects.events(), from, refused, outbox, counts)?;
                }
            }
        }
        counts.records_in += u64::from(effects.consumed());
        Ok(())
    }

    #[inline]
    fn check(&self, outputs: Outputs<'_>, at: EventAt, outbox: &Outbox) -> Result<(), Misfit> {
        for output in outputs {
            let topic = self.outputs[usize::from(output.output)];
            outbox.check(topic, &outgoing(&output, at))?;
        }
        Ok(())
    }

    #[inline]
    fn send(
        &self,
        outputs: Outputs<'_>,
        at: EventAt,
        outbox: &mut Outbox,
        counts: &mut Counts,
    ) -> Result<(), BuildError> {
        for output in outputs {
            let index = usize::from(output.output);
            outbox.put(self.outputs[index], &outgoing(&output, at))?;
            counts.records_out[index] += 1;
        }
        Ok(())
    }

    fn reject(
        &self,
        events: EventsView<'_>,
        from: From<'_>,
        (event, code, message): (u32, u32, &str),
        outbox: &mut Outbox,
        counts: &mut Counts,
    ) -> Result<(), RouteError> {
        let at = from.events[event as usize];
        let offset = at.offset;
        match (self.on_reject, self.dead_letters) {
            (RejectPolicy::Skip, _) => {
                counts.skipped += 1;
                Ok(())
            }
            (RejectPolicy::DeadLetter, Some((topic, partitions))) => {
                let refusal = Refusal {
                    pipeline: &self.pipeline,
                    stage: &self.stage,
                    topic: from.topic,
                    partition: from.partition,
                    offset,
                    code,
                    message,
                };
                let event = events
                    .event(event)
                    .expect("the host's own frame can be read");
                let values = refusal.values();
                let own = event.headers.iter().flatten().map(|h| (h.name, h.value));
                let headers: Vec<_> = own.chain(values.headers()).collect();
                let record = Outgoing {
                    partition: Some(from.partition % partitions),
                    timestamp: at.timestamp,
                    key: event.key,
                    value: event.value,
                    headers: headers.iter().copied(),
                };
                outbox
                    .check_dead_letter(topic, &record)
                    .map_err(|misfit| RouteError::DeadLetter { offset, misfit })?;
                outbox.put(topic, &record)?;
                counts.dead_letters += 1;
                Ok(())
            }
            (RejectPolicy::Fail | RejectPolicy::DeadLetter, _) => Err(RouteError::Rejected {
                offset,
                code,
                message: message.to_owned(),
            }),
        }
    }
}

#[inline]
fn outgoing<'e>(
    output: &Output<'e>,
    at: EventAt,
) -> Outgoing<'e, impl Iterator<Item = (&'e [u8], Option<&'e [u8]>)> + Clone + use<'e>> {
    Outgoing {
        partition: output.partition,
        timestamp: output.timestamp.unwrap_or(at.timestamp),
        key: output.key,
        value: output.value,
        headers: output.headers.iter(),
    }
}
