//! A few clients that send requests until they have had enough answers.

use std::error::Error;
use std::fmt;
use std::io::{Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use image::{ImageFormat, Rgb, RgbImage};
use tokio::task::JoinSet;

const CLIENTS: usize = 4;
const REQUESTS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// What was answered.
#[derive(Default)]
pub(crate) struct Answers {
    good: usize,
    try_again: usize,
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answers { good, try_again } = self;
        write!(f, "{} requests: {good} times 200, {try_again} times 503", good + try_again)
    }
}

/// Each client sends its requests one after the other, and all are answered: any other
/// answer, or none, is an error.
pub(crate) async fn requests(server: SocketAddr) -> Result<Answers, Box<dyn Error>> {
    let picture: Arc<[u8]> = picture()?.into();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let picture = Arc::clone(&picture);
        clients.spawn_blocking(move || {
            let request = |_| request(server, &picture).map_err(|error| error.to_string());
            (0..REQUESTS).map(request).collect::<Result<Vec<u16>, String>>()
        });
    }
    let mut answers = Answers::default();
    while let Some(statuses) = clients.join_next().await {
        for status in statuses?? {
            match status {
                200 => answers.good += 1,
                503 => answers.try_again += 1,
                other => return Err(format!("{other} was answered").into()),
            }
        }
    }
    Ok(answers)
}

/// The status that is answered.
fn request(server: SocketAddr, picture: &[u8]) -> Result<u16, Box<dyn Error>> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = picture.len();
    write!(stream, "POST /thumbnail HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n")?;
    write!(stream, "Content-Length: {length}\r\n\r\n")?;
    stream.write_all(picture)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).ok_or("no answer")?;
    Ok(status.parse()?)
}

/// One that nobody has to have a copy of.
fn picture() -> image::ImageResult<Vec<u8>> {
    let picture = RgbImage::from_fn(320, 240, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Jpeg)?;
    Ok(bytes.into_inner())
}
