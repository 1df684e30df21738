//! The codec for byte strings: no serde, and large ones are not copied.

use bytes::Bytes;

use super::codec::{Body, Codec, CodecError, Sink};

/// Lists of byte strings, each with its length before it: `Vec<u8>`, [`Bytes`] and
/// `String`, tuples of up to eight of them, vectors of them, and `()`.
///
/// A [`Bytes`] that is large is passed on without copying it on either side.
///
/// (`AnyEvent::Fork::RPC`: `$STRING_SERIALISER`, "reasonably fast and efficient".)
#[derive(Clone, Copy, Debug, Default)]
pub struct Octets;

/// A value that is one byte string.
pub trait Octet: Sized + 'static {
    #[doc(hidden)]
    fn put(&self, sink: &mut Sink);
    #[doc(hidden)]
    fn take(part: &[u8], body: &Body<'_>) -> Result<Self, CodecError>;
}

impl Octet for Vec<u8> {
    fn put(&self, sink: &mut Sink) {
        put_length(self.len(), sink);
        sink.put(self);
    }

    fn take(part: &[u8], _: &Body<'_>) -> Result<Self, CodecError> {
        Ok(part.to_vec())
    }
}

impl Octet for Bytes {
    fn put(&self, sink: &mut Sink) {
        put_length(self.len(), sink);
        sink.put_shared(self.clone());
    }

    fn take(part: &[u8], body: &Body<'_>) -> Result<Self, CodecError> {
        Ok(body.share(part))
    }
}

impl Octet for String {
    fn put(&self, sink: &mut Sink) {
        put_length(self.len(), sink);
        sink.put(self.as_bytes());
    }

    fn take(part: &[u8], _: &Body<'_>) -> Result<Self, CodecError> {
        String::from_utf8(part.to_vec()).map_err(CodecError::new)
    }
}

/// Seven bits a byte, the lowest first.
fn put_length(mut length: usize, sink: &mut Sink) {
    while length >= 0x80 {
        sink.put(&[length as u8 | 0x80]);
        length >>= 7;
    }
    sink.put(&[length as u8]);
}

/// Takes one byte string off the front.
fn next<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], CodecError> {
    let short = || CodecError::new("a byte string is cut short");
    let mut length = 0u64;
    for shift in (0..35).step_by(7) {
        let (&byte, behind) = rest.split_first().ok_or_else(short)?;
        *rest = behind;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let length = usize::try_from(length).map_err(CodecError::new)?;
            let (part, behind) = rest.split_at_checked(length).ok_or_else(short)?;
            *rest = behind;
            return Ok(part);
        }
    }
    Err(CodecError::new("a length is too long"))
}

fn end(rest: &[u8]) -> Result<(), CodecError> {
    if rest.is_empty() { Ok(()) } else { Err(CodecError::new("more byte strings than expected")) }
}

impl Codec<()> for Octets {
    fn encode((): &(), _: &mut Sink) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode(body: &Body<'_>) -> Result<(), CodecError> {
        end(body)
    }
}

impl<T: Octet> Codec<Vec<T>> for Octets
where
    Vec<T>: List,
{
    fn encode(list: &Vec<T>, sink: &mut Sink) -> Result<(), CodecError> {
        list.iter().for_each(|part| part.put(sink));
        Ok(())
    }

    fn decode(body: &Body<'_>) -> Result<Vec<T>, CodecError> {
        let mut rest = &**body;
        let mut list = Vec::new();
        while !rest.is_empty() {
            list.push(T::take(next(&mut rest)?, body)?);
        }
        Ok(list)
    }
}

/// Tells a list of byte strings from the byte string that is a `Vec<u8>`.
pub trait List {}
impl List for Vec<Vec<u8>> {}
impl List for Vec<Bytes> {}
impl List for Vec<String> {}

