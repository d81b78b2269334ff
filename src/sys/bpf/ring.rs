//! Rings that programs write records to (`BPF_MAP_TYPE_RINGBUF`, kernels from 5.8; Documentation/bpf/ringbuf.rst).
//!
//! The kernel writes at the producer's position and moves it, we read at the consumer's and move that. A record that
//! finds no room is not written, which its program is told: nothing is overwritten, and memory is bounded.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use nix::errno::Errno;

use super::Map;
use crate::{Error, Result};

/// `BPF_RINGBUF_BUSY_BIT`, `BPF_RINGBUF_DISCARD_BIT`, and the bytes of a record's header.
const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;
const HEADER: usize = 8;

/// The reader of a ring. There must be no other.
#[derive(Debug)]
pub struct Ring {
    map: Map,
    /// The consumer's page.
    consumer: Mapped,
    /// The producer's page, and the records twice: what goes on at the beginning lies in one piece too.
    producer: Mapped,
    page: usize,
    /// Bytes of records: a power of two.
    size: usize,
}

impl AsFd for Ring {
    /// Readable when there is something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

impl Ring {
    /// Of a map that is a ring.
    pub fn open(map: Map) -> Result<Self> {
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(4096) as usize;
        let size = map.info().max_entries as usize;
        let (rw, ro) = (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ);
        let failed = |errno| Error::sys("mmap of a ring", &map.info().name)(errno);
        let consumer = Mapped::new(map.as_fd(), 0, page, rw).map_err(failed)?;
        let producer = Mapped::new(map.as_fd(), page, page + 2 * size, ro).map_err(failed)?;
        Ok(Self { map, consumer, producer, page, size })
    }

    /// The map.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Takes out what is there now, record by record.
    pub fn drain(&mut self, take: &mut dyn FnMut(Vec<u8>)) {
        // SAFETY: each page begins with its position, an `unsigned long`, which both sides use as an atomic.
        let [consumer, producer] =
            unsafe { [&self.consumer, &self.producer].map(|page| page.at::<AtomicUsize>(0)) };
        let mut at = consumer.load(Ordering::Relaxed);
        let end = producer.load(Ordering::Acquire);
        while at != end {
            let from = self.page + (at & (self.size - 1));
            // SAFETY: records begin at multiples of 8 with their length, which the kernel writes as an atomic.
            let head = unsafe { self.producer.at::<AtomicU32>(from) }.load(Ordering::Acquire);
            if head & BUSY != 0 {
                break;
            }
            let len = ((head & !DISCARD) as usize).min(self.size - HEADER);
            if head & DISCARD == 0 {
                take(self.producer.copy(from + HEADER, len));
            }
            at = at.wrapping_add((HEADER + len).next_multiple_of(8));
            // From here on the kernel may write there.
            consumer.store(at, Ordering::Release);
        }
    }
}

/// Memory that is shared with the kernel.
#[derive(Debug)]
struct Mapped {
    start: NonNull<u8>,
    len: usize,
}

impl Mapped {
    fn new(fd: BorrowedFd, offset: usize, len: usize, protection: i32) -> nix::Result<Self> {
        let (null, offset) = (std::ptr::null_mut(), offset as libc::off_t);
        // SAFETY: a new mapping, where the kernel finds room.
        let at =
            unsafe { libc::mmap(null, len, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset) };
        match NonNull::new(at.cast::<u8>()) {
            Some(start) if at != libc::MAP_FAILED => Ok(Self { start, len }),
            _ => Err(Errno::last()),
        }
    }

    /// # Safety
    /// There must be a `T` at this offset, aligned, that is only used as such.
    unsafe fn at<T>(&self, off: usize) -> &T {
        debug_assert!(off + size_of::<T>() <= self.len, "beyond the mapping");
        // SAFETY: it is mapped as long as `self` lives; the rest the caller promises.
        unsafe { self.start.add(off).cast::<T>().as_ref() }
    }

    /// Bytes that the kernel does not write to now.
    fn copy(&self, off: usize, len: usize) -> Vec<u8> {
        let len = len.min(self.len.saturating_sub(off));
        let mut bytes = Vec::with_capacity(len);
        // SAFETY: `len` bytes from there are mapped, and `bytes` has room for them; then they are initialised.
        unsafe {
            self.start.as_ptr().add(off).copy_to_nonoverlapping(bytes.as_mut_ptr(), len);
            bytes.set_len(len);
        }
        bytes
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: what was mapped, once; nothing of it is used any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
