//! Who a visitor is, behind proxies and without them.

use serde_json::json;

use crate::support::server::Server;

#[tokio::test]
async fn visitors_behind_a_trusted_proxy_have_a_quota_each() {
    let server = Server::start(&[("limits.per_creator", "1"), ("http.trusted_proxies", "127.0.0.1/32")]).await;
    let [ann, bob] = ["198.51.100.1", "198.51.100.2"].map(|address| server.api().forwarded_for(address));
    ann.create().await;
    bob.create().await;
    assert_eq!(ann.post(json!({})).await.problem(429), "quota-exceeded");
    // What the visitor wrote in front of what the proxy wrote changes nothing.
    let liar = server.api().forwarded_for("203.0.113.9, 198.51.100.1");
    assert_eq!(liar.post(json!({})).await.problem(429), "quota-exceeded");
    // One network is one visitor, whatever the last half of its addresses.
    server.api().forwarded_for("2001:db8:1:2::1").create().await;
    let neighbour = server.api().forwarded_for("2001:db8:1:2:3::4");
    assert_eq!(neighbour.post(json!({})).await.problem(429), "quota-exceeded");
}

#[tokio::test]
async fn nobody_else_is_believed_about_where_a_visitor_comes_from() {
    let server = Server::start(&[("limits.per_creator", "1"), ("http.trusted_proxies", "203.0.113.0/24")]).await;
    server.api().forwarded_for("198.51.100.1").create().await;
    let other = server.api().forwarded_for("198.51.100.2");
    assert_eq!(other.post(json!({})).await.problem(429), "quota-exceeded");
    assert_eq!(server.api().post(json!({})).await.problem(429), "quota-exceeded");
}
