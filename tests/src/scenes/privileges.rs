//! Programs that were started as root and become somebody else.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::sys::resource::getrlimit;
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use offshoot::{Args, Child, Error, Process, Resource, Start};

use super::{Scene, for_ever, hold, pipe, stay, touch, works};

pub(super) const SCENES: &[Scene] =
    &[("dropped_root", dropped_root), ("named", named), ("configured", configured)];

/// Whom the programs become; nobody needs to know it by a name.
const USER: u32 = 4711;
const GROUP: u32 = 4712;

fn new() -> Process {
    Process::new().expect("processes can be made")
}

fn become_user() {
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(GROUP));
    setgroups(&[]).expect("we are root");
    setresgid(group, group, group).expect("we are root");
    setresuid(user, user, user).expect("we are root");
}

fn ids() -> String {
    let (u, g) = (getresuid().expect("it is known"), getresgid().expect("it is known"));
    let groups: Vec<u32> =
        getgroups().expect("they are known").iter().map(|g| g.as_raw()).collect();
    format!(
        "{} {} {} / {} {} {} / {groups:?}",
        u.real, u.effective, u.saved, g.real, g.effective, g.saved
    )
}

/// What a process of the user has to be, in all respects.
fn users() -> String {
    format!("{USER} {USER} {USER} / {GROUP} {GROUP} {GROUP} / []")
}

/// What the program was started as.
fn roots() -> String {
    // The scenes are started with these groups.
    "0 0 0 / 0 0 0 / [4, 20]".to_owned()
}

#[offshoot::entry]
fn who(mut start: Start) -> std::io::Result<()> {
    let sent = (start.args.len(), start.fds.len());
    write!(start.stream, "{}", ids())?;
    match sent {
        (0, 0) => Ok(()),
        (args, fds) => write!(start.stream, " with {args} and {fds}"),
    }
}

/// As `who`; not named anywhere.
#[offshoot::entry]
fn who_else(start: Start) -> std::io::Result<()> {
    (*who)(start)
}

/// What the process of a process is.
#[offshoot::entry]
fn who_of_own(mut start: Start) -> std::io::Result<()> {
    write!(start.stream, "{}", said(new().run(who)))
}

fn said(child: Result<Child, Error>) -> String {
    let child = child.expect("it runs");
    let mut text = String::new();
    child.stream().read_to_string(&mut text).expect("it is text");
    assert!(child.wait().expect("its status is told").success());
    text
}

/// Says what it is, and tries to be more.
#[offshoot::setup]
fn tries(_args: Args) {
    let root = Uid::from_raw(0);
    let uid = setresuid(root, root, root).is_ok();
    let gid = setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0)).is_ok();
    println!("{} {}", ids(), [uid, gid, setgroups(&[Gid::from_raw(4)]).is_ok()].contains(&true));
}

/// However a process is made after the drop, it is the user's.
fn dropped_root(_: &[String]) {
    assert_eq!(said(new().run(who)), roots());
    let template = new().setup(touch, [""; 0]);
    let settled = template.fork().expect("it can be forked");
    works(settled.fork().expect("it can be forked"));
    let nested = template.fork().expect("it can be forked").setup(touch, [""; 0]);
    assert_eq!(said(nested.fork().and_then(|p| p.run(who))), roots());
    let executed = Process::new_exec().expect("it is made");
    let handed = Process::from_fd(new().into_fd().expect("it is made")).expect("a socket");
    let snapshot = Process::snapshot().expect("there is one thread");
    become_user();

    for process in [&template, &settled, &nested, &executed, &handed, &snapshot, &new()] {
        let fork = || process.fork().expect("it can be forked");
        assert_eq!(said(fork().run(who)), users());
        assert_eq!(said(fork().setup(touch, [""; 0]).run(who)), users());
        assert_eq!(said(fork().run(who_of_own)), users());
        assert_eq!(said(fork().fork().and_then(|p| p.run(who))), users());
        more_is_refused(&fork);
    }
    for process in [template, settled, nested, executed, handed, snapshot, new()] {
        assert_eq!(said(process.run(who)), users());
    }
    assert_eq!(said(Process::new_exec().and_then(|p| p.run(who))), users());
    let _stays = [new().run(stay), Process::new_exec().and_then(|p| p.run(stay))];
    hold();
}

fn more_is_refused(fork: &dyn Fn() -> Process) {
    let config = |process: Process| {
        let error = process.run(who).expect("it is sent").wait().expect_err("it is refused");
        assert!(error.is_config(), "{error}");
    };
    config(fork().uid(0));
    config(fork().gid(0));
    config(fork().gid(4));
    config(fork().nice(-20));
    let (_, hard) = getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("it is known");
    config(fork().rlimit(Resource::OpenFiles, hard, hard + 1));

    let (mut lines, write) = pipe();
    works(fork().stdout(&write).setup(tries, [""; 0]));
    drop(write);
    let mut text = String::new();
    lines.read_to_string(&mut text).expect("it is text");
    assert_eq!(text, format!("{} false\n", users()));
    programs_are_the_users(fork);
}

fn programs_are_the_users(fork: &dyn Fn() -> Process) {
    let (mut lines, write) = pipe();
    let status = fork().stdout(&write).exec(["/bin/cat", "/proc/self/status"]).expect("it runs");
    assert!(status.wait().expect("its status is told").success());
    drop(write);
    let mut text = String::new();
    lines.read_to_string(&mut text).expect("it is text");
    assert!(text.contains(&format!("\nUid:\t{USER}\t{USER}\t{USER}\t{USER}\n")), "{text}");
    assert!(text.contains(&format!("\nGid:\t{GROUP}\t{GROUP}\t{GROUP}\t{GROUP}\n")), "{text}");
    assert!(text.contains("\nGroups:\t \n") || text.contains("\nGroups:\t\n"), "{text}");
    assert!(text.contains("\nCapPrm:\t0000000000000000\n"), "{text}");
    assert!(text.contains("\nCapEff:\t0000000000000000\n"), "{text}");
}

