//! What the two sides of a ring see of each other, in one process.

use super::*;

fn pair() -> (Ring, Ring) {
    let (reader, file) = Ring::create().unwrap();
    (reader, Ring::map(&file).unwrap())
}

#[test]
fn records_come_out_as_they_went_in_around_the_end() {
    let (reader, writer) = pair();
    let mut buffer = Vec::new();
    for round in 0..5000u64 {
        let record = vec![round as u8; (round as usize * 37) % RECORD];
        assert!(writer.push(round, &record));
        assert!(!reader.pop(round + 1, &mut buffer).unwrap(), "it belongs elsewhere");
        assert!(reader.pop(round, &mut buffer).unwrap());
        assert_eq!(buffer, record);
        assert!(!reader.pop(round, &mut buffer).unwrap());
    }
}

#[test]
fn what_has_no_room_is_refused() {
    let (reader, writer) = pair();
    let mut count = 0;
    while writer.push(0, &[7; 1000]) {
        count += 1;
    }
    assert_eq!(count, ROOM / (HEADER + 1000));
    let mut buffer = Vec::new();
    assert!(reader.pop(0, &mut buffer).unwrap());
    assert!(writer.push(0, &[8; 1000]));
    assert!(!writer.push(0, &[0; RECORD + 1]));
}

#[test]
fn one_who_sleeps_is_woken_once() {
    let (reader, writer) = pair();
    assert!(writer.must_wake(), "it begins asleep");
    assert!(reader.sleep(0));
    assert!(writer.push(0, b"x"));
    assert!(writer.must_wake());
    assert!(!writer.must_wake());
    assert!(reader.sleep(1), "that is not for now");
    assert!(!reader.sleep(0), "there is something to read");
}

#[test]
fn nonsense_is_noticed() {
    let refused = |tail: u64, length: u32| {
        let (reader, writer) = pair();
        writer.copy_in(0, &length.to_ne_bytes());
        writer.number(TAIL).store(tail, Ordering::Release);
        reader.pop(0, &mut Vec::new()).is_err()
    };
    assert!(!refused(24, 8));
    assert!(refused(u64::MAX, 8));
    assert!(refused(8, 8), "less than a header");
    assert!(refused(24, 16), "longer than what was written");
    assert!(refused(ROOM as u64, RECORD as u32 + 1));
    assert!(refused(24, u32::MAX));
}
