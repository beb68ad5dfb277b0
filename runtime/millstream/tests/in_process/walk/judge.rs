//! One case: damaged, started, looked at, and put back.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use millstream_log::FlushMode;

use super::damage::Case;
use super::node::{
    Base, DATA, IDEMPOTENT, OPEN, SETTLED, append, append_one, idempotent_batch, options,
};
use super::seen::Seen;
use crate::rig::Rig;

const TOPICS: [&str; 5] = ["plain", "old", "keys", "out", "last"];

/// What became of a damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nobody notices.
    Right,
    /// The last record is gone, as it may be.
    LastLost,
    /// The node runs and refuses a part of what it has.
    PartRefused,
    StartRefused,
}

/// How often there was which verdict.
#[derive(Debug, Default)]
pub struct Tally {
    verdicts: BTreeMap<Verdict, u64>,
}

impl Tally {
    pub fn count(&mut self, _case: &Case, verdict: Verdict) {
        *self.verdicts.entry(verdict).or_default() += 1;
    }

    /// Without damage that was noticed, the walk would say nothing.
    pub fn check(&self) {
        for verdict in [Verdict::Right, Verdict::PartRefused, Verdict::StartRefused] {
            assert!(
                self.verdicts.contains_key(&verdict),
                "{self}: never {verdict:?}"
            );
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.verdicts)
    }
}

pub async fn judge(base: &Base, case: &Case) -> Result<Verdict, String> {
    let fs = base.fs.copy(1);
    case.do_to(&fs);
    let verdict = match Rig::over(options(&fs, base.flush)).await {
        Err(message) => {
            check_advice(case, &message)?;
            Verdict::StartRefused
        }
        Ok(rig) => {
            let verdict = use_it(base, case, &rig).await;
            rig.broker.shutdown(Duration::ZERO).await;
            verdict?
        }
    };
    if matches!(verdict, Verdict::Right | Verdict::LastLost) {
        return Ok(verdict);
    }
    // Put back, everything is right again. A node that has started has only been looked at by then.
    let fs = match verdict {
        Verdict::PartRefused => {
            let fs = base.fs.copy(2);
            case.do_to(&fs);
            let rig = Rig::over(options(&fs, base.flush)).await?;
            look(base, case, &rig).await?;
            rig.broker.shutdown(Duration::ZERO).await;
            fs.kill(2)
        }
        _ => fs.kill(2),
    };
    if case.undo(&fs, base) {
        let rig = Rig::over(options(&fs, base.flush)).await;
        let rig = rig.map_err(|error| format!("{verdict:?}, put back: {error}"))?;
        match use_it(base, case, &rig).await {
            Ok(Verdict::PartRefused) => {
                return Err(format!(
                    "{verdict:?}, put back: a part is still refused: {:?}, {:?}",
                    rig.report.problems,
                    damages(&rig)
                ));
            }
            Ok(_) => {}
            Err(error) => return Err(format!("{verdict:?}, put back: {error}")),
        }
        rig.broker.shutdown(Duration::ZERO).await;
    } else if verdict == Verdict::StartRefused {
        return Err("a start that was refused has written to the damaged file".to_owned());
    }
    Ok(verdict)
}

/// Reads and writes on a node that has started.
async fn use_it(base: &Base, case: &Case, rig: &Rig) -> Result<Verdict, String> {
    let verdict = look(base, case, rig).await?;
    if verdict == Verdict::PartRefused {
        return Ok(verdict);
    }
    let refused = check_producers(base, rig)
        .await
        .map_err(|error| format!("{verdict:?}, then {error}"))?;
    if !refused.is_empty() {
        return match is_reported(case, rig) {
            true => Ok(Verdict::PartRefused),
            false => Err(format!("refused without a word: {refused:?}")),
        };
    }
    check_writes(base, rig, verdict == Verdict::LastLost)
        .await
        .map(|()| verdict)
        .map_err(|error| format!("{verdict:?}, then {error}"))
}

/// The file, or its directory, and what to do.
fn check_advice(case: &Case, message: &str) -> Result<(), String> {
    let below = |path: &&Path| path.starts_with(DATA) && *path != Path::new(DATA);
    let mut names = case.path.ancestors().filter(below);
    let is_named = names.any(|path| message.contains(&path.display().to_string()));
    let words = ["put ", "Put ", "restore", "write ", "remove "];
    let advises = words.iter().any(|word| message.contains(word));
    match is_named && advises {
        true => Ok(()),
        false => Err(format!("refused without file or advice: {message}")),
    }
}

async fn look(base: &Base, case: &Case, rig: &Rig) -> Result<Verdict, String> {
    let now = Seen::of(rig, &TOPICS).await;
    let mut difference = base.seen.compare(&now);
    if difference.wrong.is_empty() && difference.refused.is_empty() {
        return Ok(Verdict::Right);
    }
    if base.may_lose_last && may_take_last(base, case) {
        let without_last = base.seen.without_last();
        if without_last == now {
            return Ok(Verdict::LastLost);
        }
        let otherwise = without_last.compare(&now);
        if otherwise.wrong.is_empty() {
            difference = otherwise;
        }
    }
    if difference.wrong.is_empty() {
        return match is_reported(case, rig) {
            true => Ok(Verdict::PartRefused),
            false => Err(format!("refused without a word: {:?}", difference.refused)),
        };
    }
    let refused = match difference.refused.is_empty() {
        true => String::new(),
        false => format!("; refused: {:?}", difference.refused),
    };
    Err(format!("{}{refused}", difference.wrong.join("; ")))
}

