//! A library that brings entries and setup functions of its own into the program
//! that uses it, as somebody's crate would; and that hands `offshoot` on.
#![forbid(unsafe_code)]

pub use offshoot;

/// What other processes can do with text.
pub mod text {
    use std::io::Write;
    use std::sync::Mutex;

    use offshoot::{Args, Start};

    static LOADED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    /// Answers with what was preloaded, then with its arguments, in capitals.
    #[offshoot::entry]
    pub fn shout(mut start: Start) -> std::io::Result<()> {
        let loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
        let args = start.args.iter().map(|a| String::from_utf8_lossy(a).into_owned());
        let words: Vec<String> = loaded.iter().cloned().chain(args).collect();
        start.stream.write_all(words.join(" ").to_uppercase().as_bytes())
    }

    /// Loads words, so that every fork has them.
    #[offshoot::setup]
    pub fn load(args: Args) {
        LOADED.lock().unwrap_or_else(|e| e.into_inner()).extend(args.text());
    }

    /// How often a letter is in a text.
    #[offshoot::worker]
    pub fn letters(text: String, letter: char) -> usize {
        text.chars().filter(|c| *c == letter).count()
    }

    /// Registered, although nobody outside can name it.
    pub mod hidden {
        use offshoot::Start;

        /// Adds to what was loaded; how much that is now.
        #[offshoot::worker]
        pub(crate) fn add(cx: &offshoot::Context<String>, word: String) -> usize {
            cx.event(&word.to_uppercase());
            let mut loaded = super::LOADED.lock().unwrap_or_else(|e| e.into_inner());
            loaded.push(word);
            loaded.len()
        }

        /// Ends with the number of its arguments.
        #[offshoot::entry]
        pub(crate) fn count(start: Start) -> std::process::ExitCode {
            (start.args.len() as u8).into()
        }
    }

    /// Its name says nothing of where it is.
    #[offshoot::entry(name = "named by its library")]
    pub fn named(_: Start) -> std::process::ExitCode {
        7.into()
    }
}

pub use text::{letters, load, shout};

/// What a program calls that knows nothing of processes: the library makes its own.
///
/// # Errors
/// As those of `offshoot`.
pub fn count_elsewhere(words: &[&str]) -> Result<Option<i32>, offshoot::Error> {
    let mut process = offshoot::Process::new()?;
    for word in words {
        process = process.send_arg(word);
    }
    Ok(process.run(text::hidden::count)?.wait()?.code())
}

/// The same with calls: what the other process has said and counted.
///
/// # Errors
/// As those of `offshoot`.
pub fn add_elsewhere(words: &[&str]) -> Result<(Vec<String>, usize), offshoot::Error> {
    let rpc = offshoot::Process::new()?.setup(text::load, ["first"]).rpc(text::hidden::add);
    let rpc = rpc.start()?;
    let said = rpc.events();
    let calls: Vec<_> = words.iter().map(|word| rpc.call((*word).to_owned())).collect();
    let mut count = 0;
    for call in calls {
        count = call.wait()?;
    }
    rpc.finish()?;
    Ok((said.iter().collect(), count))
}
