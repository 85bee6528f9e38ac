//! Which addresses are connected to: those of a registry, and those that it may lead to.
//!
//! Pure: it knows addresses and nothing of names or connections. A registry leads nowhere further
//! inside than it is itself: one in the internet not into a private network, and one there not to
//! this host. The reasons are in docs/adr/0007-registry-origins.md.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};

/// Where addresses are from which clouds give out credentials and that are not link-local.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// How far inside an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Reach {
    /// Anybody can connect to it.
    Public,
    /// Whoever is in the same private network can.
    Private,
    /// Whoever is on this host can.
    Host,
}

/// Why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ForbiddenAddress {
    /// The registry is at an address where no registry is.
    #[error(
        "it is at a link-local, metadata, multicast or unspecified address, where no registry is; check the name"
    )]
    Registry,
    /// The registry leads to an address that it must not lead to.
    #[error(
        "it leads to a host further inside than itself: from the internet to a private network, to this host, or to a metadata service"
    )]
    Elsewhere,
}

/// How far inside an address is; [`None`] for one that is never connected to.
fn reach(address: IpAddr) -> Option<Reach> {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => reach_v4(inner),
            None => reach_v6(address),
        },
    }
}

fn reach_v4(address: Ipv4Addr) -> Option<Reach> {
    let [first, second, third, _] = address.octets();
    if METADATA_V4.contains(&address) {
        return None;
    }
    match (first, second) {
        // This network, link-local, multicast and reserved.
        (0 | 224.., _) | (169, 254) => None,
        (127, _) => Some(Reach::Host),
        // Private, shared with a carrier, for protocols, for measurements.
        (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) | (198, 18..=19) => {
            Some(Reach::Private)
        }
        (192, 0) if third == 0 => Some(Reach::Private),
        _ => Some(Reach::Public),
    }
}

fn reach_v6(address: Ipv6Addr) -> Option<Reach> {
    if address == Ipv6Addr::LOCALHOST {
        return Some(Reach::Host);
    }
    let [first, ..] = address.segments();
    match first {
        _ if address.is_unspecified() || address.is_multicast() || address == METADATA_V6 => None,
        // Link-local.
        0xfe80..=0xfebf => None,
        // Unique local, and what was site-local before that.
        0xfc00..=0xfdff | 0xfec0..=0xfeff => Some(Reach::Private),
        _ => Some(Reach::Public),
    }
}

/// The address that a translator would connect to: mapped and compatible addresses (RFC 4291),
/// NAT64 (RFC 6052) and 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

/// Where one registry is, as far as that is known, and what follows from it.
#[derive(Debug)]
pub(super) struct Neighbourhood {
    /// The registry's host, as in URLs.
    host: String,
    /// The [`Reach`] of the outermost address that the registry ever had; it never grows.
    outermost: AtomicU8,
}

impl Neighbourhood {
    /// That of the registry whose URLs have this host.
    pub(super) fn new(host: &str) -> Self {
        Self {
            host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
            outermost: AtomicU8::new(u8::MAX),
        }
    }

