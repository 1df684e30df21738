//! The examples that run to their end by themselves.

use std::collections::BTreeSet;

use offshoot_tests::proc::{huge_pages_refused, is_collapsed};

use crate::built::output_of;

/// The numbers in a text, in order.
fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}

/// The text with each number replaced by `N`.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            shape.push(c);
        } else if !shape.ends_with('N') {
            shape.push('N');
        }
    }
    shape
}

#[test]
fn hello() {
    let said = output_of("hello");
    let lines = "process N says: hello, world, from process N\nand ended with exit status: N\n";
    assert_eq!(shape(&said), lines);
    let [parent, child, status] = numbers(&said)[..] else { panic!("{said}") };
    assert_ne!(parent, child);
    assert_eq!(status, 0);
}

#[test]
fn template_serves_with_ten_workers_from_one() {
    let said = output_of("template");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 12, "{said}");
    assert_eq!(shape(lines[0]), "loaded N squares in process N");
    let template = numbers(lines[0])[1];
    let mut asked = BTreeSet::new();
    for (line, name) in lines[1..11].iter().zip(1..) {
        let [worker, n, m, square, forked_from] = numbers(line)[..] else { panic!("{line}") };
        assert_eq!((worker, m, square, forked_from), (name, n, n * n, template), "{line}");
        asked.insert(n);
    }
    assert_eq!(asked, (1..=10).map(|n| n * 100).collect());
    assert_eq!(lines[11], "10 workers ended well");
}

#[test]
fn exec_echo() {
    assert_eq!(
        output_of("exec_echo"),
        r#"/bin/echo hi: exit status: 0
  in the file: "hi\n"
  on the socket: ""
/bin/sh -c echo no such luck >&2; exit 3: exit status: 3
  in the file: ""
  on the socket: "no such luck\n"
the program could not be executed: /bin/no-such-program: No such file or directory (os error 2)
"#
    );
}

#[test]
fn nested() {
    let said = output_of("nested");
    assert_eq!(
        shape(&said),
        "main N runs manager N\n\
         worker N run by manager N, prepared by nobody, exit status: N\n\
         worker N run by manager N, prepared by nobody, exit status: N\n\
         worker N run by manager N, prepared by main N, exit status: N\n\
         manager ended with exit status: N\n"
    );
    let [main, manager, a, by_a, ok_a, b, by_b, ok_b, c, by_c, prepared_by, ok_c, ok] =
        numbers(&said)[..]
    else {
        panic!("{said}")
    };
    assert_eq!(BTreeSet::from([main, manager, a, b, c]).len(), 5, "{said}");
    assert_eq!([by_a, by_b, by_c], [manager; 3]);
    assert_eq!(prepared_by, main);
    assert_eq!([ok_a, ok_b, ok_c, ok], [0; 4]);
}

/// Megabytes of Rss and Pss, KiB of Private_Dirty, and megabytes in huge pages.
fn memory(line: &str) -> [u64; 4] {
    let shape_of_all =
        "Rss N.N MB, Pss N.N MB, Private_Dirty N KiB, in huge pages N.N MB".to_owned();
    let squeezed = line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shape(&squeezed).ends_with(&shape_of_all), "{line}");
    let [rss, _, pss, _, dirty, huge, _] = numbers(line)[..] else { panic!("{line}") };
    [rss, pss, dirty, huge]
}

#[test]
fn preload_is_shared_by_all_workers() {
    let refused = huge_pages_refused();
    let said = output_of("preload");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 11, "{said}");
    assert_eq!(lines[0], "200 MB loaded once, 4 workers:");
    let policy = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let only_on_request = policy.is_ok_and(|p| !p.contains("[always]"));
    for (part, name) in lines[1..].chunks(5).zip(["small pages:", "huge pages:"]) {
        assert_eq!(part[0], name);
        for line in &part[1..3] {
            let [rss, pss, dirty, huge] = memory(line);
            // All of it is there, a fifth of it is ours, and nearly nothing ours alone.
            assert!(rss >= 200, "{line}");
            assert!((40..60).contains(&pss), "{line}");
            assert!(dirty < 1024, "{line}");
            if name == "small pages:" {
                assert!(huge == 0 || !only_on_request, "{line}");
            } else if offshoot::doctor().madv_collapse {
                is_collapsed(huge, 200, refused);
            }
        }
        assert_eq!(shape(part[3]), "  loaded in N.N s");
        assert_eq!(shape(part[4]), "  a worker from fork to end: N us");
    }
}
