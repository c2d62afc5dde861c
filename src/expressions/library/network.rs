//! IP addresses and networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Answer;
use crate::error::Error;
use crate::value::Value;

/// A network: an address in it, and the length of the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Answer<'a> {
    Some(match (function, args) {
        ("ip", [Value::String(text)]) => parse_ip(text).map(Value::Ip).map_err(Error::from),
        ("ip", [Value::Cidr(cidr)]) => Ok(Value::Ip(cidr.address)),
        ("isIP", [Value::String(text)]) => Ok(Value::Bool(parse_ip(text).is_ok())),
        ("ip.isCanonical", [Value::String(text)]) => {
            parse_ip(text).map(|address| Value::Bool(address.to_string() == **text)).map_err(Error::from)
        }
        ("family", [Value::Ip(address)]) => Ok(Value::Int(if address.is_ipv4() { 4 } else { 6 })),
        ("isUnspecified", [Value::Ip(address)]) => Ok(Value::Bool(address.is_unspecified())),
        ("isLoopback", [Value::Ip(address)]) => Ok(Value::Bool(address.is_loopback())),
        ("isLinkLocalMulticast", [Value::Ip(address)]) => Ok(Value::Bool(link_local_multicast(address))),
        ("isLinkLocalUnicast", [Value::Ip(address)]) => Ok(Value::Bool(link_local_unicast(address))),
        ("isGlobalUnicast", [Value::Ip(address)]) => Ok(Value::Bool(global_unicast(address))),
        ("cidr", [Value::String(text)]) => parse_cidr(text).map(Value::Cidr).map_err(Error::from),
        ("isCIDR", [Value::String(text)]) => Ok(Value::Bool(parse_cidr(text).is_ok())),
        ("containsIP", [Value::Cidr(cidr), Value::Ip(address)]) => Ok(Value::Bool(cidr.has(*address))),
        ("containsIP", [Value::Cidr(cidr), Value::String(text)]) => {
            parse_ip(text).map(|address| Value::Bool(cidr.has(address))).map_err(Error::from)
        }
        ("containsCIDR", [Value::Cidr(cidr), Value::Cidr(other)]) => Ok(Value::Bool(cidr.covers(*other))),
        ("containsCIDR", [Value::Cidr(cidr), Value::String(text)]) => {
            parse_cidr(text).map(|other| Value::Bool(cidr.covers(other))).map_err(Error::from)
        }
        ("masked", [Value::Cidr(cidr)]) => Ok(Value::Cidr(Cidr { address: cidr.first(), prefix: cidr.prefix })),
        ("prefixLength", [Value::Cidr(cidr)]) => Ok(Value::Int(cidr.prefix.into())),
        _ => return None,
    })
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let fault = |why: &str| format!("IP Address \"{text}\" parse error during conversion from string: {why}");
    if text.contains('%') {
        return Err(fault("IP address with zone value is not allowed"));
    }
    match text.parse() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            Err(fault("IPv4-mapped IPv6 address is not allowed"))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(fault("unable to parse IP")),
    }
}

fn parse_cidr(text: &str) -> Result<Cidr, String> {
    let fault = || format!("CIDR \"{text}\" parse error during conversion from string: network address parse error");
    let (address, prefix) = text.split_once('/').ok_or_else(fault)?;
    let address = parse_ip(address).map_err(|_| fault())?;
    let plain = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = prefix.parse::<u8>().ok().filter(|_| plain && (prefix == "0" || !prefix.starts_with('0')));
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.filter(|prefix| *prefix <= longest).ok_or_else(fault)?;
    Ok(Cidr { address, prefix })
}

fn link_local_multicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

fn link_local_unicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn global_unicast(address: &IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || link_local_unicast(address))
}

impl Cidr {
    /// Bytes of the prefix.
    pub(crate) fn size(self) -> usize {
        usize::from(self.prefix).div_ceil(8)
    }

    fn bits(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
            IpAddr::V6(address) => u128::from(address),
        }
    }

    fn mask(self) -> u128 {
        match self.prefix {
            0 => 0,
            prefix => u128::MAX << (128 - u32::from(prefix)),
        }
    }

    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && (Self::bits(address) ^ Self::bits(self.address)) & self.mask() == 0
    }

    fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.has(other.address)
    }

    fn first(self) -> IpAddr {
        let bits = Self::bits(self.address) & self.mask();
        match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(bits >> 96).unwrap_or_default())),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(bits)),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}
