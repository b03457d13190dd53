//! Sockets that listen.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the system keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// A bound socket, before anything is served on it.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one. `[::]` listens for IPv4 as well, other IPv6 addresses do not.
    ///
    /// # Errors
    /// The system's: the address is in use, not this machine's, or not permitted.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the last connections of the process before.
        socket.set_reuse_address(true)?;
        if let SocketAddr::V6(address) = address {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Binds the wildcard address of both families, or of IPv4 alone on a machine without IPv6.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn bind_everywhere(port: u16) -> io::Result<Self> {
        let (six, four) = (SocketAddr::from(([0_u16; 8], port)), SocketAddr::from(([0_u8; 4], port)));
        match Self::bind(six) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => Self::bind(four),
            bound => bound,
        }
    }

    /// The address bound, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wildcard_serves_both_families_and_a_used_port_is_an_error() {
        let listener = Listener::bind_everywhere(0).unwrap();
        let port = listener.address().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        if listener.address().is_ipv6() {
            std::net::TcpStream::connect(("::1", port)).unwrap();
        }
        assert_eq!(Listener::bind_everywhere(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
