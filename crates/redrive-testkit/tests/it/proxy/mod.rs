//! The fault proxy, in front of a real server: each fault, seen from the client and from the server.

mod faults;
mod traffic;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use redrive_testkit::{Proxy, Server};

use crate::SOON;

/// Long enough that what should not come would have come.
const A_WHILE: Duration = Duration::from_millis(150);

/// A client that shows every byte.
struct Raw(TcpStream);

impl Raw {
    fn to(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self(stream)
    }

    fn send(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.0.write_all(request.as_bytes()).unwrap();
    }

    /// Reads exactly this.
    #[track_caller]
    fn expect(&mut self, reply: &str) {
        let mut read = vec![0; reply.len()];
        self.0.read_exact(&mut read).unwrap();
        assert_eq!(String::from_utf8_lossy(&read), reply);
    }

    #[track_caller]
    fn ask(&mut self, line: &str, reply: &str) {
        self.send(line);
        self.expect(reply);
    }

    #[track_caller]
    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "something came before the end");
    }

    #[track_caller]
    fn expect_reset(&mut self) {
        let error = self.0.read(&mut [0; 100]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    /// Open, and nothing comes.
    #[track_caller]
    fn expect_silence(&mut self) {
        self.0.set_read_timeout(Some(A_WHILE)).unwrap();
        let error = self.0.read(&mut [0; 100]).unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut
        ));
        self.0.set_read_timeout(Some(SOON)).unwrap();
    }

    /// Closed while some of what was sent had not been read yet: the kernel may make a reset of it.
    #[track_caller]
    fn expect_closed(&mut self) {
        match self.0.read(&mut [0; 100]) {
            Ok(read) => assert_eq!(read, 0, "something came before the end"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

async fn get(server: &Server, key: &str) -> Option<String> {
    let mut connection = server.connect().await;
    let get = redis::cmd("GET").arg(key).to_owned();
    get.query_async(&mut connection).await.unwrap()
}

/// How many connections the server has, the one that asks not counted.
async fn clients(server: &Server) -> usize {
    let mut connection = server.connect().await;
    let list = redis::cmd("CLIENT").arg("LIST").to_owned();
    let list: String = list.query_async(&mut connection).await.unwrap();
    list.lines().count() - 1
}

async fn pair() -> (Server, Proxy) {
    let server = Server::start().await;
    let proxy = Proxy::in_front_of(&server);
    (server, proxy)
}
