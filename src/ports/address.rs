//! Where an address or a host name leads: to this machine, to the public internet, or neither. Every guard
//! against requests to internal addresses (SSRF) and every exception for loopback uses this module.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Whether an address belongs to the public internet: not this machine, not a private, shared, reserved,
/// documentation or multicast range (IANA's special-purpose registries, RFC 6890), and not an IPv6 address that
/// carries any IPv4 address: mapped (RFC 4291 §2.5.5), 6to4 (RFC 3056), Teredo (RFC 4380), NAT64 (RFC 6052).
/// Ranges with public exceptions, such as `192.0.0.0/24`, are not public as a whole.
#[must_use]
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Protocol assignments (Teredo, benchmarking, ORCHID), documentation, 6to4.
        [0x2001, 0..=0x01ff, ..]
        | [0x2001, 0x0db8, ..]
        | [0x2002, ..]
        | [0x3fff, 0..=0x0fff, ..] => false,
        // IANA allocates from 2000::/3 only; mapped, translated, local and multicast addresses are outside.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The IPv4 address that a NAT64 address with the well-known prefix leads to (RFC 6052 §2.1). On a network
/// with DNS64 every IPv4 host has such an address.
#[must_use]
pub(crate) fn nat64_target(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    match v6.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => {
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

/// Whether a name is `localhost` or below it, with or without the final dot (RFC 6761 §6.3): never public. Not
/// proof of loopback: a resolver that does not know the RFC asks the network for `a.localhost`. A caller that
/// resolves the name itself must check the addresses; any other caller uses [`is_loopback`].
#[must_use]
pub(crate) fn is_localhost_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    let Some(at) = name.len().checked_sub("localhost".len()) else {
        return false;
    };
    let (before, end) = name.split_at(at);
    end.eq_ignore_ascii_case(b"localhost") && (before.is_empty() || before.ends_with(b"."))
}

/// Whether a URL's host is this machine independently of any resolver: a loopback address, or exactly
/// `localhost`, which the hosts file defines. Names below `localhost` are not (see [`is_localhost_name`]), nor
/// are IPv4-mapped addresses.
#[must_use]
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// [`is_loopback`] for a text; `false` when it is not a URL.
#[must_use]
pub(crate) fn is_loopback_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| is_loopback(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IANA's IPv4 and IPv6 special-purpose address registries, multicast, and the forms of IPv6 that carry
    /// an IPv4 address: name, first and last address of the range, whether it is public here.
    const RANGES: [(&str, &str, &str, bool); 57] = [
        ("this network, RFC 791", "0.0.0.0", "0.255.255.255", false),
        ("private use, RFC 1918", "10.0.0.0", "10.255.255.255", false),
        ("shared, RFC 6598", "100.64.0.0", "100.127.255.255", false),
        ("loopback, RFC 1122", "127.0.0.0", "127.255.255.255", false),
        (
            "link local, RFC 3927",
            "169.254.0.0",
            "169.254.255.255",
            false,
        ),
        (
            "private use, RFC 1918",
            "172.16.0.0",
            "172.31.255.255",
            false,
        ),
        ("protocols, RFC 6890", "192.0.0.0", "192.0.0.255", false),
        ("DS-Lite, RFC 7335", "192.0.0.0", "192.0.0.7", false),
        ("dummy, RFC 7600", "192.0.0.8", "192.0.0.8", false),
        ("PCP anycast, RFC 7723", "192.0.0.9", "192.0.0.9", false),
        ("TURN anycast, RFC 8155", "192.0.0.10", "192.0.0.10", false),
        (
            "NAT64 discovery, RFC 7050",
            "192.0.0.170",
            "192.0.0.171",
            false,
        ),
        ("TEST-NET-1, RFC 5737", "192.0.2.0", "192.0.2.255", false),
        ("AS112, RFC 7535", "192.31.196.0", "192.31.196.255", true),
        ("AMT, RFC 7450", "192.52.193.0", "192.52.193.255", true),
        (
            "6to4 relay, RFC 7526",
            "192.88.99.0",
            "192.88.99.255",
            false,
        ),
        (
            "private use, RFC 1918",
            "192.168.0.0",
            "192.168.255.255",
            false,
        ),
        ("AS112, RFC 7534", "192.175.48.0", "192.175.48.255", true),
        (
            "benchmarks, RFC 2544",
            "198.18.0.0",
            "198.19.255.255",
            false,
        ),
        (
            "TEST-NET-2, RFC 5737",
            "198.51.100.0",
            "198.51.100.255",
            false,
        ),
        (
            "TEST-NET-3, RFC 5737",
            "203.0.113.0",
            "203.0.113.255",
            false,
        ),
        ("multicast, RFC 5771", "224.0.0.0", "239.255.255.255", false),
        ("reserved, RFC 1112", "240.0.0.0", "255.255.255.254", false),
        (
            "broadcast, RFC 919",
            "255.255.255.255",
            "255.255.255.255",
            false,
        ),
        ("unspecified, RFC 4291", "::", "::", false),
        ("loopback, RFC 4291", "::1", "::1", false),
        ("compatible, RFC 4291", "::127.0.0.1", "::8.8.8.8", false),
        (
            "mapped, RFC 4291",
            "::ffff:0.0.0.0",
            "::ffff:255.255.255.255",
            false,
        ),
        (
            "mapped loopback",
            "::ffff:127.0.0.1",
            "::ffff:127.255.255.255",
            false,
        ),
        ("mapped public", "::ffff:1.1.1.1", "::ffff:8.8.8.8", false),
        (
            "translated, RFC 2765",
            "::ffff:0:127.0.0.1",
            "::ffff:0:8.8.8.8",
            false,
        ),
        (
            "NAT64, RFC 6052",
            "64:ff9b::",
            "64:ff9b::255.255.255.255",
            false,
        ),
        (
            "NAT64 of a private one",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            false,
        ),
        (
            "NAT64, RFC 8215",
            "64:ff9b:1::",
            "64:ff9b:1:ffff::8.8.8.8",
            false,
        ),
        (
            "discard, RFC 6666",
            "100::",
            "100::ffff:ffff:ffff:ffff",
            false,
        ),
        (
            "dummy prefix, RFC 9780",
            "100:0:0:1::",
            "100:0:0:1:ffff::",
            false,
        ),
        ("protocols, RFC 2928", "2001::", "2001:1ff:ffff::", false),
        (
            "Teredo, RFC 4380",
            "2001::",
            "2001:0:ffff:ffff::f7f7:f7f7",
            false,
        ),
        ("PCP, TURN, DNS-SD anycast", "2001:1::1", "2001:1::3", false),
        ("benchmarks, RFC 5180", "2001:2::", "2001:2:0:ffff::", false),
        ("AMT, RFC 7450", "2001:3::", "2001:3:ffff::", false),
        (
            "AS112, RFC 7535",
            "2001:4:112::",
            "2001:4:112:ffff::",
            false,
        ),
        ("ORCHID, RFC 4843", "2001:10::", "2001:1f:ffff::", false),
        ("ORCHIDv2, RFC 7343", "2001:20::", "2001:2f:ffff::", false),
        ("drone ids, RFC 9374", "2001:30::", "2001:3f:ffff::", false),
        (
            "documentation, RFC 3849",
            "2001:db8::",
            "2001:db8:ffff::",
            false,
        ),
        ("6to4, RFC 3056", "2002::", "2002:ffff:ffff:ffff::", false),
        (
            "6to4 of loopback",
            "2002:7f00:1::",
            "2002:7f00:1:ffff::",
            false,
        ),
        (
            "6to4 of a public one",
            "2002:808:808::",
            "2002:808:808::1",
            false,
        ),
        (
            "AS112, RFC 7534",
            "2620:4f:8000::",
            "2620:4f:8000:ffff::",
            true,
        ),
        (
            "documentation, RFC 9637",
            "3fff::",
            "3fff:fff:ffff::",
            false,
        ),
        ("segment routing, RFC 9602", "5f00::", "5f00:ffff::", false),
        ("unique local, RFC 4193", "fc00::", "fdff:ffff::", false),
        ("EC2's metadata", "fd00:ec2::254", "fd00:ec2::254", false),
        ("link local, RFC 4291", "fe80::", "febf:ffff::", false),
        ("site local, RFC 3879", "fec0::", "feff:ffff::", false),
        ("multicast, RFC 4291", "ff00::", "ffff:ffff::", false),
    ];

    #[test]
    fn each_special_range_is_public_only_where_neither_its_registry_nor_what_it_carries_forbids() {
        for (name, first, last, expected) in RANGES {
            for text in [first, last] {
                let is_public = is_public(text.parse().unwrap());
                assert_eq!(is_public, expected, "{text}: {name}");
            }
        }
    }

    #[test]
    fn the_neighbours_of_special_ranges_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.1",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.0",
            "192.1.0.1",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:db7::1",
            "2001:db9::1",
            "2003::1",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "3fff:1000::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_nat64_address_leads_to_the_address_in_it() {
        for (text, expected) in [
            ("64:ff9b::808:808", Some("8.8.8.8")),
            ("64:ff9b::10.0.0.1", Some("10.0.0.1")),
            ("64:ff9b:1::808:808", None),
            ("64:ff9b::1:0:808:808", None),
            ("::ffff:8.8.8.8", None),
            ("2606:4700::1111", None),
            ("8.8.8.8", None),
        ] {
            let target = nat64_target(text.parse().unwrap());
            assert_eq!(
                target.map(|v4| v4.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn this_machine_is_a_loopback_address_or_localhost_and_no_name_below_it() {
        for (url, is_here, is_name) in [
            ("http://localhost:8080", true, true),
            ("https://LOCALHOST/x", true, true),
            ("http://127.0.0.1", true, false),
            ("http://127.255.255.254:1", true, false),
            ("http://0x7f.1/", true, false),
            ("http://2130706433/", true, false),
            ("http://[::1]:8080", true, false),
            ("http://localhost.:8080", false, true),
            ("http://a.localhost", false, true),
            ("http://a.b.localhost.", false, true),
            ("http://localhost.example.com", false, false),
            ("http://notlocalhost", false, false),
            ("http://localhost..", false, false),
            ("http://[::ffff:127.0.0.1]", false, false),
            ("http://[::127.0.0.1]", false, false),
            ("http://0.0.0.0", false, false),
            ("http://[::]", false, false),
            ("http://10.0.0.1", false, false),
            ("file:///etc/passwd", false, false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(is_loopback(&url), is_here, "{url}");
            let name = url.domain().unwrap_or_default();
            assert_eq!(is_localhost_name(name), is_name, "{url}");
        }
        assert!(is_loopback_url("http://localhost"));
        assert!(!is_loopback_url("localhost"));
        assert!(!is_localhost_name("ß.localhos"));
    }
}
