//! Tells systemd how far the service is (`sd_notify(3)`, `Type=notify`).

use std::{
    io,
    os::unix::net::{SocketAddr, UnixDatagram},
};

/// The socket that systemd named, if it did.
#[derive(Clone, Debug)]
pub(super) struct Notify(Option<String>);

impl Notify {
    /// Speaks to the socket of `NOTIFY_SOCKET`; without it says nothing.
    pub(super) fn to(socket: Option<&str>) -> Self {
        Self(socket.map(str::to_owned))
    }

    /// Serving.
    pub(super) fn ready(&self) {
        self.say("READY=1\nSTATUS=serving");
    }

    /// What the service waits for.
    pub(super) fn status(&self, text: &str) {
        self.say(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// Stopping.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=finishing requests");
    }

    fn say(&self, message: &str) {
        let Some(name) = &self.0 else { return };
        if let Err(error) = send(name, message) {
            tracing::debug!(%error, "systemd cannot be told");
        }
    }
}

fn send(name: &str, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        let address = <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?;
        return socket.send_to_addr(message.as_bytes(), &address).map(drop);
    }
    socket.send_to_addr(message.as_bytes(), &SocketAddr::from_pathname(name)?).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_socket_hears_and_none_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Notify::to(path.to_str()).ready();
        let mut heard = [0; 64];
        let length = socket.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1\nSTATUS=serving");
        Notify::to(None).ready();
    }
}
