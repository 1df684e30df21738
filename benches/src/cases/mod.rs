//! All cases, a list for each group.

use crate::case::Case;

mod calls;
mod create;
mod exec;
#[cfg(feature = "peers")]
mod peers;
mod pools;
mod preload;
mod raw;
mod start;

/// In the order in which they are measured and printed: other libraries behind ours, group
/// by group.
pub(crate) fn all() -> Vec<Case> {
    let ours = [
        create::cases(),
        preload::cases(),
        exec::cases(),
        start::cases(),
        calls::cases(),
        pools::cases(),
    ];
    let all = ours.into_iter().flatten();
    #[cfg(feature = "peers")]
    let all = all.chain(peers::cases());
    let mut all: Vec<Case> = all.collect();
    let groups: Vec<&str> = all.iter().map(|case| case.group).collect();
    all.sort_by_key(|case| groups.iter().position(|group| *group == case.group));
    all
}
