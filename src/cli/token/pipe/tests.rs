//! Readers of a named pipe, each with a token of its own.

use std::io::Read as _;

use super::*;
use crate::ports::time::UnixTime;

fn token(text: &str) -> Token {
    let text = text.to_owned().into();
    Token::new(text, UnixTime(0), Duration::ZERO, 600, 0.0)
}

async fn arrival(arrivals: &mut UnboundedReceiver<io::Result<File>>) -> File {
    tokio::time::timeout(Duration::from_secs(20), arrivals.recv())
        .await
        .expect("a reader")
        .expect("the thread")
        .expect("a pipe")
}

#[tokio::test]
async fn a_pipe_that_the_command_removed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity-token");
    make(&path).unwrap();
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    let at = path.clone();
    std::thread::spawn(move || admit(&at, &sender));
    for _ in 0..2 {
        let next = path.with_extension("next");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while std::fs::remove_file(&next).is_err() {
            assert!(std::time::Instant::now() < deadline, "no next pipe");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let at = path.clone();
        let reader = std::thread::spawn(move || std::fs::read_to_string(at));
        let end = arrival(&mut arrivals).await;
        hand_over(&end, &token("one")).unwrap();
        drop(end);
        assert_eq!(reader.join().unwrap().unwrap(), "one\n");
    }
}

#[test]
fn readers_of_a_pipe_that_is_given_up_read_nothing_and_later_ones_find_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity-token");
    make(&path).unwrap();
    let at = path.clone();
    let reader = std::thread::spawn(move || std::fs::read_to_string(at));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !reader.is_finished() {
        assert!(std::time::Instant::now() < deadline, "the reader waits");
        if path.exists() {
            // Once more for a reader that had not opened it yet; it then finds no file.
            release(&path);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(reader.join().unwrap().as_deref(), Ok("") | Err(_)));
    assert!(!path.exists());
}

#[test]
fn a_lack_of_space_or_descriptors_passes_and_a_missing_directory_does_not() {
    use rustix::io::Errno;
    for errno in [Errno::NOSPC, Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
        assert!(passes(&errno.into()), "{errno}");
    }
    for errno in [Errno::NOENT, Errno::ACCESS, Errno::ROFS] {
        assert!(!passes(&errno.into()), "{errno}");
    }
}

#[tokio::test]
async fn each_reader_gets_what_is_written_for_it_and_one_that_went_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity-token");
    make(&path).unwrap();
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    let at = path.clone();
    std::thread::spawn(move || admit(&at, &sender));
    let read = |path: PathBuf| std::thread::spawn(move || std::fs::read_to_string(path));

    let first = read(path.clone());
    let first_end = arrival(&mut arrivals).await;
    let second = read(path.clone());
    let second_end = arrival(&mut arrivals).await;
    hand_over(&second_end, &token("two")).unwrap();
    hand_over(&first_end, &token("one")).unwrap();
    drop((first_end, second_end));
    assert_eq!(first.join().unwrap().unwrap(), "one\n");
    assert_eq!(second.join().unwrap().unwrap(), "two\n");

    let open = File::open(&path).unwrap();
    let end = arrival(&mut arrivals).await;
    drop(open);
    assert_eq!(
        hand_over(&end, &token("three")).unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );

    // A reader that is turned away reads an empty file.
    let mut open = File::open(&path).unwrap();
    drop(arrival(&mut arrivals).await);
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}
