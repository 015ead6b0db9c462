//! How far a call may go: not to link-local addresses, where clouds answer with the credentials of the machine.
//!
//! Whoever writes a Canary names the address of a hook. What a name stands for is looked at when the connection is made, and only
//! what was looked at is connected to; a redirect is looked at too. Where a proxy makes the connection, names are its own matter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{ClientBuilder, Url};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 10;

/// Metadata services outside of the link-local ranges: Azure, Alibaba, Oracle; by IPv6 Amazon's two, Google's and Scaleway's.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// Which addresses may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// All but link-local ones and those of metadata services.
    #[default]
    Guarded,
    /// All: a person has said so.
    Anywhere,
}

/// An address that must not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is link-local or a metadata service's, which is refused unless -allow-link-local is set")]
pub struct OutOfReach;

/// A redirect that is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Stray {
    #[error("more than {MOST_REDIRECTS} redirects")]
    Endless,
    #[error("it leads to another server, which must not be shown the hook's credentials")]
    Elsewhere,
}

impl Reach {
    /// Whether a URL may be called, as far as it names an address and not a name.
    ///
    /// # Errors
    /// It names an address that must not be called.
    pub fn admit(self, url: &Url) -> Result<(), OutOfReach> {
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match literal {
            Ok(address) if !self.covers(address) => Err(OutOfReach),
            _ => Ok(()),
        }
    }

    /// Whether this address may be called.
    pub fn covers(self, address: IpAddr) -> bool {
        self == Self::Anywhere || !is_dangerous(address)
    }

    /// Settings of a client that goes no further. With `credentials` no redirect leads to another server.
    pub fn limit(self, builder: ClientBuilder, credentials: bool) -> ClientBuilder {
        let follow = move |attempt: Attempt<'_>| self.follow(attempt, credentials);
        builder
            .dns_resolver(std::sync::Arc::new(Resolver(self)))
            .redirect(Policy::custom(follow))
    }

    fn follow(self, attempt: Attempt<'_>, credentials: bool) -> Action {
        if attempt.previous().len() > MOST_REDIRECTS {
            return attempt.error(Stray::Endless);
        }
        let first = attempt.previous().first().map(Url::origin);
        if credentials && first != Some(attempt.url().origin()) {
            return attempt.error(Stray::Elsewhere);
        }
        match self.admit(attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(error) => attempt.error(error),
        }
    }
}

/// The system's resolver, without what must not be called.
struct Resolver(Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (covered, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|it| reach.covers(it.ip()));
            if covered.is_empty() && !others.is_empty() {
                return Err(OutOfReach.into());
            }
            let covered: Addrs = Box::new(covered.into_iter());
            Ok(covered)
        })
    }
}

fn is_dangerous(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            let inner = embedded(v6).any(|v4| is_dangerous(IpAddr::V4(v4)));
            inner || v6.is_unicast_link_local() || METADATA_V6.contains(&v6)
        }
    }
}

/// The IPv4 addresses that an IPv6 one may stand for: mapped or compatible (RFC 4291 2.5.5), behind NAT64 with the well-known prefix or
/// one of the local ones, where it may stand in two places (RFC 6052 2.2, RFC 8215), or behind 6to4 (RFC 3056).
fn embedded(v6: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let of = |[a, b, c, d]: [u8; 4]| Ipv4Addr::new(a, b, c, d);
    let octets = v6.octets();
    let [.., a, b, c, d] = octets;
    let last = of([a, b, c, d]);
    let found = match octets {
        [0, 0x64, 0xff, 0x9b, 0, 1, a, b, _, c, d, ..] => [Some(of([a, b, c, d])), Some(last)],
        [0, 0x64, 0xff, 0x9b, ..] => [Some(last), None],
        [0x20, 0x02, a, b, c, d, ..] => [Some(of([a, b, c, d])), None],
        _ => [v6.to_ipv4(), None],
    };
    found.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_out_of_reach_in_every_spelling() {
        for (url, reachable) in [
            ("http://169.254.169.254/latest/meta-data", false),
            ("http://0xA9FEA9FE/", false),
            ("http://2852039166/", false),
            ("http://[::ffff:169.254.169.254]/", false),
            ("http://[64:ff9b::a9fe:a9fe]/", false),
            ("http://[fe80::1]:8080/", false),
            ("http://[64:ff9b:1:a9fe:a9:fe00::]/", false),
            ("http://[64:ff9b:1::a9fe:a9fe]/", false),
            ("http://[2002:a9fe:a9fe::]/", false),
            ("http://[fd00:ec2::254]/", false),
            ("http://[fd00:ec2::23]/", false),
            ("http://[fd20:ce::254]/", false),
            ("http://[64:ff9b::a00:1]/", true),
            ("http://[2002:a00:1::]/", true),
            ("https://168.63.129.16/", false),
            ("http://100.100.100.200/", false),
            ("http://127.0.0.1:8080/", true),
            ("http://10.0.0.1/", true),
            ("http://[::1]/", true),
            ("http://[fd00::1]/", true),
            ("http://loadtester.test/", true),
        ] {
            let parsed = Url::parse(url).expect("a URL");
            assert_eq!(Reach::Guarded.admit(&parsed).is_ok(), reachable, "{url}");
            assert_eq!(Reach::Anywhere.admit(&parsed), Ok(()), "{url}");
        }
    }
}
