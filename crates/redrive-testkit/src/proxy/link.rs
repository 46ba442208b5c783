//! One connection through the proxy: two pumps, and what a fault does to them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::board::{Board, Order, Progress, Weather};
use super::frame::{Frames, Part};
use super::label::{Fault, Moment};
use super::request::{Found, Requests};

const CHUNK: usize = 64 * 1024;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
    HalfOpen,
    BlackHole,
}

/// What a pump does after a fault.
enum After {
    GoOn,
    /// So many bytes more, then the end.
    Pass(usize),
    End(End),
}

/// What is between the two pumps of one connection. They run in one task: no borrow lasts across an await.
struct Between<'a> {
    board: &'a Board,
    /// What has been asked of the server and not been answered; the answers come in this order.
    unanswered: RefCell<VecDeque<Option<Order>>>,
    answered: Notify,
}

/// Passes a connection on until it ends.
pub(super) async fn pass(mut client: TcpStream, mut server: TcpStream, board: Arc<Board>) {
    board.opened();
    let mut cut = board.cut.subscribe();
    cut.mark_unchanged();
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let between = Between {
            board: &board,
            unanswered: RefCell::default(),
            answered: Notify::new(),
        };
        tokio::select! {
            end = between.requests(from_client, to_server) => end,
            end = between.replies(from_server, to_client) => end,
            _ = cut.changed() => Ok(End::Reset),
        }
    };
    match end.unwrap_or(End::Closed) {
        End::Closed => {}
        End::Reset => reset(&[&client, &server]),
        End::HalfOpen => {
            drop(server);
            tokio::select! {
                () = leaves(&mut client) => {}
                _ = cut.changed() => reset(&[&client]),
            }
        }
        // Not even that one side leaves is noticed by the other.
        End::BlackHole => {
            let _ = cut.changed().await;
            reset(&[&client, &server]);
        }
    }
    board.closed();
}

fn reset(streams: &[&TcpStream]) {
    for stream in streams {
        // An error means that the peer is gone: then there is nobody to be told.
        let _ = stream.set_zero_linger();
    }
}

/// Returns when the client has closed its side; what it sends until then is lost.
async fn leaves(client: &mut TcpStream) {
    let mut unread = vec![0; CHUNK];
    while client.read(&mut unread).await.is_ok_and(|read| read > 0) {}
}

