//! Every macro in a crate that forbids unsafe code and warns of nothing.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, clippy::all)]

use std::process::ExitCode;

use offshoot::{Args, Process, Start};

/// Returns a code.
#[offshoot::entry]
fn code(start: Start) -> ExitCode {
    ExitCode::from(start.args[0][0])
}

/// Returns something that cannot be named.
#[offshoot::entry]
fn opaque(_: Start) -> impl std::process::Termination {
    ExitCode::from(3)
}

/// Does not return.
#[offshoot::entry]
fn forever(_: Start) -> ! {
    std::process::exit(4)
}

/// Has a keyword for a name.
#[offshoot::entry]
fn r#match(_: Start) -> Result<(), std::io::Error> {
    Ok(())
}

/// Patterns and `mut` are parameters too.
#[offshoot::setup]
fn fails(mut args: Args) -> Result<(), Box<dyn std::error::Error>> {
    args = args.clone();
    Err(args.text().concat().into())
}

#[offshoot::main]
fn main() -> Result<(), offshoot::Error> {
    let code_of = |child: offshoot::Child| Ok::<_, offshoot::Error>(child.wait()?.code());
    assert_eq!(code_of(Process::new()?.send_arg([42]).run(code)?)?, Some(42));
    assert_eq!(code_of(Process::new()?.run(opaque)?)?, Some(3));
    assert_eq!(code_of(Process::new()?.run(forever)?)?, Some(4));
    assert_eq!(code_of(Process::new()?.run(r#match)?)?, Some(0));
    assert!(r#match.name().ends_with("::match"), "{}", r#match.name());
    let failed = Process::new()?.setup(fails, ["for ", "a reason"]).run(code).unwrap_err();
    assert!(failed.is_setup() && failed.to_string().contains("for a reason"), "{failed}");
    Ok(())
}
