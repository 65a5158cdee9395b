//! The way upstream: a connection to each proxy, and not a byte sent over it.

use std::time::Duration;

use tokio::net::TcpStream;
use url::Url;

use crate::config;
use crate::upstream::proxy_for;

/// Longest time that one connection is waited for, whatever `upstream.connect_timeout` says.
const LONGEST: Duration = Duration::from_secs(5);

/// The hops that cannot be connected to; where one is asked by a proxy, that proxy.
pub(super) async fn findings(upstream: &config::Upstream) -> Vec<String> {
    let limit = upstream.connect_timeout.min(LONGEST);
    let asked = upstream.goproxy.iter().map(|hop| reach(&hop.url, proxy_for(upstream, &hop.url), limit));
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

async fn reach(url: &Url, proxy: Option<http::Uri>, limit: Duration) -> Option<String> {
    let (host, port, by) = match &proxy {
        Some(proxy) => {
            let port = proxy.port_u16().unwrap_or(if proxy.scheme_str() == Some("https") { 443 } else { 80 });
            (proxy.host()?.to_owned(), port, " by its proxy")
        }
        None => (url.host_str()?.to_owned(), url.port_or_known_default()?, ""),
    };
    let why = match tokio::time::timeout(limit, TcpStream::connect(format!("{host}:{port}"))).await {
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", limit.as_secs_f64()),
    };
    Some(format!("upstream.goproxy: {url} cannot be reached{by}: {host}:{port}: {why}"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_hop_is_reached_itself_or_by_the_proxy_and_told_of_if_not() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (open_at, closed_at) = (open.local_addr().unwrap(), closed.local_addr().unwrap());
        drop(closed);
        let url = |address: std::net::SocketAddr| Url::parse(&format!("http://{address}")).unwrap();
        let proxy = |address: std::net::SocketAddr| Some(format!("http://{address}").parse().unwrap());
        assert_eq!(reach(&url(open_at), None, LONGEST).await, None);
        let told = reach(&url(closed_at), None, LONGEST).await.unwrap();
        assert!(told.contains(&format!("{closed_at}: ")), "{told}");
        assert_eq!(reach(&url(closed_at), proxy(open_at), LONGEST).await, None);
        let told = reach(&url(open_at), proxy(closed_at), LONGEST).await.unwrap();
        assert!(told.contains("by its proxy"), "{told}");
    }
}
