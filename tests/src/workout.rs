//! A bit of everything, for programs that are run under valgrind or with a sanitizer.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use offshoot::{Args, Child, Error, Process, Start};

static LOADED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[offshoot::setup]
fn load(args: Args) -> Result<(), String> {
    let size = args.text()[0].parse::<usize>().map_err(|e| e.to_string())?;
    LOADED.lock().unwrap().resize(size, 7);
    Ok(())
}

/// Answers with its arguments and what is in its files, and the size of what is loaded.
#[offshoot::entry]
fn echo(mut start: Start) -> std::io::Result<()> {
    let mut all = start.args.concat();
    for fd in std::mem::take(&mut start.fds) {
        std::fs::File::from(fd).read_to_end(&mut all)?;
    }
    start.stream.write_all(&all)?;
    write!(start.stream, "{}", LOADED.lock().unwrap().len())
}

#[offshoot::entry]
fn fail(_: Start) -> Result<ExitCode, String> {
    Err("as told".to_owned())
}

#[offshoot::entry]
fn wait_for_end(mut start: Start) {
    // One of the parents has let go of it.
    let _ = start.stream.write_all(b"!");
    let _ = start.stream.read(&mut [0]);
}

#[offshoot::entry]
fn nest(mut start: Start) -> Result<(), Box<dyn std::error::Error>> {
    let child = Process::new()?.send_arg("nested").run(echo)?;
    start.stream.write_all(said(&child).as_bytes())?;
    Ok(())
}

fn said(child: &Child) -> String {
    let mut said = String::new();
    child.stream().read_to_string(&mut said).expect("it can be read");
    let status = child.wait().expect("it has run");
    assert!(status.success(), "{status}");
    said
}

fn everything() -> Result<(), Error> {
    let (reader, mut writer) = std::io::pipe().expect("a pipe can be made");
    writer.write_all(b" pipe ").expect("a pipe can be written to");
    drop(writer);
    let process = Process::new()?.send_arg("one").send_arg(" two").send_fd(&reader);
    drop(reader);
    assert_eq!(said(&process.run(echo)?), "one two pipe 0");

    let template = Process::new()?.setup(load, ["20000"]).send_arg("t").env("A", "b").title("x");
    let forks = [template.fork()?, template.fork()?];
    for fork in forks {
        assert_eq!(said(&fork.send_arg("f").run(echo)?), "tf20000");
    }
    drop(template);

    // Too large for a message.
    let large = vec![b'x'; 300_000];
    assert_eq!(said(&Process::new()?.send_arg(&large).run(echo)?).len(), 300_001);

    assert_eq!(said(&Process::new()?.run(nest)?), "nested0");
    assert_eq!(Process::new()?.run(fail)?.wait()?.code(), Some(1));
    assert!(Process::new()?.setup(load, ["x"]).run(echo).is_err_and(|e| e.is_setup()));

    // Not before it runs: who watches it has noticed it by then.
    let child = Process::new()?.run(wait_for_end)?;
    child.stream().read_exact(&mut [0]).expect("it speaks");
    child.kill()?;
    assert!(child.wait()?.code().is_none());
    let child = Process::new()?.run(wait_for_end)?;
    match child.pidfd() {
        Ok(_) => println!("pidfd: works"),
        Err(error) => println!("pidfd: {error}"),
    }
    let (exited, receiver) = (child.exited(), child.exited_receiver());
    drop(exited);
    drop(child);
    assert!(receiver.recv().expect("one message comes")?.success());

    let (mut out, writer) = std::io::pipe().expect("a pipe can be made");
    let child = Process::new()?.stdout(&writer).exec(["echo", "executed"])?;
    drop(writer);
    let mut text = String::new();
    out.read_to_string(&mut text).expect("a pipe can be read");
    assert_eq!((text.as_str(), child.wait()?.success()), ("executed\n", true));
    let error = Process::new()?.exec(["/nonexistent"])?.wait().expect_err("there is none");
    assert!(error.is_exec(), "{error}");

    let fd = Process::new()?.send_arg("handed over").into_fd()?;
    assert_eq!(said(&Process::from_fd(fd)?.run(echo)?), "handed over0");
    Ok(())
}

/// Makes processes in every way; prints the road that they took, and "done".
pub(crate) fn run() -> Result<(), Error> {
    everything()?;
    // And from several threads at once.
    let makers: Vec<_> = (0..3)
        .map(|_| {
            thread::spawn(|| {
                for _ in 0..4 {
                    assert_eq!(
                        said(&Process::new().unwrap().send_arg("t").run(echo).unwrap()),
                        "t0"
                    );
                }
            })
        })
        .collect();
    for maker in makers {
        maker.join().expect("no thread panics");
    }
    println!("road: {:?}", offshoot::doctor().road);
    println!("done");
    Ok(())
}
