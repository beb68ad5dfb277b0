//! What a plugin can do: emit records, write to the log, count.

use millstream_frames::{EffectsWriter, FieldAt};
use serde_core::Serialize;

use crate::{Field, Level, Open, Record, Reject, diagnostics};

/// Effects are sent when this many bytes wait, so that they stay in the processor's cache.
const FLUSH_BYTES: usize = 256 * 1024;

/// The effects of the present record go in here.
pub struct Context<'a> {
    writer: &'a mut EffectsWriter,
    open: &'a Open,
    /// The call's events frame: what lies inside it need not be copied.
    frame: &'a [u8],
    event: u32,
    /// Whether the present event has been opened in the effects frame.
    opened: bool,
    random: u64,
}

/// An output, looked up once with [`Context::output`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output(u16);

/// Something that names an output: its name, or what [`Context::output`] gave.
pub trait OutputName {
    /// Index of the output, when the manifest binds one of that name.
    fn index(&self, open: &Open) -> Option<u16>;
    /// For messages.
    fn name(&self) -> String;
}

impl OutputName for &str {
    fn index(&self, open: &Open) -> Option<u16> {
        open.outputs
            .iter()
            .position(|output| output == self)
            .map(|index| index as u16)
    }

    fn name(&self) -> String {
        (*self).to_owned()
    }
}

impl OutputName for Output {
    fn index(&self, open: &Open) -> Option<u16> {
        (usize::from(self.0) < open.outputs.len()).then_some(self.0)
    }

    fn name(&self) -> String {
        format!("number {}", self.0)
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(writer: &'a mut EffectsWriter, open: &'a Open, frame: &'a [u8]) -> Self {
        Self {
            writer,
            open,
            frame,
            event: 0,
            opened: false,
            random: 0,
        }
    }

    pub(crate) fn begin_event(&mut self, event: u32, record: &Record<'_>) {
        self.event = event;
        self.opened = false;
        self.random = record.seed();
    }

    /// Writes down that the record was refused, which undoes what was emitted for it.
    pub(crate) fn fail(&mut self, reject: &Reject) {
        self.open_event();
        self.writer
            .fail(self.event, reject.code(), reject.message());
    }

    /// Sends what was written so far.
    pub(crate) fn flush(&mut self) {
        if !self.writer.is_empty() {
            diagnostics::emit(self.writer.finish());
        }
        self.writer.clear();
    }

    /// Makes room for the next effect and opens the event, if that was not done yet. What was emitted for the event
    /// before may be sent already: the host undoes it all the same when the record is refused.
    #[inline]
    fn open_event(&mut self) {
        if self.writer.size() >= FLUSH_BYTES {
            self.flush();
        }
        if !self.opened {
            self.writer.begin(self.event);
            self.opened = true;
        }
    }

    /// Looks an output up, for code that emits to the same one again and again.
    ///
    /// Panics when there is no output of that name, as `emit` does.
    #[track_caller]
    pub fn output(&self, name: &str) -> Output {
        Output(self.index(&name))
    }

    #[track_caller]
    fn index(&self, output: &impl OutputName) -> u16 {
        match output.index(self.open) {
            Some(index) => index,
            None => panic!(
                "there is no output `{}`; the manifest binds {:?}",
                output.name(),
                self.open.outputs
            ),
        }
    }

    /// Emits a record: to the partition that its key chooses, with the input record's timestamp and no headers. The
    /// returned value changes that.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn example(record: Record<'_>, ctx: &mut Context<'_>) {
    /// ctx.emit("late", record.key(), "by an hour").header("source", "clock").timestamp(record.timestamp() + 1);
    /// # }
    /// ```
    ///
    /// A key or value that is part of the input record is not copied. Panics when the plugin has no such output.
    #[inline]
    #[track_caller]
    pub fn emit(
        &mut self,
        output: impl OutputName,
        key: impl Field,
        value: impl Field,
    ) -> Emitted<'_> {
        let target = self.index(&output);
        self.open_event();
        let key = self.place(key.bytes());
        let value = self.place(value.bytes());
        self.push(target, key, value)
    }

