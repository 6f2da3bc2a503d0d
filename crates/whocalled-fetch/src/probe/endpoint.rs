//! Where an account is on the network, before anything is asked of it.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use azure_core::http::Url;

use crate::{Error, location::Location, probe::terms::SasTerms};

/// How long a name server and a connection are waited for, each.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The network's view of an archive in a Storage Account, and the terms of the SAS in its URL.
#[derive(Debug, Clone)]
pub struct Endpoint {
    url: Url,
    container: Option<String>,
    sas: Option<SasTerms>,
}

/// What kind of address a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// This machine: an emulator.
    Loopback,
    /// A private network: a private endpoint of the account.
    Private,
    /// The internet.
    Public,
}

impl Endpoint {
    /// The endpoint in an archive's location; `None` for a directory.
    ///
    /// # Errors
    /// As of [`Archive::open`](crate::Archive::open) for a location that is none.
    pub fn of(location: &str) -> Result<Option<Self>, Error> {
        match Location::parse(location)? {
            Location::Directory(_) => Ok(None),
            Location::Account(account) => Ok(Some(Self {
                url: account.endpoint,
                container: account.container,
                sas: account.sas.as_ref().map(SasTerms::read),
            })),
        }
    }

    /// The host's name or address.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Whether the account is spoken to in TLS.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The one container that the location names, if it names one.
    pub fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// The terms of the SAS in the location, if it has one.
    pub fn sas(&self) -> Option<&SasTerms> {
        self.sas.as_ref()
    }

    /// The addresses that the host's name stands for.
    ///
    /// # Errors
    /// Whatever the system's resolver says, or that it says nothing for five seconds.
    pub async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let url = self.url.clone();
        let resolving = tokio::task::spawn_blocking(move || url.socket_addrs(|| None));
        match tokio::time::timeout(WAIT_MAX, resolving).await {
            Ok(resolved) => resolved.map_err(io::Error::other)?,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the name server does not answer")),
        }
    }

    /// Connects to one of the addresses, and says how long that took.
    ///
    /// # Errors
    /// The failure of the last address, where none can be connected to within five seconds.
    pub async fn connect(&self, addresses: &[SocketAddr]) -> io::Result<Duration> {
        let addresses = addresses.to_vec();
        let connecting = tokio::task::spawn_blocking(move || {
            let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
            for address in addresses {
                let began = Instant::now();
                match TcpStream::connect_timeout(&address, WAIT_MAX) {
                    Ok(_) => return Ok(began.elapsed()),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        });
        connecting.await.map_err(io::Error::other)?
    }
}

impl Reach {
    /// What kind of address it is.
    pub fn of(address: IpAddr) -> Self {
        let (is_loopback, is_private) = match address {
            IpAddr::V4(it) => (it.is_loopback(), it.is_private() || it.is_link_local()),
            IpAddr::V6(it) => (it.is_loopback(), it.is_unique_local() || it.is_unicast_link_local()),
        };
        if is_loopback {
            Self::Loopback
        } else if is_private {
            Self::Private
        } else {
            Self::Public
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_of_three_kinds() {
        let reach = |text: &str| Reach::of(text.parse().unwrap());
        assert_eq!(reach("127.0.0.1"), Reach::Loopback);
        assert_eq!(reach("::1"), Reach::Loopback);
        assert_eq!(reach("10.1.2.3"), Reach::Private);
        assert_eq!(reach("fd00::1"), Reach::Private);
        assert_eq!(reach("20.60.1.1"), Reach::Public);
    }

    #[tokio::test]
    async fn an_endpoint_is_resolved_and_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let location = |listener: &TcpListener| format!("http://{}/acct?sig=hush", listener.local_addr().unwrap());
        let endpoint = Endpoint::of(&location(&listener)).unwrap().unwrap();
        assert!(!format!("{endpoint:?}").contains("hush"));
        assert!(!endpoint.is_https() && endpoint.sas().is_some());
        let addresses = endpoint.addresses().await.unwrap();
        assert_eq!(addresses, [listener.local_addr().unwrap()]);
        assert!(endpoint.connect(&addresses).await.is_ok());
        drop(listener);
        assert!(endpoint.connect(&addresses).await.is_err());
        assert!(Endpoint::of("a/directory").unwrap().is_none());
    }
}
