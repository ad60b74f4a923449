//! A disk that fails on demand: `faulty_disk.c` in front of libc, and a small tmpfs.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;

use super::*;

/// Errno on Linux.
pub(super) const EIO: u8 = 5;
pub(super) const ENOSPC: u8 = 28;
pub(super) const EROFS: u8 = 30;
/// The errors of a network volume.
pub(super) const ETIMEDOUT: u8 = 110;

/// What fails, and with which errno; zero: nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) reads: u8,
    pub(super) writes: u8,
    pub(super) syncs: u8,
}

/// The control file that the loaded library looks at.
pub(super) struct FaultyDisk {
    control: std::fs::File,
}

impl FaultyDisk {
    /// The site with the library loaded into its processes; `None`, counted as skipped, without a C compiler.
    pub(super) fn install(site: Site, test: &str) -> Option<(Site, Self)> {
        let Some(library) = library() else {
            skipped(test, "there is no C compiler `cc`");
            return None;
        };
        let control = site.path("faults");
        std::fs::write(&control, [0; 4096]).unwrap();
        let site = site
            .with("LD_PRELOAD", library.to_str().unwrap())
            .with("FIRMAN_TEST_FAULTS", control.to_str().unwrap());
        let control = OpenOptions::new().write(true).open(control).unwrap();
        Some((site, Self { control }))
    }

    pub(super) fn set(&self, faults: Faults) {
        let bytes = [faults.reads, faults.writes, faults.syncs];
        self.control.write_all_at(&bytes, 0).unwrap();
    }
}

/// The library, compiled once per run.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let (source, library) = (dir.path().join("faulty_disk.c"), dir.path().join("disk.so"));
            std::fs::write(&source, include_str!("faulty_disk.c")).unwrap();
            let compiled = Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-o"])
                .args([&library, &source])
                .arg("-ldl")
                .output();
            match compiled {
                Ok(output) if output.status.success() => Some((dir, library)),
                Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => panic!("{error}"),
            }
        })
        .as_ref()
        .map(|(_, library)| library.as_path())
}

/// Says past the harness, which keeps what a passing test prints, that a test did nothing.
pub(crate) fn skipped(test: &str, why: &str) {
    let line = format!("\n{test}: skipped: {why}\n0 passed, 0 failed, 1 skipped\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A file system of its own, in memory, which can be filled to the last byte.
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, counted as skipped, where this process may not mount.
    pub(super) fn mount(at: PathBuf, test: &str) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(&at)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        skipped(test, "this process may not mount a tmpfs");
        None
    }

    /// Writes until nothing more fits.
    pub(super) fn fill(&self) {
        let mut filler = std::fs::File::create(self.0.join("filler")).unwrap();
        let error = loop {
            if let Err(error) = filler.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    }

    pub(super) fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the issuer on it may not have ended yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
