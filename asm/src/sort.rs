//! Sorting in few instructions: the standard library's sort is for long lists, and takes 3 KB of a binary for
//! each type. Those here are short.

use std::collections::BinaryHeap;

/// Sorts a list; which of two equal items comes first is not said. It is never slower than n log n.
pub fn sort<T: Ord>(list: &mut Vec<T>) {
    *list = BinaryHeap::from(std::mem::take(list)).into_sorted_vec();
}

#[cfg(test)]
mod tests {
    use super::sort;

    #[test]
    fn as_the_standard_library_does() {
        for len in 0..200u32 {
            let mut list: Vec<u32> = (0..len).map(|n| n.wrapping_mul(2_654_435_761) % 97).collect();
            let mut wanted = list.clone();
            wanted.sort_unstable();
            sort(&mut list);
            assert_eq!(list, wanted);
        }
    }
}
