//! What is said of a private module to those who may not have it: what helps whoever asks, and nothing of what is hosted.

use crate::access_matrix::{basic, hash};
use crate::support::curl::curl;
use crate::support::gateway::Gateway;
use crate::support::zips::Module;

const SETTINGS: &str = "[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n[private]\npatterns = [\"corp.example.com\"]\n\
                        [owners.priv]\nvisibility = \"private\"\n";
const HTTPS: &[(&str, &str)] = &[("X-Forwarded-Proto", "https")];

fn start(more: &str) -> Gateway {
    let stranger = format!("[users.stranger]\npassword_hash = \"{}\"\n", hash("stranger-secret"));
    let gateway = Gateway::builder().config(SETTINGS).config(&stranger).config(more).start();
    let path = "corp.example.com/here";
    let mut module = Module::parse(&format!("{path}@v1.0.0\n-- go.mod --\nmodule {path}\n-- a.go --\npackage a\n"));
    module.owner = Some("priv".to_owned());
    gateway.publish(&module).is(201);
    gateway
}

/// What is said, of what is hosted as of what is not.
fn said(ask: impl Fn(&str) -> (u16, String)) -> String {
    let of = |path: &str| {
        let (status, text) = ask(&format!("/{path}/@v/list"));
        assert_eq!(status, 404, "{path}: {text}");
        text.replace(path, "PATH")
    };
    let (here, nowhere) = (of("corp.example.com/here"), of("corp.example.com/none"));
    assert_eq!(here, nowhere);
    here
}

fn plainly<'a>(gateway: &'a Gateway, headers: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> (u16, String) + 'a {
    move |target| {
        let reply = gateway.ask("GET", target, headers);
        (reply.status, reply.body_text())
    }
}

#[test]
fn over_http_the_https_address_is_told_since_go_signs_in_nowhere_else() {
    let gateway = start("");
    let https = gateway.https_url();
    let machine = https.trim_start_matches("https://");
    let over_http = format!(
        "PATH is private here and not available to you; publish it, or sign in over https alone: GOPROXY={https}, machine {machine} in ~/.netrc\n"
    );
    let over_https = format!("PATH is private here and not available to you; publish it, or sign in: machine {machine} in ~/.netrc\n");
    assert_eq!(said(plainly(&gateway, &[])), over_http);
    // Anybody can say so.
    assert_eq!(said(plainly(&gateway, HTTPS)), over_http);
    let secure = said(|target| {
        let reply = curl(&[], &format!("{https}{target}"), Some(&gateway.ca_bundle()));
        (reply.status, reply.body)
    });
    assert_eq!(secure, over_https);

    let behind = start("[server]\ntrusted_proxies = [\"::ffff:127.0.0.1\"]\n");
    let machine = behind.https_url().trim_start_matches("https://").to_owned();
    assert!(said(plainly(&behind, HTTPS)).ends_with(&format!("or sign in: machine {machine} in ~/.netrc\n")));
    assert!(said(plainly(&behind, &[("X-Forwarded-Proto", "http")])).contains("over https alone"));
}

#[test]
fn who_is_signed_in_is_told_as_whom_and_not_to_sign_in() {
    let gateway = start("");
    let stranger = basic("stranger", "stranger-secret");
    let told = "PATH is private here and not available to you, signed in as user:stranger; publish it, or ask for the right to read it\n";
    assert_eq!(said(plainly(&gateway, &[("Authorization", &stranger)])), told);
}
