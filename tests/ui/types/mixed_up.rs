//! Functions that are not registered, and those that are for the other purpose.

use offshoot::{Args, Process, Start};

#[offshoot::entry]
fn serve(_: Start) {}

#[offshoot::setup]
fn load(_: Args) {}

fn plain(_: Start) {}

fn main() -> Result<(), offshoot::Error> {
    Process::new()?.run(plain)?;
    Process::new()?.run(load)?;
    Process::new()?.run("main::serve")?;
    Process::new()?.setup(serve, ["a"]);
    Ok(())
}
