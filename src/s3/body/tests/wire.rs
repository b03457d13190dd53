//! Bodies as hyper really hands them over.

use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

type Taken = Arc<Mutex<Vec<Result<usize, BodyError>>>>;

/// Serves one connection; each request's body is taken in under `plan` unless its path is `/refused`.
async fn serve(connection: DuplexStream, plan: fn() -> Plan) -> Vec<Result<usize, BodyError>> {
    let (intake, taken) = (intake(), Taken::default());
    let seen = Arc::clone(&taken);
    let service = service_fn(move |request: Request<Incoming>| {
        let (intake, seen) = (intake.clone(), Arc::clone(&seen));
        async move {
            let refused = request.uri().path() == "/refused";
            let body = intake.accept(request.into_body(), plan());
            if !refused {
                let outcome = drain(body).await;
                seen.lock().push(outcome.verdict.map(|_| outcome.bytes.len()));
            }
            Ok::<_, BodyError>(Response::new(http_body_util::Empty::<Bytes>::new()))
        }
    });
    // How a connection ends is not of interest here.
    drop(http1::Builder::new().half_close(true).serve_connection(TokioIo::new(connection), service).await);
    std::mem::take(&mut *taken.lock())
}

/// Sends `parts`, waiting a little between them, then closes; gives the answer and what was taken.
fn exchange(parts: &[&[u8]], plan: fn() -> Plan) -> (String, Vec<Result<usize, BodyError>>) {
    let (mut client, server) = duplex(1 << 20);
    let client = async move {
        let mut answer = Vec::new();
        for part in parts {
            client.write_all(part).await.expect("the server listens");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client.shutdown().await.expect("the server listens");
        client.read_to_end(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    };
    RUNTIME.block_on(async { tokio::join!(client, serve(server, plan)) })
}

#[test]
fn bodies_of_known_length_and_chunked_ones_follow_each_other_on_a_connection() {
    let sized = b"PUT /a HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234";
    let chunked = b"56789PUT /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let (answer, taken) = exchange(&[sized, chunked, b"2\r\nde\r\n0\r\nx-trailer: y\r\n\r\n"], Plan::default);
    assert_eq!(taken, [Ok(10), Ok(5)]);
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
}

#[test]
fn an_aws_chunked_body_in_http_chunks_is_decoded() {
    let plan = || Form::Unsigned.plan(5, Some(ChecksumAlgorithm::Crc32));
    let head = b"PUT /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = b"8\r\n5\r\nhello\r\n24\r\n\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n0\r\n\r\n";
    let (_, taken) = exchange(&[head, body], plan);
    assert_eq!(taken, [Ok(5)]);
}

#[test]
fn a_client_that_leaves_inside_the_body_is_disconnected() {
    for request in [
        b"PUT /a HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234".as_slice(),
        b"PUT /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        assert_eq!(exchange(&[request], Plan::default).1, [Err(BodyError::Disconnected)]);
    }
}

#[test]
fn the_go_ahead_is_sent_only_to_a_body_that_is_wanted() {
    let head = |path: &str| {
        format!("PUT {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").into_bytes()
    };
    let (answer, taken) = exchange(&[&head("/wanted"), b"hello"], Plan::default);
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), "{answer}");
    assert_eq!(taken, [Ok(5)]);
    let (answer, taken) = exchange(&[&head("/refused")], Plan::default);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(taken, []);
}
