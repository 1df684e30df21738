//! Lies by the thousand, from a fixed seed.

use offshoot_tests::forge::{self, Message, REQUESTS, Rng};
use offshoot_tests::probe::alone;
use offshoot_tests::{DEADLINE, within};

use crate::stream;
use crate::victim::Victim;

/// Steps, well formed or not so.
fn steps(rng: &mut Rng) -> (Vec<u8>, u32) {
    let (mut bytes, mut fds) = (Vec::new(), 0);
    for _ in 0..rng.below(5) {
        match rng.below(8) {
            0 => bytes.extend([vec![1], forge::string(rng.bytes(20))].concat()),
            1 => {
                bytes.push(2);
                fds += 1;
            }
            2 => {
                bytes.extend([vec![3], forge::string("prepare")].concat());
                bytes.extend(1u32.to_le_bytes());
                bytes.extend(forge::string("x"));
            }
            3 => bytes.extend([vec![5], forge::string("KEY"), forge::string("v")].concat()),
            4 => bytes.extend([vec![8], forge::string("/")].concat()),
            5 => {
                bytes.push(rng.below(40) as u8);
                bytes.extend(rng.length().to_le_bytes());
            }
            6 => {
                // A configuration step with any numbers.
                bytes.push(10 + rng.below(9) as u8);
                let len = *rng.one_of(&[1, 4, 20]);
                bytes.extend(rng.bytes(len));
            }
            _ => {
                bytes.push(3);
                bytes.extend(forge::string("prepare"));
                bytes.extend((rng.length() as u32).to_le_bytes());
            }
        }
    }
    (bytes, fds)
}

fn random_fork(rng: &mut Rng, id: u64) -> Message {
    let (steps, fds) = steps(rng);
    let socket = if rng.once_in(4) { forge::any_fd(rng) } else { stream() };
    let mut message = match rng.below(3) {
        0 => {
            // To serve, or to execute: neither outlives its socket.
            let end: &[u8] = if rng.once_in(2) { &[32] } else { &[34, 1, 0, 0, 0] };
            let mut body = [&steps[..], end].concat();
            if end.len() > 1 {
                body.extend(forge::string("/bin/true"));
            }
            let socket = if rng.once_in(2) { forge::control_pair().0 } else { socket };
            Message { kind: 1, id, body, fds: vec![socket], ..Message::default() }
        }
        1 => forge::fork(id, &steps, "linger", socket),
        _ => forge::fork(id, &steps, "answer", socket),
    };
    message.queued = fds;
    if rng.once_in(3) {
        message.flags |= forge::IN_FILE;
        let body = std::mem::take(&mut message.body);
        let size = (body.len() + rng.below(3)).saturating_sub(1) as u64;
        message.fds.push(forge::memory_file(&body, size, !rng.once_in(4)));
    }
    message.fds.extend((0..fds).map(|_| forge::any_fd(rng)));
    message
}

fn spoil(rng: &mut Rng, message: &mut Message) {
    match rng.below(8) {
        0 => message.flags = rng.any() as u8,
        1 => message.attached = Some(rng.any() as u16),
        2 => message.queued = rng.length() as u32,
        3 => drop(message.fds.pop()),
        4 => message.fds.push(forge::any_fd(rng)),
        5 => message.kind = *rng.one_of(&REQUESTS),
        6 => message.body.truncate(rng.below(message.body.len() + 1)),
        _ => {
            for _ in 0..1 + rng.below(3) {
                if !message.body.is_empty() {
                    let at = rng.below(message.body.len());
                    message.body[at] = rng.any() as u8;
                }
            }
        }
    }
}

fn is_retire(datagram: &[u8]) -> bool {
    datagram.first() == Some(&REQUESTS[5]) && datagram.len() == 16
}

#[test]
fn thousands_of_random_lies_leave_a_template_as_it_was() {
    within(DEADLINE, || {
        let _alone = alone();
        let mut victim = Victim::new();
        let mut rng = Rng(20_251);
        for _ in 0..4_000 {
            let id = victim.id();
            let mut message = random_fork(&mut rng, id);
            for _ in 0..rng.below(3) {
                spoil(&mut rng, &mut message);
            }
            let mut datagram = message.bytes();
            if rng.once_in(4) {
                let len = *rng.one_of(&[0, 1, 8, 15, 16, 17, 40, 3_000, 20_000]);
                datagram = rng.bytes(len);
            }
            // That would be no lie: it ends the template.
            if !is_retire(&datagram) {
                forge::send(&victim.raw, &datagram, &message.fds).unwrap();
            }
            victim.replies();
        }
        victim.assert_well();
    });
}
