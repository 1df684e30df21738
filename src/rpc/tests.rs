//! The decoder of frames, with seeded random input; `fuzz/` goes on where this ends.

use super::frame::{Frame, HEADER, Head, Kind, MAX_BODY};
use super::fuzz::{Decoded, decode, fuzz_inbox};
use super::inbox::{Filled, Inbox};
use super::outbox::Outbox;

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

const KINDS: [Kind; 4] = [Kind::Reply, Kind::Event, Kind::Call, Kind::Failed];

/// Valid frames, as bytes and as what is to come out.
fn frames(random: &mut Random, count: usize, largest: usize) -> (Vec<u8>, Decoded) {
    let (mut bytes, mut decoded) = (Vec::new(), Decoded::default());
    for _ in 0..count {
        let (kind, call) = (KINDS[random.below(4)], random.next() as u32);
        // Most are small.
        let size = random.below(largest) >> random.below(16);
        let body = random.bytes(size);
        let frame = Frame::encode(kind, call, MAX_BODY, |sink| {
            sink.put(&body);
            Ok(())
        });
        bytes.extend_from_slice(&frame.unwrap().bytes);
        decoded.frames.push((kind as u8, call, body));
    }
    (bytes, decoded)
}

#[test]
fn frames_come_out_as_they_were_put_in_whatever_the_pieces() {
    let mut random = Random(1);
    for round in 0..60 {
        let largest = if round % 10 == 0 { 600_000 } else { 3_000 };
        let (bytes, expected) = frames(&mut random, 20, largest);
        assert_eq!(decode(&bytes, MAX_BODY, || usize::MAX), expected);
        let most = 1 + random.below(bytes.len());
        assert_eq!(decode(&bytes, MAX_BODY, || 1 + random.below(most)), expected);
        if bytes.len() < 20_000 {
            assert_eq!(decode(&bytes, MAX_BODY, || 1), expected);
        }
    }
}

#[test]
fn what_is_cut_short_is_the_frames_before() {
    let mut random = Random(2);
    let (bytes, expected) = frames(&mut random, 8, 300);
    for length in 0..bytes.len() {
        let decoded = decode(&bytes[..length], MAX_BODY, || 1 + random.below(40));
        assert!(!decoded.malformed);
        assert_eq!(decoded.frames[..], expected.frames[..decoded.frames.len()]);
        let whole: usize = decoded.frames.iter().map(|(.., body)| HEADER + body.len()).sum();
        let next = expected.frames.get(decoded.frames.len()).unwrap();
        assert!(whole <= length && length < whole + HEADER + next.2.len());
    }
}

#[test]
fn any_bytes_are_frames_or_refused() {
    let mut random = Random(3);
    for _ in 0..2000 {
        let count = random.below(3000);
        fuzz_inbox(&random.bytes(count));
    }
    // Nearly right ones go further.
    for _ in 0..2000 {
        let (mut bytes, _) = frames(&mut random, 5, 400);
        for _ in 0..1 + random.below(4) {
            let (at, bit) = (random.below(bytes.len()), random.below(8));
            bytes[at] ^= 1 << bit;
        }
        fuzz_inbox(&[&random.bytes(2), &bytes[..]].concat());
    }
}

#[test]
fn what_is_too_large_is_refused_by_its_header() {
    let head = |length, kind| {
        let mut bytes = [0; HEADER];
        Head { length, call: 1, kind, fds: 0 }.write(&mut bytes);
        bytes
    };
    assert!(!decode(&head(100, Kind::Reply), 100, || 5).malformed);
    assert!(decode(&head(101, Kind::Reply), 100, || 5).malformed);
    assert!(!decode(&head(101, Kind::Failed), 100, || 5).malformed);
    assert!(decode(&head(MAX_BODY, Kind::Failed), 100, || 5).malformed);
    assert!(!decode(&head(MAX_BODY, Kind::Reply), MAX_BODY, || 5).malformed);
}

#[test]
fn a_frame_is_held_until_it_is_taken_to_be_sent() {
    let mut outbox = Outbox::default();
    let small = || Frame::plain(Kind::Call, 1, &vec![7u8; 100]);
    let large = Frame::plain(Kind::Call, 2, &vec![7u8; 100_000]);
    let places = [outbox.push(small()).0, outbox.push(small()).0, outbox.push(large).0];
    assert!(places.iter().all(|place| outbox.holds(*place)));
    assert!(outbox.take_out(places[1]));
    let chunk = outbox.take().unwrap();
    assert_eq!(places.map(|p| outbox.holds(p)), [false, false, true]);
    assert!(!outbox.take_out(places[0]));
    // Nothing of it was written.
    outbox.put_back(chunk);
    assert!(outbox.holds(places[0]) && outbox.take_out(places[0]) && outbox.take_out(places[2]));
    outbox.clear();
    assert!(places.iter().all(|place| !outbox.holds(*place) && !outbox.take_out(*place)));
}

#[test]
fn many_frames_come_with_one_read() {
    use std::io::Write;
    let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let (bytes, expected) = frames(&mut Random(5), 1000, 40);
    near.write_all(&bytes).unwrap();
    let mut inbox = Inbox::new(MAX_BODY);
    assert_eq!(inbox.fill(&far, true).unwrap(), Filled::Some);
    for (kind, call, body) in expected.frames {
        let frame = inbox.next().unwrap().expect("it has come");
        assert_eq!(
            (frame.head.kind as u8, frame.head.call, frame.body.to_vec()),
            (kind, call, body)
        );
    }
    assert_eq!(inbox.fill(&far, false).unwrap(), Filled::Nothing);
}
