//! How far a call may go: not to link-local addresses, where clouds answer with the credentials of the machine.
//!
//! Whoever writes a Canary names the address of a hook. What a name stands for is looked at when the connection is made, and only
//! what was looked at is connected to; a redirect is looked at too. Where a proxy makes the connection, names are its own matter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{ClientBuilder, Url};

/// Redirects that are followed, as Go does.
const MOST_REDIRECTS: usize = 10;

/// Metadata services outside of the link-local ranges: Azure, Alibaba, Oracle, and Amazon's by IPv6.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

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
            let inner = embedded(v6).is_some_and(|v4| is_dangerous(IpAddr::V4(v4)));
            inner || v6.is_unicast_link_local() || v6 == METADATA_V6
        }
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, or behind NAT64 (RFC 4291 2.5.5, RFC 6052 2.1).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = v6.octets();
    let nat64 = octets[..12] == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];
    let [.., a, b, c, d] = octets;
    if nat64 {
        Some(Ipv4Addr::new(a, b, c, d))
    } else {
        v6.to_ipv4()
    }
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
            ("http://[fd00:ec2::254]/", false),
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
