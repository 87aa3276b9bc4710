//! Many runs: which, made on as many threads and machines as there are, kept, and put together.

mod compare;
mod folder;
mod identity;
mod make;
mod manifest;
mod parquet;
mod record;
mod runs;
mod table;

pub use compare::{At, Compared, Comparison, ResultSet, Verdict};
pub use folder::RunFolder;
pub use identity::Identity;
pub use make::{Shard, Told, deal, make_all, make_in};
pub use manifest::{Manifest, Row};
pub(crate) use record::Record;
pub use record::{Ended, Status};
pub use runs::{JobId, Results, Run, Runs};
pub(crate) use table::{FIXED, ResultLine};
pub use table::{ResultRow, ResultTable};
