//! A proxy that misbehaves: it sees each request and decides what becomes of it and of its answer.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use cloudserver::tasks::Tasks;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its duty.
    None,
    /// Its duty, late.
    Delay(Duration),
    /// Its duty, and the answer late.
    Late(Duration),
    /// Closes the connection before anything reaches the far side.
    Refuse,
    /// Sends half of the request on, and closes both connections.
    HalfRequest,
    /// Answers so by itself.
    Status(u16),
    /// Lets the far side do it, and keeps the answer to itself.
    Swallow,
    /// Cuts the answer's body in the middle.
    Truncate,
    /// Says nothing behind the middle of the answer's body, for longer than anybody waits.
    Stall,
    /// Gives another entity tag.
    Lie,
    /// Gives an entity tag of 6,000 bytes.
    Bloat,
    /// Changes a byte of the body.
    Flip,
}

/// The first line of a request and its number, from 0.
type Policy = dyn Fn(&str, usize) -> Fault + Send + Sync;

/// A proxy on the loopback.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    _tasks: Tasks,
}

impl Proxy {
    pub(crate) async fn new(far: SocketAddr, policy: impl Fn(&str, usize) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::default();
        let policy: Arc<Policy> = Arc::new(policy);
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let spawner = tasks.clone();
        tasks.spawn("proxy", async move {
            while let Ok((near, _)) = listener.accept().await {
                let (policy, count) = (Arc::clone(&policy), Arc::clone(&count));
                spawner.spawn("connection", async move {
                    let next = |line: &str| policy(line, count.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
                    // Whatever breaks here breaks the connection, which is what a proxy does.
                    connection(near, far, &next).await.ok();
                });
            }
        });
        Self { address, _tasks: tasks }
    }
}

struct Message {
    head: String,
    /// What came behind the head already.
    start: Vec<u8>,
    length: usize,
}

impl Message {
    async fn read(socket: &mut TcpStream) -> std::io::Result<Self> {
        let mut all = Vec::new();
        loop {
            if let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") {
                let start = all.split_off(end + 4);
                let head = String::from_utf8(all).unwrap();
                let small = head.to_ascii_lowercase();
                let length = small.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                return Ok(Self { head, start, length: length.unwrap_or(0) });
            }
            let mut piece = vec![0; 16 << 10];
            match socket.read(&mut piece).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                got => all.extend_from_slice(&piece[..got]),
            }
        }
    }

    /// Sends `most` bytes of the body from one socket to the other; `change` sees the first piece.
    async fn pass(&mut self, from: &mut TcpStream, to: &mut TcpStream, most: usize, flip: bool) -> std::io::Result<()> {
        let mut piece = std::mem::take(&mut self.start);
        let mut left = most;
        let mut flip = flip;
        while left > 0 {
            if piece.is_empty() {
                piece = vec![0; 64 << 10];
                let got = from.read(&mut piece).await?;
                if got == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                piece.truncate(got);
            }
            piece.truncate(left);
            if flip {
                piece[0] ^= 1;
                flip = false;
            }
            to.write_all(&piece).await?;
            left -= piece.len();
            piece.clear();
        }
        to.flush().await
    }
}

async fn connection(
    mut near: TcpStream,
    far: SocketAddr,
    next: &(dyn Fn(&str) -> Fault + Sync),
) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    loop {
        let mut request = Message::read(&mut near).await?;
        let line = request.head.lines().next().unwrap_or_default().to_owned();
        let fault = next(&line);
        match fault {
            Fault::Refuse => return Ok(()),
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::Status(status) => {
                discard(&mut near, &request).await?;
                let body = if status == 503 { "<Error><Code>SlowDown</Code></Error>" } else { "" };
                let length = body.len();
                let body = if line.starts_with("HEAD ") { "" } else { body };
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
                near.write_all(answer.as_bytes()).await?;
                continue;
            }
            _ => {}
        }
        let mut onward = TcpStream::connect(far).await?;
        onward.set_nodelay(true)?;
        onward.write_all(request.head.as_bytes()).await?;
        if fault == Fault::HalfRequest {
            let half = request.length / 2;
            return request.pass(&mut near, &mut onward, half, false).await;
        }
        let length = request.length;
        request.pass(&mut near, &mut onward, length, fault == Fault::Flip && line.starts_with("PUT ")).await?;
        let mut answer = Message::read(&mut onward).await?;
        if line.starts_with("HEAD ") {
            answer.length = 0;
        }
        let length = answer.length;
        let flip = fault == Fault::Flip && line.starts_with("GET ") && length > 0;
        if fault == Fault::Swallow {
            return Ok(());
        }
        if let Fault::Late(time) = fault {
            tokio::time::sleep(time).await;
        }
        let head = match fault {
            Fault::Lie => tagged(&answer.head, "00000000000000000000000000000000"),
            Fault::Bloat => tagged(&answer.head, &"long".repeat(1500)),
            _ => answer.head.clone(),
        };
        near.write_all(head.as_bytes()).await?;
        if matches!(fault, Fault::Truncate | Fault::Stall) && length > 0 {
            answer.pass(&mut onward, &mut near, length / 2, false).await?;
            if fault == Fault::Stall {
                tokio::time::sleep(Duration::from_mins(1)).await;
            }
            return Ok(());
        }
        answer.pass(&mut onward, &mut near, length, flip).await?;
    }
}

/// Passes requests and answers on, with other heads.
pub(crate) async fn translated(
    mut near: TcpStream,
    mut onward: TcpStream,
    asked: fn(&str) -> String,
    answered: fn(&str) -> String,
) -> std::io::Result<()> {
    loop {
        let mut request = Message::read(&mut near).await?;
        onward.write_all(asked(&request.head).as_bytes()).await?;
        let length = request.length;
        request.pass(&mut near, &mut onward, length, false).await?;
        let mut answer = Message::read(&mut onward).await?;
        let length = if request.head.starts_with("HEAD ") { 0 } else { answer.length };
        near.write_all(answered(&answer.head).as_bytes()).await?;
        answer.pass(&mut onward, &mut near, length, false).await?;
    }
}

/// Reads the rest of a request, as a server does that answers by itself.
async fn discard(near: &mut TcpStream, request: &Message) -> std::io::Result<()> {
    let mut left = request.length.saturating_sub(request.start.len());
    let mut piece = vec![0; 64 << 10];
    while left > 0 {
        match near.read(&mut piece).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            got => left = left.saturating_sub(got),
        }
    }
    Ok(())
}

/// With this entity tag.
fn tagged(head: &str, tag: &str) -> String {
    let lines = head.split("\r\n").map(|line| {
        if line.to_ascii_lowercase().starts_with("etag:") { format!("etag: \"{tag}\"") } else { line.to_owned() }
    });
    lines.collect::<Vec<_>>().join("\r\n")
}
