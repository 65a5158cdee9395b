//! The ways in which a fixture upstream does harm, and what it serves in place of a module's files.
//!
//! What a database says falsely is told in [`super::sumdb`], which is asked with the same [`Hostile`].

use super::http::Response;
use super::zips::{self, Module};

/// Makes [`Hostile`] and the list of all its ways: a new way is in it.
macro_rules! ways {
    ($($(#[$what:meta])* $way:ident,)*) => {
        /// What is wrong with an upstream: one thing at a time, with all modules alike.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Hostile {
            $($(#[$what])* $way,)*
        }

        impl Hostile {
            /// Every way.
            pub(crate) const ALL: [Self; [$(stringify!($way)),*].len()] = [$(Self::$way),*];
        }
    };
}

ways! {
    /// Zips are valid, and not those that the database vouches for.
    OtherZip,
    /// `.mod` files are valid, and not those that the database vouches for.
    OtherMod,
    /// Zips begin with the files that the database vouches for, and their central directories list others, further on:
    /// who reads front to back sees what is right, who unpacks gets what is not.
    ZipListsOther,
    /// Zips begin with other files than the database vouches for, and their central directories list those, further on:
    /// who reads front to back sees what is wrong, who unpacks gets what is right.
    ZipStreamsOther,
    /// Zips and `.mod` files are right, and their `Content-Length` is one byte less.
    LengthShort,
    /// Zips and `.mod` files are right, and their `Content-Length` is one byte more.
    LengthLong,
    /// A look-up is answered with the record of another module, which is in the tree.
    RecordOfAnotherModule,
    /// A look-up is answered with the record of another version of the module, which is in the tree.
    RecordOfAnotherVersion,
    /// A look-up is answered with the record's number and other hashes than the tree has there.
    RecordAltered,
    /// Every look-up is a 404.
    LookupMissing,
    /// The answer of a look-up is right and has no end.
    LookupEndless,
    /// Heads are under the database's key id, with a signature that is none.
    SignatureForged,
    /// Heads are signed by another key under the database's name.
    SignedByAnotherKey,
    /// Heads have 101 signatures, the first of which is right.
    SignaturesTooMany,
    /// Heads and tiles are those of another tree with more records. The key is the database's own.
    ForkNewer,
    /// Heads are those of another tree, with no more records than a look-up needs. The key is the database's own.
    ForkOlder,
    /// Heads are older ones of the same tree, with no more records than a look-up needs: clients bear it.
    Shrunk,
    /// Tiles have no bytes.
    TilesEmpty,
    /// Tiles have no end.
    TilesEndless,
    /// Tiles lack their last byte.
    TilesShort,
    /// Tiles are those of another place in the tree.
    TilesOfAnotherPlace,
    /// The database cuts connections without an answer.
    DatabaseCuts,
    /// The database answers 500.
    DatabaseFails,
    /// The database takes requests and does not answer them, until the upstream is told to do otherwise.
    DatabaseHangs,
}

/// The answer with a module's zip.
pub(super) fn zip(module: &Module, hostile: Option<Hostile>) -> Response {
    let bytes = match hostile {
        Some(Hostile::OtherZip) => module.other_zip(),
        Some(Hostile::ZipListsOther) => zips::hidden_behind(&module.zip(), &module.other_zip()),
        Some(Hostile::ZipStreamsOther) => zips::hidden_behind(&module.other_zip(), &module.zip()),
        _ => module.zip_as_served(),
    };
    with_length(Response::of(200, "application/zip", bytes), hostile)
}

/// The answer with a module's `.mod`.
pub(super) fn go_mod(module: &Module, hostile: Option<Hostile>) -> Response {
    let mut text = String::from_utf8_lossy(&module.go_mod).into_owned();
    if hostile == Some(Hostile::OtherMod) {
        text.push_str("\n// Not what it was.\n");
    }
    with_length(Response::text(200, text), hostile)
}

fn with_length(response: Response, hostile: Option<Hostile>) -> Response {
    let length = response.body.len();
    match hostile {
        Some(Hostile::LengthShort) => response.declaring(length - 1),
        Some(Hostile::LengthLong) => response.declaring(length + 1),
        _ => response,
    }
}
