//! What is to be sent: responses in order, many of them in one system call, none of them copied.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{Buf, Bytes};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// Pieces given to one `writev`.
const SLICES_MAX: usize = 64;

/// Responses that are ready and not yet sent.
#[derive(Debug, Default)]
pub struct Output {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Output {
    /// Adds one response, in pieces.
    pub fn push(&mut self, response: Vec<Bytes>) {
        self.bytes += response.iter().map(Bytes::len).sum::<usize>();
        self.pieces
            .extend(response.into_iter().filter(|piece| !piece.is_empty()));
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that wait to be sent.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends everything; returns how many bytes that were.
    pub async fn send(&mut self, stream: &mut TcpStream) -> io::Result<u64> {
        let mut sent_total = 0_u64;
        while let Some(first) = self.pieces.front() {
            let sent = if self.pieces.len() == 1 {
                stream.write(first).await?
            } else {
                let slices: Vec<IoSlice<'_>> = self
                    .pieces
                    .iter()
                    .take(SLICES_MAX)
                    .map(|piece| IoSlice::new(piece))
                    .collect();
                stream.write_vectored(&slices).await?
            };
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            sent_total += sent as u64;
            self.consume(sent);
        }
        Ok(sent_total)
    }

    fn consume(&mut self, mut sent: usize) {
        self.bytes -= sent;
        while let Some(first) = self.pieces.front_mut() {
            if sent < first.len() {
                first.advance(sent);
                return;
            }
            sent -= first.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn responses_arrive_in_order_and_whole_whatever_their_size() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let sizes = [1, 5, 20_000, 3, 16 << 10, 3_000_000, 7, 1];
        let mut output = Output::default();
        let mut expected = Vec::new();
        for (size, value) in sizes.into_iter().zip(1_u8..) {
            output.push(vec![Bytes::from(vec![value; size]), Bytes::new()]);
            expected.extend(std::iter::repeat_n(value, size));
        }
        let length = expected.len();
        assert_eq!(output.bytes(), length);
        let reader = tokio::spawn(async move {
            let mut received = vec![0; length];
            client.read_exact(&mut received).await.map(|_| received)
        });
        assert_eq!(output.send(&mut stream).await.unwrap(), length as u64);
        assert!(output.is_empty());
        assert_eq!(output.bytes(), 0);
        assert!(reader.await.unwrap().unwrap() == expected);
    }
}
