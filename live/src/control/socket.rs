//! The control socket in the file system: its owner's alone, and nobody else's by mistake.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};

/// A socket that listens, and goes from the file system with this.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Held as long as the process lives, however it ends: who has it owns the socket.
    _lock: File,
}

/// The file beside the socket that says whether its owner lives. A socket itself cannot be locked,
/// and to look whether somebody answers, and then to replace it, would be two steps.
fn lock(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => Err(in_use()),
    }
}

fn in_use() -> io::Error {
    let text = "another program that runs listens there: stop it, or choose another path";
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

impl ControlSocket {
    /// Listens at `path`. The socket of a program that ended without removing it is replaced.
    ///
    /// # Errors
    /// If a program that runs listens there, something else than a socket is there, or what else
    /// the operating system says.
    pub fn bind(path: &Path) -> io::Result<ControlSocket> {
        let lock = lock(path)?;
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                let text = "something is there that is no socket";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            // A program that knows nothing of the lock.
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(in_use()),
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        // Before it listens, so that nobody else is let in meanwhile.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        listen(&socket, Backlog::new(8)?)?;
        Ok(ControlSocket {
            listener: UnixListener::from(socket),
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// What listens.
    #[must_use]
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_its_owners_alone_and_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let socket = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        let error = ControlSocket::bind(&path).unwrap_err();
        assert!(error.to_string().contains("another program that runs"), "{error}");
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_nobody_has_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        // As after a crash: the file is there, and nobody listens.
        drop(UnixListener::bind(&path).unwrap());
        drop(ControlSocket::bind(&path).unwrap());
        // Of a program that has no lock.
        let other = UnixListener::bind(&path).unwrap();
        assert_eq!(ControlSocket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let error = ControlSocket::bind(&path).unwrap_err();
        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
