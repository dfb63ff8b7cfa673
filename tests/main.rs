//! The tests of the whole: the binary, against real servers.
