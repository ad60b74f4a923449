//! Detects reads of a file, so that a token is served once. Only Linux reports them (inotify(7)), and only for
//! readers on this machine: on a network file system other readers go unnoticed.
//!
//! The directory is watched, not the file: each replacement is another inode. Its events come in
//! order, so those before the arrival of a new file are about the old one.

use std::io;
use std::path::Path;

/// What happened to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was opened.
    Opened,
    /// It was read from.
    Read,
    /// A reader closed it.
    Closed,
    /// Another file took its place.
    Replaced,
    /// It was removed or renamed.
    Gone,
    /// Events were lost.
    Lost,
}

/// The consequence for the token in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// It was read for the first time, or removed: another one is needed.
    Used,
    /// It was read once more.
    ReadAgain,
}

/// Combines events into readers. One reader opens, reads (in one piece or several) and closes; equal events
/// that follow each other arrive as one, so this may count too few, never too many.
#[derive(Debug, Default)]
pub(super) struct Readers {
    opened: u32,
    /// Opened and counted, not closed yet.
    counted: u32,
    reads: u32,
    /// How often this process removed the file without having seen the event yet.
    removed: u32,
}

impl Readers {
    /// Records our own removal of the file, whose event means nothing.
    pub(super) fn removed(&mut self) {
        self.removed = self.removed.saturating_add(1);
    }

    /// Processes the next event.
    pub(super) fn see(&mut self, seen: Seen) -> Option<Notice> {
        match seen {
            Seen::Opened => {
                self.opened = self.opened.saturating_add(1);
                None
            }
            Seen::Read if self.opened > 0 => {
                self.opened -= 1;
                self.counted += 1;
                Some(self.read())
            }
            // The next piece of what was counted.
            Seen::Read => None,
            Seen::Closed if self.counted > 0 => {
                self.counted -= 1;
                None
            }
            // Some ways to read (io_uring on older kernels) are only seen to open and to close.
            Seen::Closed if self.opened > 0 => {
                self.opened -= 1;
                Some(self.read())
            }
            Seen::Closed => None,
            Seen::Replaced => {
                *self = Self::default();
                None
            }
            Seen::Gone if self.removed > 0 => {
                self.removed -= 1;
                None
            }
            Seen::Gone => Some(Notice::Used),
            // It may have been read meanwhile.
            Seen::Lost => {
                *self = Self {
                    reads: 1,
                    ..Self::default()
                };
                Some(Notice::Used)
            }
        }
    }

    fn read(&mut self) -> Notice {
        self.reads = self.reads.saturating_add(1);
        if self.reads == 1 {
            Notice::Used
        } else {
            Notice::ReadAgain
        }
    }
}

#[cfg(target_os = "linux")]
mod inotify {
    use std::ffi::OsString;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::PathBuf;

    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
    use rustix::io::Errno;
    use tokio::io::unix::AsyncFd;

    use super::{Path, Readers, Seen, io};

    /// A few dozen events; more are read in the next turn.
    const BUFFER_BYTES: usize = 4096;

    /// The reads of one file.
    pub(in crate::cli::token) struct Reads {
        queue: AsyncFd<OwnedFd>,
        directory: PathBuf,
        name: OsString,
        watch: i32,
        pub(in crate::cli::token) readers: Readers,
    }

