//! How arguments, results and events become bytes, and what they are written to.

use std::fmt;
use std::io;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes shared rather than copied into a frame, from this length on.
const SHARED_FROM: usize = 32 * 1024;

/// A way to write values of type `T` as bytes, and to read them back.
///
/// Both sides are one program, so nothing has to be said about versions. A codec is a
/// type without a value of its own, mostly; name it with `#[worker(codec = Name)]`. It
/// has to handle the worker's arguments (a tuple, if there are several), its result, and
/// its events.
///
/// (`AnyEvent::Fork::RPC`: `serialiser`.)
pub trait Codec<T>: 'static {
    /// Writes a value.
    ///
    /// # Errors
    /// What is wrong with the value. It becomes the error of the call
    /// ([`is_codec`](crate::Error::is_codec)); nothing has been sent then.
    fn encode(value: &T, sink: &mut Sink) -> Result<(), CodecError>;

    /// Reads it back.
    ///
    /// # Errors
    /// What is wrong with the bytes; the error of the call.
    fn decode(body: &Body<'_>) -> Result<T, CodecError>;
}

/// Why a codec could not write or read a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecError(String);

impl CodecError {
    /// With the text of whatever went wrong.
    pub fn new(why: impl fmt::Display) -> CodecError {
        CodecError(why.to_string())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

/// What a codec writes to.
#[derive(Debug, Default)]
pub struct Sink {
    pub(super) bytes: Vec<u8>,
    /// Byte strings that stand before the byte of this number.
    pub(super) shared: Vec<(usize, Bytes)>,
}

impl Sink {
    /// Copies bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes a share of bytes, without copying them if they are many.
    pub fn put_shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_FROM {
            self.put(&bytes);
        } else {
            self.shared.push((self.bytes.len(), bytes));
        }
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For `postcard`.
impl Extend<u8> for Sink {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.bytes.extend(bytes);
    }
}

/// The bytes of a value that has arrived.
#[derive(Debug)]
pub struct Body<'a>(pub(super) Held<'a>);

#[derive(Debug)]
pub(super) enum Held<'a> {
    Borrowed(&'a [u8]),
    Owned(Bytes),
}

impl Body<'_> {
    /// A part of them that outlives the frame: shared if they are many, else copied.
    pub fn share(&self, part: &[u8]) -> Bytes {
        match &self.0 {
            Held::Borrowed(_) => Bytes::copy_from_slice(part),
            Held::Owned(bytes) => bytes.slice_ref(part),
        }
    }
}

impl std::ops::Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Borrowed(bytes) => bytes,
            Held::Owned(bytes) => bytes,
        }
    }
}

/// Decodes. The codec is the user's code: a panic of it is the trouble of this value alone.
pub(super) fn decode_unharmed<T>(
    decode: fn(&Body<'_>) -> Result<T, CodecError>,
    body: &Body<'_>,
) -> Result<T, CodecError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| decode(body)))
        .unwrap_or_else(|_| Err(CodecError::new("the codec panicked")))
}

/// The default codec: small and fast, for whatever has serde's traits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    fn encode(value: &T, sink: &mut Sink) -> Result<(), CodecError> {
        let bytes = std::mem::take(&mut sink.bytes);
        sink.bytes = postcard::to_extend(value, bytes).map_err(CodecError::new)?;
        Ok(())
    }

    fn decode(body: &Body<'_>) -> Result<T, CodecError> {
        match postcard::take_from_bytes(body) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => {
                Err(CodecError(format!("{} bytes are left over behind the value", rest.len())))
            }
            Err(e) => Err(CodecError::new(e)),
        }
    }
}

/// Values as JSON text.
///
/// (`AnyEvent::Fork::RPC`: `$JSON_SERIALISER`.)
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

#[cfg(feature = "json")]
impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(value: &T, sink: &mut Sink) -> Result<(), CodecError> {
        serde_json::to_writer(sink, value).map_err(CodecError::new)
    }

    fn decode(body: &Body<'_>) -> Result<T, CodecError> {
        serde_json::from_slice(body).map_err(CodecError::new)
    }
}

/// Values as MessagePack.
#[cfg(feature = "messagepack")]
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

#[cfg(feature = "messagepack")]
impl<T: Serialize + DeserializeOwned> Codec<T> for MessagePack {
    fn encode(value: &T, sink: &mut Sink) -> Result<(), CodecError> {
        rmp_serde::encode::write(sink, value).map_err(CodecError::new)
    }

    fn decode(body: &Body<'_>) -> Result<T, CodecError> {
        // What is left over is for nobody: rmp-serde says nothing about it.
        rmp_serde::from_slice(body).map_err(CodecError::new)
    }
}
