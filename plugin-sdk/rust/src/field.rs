//! What can be a key, a value or a header's value.

use std::borrow::Cow;

/// No bytes at all: the null key, or the null value (a tombstone).
pub const NULL: Option<&[u8]> = None;

/// Bytes or null. Texts and byte strings, borrowed or owned, and options of them.
pub trait Field {
    /// `None` is null.
    fn bytes(&self) -> Option<&[u8]>;
}

impl<F: Field + ?Sized> Field for &F {
    fn bytes(&self) -> Option<&[u8]> {
        (**self).bytes()
    }
}

impl<F: Field> Field for Option<F> {
    fn bytes(&self) -> Option<&[u8]> {
        self.as_ref()?.bytes()
    }
}

impl<const N: usize> Field for [u8; N] {
    fn bytes(&self) -> Option<&[u8]> {
        Some(self)
    }
}

macro_rules! field {
    ($($kind:ty: $bytes:ident),*) => {$(
        impl Field for $kind {
            fn bytes(&self) -> Option<&[u8]> {
                Some(self.$bytes())
            }
        }
    )*};
}

field!(str: as_bytes, String: as_bytes, [u8]: as_ref, Vec<u8>: as_slice, Cow<'_, str>: as_bytes, Cow<'_, [u8]>: as_ref);
