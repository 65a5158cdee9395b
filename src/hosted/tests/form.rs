use super::*;
use crate::hosted::form::FRAME_BYTES_MAX;

const BOUNDARY: &str = "----gw7MA4YWxkTrZu0gW";

fn content_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// A form of these parts: disposition parameters, content.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (parameters, content) in parts {
        body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {parameters}\r\n\r\n").into_bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    body
}

const FILE: &str = "name=\"file\"; filename=\"lib.zip\"";

async fn is_published(rig: &Rig, zip: &[u8]) {
    assert_eq!(bytes(rig.read(&ModuleAsk::Zip(version("v1.0.0")), true).await), zip);
    assert_eq!(rig.left().len(), 2, "{:?}", rig.left());
}

#[tokio::test]
async fn a_forms_file_is_published_however_its_bytes_are_cut() {
    let zip = module(LIB, "v1.0.0", &"\r\n--\r\n------gw7MA4YWxkTrZu0g\r\n".repeat(200));
    let body = form(&[(FILE, &zip)]);
    for piece in [1, 2, 7, 64, 4096, 1 << 20] {
        let rig = Rig::new().await;
        rig.send("team", Some(&content_type()), &mut Pieces::sized(&body, piece)).await.unwrap();
        is_published(&rig, &zip).await;
    }
}

#[tokio::test]
async fn the_type_is_read_as_the_rfc_has_it() {
    let zip = module(LIB, "v1.0.0", "");
    let body = form(&[(FILE, &zip)]);
    for content_type in [
        format!("multipart/form-data; boundary=\"{BOUNDARY}\""),
        format!("Multipart/Form-Data; charset=utf-8; Boundary={BOUNDARY}"),
        format!("multipart/form-data;boundary={BOUNDARY}"),
    ] {
        let rig = Rig::new().await;
        rig.send("team", Some(&content_type), &mut Pieces::of(&body)).await.unwrap();
        is_published(&rig, &zip).await;
    }
    for content_type in ["application/zip", "application/x-www-form-urlencoded", "", "nonsense", "multipart/mixed; boundary=x"] {
        let rig = Rig::new().await;
        rig.send("team", Some(content_type), &mut Pieces::of(&zip)).await.expect(content_type);
        is_published(&rig, &zip).await;
    }
}

#[tokio::test]
async fn the_first_file_counts_and_other_fields_do_not() {
    let rig = Rig::new().await;
    let zip = module(LIB, "v1.0.0", "");
    let body = form(&[("name=\"note\"", b"hello"), (FILE, &zip), (FILE, b"another"), ("name=\"more\"", &[b'm'; 1000])]);
    rig.send("team", Some(&content_type()), &mut Pieces::of(&body)).await.unwrap();
    is_published(&rig, &zip).await;
}

#[tokio::test]
async fn the_frame_does_not_eat_into_the_limit_but_the_file_is_held_to_it() {
    let rig = Rig::with(&SETTINGS.replace("1MiB", "10KiB")).await;
    let zip = super::publish::padded(10 << 10);
    let body = form(&[("name=\"note\"", &[b'n'; 20_000]), (FILE, &zip)]);
    rig.send("team", Some(&content_type()), &mut Pieces::of(&body)).await.unwrap();
    is_published(&rig, &zip).await;

    let before = rig.left();
    let body = form(&[(FILE, &[0; (10 << 10) + 1])]);
    for mut pieces in [Pieces::of(&body), Pieces::of(&body).chunked(), Pieces::sized(&body, 1 << 20)] {
        let refusal = rig.send("team", Some(&content_type()), &mut pieces).await.unwrap_err();
        assert!(matches!(refusal, PublishRefusal::TooLarge { limit: 10240 }), "{refusal:?}");
    }
    let mut declared = Pieces::of(&form(&[(FILE, &[0; 200_000])]));
    let refusal = rig.send("team", Some(&content_type()), &mut declared).await.unwrap_err();
    assert!(matches!(refusal, PublishRefusal::TooLarge { limit: 10240 }), "{refusal:?}");
    assert_eq!(declared.asked, 0);
    rig.settles_to(&before).await;
}

