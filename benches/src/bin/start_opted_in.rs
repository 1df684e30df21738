//! Does nothing, with a template; or, told to, makes one process.

#[offshoot::entry]
fn empty(_: offshoot::Start) {}

#[offshoot::main]
fn main() -> Result<(), offshoot::Error> {
    if std::env::args().len() > 1 {
        offshoot::Process::new()?.run(empty)?.wait()?;
    }
    Ok(())
}
