//! How findings, runs and dry runs are shown: each form in a file of its own.

pub(crate) mod apart;
pub(crate) mod document;
pub(crate) mod dry_run;
pub(crate) mod failure;
pub(crate) mod findings;
pub(crate) mod json;
pub(crate) mod left;
pub(crate) mod lines;
pub(crate) mod narrow;
pub(crate) mod post_mortem;
pub(crate) mod screen;
pub(crate) mod shown;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod time;
pub(crate) mod words;
