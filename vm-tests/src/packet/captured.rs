//! The segments that were seen to be lost, rebuilt from what tcpdump printed of them.

use super::{Check, Ipv4, L4, Net, Packet, Tcp, tcp};

/// A captured SYN from 172.17.0.2 to 172.17.0.3.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// The frame with the partial checksum that the sender's stack leaves: always 0x5856.
    pub frame_partial: Vec<u8>,
    /// The right checksum, as tcpdump printed it.
    pub expected_check: u16,
}

/// Six SYNs that were lost, and one that was not: they differ in the time stamp.
pub fn captured() -> [Captured; 7] {
    let lost = |id, timestamp, expected_check| Captured {
        frame_partial: syn(id, 44498, 80, 1_956_521_919, timestamp).bytes(),
        expected_check,
    };
    [
        lost(50870, 2_076_087_700, 0x9914),
        lost(50871, 2_076_088_702, 0x952a),
        lost(50872, 2_076_090_718, 0x8d4a),
        lost(50873, 2_076_094_974, 0x7caa),
        lost(50874, 2_076_103_166, 0x5caa),
        lost(50875, 2_076_119_294, 0x1daa),
        Captured {
            frame_partial: syn(757, 56794, 8080, 4_269_127_330, 2_162_724_085).bytes(),
            expected_check: 0x3486,
        },
    ]
}

fn syn(id: u16, src_port: u16, dst_port: u16, seq: u32, timestamp: u32) -> Packet {
    // mss 1460, sackOK, TS val `timestamp` ecr 0, nop, wscale 7
    let mut options = vec![2, 4, 0x05, 0xb4, 4, 2, 8, 10];
    options.extend(timestamp.to_be_bytes());
    options.extend([0, 0, 0, 0, 1, 3, 3, 7]);
    Packet {
        net: Net::V4(Ipv4 { id, ..Ipv4::default() }),
        l4: L4::Tcp(Tcp { src_port, dst_port, seq, ack: 0, flags: 2, window: 64240, options }),
        check: Check::Partial,
        ..tcp()
    }
}