fn denied<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.expect_err("it is refused");
    assert!(error.is_denied(), "{error}");
}

/// Entries that are named before the drop, and only they, run as root.
fn named(_: &[String]) {
    let before = new().setup(touch, [""; 0]);
    works(before.fork().expect("it can be forked"));
    let unknown = offshoot::privileged(["nothing::of::the::kind"]).expect_err("it is unknown");
    assert!(unknown.is_unknown_name());
    offshoot::privileged([who]).expect("we are root");
    let template = new().setup(touch, [""; 0]);
    works(template.fork().expect("it can be forked"));
    let handed = new().into_fd().expect("it is made");
    let thief = new().gid(GROUP).uid(USER).send_fd(&handed).run(takes).expect("it runs");
    become_user();

    assert_eq!(said(new().run(who)), roots());
    let sent = new().send_arg("a").send_arg("b").send_fd(std::io::stdin());
    assert_eq!(said(sent.run(who)), format!("{} with 2 and 1", roots()));
    assert_eq!(said(new().run(who_else)), users());
    denied(new().setup(touch, [""; 0]).run(who));
    denied(new().env("LD_PRELOAD", "mine.so").run(who));
    denied(new().current_dir("/").run(who));
    denied(new().stdin(std::io::stdin()).run(who));
    denied(new().like_parent().run(who));
    // A program is no entry that could have been named, whatever it is called.
    programs_are_the_users(&new);
    let named = new().exec([who.name()]).expect("it is sent").wait();
    assert!(named.expect_err("there is no such program").is_exec());
    // A template that is made now is the user's, and so is all that comes from it.
    let mine = new().setup(touch, [""; 0]);
    assert_eq!(said(mine.fork().and_then(|p| p.run(who))), users());
    assert_eq!(said(before.fork().and_then(|p| p.run(who))), users());
    // What root has set up, root has named the entry for.
    assert_eq!(said(template.fork().and_then(|p| p.run(who))), roots());
    assert_eq!(said(template.fork().and_then(|p| p.run(who_else))), users());

    denied(offshoot::privileged([who_else]));
    denied(offshoot::privileged([who]));
    assert_eq!(said(new().run(who_else)), users());

    let mut report = String::new();
    thief.stream().read_to_string(&mut report).expect("it is text");
    assert_eq!(report, "caught");
    let status = thief.wait().expect("its status is told");
    assert!(status.success(), "{status}");
}

/// Has the control socket of a template of root's, in a process that does not know
/// what was named: the template itself has to refuse.
#[offshoot::entry]
fn takes(mut start: Start) -> std::io::Result<()> {
    let fd: OwnedFd = start.fds.remove(0);
    let template = Process::from_fd(fd).expect("it is a control socket");
    let fork = || template.fork().expect("it can be forked");
    assert_eq!(said(fork().run(who)), roots());
    assert_eq!(said(fork().run(who_else)), users());
    denied(fork().setup(touch, [""; 0]).run(who));
    denied(fork().env("LD_PRELOAD", "mine.so").run(who).expect("it is sent").wait());
    denied(fork().uid(0).run(who).expect("it is sent").wait());
    denied(fork().rlimit(Resource::Core, 0, 0).run(who).expect("it is sent").wait());
    more_is_refused_of(&fork);
    start.stream.write_all(b"caught")
}

/// As `more_is_refused`, for entries that are not named.
fn more_is_refused_of(fork: &dyn Fn() -> Process) {
    let error = fork().uid(0).run(who_else).expect("it is sent").wait().expect_err("no");
    assert!(error.is_config(), "{error}");
    let served = Process::from_fd(fork().into_fd().expect("it is made")).expect("a socket");
    assert_eq!(said(served.fork().and_then(|p| p.run(who))), users());
    assert_eq!(said(served.run(who_else)), users());
}

/// Root makes processes of other users, and goes on being served.
fn configured(_: &[String]) {
    assert_eq!(said(new().gid(GROUP).uid(USER).run(who)), users());
    assert_eq!(said(new().uid(USER).run(who)), format!("{USER} {USER} {USER} / 0 0 0 / []"));
    let group = format!("0 0 0 / {GROUP} {GROUP} {GROUP} / [4, 20]");
    assert_eq!(said(new().gid(GROUP).run(who)), group);
    let late = new().uid(USER).gid(GROUP).run(who).expect("it is sent").wait();
    assert!(late.expect_err("the group comes first").is_config());

    let template = new().gid(GROUP).uid(USER).setup(touch, [""; 0]);
    for _ in 0..2 {
        let nested = template.fork().expect("it can be forked").setup(touch, [""; 0]);
        assert_eq!(said(nested.fork().and_then(|p| p.run(who))), users());
        assert_eq!(said(nested.run(who)), users());
    }
    let killed = template.fork().and_then(|p| p.run(for_ever_as_user)).expect("it runs");
    killed.kill().expect("its template may");
    assert!(!killed.wait().expect("its status is told").success());
    assert_eq!(said(new().run(who)), roots());
    let _stays = [
        new().gid(GROUP).uid(USER).run(stay),
        template.fork().and_then(|p| p.run(stay)),
        new().uid(USER).run(stay),
    ];
    hold();
}

#[offshoot::entry]
fn for_ever_as_user(_start: Start) {
    for_ever();
}