    /// Those of the addresses of `host` that may be connected to, which can be none.
    ///
    /// Asked anew for each connection: what a name stands for can change between two of them.
    pub(super) fn admit(
        &self,
        host: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Vec<IpAddr>, ForbiddenAddress> {
        let reachable = addresses
            .into_iter()
            .filter_map(|address| Some((reach(address)?, address)));
        let is_registry = host
            .trim_matches(['[', ']'])
            .eq_ignore_ascii_case(&self.host);
        let admitted: Vec<IpAddr> = if is_registry {
            reachable
                .map(|(reach, address)| {
                    self.outermost.fetch_min(reach as u8, Ordering::Relaxed);
                    address
                })
                .collect()
        } else {
            // Nothing is known of a registry behind a proxy.
            let known = self.outermost.load(Ordering::Relaxed);
            let most = if known == u8::MAX { 0 } else { known };
            reachable
                .filter(|(reach, _)| *reach as u8 <= most)
                .map(|(_, address)| address)
                .collect()
        };
        match (admitted.is_empty(), is_registry) {
            (false, _) => Ok(admitted),
            (true, true) => Err(ForbiddenAddress::Registry),
            (true, false) => Err(ForbiddenAddress::Elsewhere),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("8.8.8.8", Some(Reach::Public))]
    #[case("172.32.0.1", Some(Reach::Public))]
    #[case("2001:db8::1", Some(Reach::Public))]
    #[case("64:ff9b::808:808", Some(Reach::Public))]
    #[case("10.0.0.1", Some(Reach::Private))]
    #[case("172.16.0.1", Some(Reach::Private))]
    #[case("172.31.255.255", Some(Reach::Private))]
    #[case("192.168.1.1", Some(Reach::Private))]
    #[case("100.64.0.1", Some(Reach::Private))]
    #[case("198.18.0.1", Some(Reach::Private))]
    #[case("fc00::1", Some(Reach::Private))]
    #[case("fdff::1", Some(Reach::Private))]
    #[case("fec0::1", Some(Reach::Private))]
    #[case("::ffff:10.0.0.1", Some(Reach::Private))]
    #[case("::10.0.0.1", Some(Reach::Private))]
    #[case("64:ff9b::a00:1", Some(Reach::Private))]
    #[case("2002:a00:1::", Some(Reach::Private))]
    #[case("127.0.0.1", Some(Reach::Host))]
    #[case("127.255.0.1", Some(Reach::Host))]
    #[case("::1", Some(Reach::Host))]
    #[case("::ffff:127.0.0.1", Some(Reach::Host))]
    #[case("2002:7f00:1::", Some(Reach::Host))]
    #[case("0.0.0.0", None)]
    #[case("0.1.2.3", None)]
    #[case("169.254.169.254", None)]
    #[case("::ffff:169.254.169.254", None)]
    #[case("64:ff9b::a9fe:a9fe", None)]
    #[case("2002:a9fe:a9fe::1", None)]
    #[case("100.100.100.200", None)]
    #[case("168.63.129.16", None)]
    #[case("192.0.0.192", None)]
    #[case("fd00:ec2::254", None)]
    #[case("224.0.0.1", None)]
    #[case("255.255.255.255", None)]
    #[case("::", None)]
    #[case("fe80::1", None)]
    #[case("febf::1", None)]
    #[case("ff02::1", None)]
    fn every_address_is_so_far_inside(#[case] address: &str, #[case] expected: Option<Reach>) {
        assert_eq!(reach(address.parse().unwrap()), expected);
    }

    const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
    const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
    const ALL: [IpAddr; 4] = [PUBLIC, PRIVATE, HOST, METADATA];

    #[rstest]
    #[case::internet(&[PUBLIC], &[PUBLIC])]
    #[case::private(&[PRIVATE], &[PUBLIC, PRIVATE])]
    #[case::this_host(&[HOST], &[PUBLIC, PRIVATE, HOST])]
    #[case::outermost_counts(&[HOST, PUBLIC], &[PUBLIC])]
    #[case::behind_a_proxy(&[], &[PUBLIC])]
    fn a_registry_leads_no_further_inside(#[case] at: &[IpAddr], #[case] leads_to: &[IpAddr]) {
        let neighbourhood = Neighbourhood::new("r.test");
        if !at.is_empty() {
            let admitted = neighbourhood.admit("R.test", at.iter().copied());
            assert_eq!(admitted.as_deref(), Ok(at));
        }
        let admitted = neighbourhood.admit("store.test", ALL);
        assert_eq!(admitted.as_deref(), Ok(leads_to));
    }

    #[test]
    fn names_that_change_their_address_gain_nothing() {
        let neighbourhood = Neighbourhood::new("r.test");
        for at in [PUBLIC, PRIVATE] {
            assert_eq!(neighbourhood.admit("r.test", [at]), Ok(vec![at]));
        }
        let forbidden = Err(ForbiddenAddress::Elsewhere);
        assert_eq!(
            neighbourhood.admit("store.test", [PUBLIC]),
            Ok(vec![PUBLIC])
        );
        for address in [PRIVATE, HOST, METADATA] {
            assert_eq!(neighbourhood.admit("store.test", [address]), forbidden);
        }
        let forbidden = Err(ForbiddenAddress::Registry);
        assert_eq!(neighbourhood.admit("r.test", [METADATA]), forbidden);
    }
}
