//! Keeping a queue of dead letters in memory within its limit, also when nothing dies.

use async_trait::async_trait;

use super::seat::MemorySeat;
use crate::error::Error;
use crate::keeping::Keeping;

#[async_trait]
impl Keeping for MemorySeat {
    async fn make_room(&self) -> Result<u64, Error> {
        self.turn(|turn| turn.drop_oldest())
    }
}
