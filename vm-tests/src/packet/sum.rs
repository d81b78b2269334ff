//! The checksums of IP (RFC 1071) and SCTP (RFC 9260, appendix A).

use super::Net;

/// The folded sum of the 16-bit words, big-endian; an odd last byte counts as the high half.
fn folded(bytes: impl IntoIterator<Item = u8>) -> u16 {
    let mut sum = 0u64;
    for (n, byte) in bytes.into_iter().enumerate() {
        sum += u64::from(byte) << if n % 2 == 0 { 8 } else { 0 };
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of `bytes`, to be stored big-endian: the complement of their folded sum.
pub fn checksum(bytes: &[u8]) -> u16 {
    !folded(bytes.iter().copied())
}

/// The folded sum of the pseudo header of `len` bytes of a protocol: what the checksum field of a
/// packet holds that is left to the device.
pub fn pseudo_sum(net: &Net, protocol: u8, len: usize) -> u16 {
    let (src, dst): (&[u8], &[u8]) = match net {
        Net::V4(ip) => (&ip.src, &ip.dst),
        Net::V6(ip) => (&ip.src, &ip.dst),
    };
    let rest = (len as u32).to_be_bytes().into_iter().chain([0, protocol]);
    folded(src.iter().chain(dst).copied().chain(rest))
}

/// The checksum of a header and payload whose field is zero, under its pseudo header.
pub(super) fn l4_checksum(net: &Net, protocol: u8, l4: &[u8]) -> u16 {
    let pseudo = pseudo_sum(net, protocol, l4.len()).to_be_bytes();
    !folded(pseudo.into_iter().chain(l4.iter().copied()))
}

/// CRC32c, as SCTP stores it, little-endian.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            (crc >> 1) ^ if crc & 1 == 1 { REVERSED_POLYNOMIAL } else { 0 }
        })
    })
}
