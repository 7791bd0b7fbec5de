//! Public addresses: those that a name may lead to without a grant of the address itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The ranges of IPv4 that are not public: the first address of each, and the number of bits that its addresses share.
const V4_REFUSED: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),        // this network, unspecified
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // behind the address translation of carriers
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // the platform's own service in one cloud
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local, metadata services of clouds
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // assigned to protocols
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // relays of 6to4
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),      // reserved, broadcast
];

/// The range with all public addresses of IPv6; loopback, unique-local, link-local and multicast addresses are not in
/// it …
const V6_GLOBAL: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// … and neither in these.
const V6_REFUSED: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // assigned to protocols: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];
/// Forms of IPv6 that lead to an IPv4 address, and the bits in front of it.
const V6_OF_V4: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),    // mapped
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96), // NAT64
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),    // 6to4
];

/// Whether an address is public: reached through the internet by everybody alike.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            let within = |(start, bits): &(Ipv6Addr, u32)| shares_v6(address, *start, *bits);
            match V6_OF_V4.iter().find(|form| within(form)) {
                Some((_, bits)) => is_public_v4(v4_behind(address, *bits)),
                None => within(&V6_GLOBAL) && !V6_REFUSED.iter().any(within),
            }
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let shares = |start: Ipv4Addr, bits: u32| (address.to_bits() ^ start.to_bits()).leading_zeros() >= bits;
    !V4_REFUSED.iter().any(|(start, bits)| shares(*start, *bits))
}

fn shares_v6(address: Ipv6Addr, start: Ipv6Addr, bits: u32) -> bool {
    (address.to_bits() ^ start.to_bits()).leading_zeros() >= bits
}

/// The 32 bits behind the first `bits`.
fn v4_behind(address: Ipv6Addr, bits: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((address.to_bits() << bits >> 96) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_internet_are_public() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "168.63.129.15",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_not() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2002:c0a8:1::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ];
        for address in refused {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    /// Random, with many from the edges of the ranges.
    fn random_v4(random: &mut fastrand::Rng) -> Ipv4Addr {
        let edge = |random: &mut fastrand::Rng| {
            let (start, bits) = V4_REFUSED[random.usize(..V4_REFUSED.len())];
            let size = 1_u32.checked_shl(32 - bits).unwrap_or(0);
            let offsets = [0, size.wrapping_sub(1), size, u32::MAX];
            start.to_bits().wrapping_add(offsets[random.usize(..offsets.len())])
        };
        Ipv4Addr::from_bits(if random.bool() { random.u32(..) } else { edge(random) })
    }

    #[test]
    fn an_address_is_as_public_as_the_one_it_leads_to_in_every_form() {
        let mut random = fastrand::Rng::new();
        for _ in 0..20_000 {
            let v4 = random_v4(&mut random);
            let expected = is_public(v4.into());
            let bits = u128::from(v4.to_bits());
            let six_to_four = 0x2002 << 112 | bits << 80 | u128::from(random.u64(..));
            for form in [0xffff << 32 | bits, 0x64_ff9b << 96 | bits, six_to_four] {
                let form = Ipv6Addr::from_bits(form);
                assert_eq!(is_public(form.into()), expected, "{v4} as {form}");
            }
            let is_elsewhere = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast();
            assert!(!(expected && (is_elsewhere || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified())));
            let v6 = Ipv6Addr::from_bits(random.u128(..) >> random.u32(0..128));
            let is_elsewhere = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local();
            assert!(!(is_public(v6.into()) && (is_elsewhere || v6.is_multicast() || v6.is_unspecified())), "{v6}");
        }
    }
}
