//! The service over a pool: by itself, at each of its answers, and under load while its
//! workers are killed.

mod answers;
mod client;
mod load;

use crate::built::output_of;

/// Numbers of the answers to 400 requests.
fn answers<'a>(line: &'a str, when: &str) -> (&'a str, &'a str) {
    let rest = line.strip_prefix(when).and_then(|rest| rest.strip_prefix(", 400 requests: "));
    let both = rest.and_then(|rest| rest.strip_suffix(" times 503")?.split_once(" times 200, "));
    both.unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn it_shows_that_every_request_is_answered() {
    let said = output_of("pool_server");
    let lines: Vec<_> = said.lines().collect();
    let [serving, meanwhile, killed, afterwards, ended] = lines[..] else { panic!("{said}") };
    assert!(serving.starts_with("serving on http://127.0.0.1:"), "{said}");
    let (good, again) = answers(meanwhile, "while workers were killed");
    let (good, again): (u32, u32) = (good.parse().unwrap(), again.parse().unwrap());
    assert_eq!(good + again, 400);
    let killed = killed.strip_suffix(" workers were killed").unwrap();
    assert!(killed.parse::<u32>().unwrap() > 0, "{said}");
    assert_eq!(answers(afterwards, "afterwards"), ("400", "0"));
    let counts = format!("ended: {} calls done, {again} failed, ", good + 400);
    assert!(ended.starts_with(&counts) && ended.ends_with(" made again"), "{said}");
}
