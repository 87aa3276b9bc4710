//! Several workers: each has an engine of its own, and servers of its own. They share nothing.
//!
//! All of a server's connections belong to one worker, with their queue pairs and with what is
//! known of the server's memory. So no worker ever needs another's state, and what a server sees
//! does not depend on how many workers there are. A frame that the network card brings to another
//! worker is handed over.

mod hand_over;
mod shares;

pub use hand_over::{HandOver, held_max};
pub use shares::Shares;
