//! Fourth on the data path, the multiplexer itself: a responder to every client, a requester to
//! every server queue pair, and what is in flight between the two.

mod assembly;
pub(crate) mod client;
mod client_answer;
mod client_request;
pub(crate) mod closing;
pub(crate) mod congestion;
mod flip;
pub(crate) mod generate;
pub(crate) mod in_place;
mod in_place_tables;
mod keys;
pub(crate) mod lookup;
mod past_reads;
mod read_again;
mod recall;
pub(crate) mod record;
mod repeat;
pub(crate) mod results;
pub(crate) mod resume;
mod resume_client;
mod resume_learnt;
mod resume_server;
mod rewrite;
mod route;
pub(crate) mod rows;
pub(crate) mod server;
pub(crate) mod server_qp;
mod server_response;
pub(crate) mod slab;
mod steer;
pub(crate) mod turn;
mod turned;
mod waiting;
pub(crate) mod watch;
mod way;
pub(crate) mod work;
