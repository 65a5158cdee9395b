//! Unix sockets with a name. Each is made in a directory of its own that only we may enter, and gets its name only when its mode is
//! right: whatever the umask, nobody meets it open wider than it is meant to be.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::bind::BindError;

/// `admin.sock`: whoever reaches it is the operator.
pub(super) const ADMIN_MODE: u32 = 0o600;

/// A public listener: as open as a port on loopback. Who may come near, its folder says.
pub(super) const PUBLIC_MODE: u32 = 0o666;

/// A listening socket with a name, which it loses when this is dropped.
#[derive(Debug)]
pub(super) struct NamedSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode: somebody else's socket by our name stays.
    identity: (u64, u64),
}

impl NamedSocket {
    /// Listens at `path`. What a killed server left there is replaced.
    pub(super) fn bind(path: &Path, mode: u32) -> Result<Self, BindError> {
        if answers(path) {
            return Err(BindError::SocketInUse { path: path.to_owned() });
        }
        let (listener, identity) = make(path, mode).map_err(|source| BindError::Socket { path: path.to_owned(), source })?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }
}

impl Drop for NamedSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn answers(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

fn make(path: &Path, mode: u32) -> io::Result<(UnixListener, (u64, u64))> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else is in its place"));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let private = tempfile::Builder::new().prefix(".s").rand_bytes(4).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)?;
    let made = private.path().join("s");
    let listener = UnixListener::bind(&made)?;
    fs::set_permissions(&made, Permissions::from_mode(mode))?;
    let meta = fs::symlink_metadata(&made)?;
    fs::rename(&made, path)?;
    Ok((listener, (meta.dev(), meta.ino())))
}
