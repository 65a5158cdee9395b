//! What an owner may hold.

use super::*;

#[test]
fn a_publish_that_would_pass_the_quota_is_refused_with_the_numbers_and_a_delete_makes_room() {
    let upstream = Upstream::start();
    let probe = module("pub", "corp.example.com/a", "v1.0.0", "x");
    let size = probe.zip().len() + probe.go_mod.len();
    let quota = |bytes: usize| format!("[owners.pub]\nmax_bytes = {bytes}\n");
    let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).config(&quota(2 * size)).start();
    let publish = |gateway: &Gateway, version: &str| gateway.publish(&module("pub", "corp.example.com/a", version, "x"));
    let full = |gateway: &Gateway, held: usize, limit: usize| {
        let told = format!(
            "owner pub has no room for it: it holds {held} bytes and may hold {limit}, and this has {size} (owners.pub.max_bytes)\n"
        );
        assert_eq!(publish(gateway, "v1.2.0").is(413).body, told);
    };
    publish(&gateway, "v1.0.0").is(201);
    assert_eq!(gateway.cli(&["check"]).ok(), "ok\n");
    // Exactly as much as it may hold.
    publish(&gateway, "v1.1.0").is(201);
    full(&gateway, 2 * size, 2 * size);
    let check = gateway.cli(&["check"]);
    let told = format!("owner pub holds {} bytes and may hold {} (owners.pub.max_bytes)\n", 2 * size, 2 * size);
    assert_eq!((check.code, &check.stdout), (Some(1), &told), "{check}");
    // What is there is told apart from what has no room.
    publish(&gateway, "v1.1.0").is(409);
    // Two zips and the go.mod of both: what was refused left nothing.
    assert_eq!(fs::read_dir(gateway.data_dir().join("blobs")).expect("blobs").count(), 3);
    // Others have room, and restarts forget nothing.
    gateway.publish(&module("other", "corp.example.com/b", "v1.0.0", "x")).is(201);
    gateway.restart();
    full(&gateway, 2 * size, 2 * size);
    let admin = gateway.admin();
    let login = format!("{}:{}", admin.user, admin.password);
    let target = format!("{}/api/v1/packages/pub/go/corp.example.com/a/v1.0.0", gateway.url());
    curl::curl(&["--user", &login, "-X", "DELETE"], &target, None).is(204);
    publish(&gateway, "v1.2.0").is(201);
    gateway.terminate();
    // A bound that is lowered removes nothing, and one byte less than enough is not enough.
    let lower = gateway.settings().replace(&format!("max_bytes = {}", 2 * size), &format!("max_bytes = {}", 3 * size - 1));
    gateway.configure(&lower);
    gateway.start();
    assert_eq!(publish(&gateway, "v1.3.0").is(413).body.lines().count(), 1);
    assert_eq!(names(&get(&gateway, None, "/api/v1/packages/pub")).len(), 2);
}