    impl Reads {
        /// Begins to watch `path`, which need not be there yet; its directory must.
        pub(in crate::cli::token) fn watch(path: &Path) -> io::Result<Self> {
            let directory = match path.parent() {
                Some(parent) if parent != Path::new("") => parent,
                Some(_) | None => Path::new("."),
            };
            let name = path
                .file_name()
                .ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
            let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let watch = add(&queue, directory)?;
            #[expect(
                deprecated,
                reason = "unsound only for what does not own its descriptor, which an OwnedFd does; its successor is an unsafe fn"
            )]
            let queue = AsyncFd::new(queue)?;
            Ok(Self {
                queue,
                directory: directory.to_owned(),
                name: name.to_owned(),
                watch,
                readers: Readers::default(),
            })
        }

        /// Continues to watch after the file was put in place: its directory may have been replaced.
        pub(in crate::cli::token) fn renew(&mut self) -> io::Result<()> {
            let watch = add(self.queue.get_ref(), &self.directory)?;
            if watch != self.watch {
                self.watch = watch;
                self.readers = Readers::default();
            }
            Ok(())
        }

        /// Waits for events, and tells those about the file.
        pub(in crate::cli::token) async fn next(&mut self) -> io::Result<Vec<Seen>> {
            let mut ready = self.queue.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
            let mut reader = Reader::new(self.queue.get_ref(), &mut buffer);
            let mut seen = Vec::new();
            loop {
                let event = match reader.next() {
                    Ok(event) => event,
                    Err(Errno::AGAIN) => {
                        ready.clear_ready();
                        return Ok(seen);
                    }
                    Err(error) => return Err(error.into()),
                };
                let is_ours = event
                    .file_name()
                    .is_some_and(|name| name.to_bytes() == self.name.as_bytes());
                if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                    seen.push(Seen::Lost);
                } else if is_ours {
                    seen.extend(meaning(event.events()));
                }
                if reader.is_buffer_empty() {
                    return Ok(seen);
                }
            }
        }
    }

    fn add(queue: &OwnedFd, directory: &Path) -> io::Result<i32> {
        // Without EXCL_UNLINK, readers of the old file would seem to read the new one.
        let flags = WatchFlags::OPEN
            | WatchFlags::ACCESS
            | WatchFlags::CLOSE_NOWRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::EXCL_UNLINK
            | WatchFlags::ONLYDIR;
        Ok(inotify::add_watch(queue, directory, flags)?)
    }

    fn meaning(events: ReadFlags) -> Option<Seen> {
        [
            (ReadFlags::OPEN, Seen::Opened),
            (ReadFlags::ACCESS, Seen::Read),
            (ReadFlags::CLOSE_NOWRITE, Seen::Closed),
            (ReadFlags::MOVED_TO, Seen::Replaced),
            (ReadFlags::MOVED_FROM, Seen::Gone),
            (ReadFlags::DELETE, Seen::Gone),
        ]
        .into_iter()
        .find_map(|(flag, seen)| events.contains(flag).then_some(seen))
    }

    #[cfg(test)]
    mod tests {
        use std::fs;
        use std::io::Read as _;
        use std::time::Duration;

        use super::*;
        use crate::cli::keyfile::write_atomically;

        async fn events(reads: &mut Reads) -> Vec<Seen> {
            tokio::time::timeout(Duration::from_secs(20), reads.next())
                .await
                .expect("an event")
                .unwrap()
        }

        #[tokio::test]
        async fn a_read_is_seen_and_our_own_replacement_is_not_one() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("token");
            let mut reads = Reads::watch(&path).unwrap();
            write_atomically(&path, b"first").unwrap();
            assert_eq!(events(&mut reads).await, [Seen::Replaced]);
            fs::read(&path).unwrap();
            assert_eq!(
                events(&mut reads).await,
                [Seen::Opened, Seen::Read, Seen::Closed]
            );
            fs::read(dir.path().join("other")).unwrap_err();
            fs::remove_file(&path).unwrap();
            assert_eq!(events(&mut reads).await, [Seen::Gone]);
        }

        #[tokio::test]
        async fn who_opened_the_old_file_does_not_read_the_new_one() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("token");
            write_atomically(&path, b"first").unwrap();
            let mut reads = Reads::watch(&path).unwrap();
            let mut old = fs::File::open(&path).unwrap();
            write_atomically(&path, b"second").unwrap();
            let mut text = String::new();
            old.read_to_string(&mut text).unwrap();
            drop(old);
            assert_eq!(text, "first");
            fs::remove_file(&path).unwrap();
            assert_eq!(
                events(&mut reads).await,
                [Seen::Opened, Seen::Replaced, Seen::Gone]
            );
        }

        #[tokio::test]
        async fn a_directory_that_was_made_anew_is_watched_again() {
            let dir = tempfile::tempdir().unwrap();
            let below = dir.path().join("run");
            fs::create_dir(&below).unwrap();
            let path = below.join("token");
            let mut reads = Reads::watch(&path).unwrap();
            fs::remove_dir(&below).unwrap();
            assert!(reads.renew().is_err());
            fs::create_dir(&below).unwrap();
            write_atomically(&path, b"first").unwrap();
            reads.renew().unwrap();
            fs::read(&path).unwrap();
            let mut seen = Vec::new();
            while !seen.contains(&Seen::Read) {
                seen = events(&mut reads).await;
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod inotify {
    use super::{Path, Readers, Seen, io};

    /// This system has no known way to detect reads of a file, so this type has no value.
    pub(in crate::cli::token) struct Reads {
        pub(in crate::cli::token) readers: Readers,
    }

    impl Reads {
        pub(in crate::cli::token) fn watch(_path: &Path) -> io::Result<Self> {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this system does not tell",
            ))
        }

        pub(in crate::cli::token) fn renew(&mut self) -> io::Result<()> {
            Ok(())
        }

        pub(in crate::cli::token) async fn next(&mut self) -> io::Result<Vec<Seen>> {
            std::future::pending().await
        }
    }
}

pub(super) use inotify::Reads;

#[cfg(test)]
mod tests {
    use super::Notice::{ReadAgain, Used};
    use super::Seen::{Closed, Gone, Lost, Opened, Read, Replaced};
    use super::*;

    #[test]
    fn readers_are_counted_by_what_they_do() {
        let cases: [(&str, &[Seen], &[Notice]); 12] = [
            ("one reader", &[Opened, Read, Closed], &[Used]),
            (
                "one reader in three pieces",
                &[Opened, Read, Read, Read, Closed],
                &[Used],
            ),
            (
                "one after the other",
                &[Opened, Read, Closed, Opened, Read, Closed],
                &[Used, ReadAgain],
            ),
            (
                "two at the same time",
                &[Opened, Opened, Read, Read, Closed, Closed],
                &[Used, ReadAgain],
            ),
            (
                "two whose equal events were made one",
                &[Opened, Read, Closed],
                &[Used],
            ),
            (
                "one that is only seen to open and to close",
                &[Opened, Closed],
                &[Used],
            ),
            (
                "one before and one after a replacement",
                &[Opened, Read, Replaced, Opened, Read, Closed],
                &[Used, Used],
            ),
            (
                "one that was late",
                &[Opened, Read, Closed, Opened, Read, Replaced],
                &[Used, ReadAgain],
            ),
            ("a replacement alone", &[Replaced, Replaced], &[]),
            ("a file that another process removed", &[Gone], &[Used]),
            (
                "events that were lost",
                &[Lost, Opened, Read],
                &[Used, ReadAgain],
            ),
            (
                "the end of one that began before",
                &[Read, Closed, Closed],
                &[],
            ),
        ];
        for (what, events, expected) in cases {
            let mut readers = Readers::default();
            let notices: Vec<Notice> = events
                .iter()
                .filter_map(|seen| readers.see(*seen))
                .collect();
            assert_eq!(notices, expected, "{what}");
        }
    }

    #[test]
    fn our_own_removal_is_no_news_and_the_next_one_is() {
        let mut readers = Readers::default();
        readers.removed();
        for (seen, expected) in [(Gone, None), (Replaced, None), (Gone, Some(Used))] {
            assert_eq!(readers.see(seen), expected, "{seen:?}");
        }
    }
}