#[tokio::test]
async fn a_frame_that_never_ends_is_refused_before_it_fills_memory() {
    let rig = Rig::new().await;
    let flood = vec![b'x'; 900 << 10];
    let in_part = |head: &str| [format!("--{BOUNDARY}\r\n{head}").as_bytes(), &flood].concat();
    let zip = module(LIB, "v1.0.0", "");
    let mut epilogue = form(&[(FILE, &zip)]);
    epilogue.extend(&flood);
    for body in [
        flood.clone(),
        in_part(""),
        in_part("Content-Disposition: form-data; name=\""),
        in_part("Content-Disposition: form-data; name=\"note\"\r\n\r\n"),
        form(&[("name=\"note\"", &flood), (FILE, &zip)]),
        form(&[(FILE, &zip), (FILE, &flood)]),
        epilogue,
    ] {
        let mut pieces = Pieces::sized(&body, 4096).chunked();
        let refusal = rig.send("team", Some(&content_type()), &mut pieces).await.unwrap_err();
        assert!(matches!(&refusal, PublishRefusal::BadForm(_)), "{refusal:?}");
        let read = (pieces.asked * 4096) as u64;
        assert!(read < 3 * FRAME_BYTES_MAX, "{read} bytes were read");
    }
    rig.settles_to(&BTreeSet::new()).await;
}

#[tokio::test]
async fn a_form_that_is_none_is_refused() {
    let rig = Rig::new().await;
    let zip = module(LIB, "v1.0.0", "");
    let whole = form(&[(FILE, &zip)]);
    let own = content_type();
    let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
    for (content_type, body) in [
        (own.as_str(), form(&[])),
        (&own, form(&[("name=\"note\"", b"hello")])),
        (&own, zip.clone()),
        (&own, Vec::new()),
        (&own, whole[..whole.len() - 10].to_vec()),
        (&own, format!("--{BOUNDARY}\r\n\0\x01: x\r\n\r\nabc\r\n--{BOUNDARY}--\r\n").into_bytes()),
        ("multipart/form-data", whole.clone()),
        ("multipart/form-data; boundary=", whole.clone()),
        ("multipart/form-data; boundary=\"\"", whole.clone()),
        ("multipart/form-data; boundary=other", whole.clone()),
        (&long, whole.clone()),
    ] {
        let refusal = rig.send("team", Some(content_type), &mut Pieces::of(&body)).await.unwrap_err();
        assert!(matches!(&refusal, PublishRefusal::BadForm(_)), "{content_type}: {refusal:?}");
        assert_eq!(refusal.to_string().lines().count(), 1, "{refusal}");
    }
    rig.settles_to(&BTreeSet::new()).await;
}

#[tokio::test]
async fn a_form_that_breaks_off_is_an_interrupted_body() {
    let rig = Rig::new().await;
    let whole = form(&[("name=\"note\"", b"hello"), (FILE, &module(LIB, "v1.0.0", ""))]);
    for end in [0, 10, 60, 120, 200, 300, whole.len() - 3] {
        let mut body = Pieces::sized(&whole[..end], 11).chunked().then(UploadError::Gone);
        let refusal = rig.send("team", Some(&content_type()), &mut body).await.unwrap_err();
        assert!(matches!(refusal, PublishRefusal::Interrupted(UploadError::Gone)), "{end}: {refusal:?}");
    }
    let mut liar = Pieces { declared: Some(whole.len() as u64 + 1), ..Pieces::of(&whole) };
    let refusal = rig.send("team", Some(&content_type()), &mut liar).await.unwrap_err();
    assert!(matches!(refusal, PublishRefusal::Interrupted(UploadError::Malformed(_))), "{refusal:?}");
    rig.settles_to(&BTreeSet::new()).await;
}