macro_rules! single {
    ($($one:ty)*) => {$(
        impl Codec<$one> for Octets {
            fn encode(value: &$one, sink: &mut Sink) -> Result<(), CodecError> {
                value.put(sink);
                Ok(())
            }

            fn decode(body: &Body<'_>) -> Result<$one, CodecError> {
                let mut rest = &**body;
                let value = <$one>::take(next(&mut rest)?, body)?;
                end(rest).map(|()| value)
            }
        }
    )*};
}

single!(Bytes String);

impl Codec<Vec<u8>> for Octets {
    fn encode(value: &Vec<u8>, sink: &mut Sink) -> Result<(), CodecError> {
        value.put(sink);
        Ok(())
    }

    fn decode(body: &Body<'_>) -> Result<Vec<u8>, CodecError> {
        let mut rest = &**body;
        let value = next(&mut rest)?.to_vec();
        end(rest).map(|()| value)
    }
}

macro_rules! tuples {
    ($($($part:ident)+;)*) => {$(
        impl<$($part: Octet),+> Codec<($($part,)+)> for Octets {
            #[allow(non_snake_case)]
            fn encode(($($part,)+): &($($part,)+), sink: &mut Sink) -> Result<(), CodecError> {
                $($part.put(sink);)+
                Ok(())
            }

            fn decode(body: &Body<'_>) -> Result<($($part,)+), CodecError> {
                let mut rest = &**body;
                let value = ($($part::take(next(&mut rest)?, body)?,)+);
                end(rest).map(|()| value)
            }
        }
    )*};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

/// A result of byte strings: which of the two, then the string.
impl<T: Octet, E: Octet> Codec<Result<T, E>> for Octets {
    fn encode(value: &Result<T, E>, sink: &mut Sink) -> Result<(), CodecError> {
        match value {
            Ok(value) => {
                sink.put(&[0]);
                value.put(sink);
            }
            Err(error) => {
                sink.put(&[1]);
                error.put(sink);
            }
        }
        Ok(())
    }

    fn decode(body: &Body<'_>) -> Result<Result<T, E>, CodecError> {
        let (&which, mut rest) =
            body.split_first().ok_or_else(|| CodecError::new("an empty result"))?;
        let part = next(&mut rest)?;
        end(rest)?;
        match which {
            0 => T::take(part, body).map(Ok),
            1 => E::take(part, body).map(Err),
            _ => Err(CodecError::new("neither a value nor an error")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::Held;
    use super::*;

    fn there_and_back<T: PartialEq + std::fmt::Debug>(value: T)
    where
        Octets: Codec<T>,
    {
        let mut sink = Sink::default();
        Octets::encode(&value, &mut sink).unwrap();
        for length in 0..sink.bytes.len() {
            // Cut short: an error, or a shorter list, never a panic.
            let _ = <Octets as Codec<T>>::decode(&Body(Held::Borrowed(&sink.bytes[..length])));
        }
        assert_eq!(<Octets as Codec<T>>::decode(&Body(Held::Borrowed(&sink.bytes))), Ok(value));
    }

    #[test]
    fn values_come_back() {
        there_and_back(());
        there_and_back(vec![1u8, 2, 3]);
        there_and_back(vec![vec![0u8; 200], vec![], vec![7]]);
        there_and_back((String::from("ä"), vec![0xffu8; 20_000], Bytes::from_static(b"x")));
        there_and_back(Ok::<Vec<u8>, String>(vec![1]));
        there_and_back(Err::<Vec<u8>, String>("no".to_owned()));
        there_and_back(Vec::<String>::new());
    }

    #[test]
    fn what_is_large_is_shared_on_both_sides() {
        let large = Bytes::from(vec![5u8; 100_000]);
        let mut sink = Sink::default();
        Octets::encode(&large, &mut sink).unwrap();
        assert_eq!(sink.shared[0].1.as_ptr(), large.as_ptr());
        let mut whole = sink.bytes.clone();
        whole.extend_from_slice(&large);
        let body = Body(Held::Owned(Bytes::from(whole)));
        let back: Bytes = Octets::decode(&body).unwrap();
        assert_eq!(back.as_ptr(), body[3..].as_ptr());
        assert_eq!(back, large);
    }
}
