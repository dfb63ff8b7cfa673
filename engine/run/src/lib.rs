//! Runs a plan: decides, keeps the journal, starts steps, reports.
