//! A range of addresses, and which of them a Service may get.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Sizes of the lower part of a range, which is left to those who ask for an address by number: a sixteenth of the range,
/// between these (upstream's `ipallocator.go`, `calculateRangeOffset`).
const ASKED_FOR: (u128, u128) = (16, 256);

/// A range as `10.96.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: u128,
    bits: u8,
    v4: bool,
}

/// The family of an address, as `spec.ipFamilies` spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `IPv4` or `IPv6`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

impl AddressRange {
    /// The family of its addresses.
    pub fn family(&self) -> Family {
        if self.v4 { Family::V4 } else { Family::V6 }
    }

    /// Number of addresses that Services can get: all but the first, and of IPv4 all but the last.
    pub fn size(&self) -> u128 {
        let width = if self.v4 { 32 } else { 128 };
        let host = width - u32::from(self.bits);
        let all = 1u128.checked_shl(host).unwrap_or(u128::MAX);
        all.saturating_sub(if self.v4 { 2 } else { 1 })
    }

    /// The address at a place, counted from 0; the one at 0 belongs to the API itself.
    pub fn at(&self, place: u128) -> IpAddr {
        let number = self.first.saturating_add(1).saturating_add(place);
        if self.v4 {
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(number))
        }
    }

    /// Whether a Service can get this address from this range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (number, v4) = number(address);
        v4 == self.v4 && number > self.first && number - self.first <= self.size()
    }

    /// The addresses in the order in which a Service that asks for none in particular looks for a free one: from a drawn
    /// place on, the lower part last.
    pub fn candidates(&self, draw: u128) -> impl Iterator<Item = IpAddr> + use<> {
        let (range, size) = (*self, self.size());
        let (least, most) = ASKED_FOR;
        let lower = if size <= least { 0 } else { (size / 16).clamp(least, most) };
        let upper = size - lower;
        let start = if upper == 0 { 0 } else { draw % upper };
        let places = (start..upper).chain(0..start).map(move |place| lower + place).chain(0..lower);
        places.map(move |place| range.at(place))
    }
}

fn number(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), true),
        IpAddr::V6(address) => (address.to_bits(), false),
    }
}

impl FromStr for AddressRange {
    type Err = String;

    /// Reads `ADDRESS/BITS`; bits of the address behind the prefix do not count.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is no range of addresses, as 10.96.0.0/16 is one");
        let (address, bits) = crate::validation::cidr(text).ok_or_else(refused)?;
        let (number, v4) = number(address);
        let width = if v4 { 32 } else { 128 };
        let host = width - u32::from(bits);
        let mask = u128::MAX.checked_shl(host).unwrap_or(0);
        Ok(Self { first: number & mask, bits, v4 })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = match self.family() {
            Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(self.first).unwrap_or(0))),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(self.first)),
        };
        write!(out, "{base}/{}", self.bits)
    }
}
