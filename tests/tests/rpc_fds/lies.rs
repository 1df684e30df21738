//! A worker that lies about descriptors is found out and killed; nothing stays open.

use std::os::fd::AsFd;
use std::sync::mpsc::channel;

use offshoot::{Fd, Process};
use offshoot_tests::false_worker::{Kind, header, stay, stream, write};
use offshoot_tests::marked::watched;
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Lie {
    NotAnnounced,
    WithAFailure,
    Fewer,
    None,
    More,
    SixteenMillion,
    MoreThanAMessage,
    AheadOfAPlainReply,
    NoneAhead,
    AheadWithABody,
    WithinAnother,
    WithinALargeBody,
    BeforeTheHeader,
}

/// It is called as number 1, and answers for itself.
#[offshoot::worker]
fn liar(lie: Lie, fd: Fd) -> Fd {
    let (stream, fd) = (stream(), fd.as_fd());
    let say = |length, kind, fds, copies| {
        write(stream, &header(length, 1, kind, fds), fd, copies);
    };
    match lie {
        Lie::NotAnnounced => say(1 << 10, Kind::Reply, 0, 1),
        Lie::WithAFailure => say(1, Kind::Failed, 1, 1),
        Lie::Fewer => {
            say(1, Kind::Reply, 2, 1);
            write(stream, &[0], fd, 0);
        }
        Lie::None => {
            say(1, Kind::Reply, 1, 0);
            write(stream, &[0], fd, 0);
        }
        Lie::More => {
            say(1, Kind::Reply, 1, 2);
            write(stream, &[0], fd, 0);
        }
        Lie::SixteenMillion => say(u32::MAX, Kind::Reply, 0xff_ffff, 253),
        Lie::MoreThanAMessage => say(1 << 20, Kind::Event, 254, 253),
        Lie::AheadOfAPlainReply => {
            say(0, Kind::Fds, 253, 253);
            say(1, Kind::Reply, 0, 0);
        }
        Lie::NoneAhead => say(0, Kind::Fds, 0, 0),
        Lie::AheadWithABody => say(5, Kind::Fds, 1, 1),
        Lie::WithinAnother => {
            say(1 << 10, Kind::Reply, 1, 1);
            write(stream, &[0], fd, 1);
        }
        Lie::WithinALargeBody => {
            // The parent takes it in as it comes, and would have room for much more.
            say(u32::MAX, Kind::Reply, 1, 253);
            while write(stream, &[0; 1000], fd, 253) {}
        }
        Lie::BeforeTheHeader => {
            write(stream, &[1], fd, 253);
            write(stream, &[1], fd, 253);
        }
    }
    stay()
}

#[test]
fn each_lie_is_found_out() {
    within(DEADLINE, || {
        use Lie::*;
        for lie in [
            NotAnnounced,
            WithAFailure,
            Fewer,
            None,
            More,
            SixteenMillion,
            MoreThanAMessage,
            AheadOfAPlainReply,
            NoneAhead,
            AheadWithABody,
            WithinAnother,
            WithinALargeBody,
            BeforeTheHeader,
        ] {
            let (sender, errors) = channel();
            let rpc = Process::new().unwrap().rpc(liar);
            let rpc = rpc.on_error(move |error| sender.send(error).unwrap()).start().unwrap();
            let (fd, closed) = watched();
            let calls = [rpc.call((lie, fd.clone())), rpc.call((lie, fd))];
            for call in calls {
                let error = call.wait().unwrap_err();
                assert!(error.is_protocol(), "{lie:?}: {error}");
            }
            // The worker stays until it is killed.
            assert_eq!(closed.closed(), "", "{lie:?}");
            assert!(rpc.finish().unwrap_err().is_protocol(), "{lie:?}");
            let told: Vec<_> = errors.iter().collect();
            assert!(told.len() == 1 && told[0].is_protocol(), "{lie:?}: {told:?}");
        }
    });
}

/// Descriptors on the reply of a worker that has been told that it is to be taken at its
/// word: the second frame has none of its own.
#[offshoot::worker]
fn gives_too_many(fd: Fd) -> Fd {
    let stream = stream();
    let mut reply = header(1, 1, Kind::Reply, 0).to_vec();
    reply.push(0);
    write(stream, &reply, fd.as_fd(), 1);
    stay()
}

#[test]
fn one_too_many_behind_a_good_frame() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(gives_too_many).start().unwrap();
        let (fd, closed) = watched();
        let calls = [rpc.call(fd.clone()), rpc.call(fd)];
        let [first, second] = calls.map(|call| call.wait().unwrap_err());
        assert!(first.is_codec(), "there is no descriptor in it: {first}");
        assert!(second.is_protocol(), "{second}");
        assert_eq!(closed.closed(), "");
    });
}
