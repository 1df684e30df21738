//! The example whose worker logs here.

use crate::built::output_of;

#[test]
fn rpc_logs() {
    let said = output_of("rpc_logs");
    let entry = "worker.entry=\"rpc_logs::halve\"";
    let pid = said.split_once("worker.pid=").unwrap().1;
    let pid: u32 = pid[..pid.find(|c: char| !c.is_ascii_digit()).unwrap()].parse().unwrap();
    let log = |level: &str, n: u32, said: &str| {
        let worker = format!("worker.pid={pid} {entry}");
        let (message, fields) =
            said.split_once(' ').filter(|_| said.starts_with("done")).unwrap_or((said, ""));
        let fields = if fields.is_empty() { worker.clone() } else { format!("{fields} {worker}") };
        format!("{level} halving{{n={n} {worker}}}: rpc_logs: {message} {fields}")
    };
    let expected = [
        " INFO rpc_logs: asking for half of 12".to_owned(),
        log(" INFO", 12, "done half=6"),
        " INFO rpc_logs: asking for half of 6".to_owned(),
        log(" INFO", 6, "done half=3"),
        " INFO rpc_logs: asking for half of 3".to_owned(),
        log(" WARN", 3, "it is odd"),
        "3 cannot be halved".to_owned(),
        "the worker ended with exit status: 0".to_owned(),
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}
