//! What a group uses. Files stay open: a sample is a handful of preads.

use super::{field, open};
use gantry_core::settings::CgroupVersion;
use rustix::fs::OFlags;
use std::cell::RefCell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One look at a group's numbers; none where the host does not count.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Sample {
    /// Processor time in nanoseconds.
    pub(crate) cpu_ns: Option<u64>,
    /// Memory in bytes.
    pub(crate) memory: Option<u64>,
    /// The most memory ever.
    pub(crate) memory_peak: Option<u64>,
    /// The limit; none when unlimited.
    pub(crate) memory_limit: Option<u64>,
    /// Swap in bytes.
    pub(crate) swap: Option<u64>,
    /// Processes and threads.
    pub(crate) pids: Option<u64>,
    /// Bytes read from block devices.
    pub(crate) io_read: Option<u64>,
    /// Bytes written to block devices.
    pub(crate) io_write: Option<u64>,
    /// Percent of the last ten seconds that some task waited for a processor.
    pub(crate) pressure_cpu: Option<f64>,
    /// The same for memory.
    pub(crate) pressure_memory: Option<f64>,
    /// The same for input and output.
    pub(crate) pressure_io: Option<f64>,
}

/// The open files of a container's groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    cpu: Counter,
    memory: Counter,
    memory_peak: Counter,
    memory_limit: Counter,
    /// Version 1 counts memory and swap together.
    memory_and_swap: Counter,
    swap: Counter,
    pids: Counter,
    io: Counter,
    pressure_cpu: Counter,
    pressure_memory: Counter,
    pressure_io: Counter,
    last_pressures: Mutex<Option<(Instant, Pressures)>>,
    version_of_io: Option<CgroupVersion>,
    version_of_cpu: Option<CgroupVersion>,
}

/// Of processor, memory, and input and output.
type Pressures = [Option<f64>; 3];

/// The kernel works out pressures anew no more often (PSI_FREQ), and they cost
/// more to read than all the rest.
const PRESSURES_LAST: Duration = Duration::from_secs(2);

/// A file that may be missing.
type Counter = Option<File>;