    /// Emits a record whose value is `value` as JSON.
    #[track_caller]
    pub fn emit_json(
        &mut self,
        output: impl OutputName,
        key: impl Field,
        value: &impl Serialize,
    ) -> Result<Emitted<'_>, Reject> {
        let target = self.index(&output);
        self.open_event();
        let key = self.place(key.bytes());
        let value = self
            .writer
            .field_with(|bytes| serde_json::to_writer(bytes, value))?;
        Ok(self.push(target, key, value))
    }

    /// Emits the input record as it is: key, value, headers and timestamp. Nothing is copied.
    #[inline]
    #[track_caller]
    pub fn forward(&mut self, output: impl OutputName, record: &Record<'_>) -> Emitted<'_> {
        let target = self.index(&output);
        self.open_event();
        let value = self.place(record.value());
        self.push_forward(target, record, value)
    }

    /// Emits the input record with a changed value: `change` works on the bytes where they will be sent from. Null
    /// stays null.
    #[inline]
    #[track_caller]
    pub fn forward_mapped(
        &mut self,
        output: impl OutputName,
        record: &Record<'_>,
        change: impl FnOnce(&mut [u8]),
    ) -> Emitted<'_> {
        let target = self.index(&output);
        self.open_event();
        let value = match record.value() {
            None => FieldAt::Null,
            Some(value) => self.writer.field_changed(value, change),
        };
        self.push_forward(target, record, value)
    }

    /// Adds an output with the key and the headers of the input record.
    #[inline]
    fn push_forward(&mut self, target: u16, record: &Record<'_>, value: FieldAt) -> Emitted<'_> {
        let key = self.place(record.key());
        let mut emitted = self.push(target, key, value);
        let (first, count) = record.headers().headers.rows();
        if count > 0 {
            emitted
                .writer
                .set_headers_of_event(emitted.row, first, count);
            emitted.forwarded = Some((first, count));
        }
        emitted
    }

    fn push(&mut self, target: u16, key: FieldAt, value: FieldAt) -> Emitted<'_> {
        let row = self.writer.output(target, key, value);
        Emitted {
            writer: self.writer,
            frame: self.frame,
            row,
            forwarded: None,
        }
    }

    /// Names bytes of the events frame where they stand, copies all others.
    #[inline]
    fn place(&mut self, bytes: Option<&[u8]>) -> FieldAt {
        let Some(bytes) = bytes else {
            return FieldAt::Null;
        };
        match position_in(self.frame, bytes) {
            Some(position) => FieldAt::Events {
                position,
                length: bytes.len() as u32,
            },
            None => self.writer.field(bytes),
        }
    }

    /// A random number, the same in every replay: it follows from the record's seed.
    pub fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Writes a line to the plugin's log.
    pub fn log(&self, level: Level, message: impl AsRef<str>) {
        diagnostics::log(level, message.as_ref(), &[]);
    }

    /// Writes a line with fields to the plugin's log.
    pub fn log_fields(&self, level: Level, message: impl AsRef<str>, fields: &[(&str, &str)]) {
        diagnostics::log(level, message.as_ref(), fields);
    }

    /// Writes an information line to the plugin's log.
    pub fn info(&self, message: impl AsRef<str>) {
        self.log(Level::Info, message);
    }

    /// Writes a warning to the plugin's log.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.log(Level::Warn, message);
    }

    /// Adds to a counter of the plugin's.
    pub fn count(&self, metric: &str, delta: u64) {
        diagnostics::count(metric, delta);
    }

    /// Sets a gauge of the plugin's.
    pub fn gauge(&self, metric: &str, value: f64) {
        diagnostics::gauge(metric, value);
    }
}

/// Where `bytes` stand in `frame`, when they are a part of it.
#[inline]
fn position_in(frame: &[u8], bytes: &[u8]) -> Option<u32> {
    let (start, at) = (frame.as_ptr() as usize, bytes.as_ptr() as usize);
    let inside = at >= start && at + bytes.len() <= start + frame.len();
    inside.then(|| (at - start) as u32)
}

/// A record that was emitted, to be completed.
pub struct Emitted<'c> {
    writer: &'c mut EffectsWriter,
    frame: &'c [u8],
    row: u32,
    /// Header rows of the events frame that the record was forwarded with.
    forwarded: Option<(u32, u32)>,
}

impl Emitted<'_> {
    /// Adds a header. Names and values are bytes to Kafka; most people write text.
    ///
    /// Headers of a forwarded record are kept, and this one stands behind them.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl Field) -> Self {
        if let Some((first, count)) = self.forwarded.take() {
            self.take_headers_over(first, count);
        }
        self.writer
            .add_header(self.row, name.as_ref(), value.bytes());
        self
    }

    /// The headers of the events frame become headers of this one, so that more can follow.
    fn take_headers_over(&mut self, first: u32, count: u32) {
        let view =
            millstream_frames::EventsView::parse(self.frame).expect("the frame was read before");
        let headers = view
            .header_range(first, count as i32)
            .expect("the rows were there before");
        self.writer.clear_headers(self.row);
        for header in headers.iter() {
            let header = header.expect("the events frame is sound");
            self.writer.add_header(self.row, header.name, header.value);
        }
    }

    /// Milliseconds since 1970, instead of the input record's timestamp. Panics when it is negative.
    #[track_caller]
    pub fn timestamp(self, milliseconds: i64) -> Self {
        assert!(
            milliseconds >= 0,
            "a timestamp of {milliseconds} ms is before 1970"
        );
        self.writer.set_timestamp(self.row, milliseconds);
        self
    }

    /// A certain partition, instead of the one that the key chooses. Panics when it is negative.
    #[track_caller]
    pub fn partition(self, partition: i32) -> Self {
        assert!(partition >= 0, "partition {partition} is negative");
        self.writer.set_partition(self.row, partition);
        self
    }
}
