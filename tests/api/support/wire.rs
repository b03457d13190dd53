//! HTTP/1.1 by hand: every byte that goes out is the test's own, and every byte that comes back is looked at.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::xml;

/// Longest wait for anything that is expected to happen.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, escaped.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Statuses of the 1xx answers before it.
    pub(crate) interim: Vec<u16>,
}

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Request {
    /// The bytes. A length is announced unless the headers frame the body themselves.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            out.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        let framed = self.header("content-length").is_some() || self.header("transfer-encoding").is_some();
        if !framed && (!self.body.is_empty() || matches!(&*self.method, "PUT" | "POST")) {
            out.extend(format!("content-length: {}\r\n", self.body.len()).into_bytes());
        }
        out.extend(b"\r\n");
        out.extend(&self.body);
        out
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Replaces a header, or adds it.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Adds a parameter to the query.
    pub(crate) fn and(&mut self, parameter: &str) {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(parameter);
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of the first element of this name.
    pub(crate) fn tag(&self, name: &str) -> Option<String> {
        self.tags(name).into_iter().next()
    }

    /// The texts of all elements of this name.
    pub(crate) fn tags(&self, name: &str) -> Vec<String> {
        xml::sections(&self.text(), name).iter().map(|text| xml::unescape(text)).collect()
    }

    /// The insides of all elements of this name, as documents of their own.
    pub(crate) fn elements(&self, name: &str) -> Vec<Self> {
        let sections = xml::sections(&self.text(), name);
        sections.into_iter().map(|body| Self { body: body.into_bytes(), ..Self::default() }).collect()
    }

    pub(crate) fn etag(&self) -> String {
        self.header("etag").unwrap_or_default().to_owned()
    }

    /// The answer, if it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// The answer, if it is this error with all that every error has.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.tag("Code").unwrap_or_default().as_str()), (status, code), "{self}");
        assert!(self.text().starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>"), "{self}");
        for element in ["Message", "Resource", "RequestId", "HostId"] {
            assert!(self.tag(element).is_some(), "no {element}: {self}");
        }
        assert_eq!(self.tag("RequestId").as_deref(), self.header("x-amz-request-id"), "{self}");
        assert_eq!(self.header("content-type"), Some("application/xml"), "{self}");
        self
    }

    /// The answer, if its document has this element.
    #[track_caller]
    pub(crate) fn with(self, element: &str, value: &str) -> Self {
        assert_eq!(self.tag(element).as_deref(), Some(value), "{element} of {self}");
        self
    }

    /// The answer, if it has this header.
    #[track_caller]
    pub(crate) fn has(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), Some(value), "{name} of {self}");
        self
    }

    /// The answer, if it lacks this header.
    #[track_caller]
    pub(crate) fn lacks(self, name: &str) -> Self {
        assert_eq!(self.header(name), None, "{name} of {self}");
        self
    }

    /// The answer, if its body is this.
    #[track_caller]
    pub(crate) fn body_is(self, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        assert!(self.body == body, "a body of {} bytes, not the {} wanted: {self}", self.body.len(), body.len());
        self
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        let text = self.text();
        write!(f, "\n{}", text.get(..2000).unwrap_or(&text))
    }
}

fn cut(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, why.to_owned())
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::with_capacity(64 << 10, stream) }
    }

    /// A connection with a small receive buffer, for clients that read slowly.
    pub(crate) async fn narrow(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        let stream = socket.connect(address).await.unwrap();
        Self { stream: BufReader::with_capacity(64 << 10, stream) }
    }

    /// Sends bytes. A server that answers early may close before it has read all: that shows in the answer.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(SOON, self.stream.get_mut().write_all(bytes)).await;
        let _: io::Result<()> = sent.expect("the server takes no bytes");
    }

    /// Says that nothing more will come.
    pub(crate) async fn end(&mut self) {
        let _: io::Result<()> = self.stream.get_mut().shutdown().await;
    }

    /// The next answer, whole.
    ///
    /// # Errors
    /// If the connection ends before the answer does.
    pub(crate) async fn reply(&mut self, method: &str) -> io::Result<Reply> {
        let mut reply = self.head().await?;
        reply.body = self.body(&reply, method).await?;
        Ok(reply)
    }

    /// The next answer's status and headers; interim answers are noted.
    pub(crate) async fn head(&mut self) -> io::Result<Reply> {
        let mut interim = Vec::new();
        loop {
            let line = self.line().await?;
            let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
            let status: u16 = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
            let mut headers = Vec::new();
            loop {
                let line = self.line().await?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
            if (100..200).contains(&status) {
                interim.push(status);
            } else {
                return Ok(Reply { status, headers, body: Vec::new(), interim });
            }
        }
    }

    async fn body(&mut self, reply: &Reply, method: &str) -> io::Result<Vec<u8>> {
        if method == "HEAD" || matches!(reply.status, 204 | 304) {
            return Ok(Vec::new());
        }
        if reply.header("transfer-encoding").is_some() {
            return self.chunks().await;
        }
        let length = reply.header("content-length").map(|text| text.parse().unwrap());
        match length {
            Some(length) => self.exactly(length).await,
            None => panic!("an answer without an end: {reply}"),
        }
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line().await?, 16).unwrap();
            body.extend(self.exactly(size).await?);
            assert_eq!(self.line().await?, "", "behind a chunk");
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// So many bytes.
    pub(crate) async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        timeout(SOON, self.stream.read_exact(&mut bytes)).await.map_err(|_| cut("no more bytes"))??;
        Ok(bytes)
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        timeout(SOON, self.stream.read_until(b'\n', &mut line)).await.map_err(|_| cut("no answer in time"))??;
        let text = line.strip_suffix(b"\r\n").ok_or_else(|| cut("the connection ended"))?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// Whatever comes until the connection ends, in peace or not.
    pub(crate) async fn rest_until_cut(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = timeout(SOON, self.stream.read_to_end(&mut bytes)).await;
        let _: io::Result<usize> = read.expect("the connection stays open");
        bytes
    }
}
