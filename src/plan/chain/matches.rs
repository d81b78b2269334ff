//! What goes into a chain, as the user says it: `dst=10.9.0.4,proto=tcp,port=80`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xhop_asm::blocks::chain::key;
use xhop_asm::net::proto;

/// The protocols that have a name here.
const NAMES: [(&str, i32); 4] =
    [("tcp", proto::TCP), ("udp", proto::UDP), ("icmp", proto::ICMP), ("icmpv6", proto::ICMPV6)];

/// What goes into a chain: all that is said of it must hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Match {
    /// The destination's address.
    pub dst: IpAddr,
    /// The protocol; any, if there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub proto: Option<u8>,
    /// The destination's port, of TCP or UDP.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
    /// The VLAN that frames are tagged with; untagged, if there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vlan: Option<u16>,
}

impl Match {
    /// All that is for this address.
    pub fn of(dst: IpAddr) -> Self {
        Self { dst, proto: None, port: None, vlan: None }
    }

    /// The key that the programs look for.
    pub fn key(&self) -> [u8; key::SIZE] {
        let Self { dst, proto, port, vlan } = *self;
        key::encode(dst, proto.unwrap_or(0), port.unwrap_or(0), vlan.unwrap_or(0))
    }

    /// The error is what is wrong with it.
    fn check(self) -> Result<Self, String> {
        match self.dst {
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
                return Err(format!("{ip} is an IPv4 address: write it as one"));
            }
            ip if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() => {
                return Err(format!("{ip} is no container's own address"));
            }
            _ => {}
        }
        let ported = [proto::TCP, proto::UDP].map(|proto| Some(proto as u8));
        match self.port {
            Some(_) if !ported.contains(&self.proto) => {
                Err("a port is of a protocol: say proto=tcp or proto=udp too".into())
            }
            _ => Ok(self),
        }
    }
}

impl FromStr for Match {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut dst, mut proto, mut port, mut vlan) = (None, None, None, None);
        for part in text.split(',') {
            let (what, value) =
                part.split_once('=').ok_or("it is dst=ADDR[,proto=NAME][,port=N][,vlan=N]")?;
            let again = match what {
                "dst" => {
                    let ip =
                        value.parse().map_err(|_| format!("`{value}` is not an IP address"))?;
                    dst.replace(ip).is_some()
                }
                "proto" => proto.replace(protocol(value)?).is_some(),
                "port" => port.replace(number(value, "a port", u16::MAX)?).is_some(),
                "vlan" => vlan.replace(number(value, "a VLAN", 4094)?).is_some(),
                _ => return Err(format!("`{what}` is none of dst, proto, port, vlan")),
            };
            if again {
                return Err(format!("{what} is said twice"));
            }
        }
        let dst = dst.ok_or("it says no dst=ADDR")?;
        Self { dst, proto, port, vlan }.check()
    }
}

fn protocol(text: &str) -> Result<u8, String> {
    match NAMES.into_iter().find(|(name, _)| *name == text) {
        Some((_, proto)) => Ok(proto as u8),
        None => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!(
                "proto is {} or a number from 1 to 255",
                NAMES.map(|(name, _)| name).join(", ")
            )),
        },
    }
}

fn number(text: &str, what: &str, most: u16) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{what} is a number from 1 to {most}"))
}

/// As it is given.
impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dst={}", self.dst)?;
        if let Some(proto) = self.proto {
            match NAMES.into_iter().find(|(_, number)| *number == i32::from(proto)) {
                Some((name, _)) => write!(f, ",proto={name}")?,
                None => write!(f, ",proto={proto}")?,
            }
        }
        if let Some(port) = self.port {
            write!(f, ",port={port}")?;
        }
        self.vlan.map_or(Ok(()), |vlan| write!(f, ",vlan={vlan}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_given() {
        for text in [
            "dst=10.9.0.4",
            "dst=fd09::4,proto=tcp",
            "dst=10.9.0.4,proto=udp,port=53",
            "dst=10.9.0.4,proto=132",
            "dst=10.9.0.4,proto=tcp,port=65535,vlan=4094",
            "dst=10.9.0.4,vlan=1",
        ] {
            assert_eq!(text.parse::<Match>().map(|it| it.to_string()).as_deref(), Ok(text));
        }
        let one = "vlan=5,port=80,proto=6,dst=10.9.0.4".parse::<Match>().map(|it| it.to_string());
        assert_eq!(one.as_deref(), Ok("dst=10.9.0.4,proto=tcp,port=80,vlan=5"));
    }

    #[test]
    fn refused() {
        for (text, word) in [
            ("", "dst=ADDR"),
            ("10.9.0.4", "dst=ADDR"),
            ("proto=tcp", "no dst"),
            ("dst=10.9.0", "not an IP address"),
            ("dst=::ffff:10.9.0.4", "write it as one"),
            ("dst=224.0.0.1", "own address"),
            ("dst=10.9.0.4,port=80", "proto=tcp"),
            ("dst=10.9.0.4,proto=icmp,port=80", "proto=tcp"),
            ("dst=10.9.0.4,proto=tcp,port=0", "1 to 65535"),
            ("dst=10.9.0.4,vlan=4095", "1 to 4094"),
            ("dst=10.9.0.4,proto=tpc", "proto is"),
            ("dst=10.9.0.4,proto=0", "proto is"),
            ("dst=10.9.0.4,dst=10.9.0.5", "twice"),
            ("dst=10.9.0.4,src=10.9.0.5", "none of"),
        ] {
            let error = text.parse::<Match>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
