//! Reading and writing numbers at fixed places of a row.

/// Reads `N` bytes at `at` of a row whose size was checked; a wrong constant would be our own bug.
#[inline(always)]
fn take<const N: usize>(row: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&row[at..at + N]);
    out
}

#[inline(always)]
pub fn u16_at(row: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(take(row, at))
}

#[inline(always)]
pub fn u32_at(row: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(take(row, at))
}

#[inline(always)]
pub fn i32_at(row: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(take(row, at))
}

#[inline(always)]
pub fn u64_at(row: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(take(row, at))
}

#[inline(always)]
pub fn i64_at(row: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(take(row, at))
}

/// Writes `value` at `at`.
#[inline(always)]
pub fn put<const N: usize>(row: &mut [u8], at: usize, value: [u8; N]) {
    row[at..at + N].copy_from_slice(&value);
}

/// A table inside a frame: where it begins, how many rows, and how far apart they are. Checked on construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    pub position: u32,
    pub rows: u32,
    pub row_size: usize,
}

impl Table {
    pub fn check(
        name: &'static str,
        position: u32,
        rows: u32,
        row_size: u16,
        least: usize,
        length: usize,
    ) -> Result<Self, crate::FrameError> {
        let row_size = usize::from(row_size);
        if rows == 0 {
            return Ok(Self {
                position: 0,
                rows: 0,
                row_size: least,
            });
        }
        if row_size < least {
            return Err(crate::FrameError::RowTooSmall {
                table: name,
                found: row_size,
                least,
            });
        }
        let end = u64::from(position) + u64::from(rows) * row_size as u64;
        if end > length as u64 {
            return Err(crate::FrameError::TableOutOfBounds {
                table: name,
                rows,
                row_size,
                position,
                length,
            });
        }
        Ok(Self {
            position,
            rows,
            row_size,
        })
    }

    /// The bytes of row `row` of `frame`, the frame that this table was checked against; `None` past the last row.
    #[inline(always)]
    pub fn row<'a>(&self, frame: &'a [u8], row: u32) -> Option<&'a [u8]> {
        if row >= self.rows {
            return None;
        }
        let at = self.position as usize + row as usize * self.row_size;
        frame.get(at..at + self.row_size)
    }
}

/// True when `length` bytes at `position` lie inside `frame` bytes.
#[inline(always)]
pub fn fits(position: u32, length: u32, frame: usize) -> bool {
    u64::from(position) + u64::from(length) <= frame as u64
}
