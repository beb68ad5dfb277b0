//! What is in a simulated file: what programs see, what the disk has for certain, and what it may
//! have, sector by sector.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::testing::Random;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;
/// How many unsynced contents of a sector are remembered; any of them may survive.
const VERSIONS_KEPT: usize = 3;

/// A sector's bytes; `None` is all zeros.
type Sector = Option<Arc<[u8; SECTOR]>>;

/// Sectors that are not all zeros, and the length in bytes.
#[derive(Debug, Clone, Default)]
struct Image {
    sectors: BTreeMap<u64, Arc<[u8; SECTOR]>>,
    len: u64,
}

impl Image {
    fn get(&self, number: u64) -> Sector {
        self.sectors.get(&number).cloned()
    }

    fn set(&mut self, number: u64, sector: Sector) {
        match sector {
            Some(bytes) => self.sectors.insert(number, bytes),
            None => self.sectors.remove(&number),
        };
    }

    /// Drops what lies behind `len`.
    fn cut(&mut self, len: u64) {
        let first_gone = len.div_ceil(SECTOR as u64);
        self.sectors.split_off(&first_gone);
        let kept = (len % SECTOR as u64) as usize;
        if kept > 0
            && let Some(last) = self.get(len / SECTOR as u64)
        {
            self.set(len / SECTOR as u64, zero_from(&last, kept));
        }
        self.len = len;
    }
}

/// A file: as programs see it, as the disk has it, and what lies between.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// When it last changed, ms since 1970.
    pub modified_ms: i64,
    seen: Image,
    durable: Image,
    /// The contents that each sector has had since the last sync.
    pending: BTreeMap<u64, Vec<Sector>>,
    /// The lengths that the file has had since the last sync.
    pending_lens: Vec<u64>,
}

impl Content {
    pub fn len(&self) -> u64 {
        self.seen.len
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty() || !self.pending_lens.is_empty()
    }

    pub fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let readable = self.seen.len.saturating_sub(offset);
        let count = buf
            .len()
            .min(usize::try_from(readable).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < count {
            let at = offset + done as u64;
            let from = (at % SECTOR as u64) as usize;
            let step = (SECTOR - from).min(count - done);
            let target = &mut buf[done..done + step];
            match self.seen.sectors.get(&(at / SECTOR as u64)) {
                Some(sector) => target.copy_from_slice(&sector[from..from + step]),
                None => target.fill(0),
            }
            done += step;
        }
        count
    }

    pub fn write(&mut self, buf: &[u8], offset: u64) {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let from = (at % SECTOR as u64) as usize;
            let step = (SECTOR - from).min(buf.len() - done);
            let number = at / SECTOR as u64;
            let mut bytes = self.seen.get(number).map_or([0; SECTOR], |sector| *sector);
            bytes[from..from + step].copy_from_slice(&buf[done..done + step]);
            let sector = bytes.iter().any(|byte| *byte != 0).then(|| Arc::new(bytes));
            self.change(number, sector);
            done += step;
        }
        let end = offset + buf.len() as u64;
        if buf.is_empty() {
            return;
        }
        if end > self.seen.len {
            self.change_len(end);
        } else if end > self.durable.len && self.pending_lens.last().is_none_or(|last| *last < end)
        {
            // A failed sync has forgotten that the file is so long. What is written again brings
            // its own length with it.
            self.note_len(end);
        }
    }

    pub fn set_len(&mut self, len: u64) {
        if len < self.seen.len {
            let first_gone = len.div_ceil(SECTOR as u64);
            let gone: Vec<u64> = self
                .seen
                .sectors
                .range(first_gone..)
                .map(|(number, _)| *number)
                .collect();
            for number in gone {
                self.change(number, None);
            }
            let kept = (len % SECTOR as u64) as usize;
            if kept > 0
                && let Some(last) = self.seen.get(len / SECTOR as u64)
            {
                self.change(len / SECTOR as u64, zero_from(&last, kept));
            }
        }
        if len != self.seen.len {
            self.change_len(len);
        }
    }

    fn change(&mut self, number: u64, sector: Sector) {
        if self.seen.get(number) == sector {
            // Writing the same again still makes the sector dirty: a sync makes it durable.
            self.pending.entry(number).or_insert_with(|| vec![sector]);
            return;
        }
        self.seen.set(number, sector.clone());
        let versions = self.pending.entry(number).or_default();
        if versions.len() == VERSIONS_KEPT {
            versions.remove(1);
        }
        versions.push(sector);
    }

    fn change_len(&mut self, len: u64) {
        self.seen.len = len;
        self.note_len(len);
    }

    fn note_len(&mut self, len: u64) {
        if self.pending_lens.len() > VERSIONS_KEPT {
            self.pending_lens.remove(1);
        }
        self.pending_lens.push(len);
    }

    /// All that is pending reaches the disk.
    pub fn sync(&mut self) {
        for number in std::mem::take(&mut self.pending).into_keys() {
            self.durable.set(number, self.seen.get(number));
        }
        if let Some(len) = std::mem::take(&mut self.pending_lens).pop() {
            self.durable.cut(len);
        }
    }

    /// Some of what is pending reaches the disk; the rest is forgotten, though it is still seen: so
    /// does Linux after an error of writing back, and a later sync reports success.
    pub fn fail_sync(&mut self, random: &mut Random) {
        self.land_some(random);
        self.pending.clear();
        self.pending_lens.clear();
    }

    /// What is on the disk after the power was cut.
    pub fn after_power_cut(mut self, random: &mut Random) -> Content {
        self.land_some(random);
        Content {
            modified_ms: self.modified_ms,
            seen: self.durable.clone(),
            durable: self.durable,
            ..Content::default()
        }
    }

    /// Each pending sector and the length get one of the contents they have had.
    fn land_some(&mut self, random: &mut Random) {
        for (number, versions) in &self.pending {
            let pick = random.below(versions.len() as u64 + 1) as usize;
            if let Some(sector) = versions.get(pick) {
                self.durable.set(*number, sector.clone());
            }
        }
        let pick = random.below(self.pending_lens.len() as u64 + 1) as usize;
        let len = self
            .pending_lens
            .get(pick)
            .copied()
            .unwrap_or(self.durable.len);
        self.durable.cut(len);
    }
}

fn zero_from(sector: &[u8; SECTOR], kept: usize) -> Sector {
    let mut bytes = *sector;
    bytes[kept..].fill(0);
    bytes.iter().any(|byte| *byte != 0).then(|| Arc::new(bytes))
}
