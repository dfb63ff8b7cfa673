//! HTTP: one client with the rules of the house.
