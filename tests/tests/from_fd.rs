//! What is given to `Process::from_fd`, and is no process.

use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use offshoot::Process;
use offshoot_tests::entries::{answer, answers};
use offshoot_tests::{DEADLINE, forge, within};

offshoot::early!();

#[test]
fn what_is_no_control_socket_is_refused() {
    within(DEADLINE, || {
        let seqpacket =
            || socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
        let listening = seqpacket().unwrap();
        bind(listening.as_raw_fd(), &UnixAddr::new_unnamed()).unwrap();
        listen(&listening, Backlog::new(1).unwrap()).unwrap();
        let others: [OwnedFd; 7] = [
            std::io::pipe().unwrap().0.into(),
            std::fs::File::open("/dev/null").unwrap().into(),
            forge::memory_file(b"x", 1, true),
            UnixStream::pair().unwrap().0.into(),
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            seqpacket().unwrap(),
            listening,
        ];
        for fd in others {
            let raw = format!("{:?}", fd.as_fd());
            let error = Process::from_fd(fd).unwrap_err();
            assert!(error.is_protocol(), "{raw}: {error:?}");
        }
    });
}

#[test]
fn a_control_socket_whose_template_is_gone_is_told_as_such() {
    within(DEADLINE, || {
        let (near, far) = forge::control_pair();
        drop(far);
        let process = Process::from_fd(near).unwrap();
        assert!(process.fork().unwrap().run(answer).unwrap_err().is_disconnected());
        assert!(process.into_fd().unwrap_err().is_disconnected());
        answers(Process::new().unwrap());
    });
}
