//! What it costs to keep records so that they outlive the process: a `write` to a file, or bytes
//! stored in memory that another process can map, each on a disk's file system and in memory.
//!
//! ```sh
//! cargo run --release -p qpmux-live --example journal -- --folder /var/tmp
//! ```
//!
//! A row is what one call of the engine leaves behind: so many bytes of records, check-summed.
//! All ways do the same to these bytes first, which is the floor; each segment is a new file.
//! Time is the thread's processor time, which counts the kernel's part; medians of rounds that
//! take turns, with the slowest and the fastest.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use memmap2::MmapMut;
use nix::fcntl::posix_fallocate;
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Bytes of a segment, as by default: then it is begun anew.
const SEGMENT: usize = 16 << 20;
/// Calls in a round.
const CALLS: usize = 20_000;
const ROUNDS: usize = 9;

#[derive(Parser)]
struct Args {
    /// A folder on a disk.
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// A folder in memory.
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A way of keeping records.
trait Keep {
    fn keep(&mut self, chunk: &[u8]) -> io::Result<()>;

    /// Processor time, since this was asked last, of what another thread would do.
    fn beside_ns(&mut self) -> u64 {
        0
    }
}

/// Nothing is kept.
struct Floor;

impl Keep for Floor {
    fn keep(&mut self, chunk: &[u8]) -> io::Result<()> {
        std::hint::black_box(chunk);
        Ok(())
    }
}

/// One `write` each.
struct Written {
    folder: PathBuf,
    file: File,
    len: usize,
}

impl Keep for Written {
    fn keep(&mut self, chunk: &[u8]) -> io::Result<()> {
        if self.len + chunk.len() > SEGMENT {
            (self.file, self.len) = (open(&self.folder)?, 0);
        }
        self.len += chunk.len();
        self.file.write_all(chunk)
    }
}

/// Stored where another process can map it.
struct Mapped {
    folder: PathBuf,
    map: MmapMut,
    len: usize,
    /// A thread beside has the kernel give the memory in advance.
    touched: bool,
    beside_ns: u64,
}

impl Mapped {
    fn begin(folder: &Path, touched: bool) -> io::Result<Mapped> {
        let map = map(folder)?;
        let mut mapped = Mapped { folder: folder.to_owned(), map, len: 0, touched, beside_ns: 0 };
        mapped.touch();
        Ok(mapped)
    }

    fn touch(&mut self) {
        if self.touched {
            self.map.fill(0);
        }
    }
}

impl Keep for Mapped {
    fn keep(&mut self, chunk: &[u8]) -> io::Result<()> {
        if self.len + chunk.len() > SEGMENT {
            let from = cpu_ns();
            (self.map, self.len) = (map(&self.folder)?, 0);
            self.touch();
            self.beside_ns += if self.touched { cpu_ns() - from } else { 0 };
        }
        let place = self.map.get_mut(self.len..self.len + chunk.len());
        place.into_iter().for_each(|place| place.copy_from_slice(chunk));
        self.len += chunk.len();
        Ok(())
    }

    fn beside_ns(&mut self) -> u64 {
        std::mem::take(&mut self.beside_ns)
    }
}

/// A file that goes with the process.
fn open(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!("qpmux-journal-bench-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn map(folder: &Path) -> io::Result<MmapMut> {
    let file = open(folder)?;
    posix_fallocate(&file, 0, SEGMENT as i64)?;
    #[expect(unsafe_code, reason = "a file without a name is nobody else's")]
    // SAFETY: nobody else can open it.
    let map = unsafe { MmapMut::map_mut(&file) }?;
    Ok(map)
}

/// One way, measured.
#[derive(Debug, Serialize)]
struct Row {
    way: &'static str,
    bytes: usize,
    /// Processor time of a call, in nanoseconds: fastest round, median, slowest.
    ns: [f64; 3],
}

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(std::time::Duration::from);
    time.map_or(0, |time| time.as_nanos() as u64)
}

fn round(keep: &mut dyn Keep, chunk: &mut [u8]) -> anyhow::Result<f64> {
    let from = cpu_ns();
    for call in 0..CALLS {
        chunk[0] = call as u8;
        let sum = crc32fast::hash(chunk);
        std::hint::black_box(sum);
        keep.keep(chunk)?;
    }
    Ok((cpu_ns() - from - keep.beside_ns()) as f64 / CALLS as f64)
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (disk, memory) = (args.folder.as_path(), args.memory.as_path());
    let mut rows = Vec::new();
    // A binding and a value, and those of a burst of 32.
    for bytes in [140, 3_000] {
        let written = |folder: &Path| -> io::Result<Box<dyn Keep>> {
            let file = open(folder)?;
            Ok(Box::new(Written { folder: folder.to_owned(), file, len: 0 }))
        };
        let mapped = |folder: &Path, touched: bool| -> io::Result<Box<dyn Keep>> {
            Ok(Box::new(Mapped::begin(folder, touched)?))
        };
        let mut ways: [(&'static str, Box<dyn Keep>); 7] = [
            ("floor: check sum only", Box::new(Floor)),
            ("write, disk", written(disk)?),
            ("write, memory", written(memory)?),
            ("mapped, disk", mapped(disk, false)?),
            ("mapped, memory", mapped(memory, false)?),
            ("mapped in advance, disk", mapped(disk, true)?),
            ("mapped in advance, memory", mapped(memory, true)?),
        ];
        let mut chunk = vec![0x5a; bytes];
        let mut found = vec![Vec::new(); ways.len()];
        for _ in 0..ROUNDS {
            for ((_, keep), found) in ways.iter_mut().zip(&mut found) {
                found.push(round(keep.as_mut(), &mut chunk)?);
            }
        }
        for ((way, _), mut ns) in ways.iter().zip(found) {
            ns.sort_by(f64::total_cmp);
            rows.push(Row { way, bytes, ns: [ns[0], ns[ROUNDS / 2], ns[ROUNDS - 1]] });
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let head = "ns of processor time a call";
    println!("{head} {:>6}  {:>8}  {:>8}  {:>8}", "bytes", "fastest", "median", "slowest");
    for Row { way, bytes, ns: [fastest, median, slowest] } in &rows {
        println!("{way:27} {bytes:>6}  {fastest:>8.0}  {median:>8.0}  {slowest:>8.0}");
    }
    Ok(())
}
