//! Whole plans: what compiles, and every kind of finding as people see it.

mod arguments;
mod expressions;
mod form;
mod graph;
mod inputs;
mod page;
mod policy;
mod references;
mod rendering;
mod secrets;
mod targets;
mod yaml;
