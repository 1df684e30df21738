//! What processes cost, beside what a plain fork costs in the same run.
//!
//! `cargo run --release -p offshoot-bench [-- [--quick] [--rounds N] [WORD …]]`
//!
//! Every case is measured once in each round, one case after the other, so that a
//! noisy moment hits them all alike; ratios are taken within a round. Printed are the
//! medians of all rounds. With words, only cases with one of them in their names, and
//! what they are compared with. To add a case, add it to a list in `cases/`.

mod case;
mod cases;
mod machine;
mod memory;
mod one_cpu;
mod plain;
mod program;
mod round;
mod table;

type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

/// What the command line says.
struct Options {
    quick: bool,
    rounds: usize,
    words: Vec<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options> {
        let mut options = Options { quick: false, rounds: 0, words: Vec::new() };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--rounds" => options.rounds = args.next().ok_or("--rounds N")?.parse()?,
                word if word.starts_with('-') => {
                    return Err(format!("{word}: there are --quick and --rounds N").into());
                }
                word => options.words.push(word.to_lowercase()),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 2 } else { 5 };
        }
        Ok(options)
    }
}

#[offshoot::main]
fn main() -> Result<()> {
    // Returns, but in a process that this library has started.
    #[cfg(feature = "peers")]
    procspawn::init();
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|a| a == program::OPTION).is_some() {
        return program::serve(args);
    }
    let options = Options::parse(args)?;
    let cases = case::selected(cases::all(), &options.words);
    println!("{}", machine::describe());
    let measured = round::all(&cases, &options)?;
    print!("{}", table::render(&cases, &measured));
    if options.words.is_empty() || options.words.iter().any(|w| "memory".contains(w)) {
        print!("{}", memory::report(if options.quick { 200_000 } else { 10_000_000 })?);
    }
    let failed = measured.iter().filter(|m| m.failed.is_some()).count();
    if failed > 0 { Err(format!("{failed} cases failed").into()) } else { Ok(()) }
}
