//! Templates that may have hardly any file open: nobody can send them a descriptor, and
//! whoever tries is told so.

use offshoot::{Args, Child, Process, Resource};
use offshoot_tests::entries::{answer, answers, linger};
use offshoot_tests::probe::template_of;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::setup]
fn touch(_: Args) {}

fn refused(child: &Child, limit: u64) {
    let told = child.wait_timeout(DEADLINE / 2);
    let error = told.expect_err("it cannot be made");
    assert!(error.is_resource(), "{error:?}");
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error:?}");
    assert!(error.to_string().contains(&format!("a limit of {limit} open files")), "{error}");
}

#[test]
fn a_template_that_may_have_no_file_open_says_so_when_it_is_to_be_forked() {
    within(DEADLINE, || {
        for limit in 0..4 {
            let limited = || {
                let process = Process::new().unwrap().setup(touch, [""; 0]);
                process.rlimit(Resource::OpenFiles, limit, limit)
            };
            let template = limited();
            for _ in 0..3 {
                refused(&template.fork().unwrap().run(answer).unwrap(), limit);
            }
            // It is no limit for a process that is run at once.
            answers(limited());
        }
    });
}

#[allow(unsafe_code)]
fn limit(pid: u32, soft: u64) -> u64 {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads and writes one struct each.
    unsafe {
        let (pid, files) = (pid as i32, libc::RLIMIT_NOFILE);
        assert_eq!(libc::prlimit(pid, files, std::ptr::null(), &mut before), 0);
        let new = libc::rlimit { rlim_cur: soft, ..before };
        assert_eq!(libc::prlimit(pid, files, &new, std::ptr::null_mut()), 0);
    }
    before.rlim_cur
}

#[test]
fn a_template_that_is_limited_from_outside_still_tells_how_its_forks_end() {
    within(DEADLINE, || {
        for files in 0..2 {
            let template = Process::new().unwrap().setup(touch, [""; 0]);
            let child = template.fork().unwrap().run(linger).unwrap();
            let pid = template_of(&child);
            let before = limit(pid, files);
            refused(&template.fork().unwrap().run(answer).unwrap(), files);
            child.stream().shutdown(std::net::Shutdown::Write).unwrap();
            let told = child.wait_timeout(DEADLINE / 2).expect("its status is told");
            assert!(told.expect("in time").success());
            limit(pid, before);
            answers(template.fork().unwrap());
        }
    });
}
