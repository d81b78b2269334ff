//! Memory below 4 GiB between two guard pages. All `unsafe` of this crate is here.

use std::cell::Cell;
use std::io;
use std::ops::Range;

/// Where the search for free addresses starts: above what a program at a fixed address takes.
const LOWEST: usize = 0x1000_0000;
/// `xdp_md` holds pointers in 32 bits, and the guard page behind the room needs an address too.
const HIGHEST: usize = 0xf000_0000;

/// Writable pages with an inaccessible page on either side.
///
/// The guards are a backstop: `rbpf` checks accesses first. What gets past it dies here instead
/// of reading a neighbour.
pub(crate) struct Room {
    /// First byte of the lower guard page.
    base: usize,
    page: usize,
    capacity: usize,
}

impl Room {
    /// Maps at least `bytes` bytes, all zero.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: sysconf reads a constant of the system.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
            .map_err(|_| io::Error::last_os_error())?;
        let capacity = bytes.max(1).next_multiple_of(page);
        let total = capacity + 2 * page;
        let step = total.next_multiple_of(0x1_0000);
        for base in (LOWEST..HIGHEST).step_by(step) {
            if map_at(base, total)? {
                let room = Self { base, page, capacity };
                // SAFETY: these pages lie in the mapping just made, which `room` owns.
                let opened = unsafe {
                    libc::mprotect(
                        (base + page) as *mut libc::c_void,
                        capacity,
                        libc::PROT_READ | libc::PROT_WRITE,
                    )
                };
                return if opened == 0 { Ok(room) } else { Err(io::Error::last_os_error()) };
            }
        }
        Err(io::Error::from_raw_os_error(libc::ENOMEM))
    }

    /// All addresses that belong to the room, its guard pages included.
    pub(crate) fn addresses(&self) -> Range<u64> {
        let base = self.base as u64;
        base..base + (self.capacity + 2 * self.page) as u64
    }

    /// The last `len` bytes, which end at the guard page; all of them if `len` is too large.
    pub(crate) fn tail(&self, len: usize) -> &[Cell<u8>] {
        let len = len.min(self.capacity);
        let start = self.base + self.page + self.capacity - len;
        // SAFETY: the bytes lie in the room's writable pages and live as long as `self`;
        // `Cell<u8>` has the layout of `u8` and allows that others write them on this thread.
        unsafe { std::slice::from_raw_parts(start as *const Cell<u8>, len) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: the mapping is the room's own, and no borrow outlives it.
        unsafe { libc::munmap(self.base as *mut libc::c_void, self.capacity + 2 * self.page) };
    }
}

/// Maps `total` inaccessible bytes at `base`; `false` if something is there already.
fn map_at(base: usize, total: usize) -> io::Result<bool> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: MAP_FIXED_NOREPLACE never replaces a mapping; a kernel before 4.17, which does not
    // know it, takes `base` as a hint only.
    let got =
        unsafe { libc::mmap(base as *mut libc::c_void, total, libc::PROT_NONE, flags, -1, 0) };
    if got == libc::MAP_FAILED {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::EEXIST) { Ok(false) } else { Err(error) };
    }
    if got as usize != base {
        // SAFETY: the mapping was made just now, and nobody knows of it.
        unsafe { libc::munmap(got, total) };
        return Ok(false);
    }
    Ok(true)
}

/// The bytes as `rbpf` wants them. It only takes the slice's address and length from it; the
/// program it runs reads and writes the bytes behind the slice's back.
pub(crate) fn for_rbpf(cells: &[Cell<u8>]) -> &[u8] {
    // SAFETY: same address, length and layout; nothing on the Rust side reads through the
    // result, so that the writes of the program are never seen through a shared reference.
    unsafe { std::slice::from_raw_parts(cells.as_ptr().cast::<u8>(), cells.len()) }
}

/// The addresses of the bytes.
pub(crate) fn addresses(cells: &[Cell<u8>]) -> Range<u64> {
    let start = cells.as_ptr() as u64;
    start..start + cells.len() as u64
}

/// Those of the bytes that have these addresses, if all have.
pub(crate) fn part(cells: &[Cell<u8>], addr: u64, len: usize) -> Option<&[Cell<u8>]> {
    let start = usize::try_from(addr.checked_sub(addresses(cells).start)?).ok()?;
    cells.get(start..start.checked_add(len)?)
}

/// A copy of the bytes.
pub(crate) fn copy(cells: &[Cell<u8>]) -> Vec<u8> {
    cells.iter().map(Cell::get).collect()
}

/// Writes `bytes` over the cells, as far as both reach.
pub(crate) fn fill(cells: &[Cell<u8>], bytes: &[u8]) {
    cells.iter().zip(bytes).for_each(|(cell, byte)| cell.set(*byte));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The permissions of the mapping that holds an address, from `/proc/self/maps`.
    fn permissions(addr: u64) -> Option<String> {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("a Linux with /proc");
        maps.lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let start = u64::from_str_radix(start, 16).ok()?;
            let end = u64::from_str_radix(end, 16).ok()?;
            (start..end).contains(&addr).then(|| rest.chars().take(4).collect())
        })
    }

    #[test]
    fn a_room_lies_low_between_guards() {
        let room = Room::new(5000).expect("memory");
        let bytes = addresses(room.tail(usize::MAX));
        assert!(bytes.end - bytes.start >= 5000 && room.addresses().end < 1 << 32);
        let at = |addr| permissions(addr).expect("mapped");
        assert_eq!((at(bytes.start - 1).as_str(), at(bytes.end).as_str()), ("---p", "---p"));
        assert_eq!((at(bytes.start).as_str(), at(bytes.end - 1).as_str()), ("rw-p", "rw-p"));
        assert_eq!(addresses(room.tail(3)).start, bytes.end - 3);
    }

    #[test]
    fn two_rooms_do_not_meet() {
        let (one, two) = (Room::new(1).expect("memory"), Room::new(1).expect("memory"));
        assert!(!one.addresses().contains(&two.addresses().start));
        fill(one.tail(1), &[1]);
        fill(two.tail(1), &[2]);
        assert_eq!((copy(one.tail(1)), copy(two.tail(1))), (vec![1], vec![2]));
    }
}
