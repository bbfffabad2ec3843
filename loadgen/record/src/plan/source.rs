//! Local addresses that connections come from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::text_form::text_form;

/// A larger range is a typing error.
const MOST: u128 = 65_536;

/// Local addresses from the first to the last: `127.0.0.2`, or `127.0.0.2-127.0.0.9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRange {
    first: IpAddr,
    last: IpAddr,
}

text_form!(
    SourceRange,
    "a local address such as 127.0.0.2, or a range such as 127.0.0.2-127.0.0.9"
);

/// Why a text is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a range of local addresses: give one, or the first and the last of at most 65536, such as 127.0.0.2-127.0.0.9"
)]
pub struct SourceError(String);

impl SourceRange {
    /// Every address from the first to the last.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let is_v4 = self.first.is_ipv4();
        (number(self.first)..=number(self.last)).map(move |number| match is_v4 {
            true => Ipv4Addr::from(number as u32).into(),
            false => Ipv6Addr::from(number).into(),
        })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl From<IpAddr> for SourceRange {
    fn from(address: IpAddr) -> Self {
        SourceRange {
            first: address,
            last: address,
        }
    }
}

impl FromStr for SourceRange {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let error = || SourceError(text.into());
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let parse = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| error());
        let (first, last) = (parse(first)?, parse(last)?);
        if first.is_ipv4() != last.is_ipv4() {
            return Err(error());
        }
        match number(last).checked_sub(number(first)) {
            Some(0..MOST) => Ok(SourceRange { first, last }),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for SourceRange {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}", self.first)?;
        if self.last != self.first {
            write!(out, "-{}", self.last)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<IpAddr> {
        text.parse::<SourceRange>().unwrap().addresses().collect()
    }

    #[test]
    fn a_range_includes_both_its_ends() {
        let v4 = addresses("127.0.0.254-127.0.1.1");
        assert_eq!(v4.len(), 4);
        assert_eq!(v4[3].to_string(), "127.0.1.1");
        assert_eq!(addresses("::1"), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert_eq!(addresses("fd00::1-fd00::3").len(), 3);
    }

    #[test]
    fn invalid_ranges_are_refused() {
        for text in [
            "",
            "127.0.0.1-",
            "127.0.0.9-127.0.0.2",
            "127.0.0.1-::1",
            "0.0.0.0-9.0.0.0",
            "lo",
        ] {
            assert!(text.parse::<SourceRange>().is_err(), "{text}");
        }
    }
}