/// Whether the node has said which file it is.
fn is_reported(case: &Case, rig: &Rig) -> bool {
    let dirs: Vec<_> = case
        .path
        .ancestors()
        .filter(|path| *path != Path::new(DATA))
        .collect();
    let is_near = |text: &str| {
        dirs.iter()
            .any(|dir| dir.starts_with(DATA) && text.contains(&dir.display().to_string()))
    };
    rig.report
        .problems
        .iter()
        .any(|problem| is_near(&problem.to_string()))
        || rig
            .store
            .logs()
            .iter()
            .any(|log| dirs.contains(&log.dir()) && !log.damages().is_empty())
}

/// What cannot be read, by the log's directory.
fn damages(rig: &Rig) -> Vec<String> {
    let logs = rig.store.logs();
    let damaged = logs.iter().filter(|log| !log.damages().is_empty());
    damaged
        .map(|log| format!("{}: {:?}", log.dir().display(), log.damages()))
        .collect()
}

/// A start over files that nobody has damaged shows what was there.
pub async fn check_undamaged(base: &Base) {
    let fs = base.fs.copy(1);
    let rig = Rig::over(options(&fs, base.flush)).await.unwrap();
    let difference = base.seen.compare(&Seen::of(&rig, &TOPICS).await);
    let is_same = difference.wrong.is_empty() && difference.refused.is_empty();
    assert!(is_same, "{difference:?}");
    assert_eq!(check_producers(base, &rig).await, Ok(Vec::new()));
    check_writes(base, &rig, false).await.unwrap();
    rig.broker.shutdown(Duration::ZERO).await;
}

/// Whether the damage is where it cannot be told from a torn write.
fn may_take_last(base: &Base, case: &Case) -> bool {
    let path = case.path.to_string_lossy();
    match base.flush {
        FlushMode::Journal => path.contains("/journal"),
        FlushMode::Os => path.contains("/last-0"),
    }
}

/// Transactional ids go on in the epoch they were in. Returns those that are refused.
async fn check_producers(base: &Base, rig: &Rig) -> Result<Vec<&'static str>, String> {
    let mut refused = Vec::new();
    // The abort of the open transaction has an epoch of its own, which fences who began it.
    for (id, (producer_id, epoch), epochs) in [(SETTLED, base.settled, 1), (OPEN, base.open, 2)] {
        match rig.local.init_producer_id(id, 600_000).await {
            Ok(found) if found == (producer_id, epoch + epochs) => {}
            Ok(found) => {
                return Err(format!(
                    "{id} was {producer_id} in epoch {epoch}, and is {found:?}"
                ));
            }
            Err(_) => refused.push(id),
        }
    }
    // New ones, in both partitions of the coordinator.
    for id in ["fresh", "new"] {
        match rig.local.init_producer_id(id, 600_000).await {
            Ok((producer_id, 0)) if producer_id > base.settled.0.max(base.open.0) => {}
            Ok(found) => return Err(format!("the new transactional id {id} got {found:?}")),
            Err(_) => refused.push(id),
        }
    }
    Ok(refused)
}

/// The node goes on where it was: offsets, sequences, epochs, transactions.
async fn check_writes(base: &Base, rig: &Rig, is_last_lost: bool) -> Result<(), String> {
    let (batch, offset) = &base.last_batch;
    let again = append(rig, "plain", batch.clone(), None).await;
    let again = again.map_err(|code| format!("the last batch sent again: {code}"))?;
    if !again.duplicate || again.base_offset != *offset {
        return Err(format!(
            "the last batch of producer {IDEMPOTENT} is not known: {again:?}"
        ));
    }
    let next = append(rig, "plain", idempotent_batch(8), None).await;
    let next = next.map_err(|code| format!("the next batch: {code}"))?;
    if next.duplicate || next.base_offset != *offset + 2 {
        return Err(format!("the next batch of the producer: {next:?}"));
    }
    for topic in TOPICS {
        let partition = rig
            .local
            .partition(topic, 0)
            .map_err(|code| format!("{topic}: {code}"))?;
        let offsets = partition.offsets();
        if offsets.appended_last_stable != offsets.log_end {
            return Err(format!("{topic}: a transaction is open, {offsets:?}"));
        }
        let appended = append_one(rig, topic, "more").await;
        if appended != Ok(offsets.log_end) {
            return Err(format!("{topic}: {appended:?} at {offsets:?}"));
        }
    }
    let offsets = rig
        .local
        .partition("last", 0)
        .map_err(|code| code.to_string())?
        .offsets();
    let expected = if is_last_lost { 2 } else { 3 };
    match offsets.log_end == expected {
        true => Ok(()),
        false => Err(format!("`last` ends at {}", offsets.log_end)),
    }
}
