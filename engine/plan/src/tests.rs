//! Whole plans: what compiles, and every kind of finding as people see it.

mod page;
