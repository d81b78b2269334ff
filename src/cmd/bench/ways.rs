//! The ways that are measured, and in which order.

use crate::plan::way::{Asked, ChecksumWay};

/// A way for packets to get from one container to the other.
#[derive(Clone, Copy)]
pub struct Way {
    /// Its name in tables and JSON.
    pub name: &'static str,
    /// How they are joined for it; `None` if they are not.
    pub join: Option<How>,
}

/// What `up` is told.
#[derive(Clone, Copy)]
pub struct How {
    /// `--datapath`
    pub datapath: Asked,
    /// `--checksum`
    pub checksum: Option<ChecksumWay>,
    /// `--big-tcp`
    pub big_tcp: bool,
    /// `--jumbo`
    pub jumbo: bool,
}

/// All of them, the plain path first: the others are compared with it. Not `--checksum none`, which is
/// broken on purpose.
pub const WAYS: [Way; 8] = [
    Way { name: "plain", join: None },
    Way { name: "tc", join: Some(TC) },
    Way { name: "tc/big-tcp", join: Some(How { big_tcp: true, ..TC }) },
    Way { name: "tc/jumbo", join: Some(How { jumbo: true, ..TC }) },
    Way { name: "generic", join: Some(How { datapath: Asked::Generic, ..TC }) },
    native("native/complete", ChecksumWay::Complete),
    native("native/trust", ChecksumWay::Trust),
    native("native/offload-off", ChecksumWay::OffloadOff),
];

const TC: How = How { datapath: Asked::Tc, checksum: None, big_tcp: false, jumbo: false };

const fn native(name: &'static str, checksum: ChecksumWay) -> Way {
    Way { name, join: Some(How { datapath: Asked::Native, checksum: Some(checksum), ..TC }) }
}

/// The order of the ways in a round. Each second round is the one before it backwards, so that what
/// rises or falls steadily does so for all alike; the pairs begin with each in turn.
pub fn order(round: u32) -> [usize; WAYS.len()] {
    let first = round as usize / 2;
    let mut order = std::array::from_fn(|place| (first + place) % WAYS.len());
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = WAYS.len();

    /// Where the way is in the order.
    fn place(order: [usize; N], way: usize) -> usize {
        order.iter().position(|at| *at == way).expect("each is in it")
    }

    #[test]
    fn the_first_is_plain_and_names_differ() {
        assert!(WAYS.iter().enumerate().all(|(at, way)| way.join.is_none() == (at == 0)));
        for (at, way) in WAYS.iter().enumerate() {
            assert!(WAYS[..at].iter().all(|other| other.name != way.name), "{}", way.name);
        }
    }

    #[test]
    fn no_order_follows_itself_and_no_ramp_counts() {
        for round in 0..100 {
            assert_ne!(order(round), order(round + 1));
            for way in 0..N {
                // A figure that grows with each measurement grows as much for each way.
                let pair =
                    [round - round % 2, round - round % 2 + 1].map(|at| place(order(at), way));
                assert_eq!(pair[0] + pair[1], N - 1);
            }
        }
    }

    #[test]
    fn each_is_at_each_place_as_often() {
        for way in 0..N {
            let mut times = [0; N];
            for round in 0..2 * N as u32 {
                times[place(order(round), way)] += 1;
            }
            assert_eq!(times, [2; N]);
        }
    }
}
