//! Blobs live as long as a pin or a record names them.

use super::*;

#[test]
fn a_pinned_blob_is_not_swept_and_an_unpinned_one_goes_by_itself() {
    over_all(|place| async move {
        let stores = place.open();
        let (id, pin) = put(&stores, b"some bytes").await;
        stores.blobs.sweep(&id).await.unwrap();
        assert_eq!(read(&stores, &id).await.unwrap(), b"some bytes");
        let (same, second) = put(&stores, b"some bytes").await;
        assert_eq!(same, id);
        drop(pin);
        stores.blobs.sweep(&id).await.unwrap();
        assert!(read(&stores, &id).await.is_some());
        drop(second);
        stores.blobs.sweep(&id).await.unwrap();
        assert!(read(&stores, &id).await.is_none());
    });
}

#[test]
fn a_blob_is_kept_as_long_as_any_version_names_it() {
    over_all(|place| async move {
        let stores = place.open();
        let name = "corp.example.com/lib";
        plain(&stores, "alice", name, "v1.0.0", "same").await;
        plain(&stores, "alice", name, "v1.1.0", "same").await;
        let (zip, go_mod) = (module("alice", name, "v1.0.0", "same").zip, module("alice", name, "v1.0.0", "same").go_mod);
        let open = stores.blobs.open(&zip).await.unwrap().unwrap();
        delete(&stores, "alice", name, "v1.0.0").await;
        assert!(read(&stores, &zip).await.is_some() && read(&stores, &go_mod).await.is_some());
        delete(&stores, "alice", name, "v1.1.0").await;
        assert!(read(&stores, &zip).await.is_none() && read(&stores, &go_mod).await.is_none());
        // Whoever reads it meanwhile reads on.
        let mut bytes = Vec::new();
        (&*open).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, format!("zip of {name} same").as_bytes());
    });
}

#[test]
fn a_blob_of_another_length_than_told_is_refused_and_so_is_a_version_without_its_blobs() {
    over_all(|place| async move {
        let stores = place.open();
        let staged = stores.blobs.stage().await.unwrap();
        assert!(matches!(stores.blobs.put(BlobId { sha256: [1; 32], len: 7 }, staged).await, Err(StoreError::Corrupt(_))));
        let new = module("alice", "corp.example.com/lib", "v1.0.0", "one");
        assert!(matches!(stores.records.publish(new).await, Err(StoreError::Corrupt(_))));
        assert!(stores.records.hosted_index().await.unwrap().hosted.is_empty());
        assert!(stores.records.writable().await.is_ok());
    });
}