impl Between<'_> {
    /// What the client sends; a request by itself where something is to be done to it.
    async fn requests(
        &self,
        mut client: ReadHalf<'_>,
        mut server: WriteHalf<'_>,
    ) -> io::Result<End> {
        let mut weather = self.board.weather.subscribe();
        let mut requests = Some(Requests::new());
        let mut bytes = Vec::with_capacity(CHUNK);
        // How far the bytes have been looked at, and how far they may be passed on.
        let (mut seen, mut passable) = (0, 0);
        let mut is_alone = false;
        loop {
            if client.read_buf(&mut bytes).await? == 0 {
                fair(&mut weather).await;
                return Ok(End::Closed);
            }
            let scripts = self.board.scripts();
            while let Some(reading) = requests.as_mut() {
                let Ok((used, found)) = reading.next(&bytes[seen..], &scripts) else {
                    self.board.lost_track();
                    requests = None;
                    break;
                };
                seen += used;
                match found {
                    Found::Head(label) => {
                        let mut order = self.board.saw(&label);
                        if let Some(order) = &order {
                            // To this request alone: nothing before it is still under way.
                            write(&mut server, &mut bytes, passable, &mut weather).await?;
                            seen -= passable;
                            self.all_answered().await;
                            is_alone = order.moment == Moment::Executed;
                        }
                        if let Some(order) = order.take_if(|o| o.moment == Moment::Arrived) {
                            match strike(&order).await {
                                After::End(end) => return Ok(end),
                                After::GoOn | After::Pass(_) => {}
                            }
                        }
                        self.unanswered.borrow_mut().push_back(order);
                        passable = seen;
                    }
                    Found::End => {
                        passable = seen;
                        if std::mem::take(&mut is_alone) {
                            write(&mut server, &mut bytes, passable, &mut weather).await?;
                            (seen, passable) = (0, 0);
                            self.all_answered().await;
                        }
                    }
                    Found::Nothing => {
                        if !reading.is_undecided() {
                            passable = seen;
                        }
                        if used == 0 && seen == bytes.len() {
                            break;
                        }
                    }
                }
            }
            if requests.is_none() {
                (seen, passable) = (bytes.len(), bytes.len());
            }
            write(&mut server, &mut bytes, passable, &mut weather).await?;
            (seen, passable) = (seen - passable, 0);
        }
    }

    async fn all_answered(&self) {
        while !self.unanswered.borrow().is_empty() {
            self.answered.notified().await;
        }
    }

    /// What the server answers.
    async fn replies(
        &self,
        mut server: ReadHalf<'_>,
        mut client: WriteHalf<'_>,
    ) -> io::Result<End> {
        let mut weather = self.board.weather.subscribe();
        let mut frames = Some(Frames::new());
        let mut bytes = Vec::with_capacity(CHUNK);
        let mut seen = 0;
        let mut is_push = false;
        // Replies that are complete, and not yet passed on.
        let mut complete = 0;
        let mut close_after = None;
        loop {
            if server.read_buf(&mut bytes).await? == 0 {
                fair(&mut weather).await;
                return Ok(End::Closed);
            }
            while let Some(reading) = frames.as_mut() {
                let Ok((used, part)) = reading.next(&bytes[seen..]) else {
                    self.board.lost_track();
                    frames = None;
                    break;
                };
                seen += used;
                match part {
                    // Told by the server unasked.
                    Part::Begins(b'>') => is_push = true,
                    Part::Begins(_) => {
                        is_push = false;
                        let order = self.unanswered.borrow().get(complete).cloned().flatten();
                        if let Some(order) = order {
                            write(&mut client, &mut bytes, seen, &mut weather).await?;
                            self.passed_on(std::mem::take(&mut complete));
                            seen = 0;
                            match strike(&order).await {
                                After::GoOn => {}
                                After::Pass(some) => close_after = Some(some),
                                After::End(end) => return Ok(end),
                            }
                        }
                    }
                    Part::Ends if !is_push => {
                        complete += 1;
                        if close_after.is_some() {
                            break;
                        }
                    }
                    Part::Other if used == 0 && seen == bytes.len() => break,
                    _ => {}
                }
            }
            if frames.is_none() {
                seen = bytes.len();
            }
            if let Some(left) = close_after {
                let some = seen.min(left);
                write(&mut client, &mut bytes, some, &mut weather).await?;
                if some == left || complete > 0 {
                    return Ok(End::Closed);
                }
                close_after = Some(left - some);
                seen -= some;
                continue;
            }
            write(&mut client, &mut bytes, seen, &mut weather).await?;
            seen = 0;
            self.passed_on(std::mem::take(&mut complete));
        }
    }

    fn passed_on(&self, replies: usize) {
        if replies > 0 {
            let mut unanswered = self.unanswered.borrow_mut();
            let known = replies.min(unanswered.len());
            unanswered.drain(..known);
            self.answered.notify_one();
        }
    }
}

/// Tells the test, and does what can be done before the connection's end is known.
async fn strike(order: &Order) -> After {
    order.progress.send_if_modified(|now| {
        let is_first = *now == Progress::Armed;
        if is_first {
            *now = Progress::Struck;
        }
        is_first
    });
    match order.fault {
        Fault::Close => After::End(End::Closed),
        Fault::Reset => After::End(End::Reset),
        Fault::CloseInReply(0) => After::End(End::Closed),
        Fault::CloseInReply(some) => After::Pass(some),
        Fault::BlackHole => After::End(End::BlackHole),
        Fault::HalfOpen => After::End(End::HalfOpen),
        Fault::Delay(time) => {
            sleep(time).await;
            After::GoOn
        }
        Fault::Hold => {
            let mut told = order.progress.subscribe();
            let told = told.wait_for(|now| *now > Progress::Struck).await;
            match told.map(|now| *now) {
                Ok(Progress::Cut) => After::End(End::Closed),
                _ => After::GoOn,
            }
        }
    }
}

/// Waits for the end of a partition, then passes the first so many bytes on.
async fn write(
    to: &mut WriteHalf<'_>,
    bytes: &mut Vec<u8>,
    some: usize,
    weather: &mut watch::Receiver<Weather>,
) -> io::Result<()> {
    if some > 0 {
        fair(weather).await;
        to.write_all(&bytes[..some]).await?;
        bytes.drain(..some);
    }
    Ok(())
}

async fn fair(weather: &mut watch::Receiver<Weather>) {
    // The board outlives its connections: this cannot fail.
    let _ = weather.wait_for(|now| *now == Weather::Fair).await;
}