impl Groups {
    /// The version 1 controllers with numbers.
    pub(crate) const CONTROLLERS: [&'static str; 4] = ["cpuacct", "memory", "pids", "blkio"];

    /// Opens the files of a version 1 group.
    pub(crate) fn add_version_1(&mut self, controller: &str, group: &OwnedFd) {
        let file = |name: &str| open(group, name, OFlags::RDONLY).ok();
        match controller {
            "cpuacct" => {
                self.cpu = file("cpuacct.usage");
                self.version_of_cpu = Some(CgroupVersion::V1);
            }
            "memory" => {
                self.memory = file("memory.usage_in_bytes");
                self.memory_peak = file("memory.max_usage_in_bytes");
                self.memory_limit = file("memory.limit_in_bytes");
                self.memory_and_swap = file("memory.memsw.usage_in_bytes");
            }
            "pids" => self.pids = file("pids.current"),
            "blkio" => {
                self.io = file("blkio.throttle.io_service_bytes");
                self.version_of_io = Some(CgroupVersion::V1);
            }
            _ => {}
        }
    }

    /// Opens the files of a version 2 group, where version 1 has none.
    pub(crate) fn add_version_2(&mut self, group: &OwnedFd) {
        let add = |counter: &mut Counter, name: &str| {
            if counter.is_none() {
                *counter = open(group, name, OFlags::RDONLY).ok();
            }
        };
        if self.cpu.is_none() {
            self.version_of_cpu = Some(CgroupVersion::V2);
        }
        if self.io.is_none() {
            self.version_of_io = Some(CgroupVersion::V2);
        }
        add(&mut self.cpu, "cpu.stat");
        add(&mut self.memory, "memory.current");
        add(&mut self.memory_peak, "memory.peak");
        add(&mut self.memory_limit, "memory.max");
        add(&mut self.swap, "memory.swap.current");
        add(&mut self.pids, "pids.current");
        add(&mut self.io, "io.stat");
        add(&mut self.pressure_cpu, "cpu.pressure");
        add(&mut self.pressure_memory, "memory.pressure");
        add(&mut self.pressure_io, "io.pressure");
    }

    /// Reads every file once, but for what cannot have changed since the last time.
    pub(crate) fn sample(&self) -> Sample {
        let memory = number(&self.memory);
        let (io_read, io_write) = self.io().unzip();
        let [pressure_cpu, pressure_memory, pressure_io] = self.pressures();
        Sample {
            cpu_ns: self.cpu(),
            memory,
            memory_peak: number(&self.memory_peak),
            memory_limit: number(&self.memory_limit).filter(|limit| *limit < UNLIMITED),
            swap: number(&self.swap).or_else(|| {
                Some(number(&self.memory_and_swap)?.saturating_sub(memory.unwrap_or_default()))
            }),
            pids: number(&self.pids),
            io_read,
            io_write,
            pressure_cpu,
            pressure_memory,
            pressure_io,
        }
    }

    fn pressures(&self) -> Pressures {
        let files = [&self.pressure_cpu, &self.pressure_memory, &self.pressure_io];
        let last = self.last_pressures.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        let fresh = last.filter(|(read, _)| read.elapsed() < PRESSURES_LAST);
        last.insert(fresh.unwrap_or_else(|| (Instant::now(), files.map(pressure))))
            .1
    }

    fn cpu(&self) -> Option<u64> {
        match self.version_of_cpu? {
            CgroupVersion::V1 => number(&self.cpu),
            CgroupVersion::V2 => {
                with_text(&self.cpu, |text| Some(field(text, "usage_usec")? * 1000))
            }
        }
    }

    fn io(&self) -> Option<(u64, u64)> {
        match self.version_of_io? {
            CgroupVersion::V1 => with_text(&self.io, |text| Some(io_version_1(text))),
            CgroupVersion::V2 => with_text(&self.io, |text| Some(io_version_2(text))),
        }
    }
}

/// Version 1 writes "no limit" as the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;

thread_local! {
    static BUFFER: RefCell<[u8; 4096]> = const { RefCell::new([0; 4096]) };
}

/// The text of a file, read anew. Longer ones than a page are cut: only
/// io.stat of a host with dozens of disks is.
fn with_text<T>(file: &Counter, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let file = file.as_ref()?;
    BUFFER.with_borrow_mut(|buffer| {
        let length = file.read_at(buffer, 0).ok()?;
        read(std::str::from_utf8(buffer.get(..length)?).ok()?)
    })
}

fn number(file: &Counter) -> Option<u64> {
    with_text(file, |text| text.trim().parse().ok())
}

/// `some avg10=1.23 …` (psi.rst).
fn pressure(file: &Counter) -> Option<f64> {
    with_text(file, |text| {
        text.lines().find_map(|line| {
            line.strip_prefix("some avg10=")?
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
    })
}

/// Lines of `MAJOR:MINOR Read BYTES`, one a device and direction.
fn io_version_1(text: &str) -> (u64, u64) {
    let sum = |word: &str| {
        text.lines()
            .filter_map(|line| {
                let mut fields = line.split(' ').skip(1);
                (fields.next() == Some(word)).then(|| fields.next()?.parse::<u64>().ok())?
            })
            .sum()
    };
    (sum("Read"), sum("Write"))
}

/// Lines of `MAJOR:MINOR rbytes=1 wbytes=2 …`, one a device.
fn io_version_2(text: &str) -> (u64, u64) {
    let sum = |word: &str| {
        text.split_whitespace()
            .filter_map(|field| field.strip_prefix(word)?.parse::<u64>().ok())
            .sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_devices_are_added() {
        let one = "8:0 Read 10\n8:0 Write 20\n8:0 Sync 5\n8:0 Total 30\n8:16 Read 1\n8:16 Write 2\nTotal 33\n";
        assert_eq!(io_version_1(one), (11, 22));
        let two = "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n";
        assert_eq!(io_version_2(two), (11, 22));
    }

    #[test]
    fn a_version_2_group_is_read_anew_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("cpu.stat", "usage_usec 5\nuser_usec 1\n");
        write("memory.current", "4096\n");
        write("memory.max", "max\n");
        write(
            "cpu.pressure",
            "some avg10=1.50 avg60=0.00 avg300=0.00 total=0\n",
        );
        let group = crate::linux::files::open_directory(directory.path()).unwrap();
        let mut groups = Groups::default();
        groups.add_version_2(&group);
        let sample = groups.sample();
        assert_eq!(
            (sample.cpu_ns, sample.memory, sample.memory_limit),
            (Some(5000), Some(4096), None)
        );
        assert_eq!((sample.pressure_cpu, sample.pids), (Some(1.5), None));
        write("memory.current", "8192\n");
        assert_eq!(groups.sample().memory, Some(8192));
    }
}
